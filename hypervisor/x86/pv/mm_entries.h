// SPDX-License-Identifier: BSD-2-Clause
// Entries of a PV guest's page tables: what may stand in one, and the references it holds. An L1
// entry holds a reference to its frame, and a writable use if it maps it writable; an entry of a
// higher table holds a reference to and a use of the table below. Internal to x86/pv/mm_*.c.
#pragma once

#include "x86/mm/paging.h"
#include "x86/mm/probe.h"
#include "x86/pv/mm_types.h"

#define PTE_CACHE     (PTE_PWT | PTE_PCD | PTE_PAT)
#define PTE_PRESERVED (PTE_A | PTE_D)                              // MMU_PT_UPDATE_PRESERVE_AD
#define L1_REFERENCE  (PTE_ADDR_MASK | PTE_P | PTE_RW | PTE_CACHE) // what decides on references
#define TABLE_REFUSED (PTE_PSE | PTE_G)                            // in L2, L3, L4 entries

static inline mfn_t pte_mfn(uint64_t e)
{
    return MFN((e & PTE_ADDR_MASK) >> PAGE_SHIFT);
}

// All of a 64-bit PV guest runs in ring 3: its kernel's entries need PTE_US, and PTE_GUEST_KERNEL
// tells them apart. User pages are global, so that they survive the change between the kernel's and
// the user's root; kernel pages must not be. PTE_GUEST_IO is set by l1_entry_get alone.
static inline uint64_t l1_adjust(uint64_t e)
{
    e &= ~PTE_GUEST_IO;
    if (!(e & PTE_US))
        return (e | PTE_US | PTE_GUEST_KERNEL) & ~PTE_G;
    return unlikely(e & PTE_GUEST_KERNEL) ? e & ~PTE_G : e | PTE_G;
}

int __must_check l1_entry_get_slow(uint64_t *e, struct domain *owner, struct domain *pg_owner);
void l1_segdesc_unmapped(struct frame *f);

void l1_entry_get_undo(struct frame *f, bool writable);

// The usual frame: RAM of the domain `id` with its allocation's reference and, for a writable
// entry, no other type. False: nothing was taken, l1_entry_get_slow decides.
static __always_inline bool l1_entry_get_fast(uint64_t e, domid_t id, uint64_t limit)
{
    uint64_t mfn = pte_mfn(e).v;
    struct frame *f = mfn_to_frame(MFN(mfn));

    if (unlikely(mfn >= limit || (e & PTE_CACHE) || !frame_owner_probe(f, id)))
        return false;
    if (e & PTE_RW) {
        const uint64_t mask = FRAME_COUNT_TOP | FRAME_ALLOCATED |
                              (uint64_t)(FRAME_TYPE_MASK | FRAME_VALIDATED | FRAME_TYPE_COUNT_TOP)
                                  << 32;
        const uint64_t want = FRAME_ALLOCATED | (uint64_t)(FRAME_TYPE_WRITABLE | FRAME_VALIDATED)
                                                    << 32;
        uint64_t old = READ_ONCE(f->state);
        do {
            if (unlikely((old & mask) != want))
                return false;
        } while (unlikely(!__atomic_compare_exchange_n(&f->state, &old, old + 1 + TYPE_ONE, false,
                                                       __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)));
    } else {
        uint32_t old = READ_ONCE(f->count);
        do {
            if (unlikely((old & (FRAME_COUNT_TOP | FRAME_ALLOCATED)) != FRAME_ALLOCATED))
                return false;
        } while (unlikely(!__atomic_compare_exchange_n(&f->count, &old, old + 1, false,
                                                       __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)));
    }
    if (likely(f->owner == id))
        return true;
    l1_entry_get_undo(f, e & PTE_RW); // changed hands in between
    return false;
}

// Take the references of a present entry that is to stand in a table of `owner` and map a frame of
// `pg_owner`; *e gets the flags it must have. 0 or -EINVAL.
static __always_inline int __must_check l1_entry_get(uint64_t *pe, struct domain *owner,
                                                     struct domain *pg_owner)
{
    uint64_t e = l1_adjust(*pe);

    *pe = e;
    if (likely(l1_entry_get_fast(e, pg_owner->id, max_mfn)))
        return 0;
    return l1_entry_get_slow(pe, owner, pg_owner);
}

// Drop the references of a present entry. The frame's count word is 0 at the end, and only then:
// a mapped frame has an owner, or is shared by the hypervisor, which has a reference.
static inline void l1_entry_put(uint64_t e)
{
    struct frame *f = mfn_to_frame(pte_mfn(e));

    if (unlikely(e & PTE_GUEST_IO))
        return;
    if (!(e & PTE_RW)) {
        if (unlikely((READ_ONCE(f->type) & FRAME_TYPE_MASK) == FRAME_TYPE_SEGDESC))
            l1_segdesc_unmapped(f);
        if (unlikely(__atomic_sub_fetch(&f->count, 1, __ATOMIC_ACQ_REL) == 0))
            frame_free_domain(f);
        return;
    }
    uint64_t old = READ_ONCE(f->state);
    do {
        // Before the last writable use ends: a later use as another type reads the stamp.
        if (((old >> 32) & FRAME_TYPE_COUNT_MASK) == 1)
            f->tlb_stamp = tlb_clock_now();
    } while (unlikely(!__atomic_compare_exchange_n(&f->state, &old, old - 1 - TYPE_ONE, false,
                                                   __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)));
    if (unlikely((uint32_t)old == 1))
        frame_free_domain(f);
}

// The same for an entry of a table of `level` 2..4 at `table`, owned by d. As pv_type_get.
int __must_check table_entry_get(uint64_t *pe, unsigned int level, mfn_t table, struct domain *d,
                                 bool preemptible, bool *held);
int __must_check table_entry_put(uint64_t e, unsigned int level, mfn_t table, bool preemptible);

// I/O memory whose pages guests may map read-only alone (MSI-X tables); NULL while empty.
extern struct rangeset *mmio_read_only;
