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
        struct {
            uint32_t count, type;
        };
        uint64_t state;
    };
    domid_t owner;   // DOMID_INVALID: nobody's; DOMID_IO: no RAM, a hole between RAM
    uint16_t linear; // page tables: linear uses; free: buddy order; heap: size class
    uint32_t next;   // owner's page list / buddy free list, frame index; FRAME_NONE: end
    uint32_t prev;
    union {
        uint32_t tlb_stamp;         // when the last use as its type ended (type use count is 0)
        struct {                    // page tables in (in)validation
            uint16_t entries_valid; // entries [0, n) hold references
            uint16_t partial;       // 1: entry n itself is partially (in)validated, holds a ref
        };
    };
};
_Static_assert(sizeof(struct frame) == 24, "1 GiB of RAM is three 2 MiB pages of frames");

#define FRAME_NONE 0u // frame 0 is never allocated

// count word
#define FRAME_ALLOCATED  (1u << 31) // owner's allocation reference is held
#define FRAME_STATIC     (1u << 30) // hypervisor's own page shared with guests, never freed by put
#define FRAME_STAMPED    (1u << 28) // freed by a guest at tlb_stamp: flush before the next use
#define FRAME_COUNT_MASK ((1u << 26) - 1)
// type word of free frames (count 0): the first frame of a free block, and whether its contents
// are a guest's leftovers
#define FRAME_FREE_HEAD  (1u << 0)
#define FRAME_FREE_DIRTY (1u << 1)

// type word
#define FRAME_TYPE_SHIFT      29
#define FRAME_TYPE_NONE       (0u << FRAME_TYPE_SHIFT)
#define FRAME_TYPE_L1         (1u << FRAME_TYPE_SHIFT)
#define FRAME_TYPE_L2         (2u << FRAME_TYPE_SHIFT)
#define FRAME_TYPE_L3         (3u << FRAME_TYPE_SHIFT)
#define FRAME_TYPE_L4         (4u << FRAME_TYPE_SHIFT)
#define FRAME_TYPE_SEGDESC    (5u << FRAME_TYPE_SHIFT)
#define FRAME_TYPE_WRITABLE   (6u << FRAME_TYPE_SHIFT)
#define FRAME_TYPE_SHARED     (7u << FRAME_TYPE_SHIFT)
#define FRAME_TYPE_MASK       (7u << FRAME_TYPE_SHIFT)
#define FRAME_PINNED          (1u << 28)
#define FRAME_VALIDATED       (1u << 27)
#define FRAME_PARTIAL         (1u << 26) // validation or invalidation stopped half-way
#define FRAME_LOCKED          (1u << 25) // page table being changed (spin bit)
#define FRAME_TYPE_COUNT_MASK ((1u << 25) - 1)

static inline struct frame *mfn_to_frame(mfn_t m)
{
    return (struct frame *)FRAME_TABLE_VIRT + m.v;
}
static inline mfn_t frame_to_mfn(const struct frame *f)
{
    return MFN((uint64_t)(f - (const struct frame *)FRAME_TABLE_VIRT));
}
static inline void *frame_to_virt(const struct frame *f)
{
    return mfn_to_virt(frame_to_mfn(f));
}

// Sections, by mfn / SECTION_FRAMES: frames [first, first + count) of it have a frame table; count
// is 0 while it is not online.
#define SECTION_SHIFT  18
#define SECTION_FRAMES (1ul << SECTION_SHIFT)
struct section {
    uint32_t first, count;
};
extern struct section *sections;
extern unsigned long section_count;

// The frame table has an entry for mfn, which may be a hole. Any value is allowed.
static inline bool mfn_has_frame(mfn_t m)
{
    unsigned long n = m.v >> SECTION_SHIFT;
    if (unlikely(n >= section_count))
        return false;
    const struct section *s = &sections[n];
    return (uint32_t)(m.v & (SECTION_FRAMES - 1)) - s->first < READ_ONCE(s->count);
}
// mfn is RAM whose frame table exists (any value is allowed as argument). Fast.
static inline bool mfn_valid(mfn_t m)
{
    return mfn_has_frame(m) && mfn_to_frame(m)->owner != DOMID_IO;
}
// mfn is RAM of this machine, online or not: never I/O memory. A search: not for hot paths.
bool mfn_is_ram(mfn_t mfn);

static inline uint64_t *m2p_entry(mfn_t m)
{
    return (uint64_t *)M2P_VIRT + m.v;
}
#define M2P_INVALID (~0ul)
// The first of the 512 frames that hold the map for mfns [n * 2^18, (n + 1) * 2^18), from now on
// dom_xen's, read-only; INVALID_MFN: there is none, or they do not follow one another.
mfn_t m2p_share(unsigned long n);

// ---- allocation (memory/buddy.c, memory/domain_pages.c) --------------------------------------
enum alloc_flags {
    ALLOC_ZERO = 1 << 0,      // cleared
    ALLOC_NO_OWNER = 1 << 1,  // for d, but not on its list or in its count
    ALLOC_BELOW_4G = 1 << 2,  // machine address below 4 GiB
    ALLOC_THIS_NODE = 1 << 3, // from the node of ALLOC_NODE() or not at all
};
// Of this node if it has some, else of one near it. Without it: a node of the domain's, in turns,
// or for the hypervisor the node of this CPU.
#define ALLOC_NODE(n)    (((n) + 1u) << 8)
#define ALLOC_NODE_OF(f) ((f) >> 8) // + 1; 0: none is asked for

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
// Give a frame (count 1, type none, no owner) to d, as if allocated for it: 0, -ENOMEM (limit),
// -EINVAL (d is dying).
int __must_check frame_assign(struct domain *d, struct frame *f);
// Take a frame off its owner's list and count: it must have no reference and no type use but its
// allocation (the caller holds none). Then: count 1, no owner. 0 or -EINVAL.
int __must_check frame_steal(struct domain *d, struct frame *f);

// Scrub a little (< 50 us) of what guests freed; true while more is to be done. For idle CPUs.
bool memory_scrub_idle(void);
// Bring the section of mfn online, if it is RAM. False: it has no frame table and gets none.
bool section_make_online(mfn_t mfn);

uint64_t memory_free_pages(void);
uint64_t memory_total_pages(void);
uint64_t memory_unclaimed_pages(void);
uint64_t memory_node_pages(unsigned int node); // a search
uint64_t memory_node_free_pages(unsigned int node);
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
// A reference on a frame of d and a use of it as FRAME_TYPE_WRITABLE, or neither / both back.
bool __must_check frame_get_writable(mfn_t mfn, const struct domain *d);
void frame_put_writable(struct frame *f);
// Share a hypervisor page with a domain (shared_info, grant frames): owner d, one reference that
// is the hypervisor's, held until page_free().
void frame_share(struct frame *f, struct domain *d, bool writable);
// End of sharing; page_free() must follow, and takes effect when the last mapping is gone.
void frame_unshare(struct frame *f);

// ---- start-up -----------------------------------------------------------------------------
void frame_table_init(void);    // sections of the memory map; after boot allocator and paging
void memory_scrub_enable(void); // idle CPUs may scrub from now on: end of boot
void memory_init_late(void);    // hand the rest of boot memory to the buddy allocator
