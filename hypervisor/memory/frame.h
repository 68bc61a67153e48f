// SPDX-License-Identifier: BSD-2-Clause
// The frame table: 24 bytes for each machine page of RAM, mapped at FRAME_TABLE_VIRT.
//
// RAM is managed in sections of 1 GiB. A section comes online when its memory is first needed:
// only then are its frame table (exactly three 2 MiB pages) and machine-to-phys map (one) made.
// A 1 TiB host touches only the sections in use.
//
// A frame's state is one 64-bit word {type, count}, changed by cmpxchg alone:
//   count  general references: the owner's allocation (FRAME_ALLOCATED is worth one), each
//          mapping, each lookup in progress. A frame is freed when it reaches 0.
//   type   FRAME_TYPE_* | flags | number of uses as this type. The type changes only at use 0.
#pragma once

#include "abi.h"
#include "x86/arch/page.h"

struct domain;

struct frame {
    union {
        struct { uint32_t count, type; };
        uint64_t state;
    };
    domid_t owner;    // DOMID_INVALID: free
    uint16_t linear;  // page tables: linear uses; free: buddy order
    uint32_t next;    // owner's page list / buddy free list, frame index; FRAME_NONE: end
    uint32_t prev;
    union {
        uint32_t tlb_stamp; // when the last use as its type ended (type use count is 0)
        struct {            // page tables in (in)validation
            uint16_t entries_valid; // entries [0, n) hold references
            uint16_t partial;       // 1: entry n itself is partially (in)validated, holds a ref
        };
    };
};
_Static_assert(sizeof(struct frame) == 24, "1 GiB of RAM is three 2 MiB pages of frames");

#define FRAME_NONE 0xffffffffu

// count word
#define FRAME_ALLOCATED  (1u << 31) // owner's allocation reference is held
#define FRAME_STATIC     (1u << 30) // hypervisor's own page shared with guests, never freed by put
#define FRAME_BROKEN     (1u << 29)
#define FRAME_COUNT_MASK ((1u << 26) - 1)

// type word
#define FRAME_TYPE_SHIFT     29
#define FRAME_TYPE_NONE      (0u << FRAME_TYPE_SHIFT)
#define FRAME_TYPE_L1        (1u << FRAME_TYPE_SHIFT)
#define FRAME_TYPE_L2        (2u << FRAME_TYPE_SHIFT)
#define FRAME_TYPE_L3        (3u << FRAME_TYPE_SHIFT)
#define FRAME_TYPE_L4        (4u << FRAME_TYPE_SHIFT)
#define FRAME_TYPE_SEGDESC   (5u << FRAME_TYPE_SHIFT)
#define FRAME_TYPE_WRITABLE  (6u << FRAME_TYPE_SHIFT)
#define FRAME_TYPE_SHARED    (7u << FRAME_TYPE_SHIFT)
#define FRAME_TYPE_MASK      (7u << FRAME_TYPE_SHIFT)
#define FRAME_PINNED         (1u << 28)
#define FRAME_VALIDATED      (1u << 27)
#define FRAME_PARTIAL        (1u << 26) // validation or invalidation stopped half-way
#define FRAME_LOCKED         (1u << 25) // page table being changed (spin bit)
#define FRAME_TYPE_COUNT_MASK ((1u << 25) - 1)

static inline struct frame *mfn_to_frame(mfn_t m) { return (struct frame *)FRAME_TABLE_VIRT + m.v; }
static inline mfn_t frame_to_mfn(const struct frame *f)
{
    return MFN((uint64_t)(f - (const struct frame *)FRAME_TABLE_VIRT));
}
static inline void *frame_to_virt(const struct frame *f) { return mfn_to_virt(frame_to_mfn(f)); }

// mfn is RAM whose frame table exists (any value is allowed as argument). Fast.
bool mfn_valid(mfn_t mfn);
// mfn is RAM of this machine, online or not: never I/O memory.
bool mfn_is_ram(mfn_t mfn);

static inline uint64_t *m2p_entry(mfn_t m) { return (uint64_t *)M2P_VIRT + m.v; }
#define M2P_INVALID (~0ul)

// ---- allocation (memory/buddy.c, memory/domain_pages.c) --------------------------------------
enum alloc_flags {
    ALLOC_ZERO = 1 << 0,       // cleared
    ALLOC_NO_OWNER = 1 << 1,   // for d, but not on its list or in its count
    ALLOC_BELOW_4G = 1 << 2,   // machine address below 4 GiB
    ALLOC_EXACT_NODE = 1 << 3, // reserved for NUMA
};
// 2^order contiguous, aligned frames; contents are undefined but scrubbed of others' data when they
// go to a domain. NULL: none. No locks needed; not from interrupt context.
struct frame *frame_alloc(unsigned int order, unsigned int flags);
// Like it with all addresses below 2^bits (bits 0: any).
struct frame *frame_alloc_bits(unsigned int order, unsigned int flags, unsigned int bits);
void frame_free(struct frame *f, unsigned int order); // hypervisor's own pages
// For domain d: owner set, on its list, counted against max_pages and claims, count 1|ALLOCATED.
struct frame *frame_alloc_domain(struct domain *d, unsigned int order, unsigned int flags,
                                 unsigned int bits);
// The last reference is gone (called by frame_put): off the owner's list, scrub later, free.
void frame_free_domain(struct frame *f);
// Give a frame (count 1, type none) to d, as if allocated for it: 0, -ENOMEM (limit), -EINVAL.
int __must_check frame_assign(struct domain *d, struct frame *f);
// Take a frame off its owner's list and count; it keeps one reference. 0 or -EINVAL when in use.
int __must_check frame_steal(struct domain *d, struct frame *f);

uint64_t memory_free_pages(void);
uint64_t memory_total_pages(void);
uint64_t memory_unclaimed_pages(void);
// XENMEM_claim_pages: 0 or -ENOMEM/-EINVAL.
int __must_check memory_claim(struct domain *d, uint64_t pages);

// ---- references (memory/frame.c) -----------------------------------------------------------
// Take a general reference if the frame is owned by d. Any mfn is allowed. False: no reference.
bool __must_check frame_get(mfn_t mfn, const struct domain *d);
// Whoever owns it: owner's id with a reference held, or DOMID_INVALID.
domid_t __must_check frame_get_owner(mfn_t mfn);
void frame_put(struct frame *f);
// Type references without page-table validation: FRAME_TYPE_WRITABLE, _SHARED, and use of an
// already validated type. Page tables and descriptors: x86/pv/mm_types.h.
bool __must_check frame_get_type_simple(struct frame *f, uint32_t type);
void frame_put_type_simple(struct frame *f);
// Share a hypervisor page with a domain (shared_info, grant frames): owner d, extra references.
void frame_share(struct frame *f, struct domain *d, bool writable);
void frame_unshare(struct frame *f);

// ---- start-up -----------------------------------------------------------------------------
void frame_table_init(void); // sections of the memory map; after boot allocator and paging
void memory_init_late(void); // hand the rest of boot memory to the buddy allocator
