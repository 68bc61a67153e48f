// SPDX-License-Identifier: BSD-2-Clause
// Types of a PV guest's frames: page tables L1 to L4 and descriptor pages. docs/pv-memory.md has
// the invariants. Internal to x86/pv/mm_*.c; x86/pv/pv.h is the face to others.
//
// A use of a frame as a type is counted in its type word. The first use of a table type validates
// the table, the last one's end invalidates it; both can stop half-way (-ERESTART). States of a
// table type with uses:
//     VALIDATED            every present entry holds its references
//     PARTIAL              entries [0, entries_valid) hold theirs; entry number entries_valid too
//                          if `partial`, and its table is PARTIAL or was so
//     neither              some CPU is working on it: others wait
// Every use counts, whatever the state: who got -ERESTART holds one and must call again.
#pragma once

#include "core/domain.h"
#include "memory/frame.h"
#include "x86/mm/probe.h"
#include "x86/pv/pv.h"

// Set in the count argument of continued mmu_update and mmuext_op calls: *done is a running total.
#define MMU_UPDATE_PREEMPTED (1u << 31)

#define FRAME_COUNT_TOP      (1u << 25) // refuse more long before the counters overflow
#define FRAME_TYPE_COUNT_TOP (1u << 24)
#define TYPE_ONE             (1ull << 32)

static inline unsigned int type_level(uint32_t type)
{
    return type >> FRAME_TYPE_SHIFT; // L1..L4: 1..4
}

static inline uint32_t level_type(unsigned int level)
{
    return level << FRAME_TYPE_SHIFT;
}

// Take a use of f (the caller holds a reference, d owns it). 0, -EINVAL, or -ERESTART. *held: a use
// is still counted despite the error; the caller continues (ERESTART) or must put it.
int __must_check pv_type_get(struct frame *f, struct domain *d, uint32_t type, bool preemptible,
                             bool *held);
// A use of a page of descriptors, without waiting for or asking anything of other CPUs: for
// interrupts off. False: it is none, or was none last.
bool __must_check pv_segdesc_get_now(struct frame *f, struct domain *d);
// Go on where pv_type_get stopped with -ERESTART.
int __must_check pv_type_resume(struct frame *f, struct domain *d, bool preemptible, bool *held);
// End a use. -ERESTART: it is still counted, call again.
int __must_check pv_type_put(struct frame *f, bool preemptible);

// The same with references, for an operation of vCPU v that may be continued: v remembers what is
// half done. mm_get: 0, -EINVAL, -ERESTART (call again with the same arguments; with others the
// half-done one is dropped first).
int __must_check mm_get_slow(struct vcpu *v, mfn_t mfn, struct domain *d, uint32_t type);
// Drop a use and a reference. If it takes long, v->arch.mm_put is left for mm_finish.
void mm_put_slow(struct vcpu *v, struct frame *f);
// Finish what mm_put left. 0 or -ERESTART.
int __must_check mm_finish_slow(struct vcpu *v);
static inline int __must_check mm_finish(struct vcpu *v)
{
    return unlikely(v->arch.mm_put) ? mm_finish_slow(v) : 0;
}
bool mm_preempted(void);

// One step for what is most common: a table already in use gets one more use and reference, or
// loses one of several. False: nothing happened.
static __always_inline bool __must_check table_get_fast(struct frame *f, domid_t id, uint32_t type)
{
    const uint64_t mask = (uint64_t)(FRAME_TYPE_MASK | FRAME_VALIDATED | FRAME_TYPE_COUNT_TOP)
                              << 32 |
                          FRAME_COUNT_TOP;
    uint64_t old = READ_ONCE(f->state);

    do {
        if ((old & mask) != (uint64_t)(type | FRAME_VALIDATED) << 32 ||
            !((old >> 32) & FRAME_TYPE_COUNT_MASK) || !(old & FRAME_COUNT_MASK))
            return false;
    } while (!__atomic_compare_exchange_n(&f->state, &old, old + 1 + TYPE_ONE, false,
                                          __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
    if (likely(f->owner == id))
        return true;
    // It was freed and became somebody else's since the caller's look at the owner.
    pv_frame_put_type(f);
    return false;
}

static __always_inline bool __must_check table_put_fast(struct frame *f)
{
    uint64_t old = READ_ONCE(f->state);

    do {
        uint32_t type = old >> 32;
        // A use remains that is not the lock's.
        if ((type & (FRAME_VALIDATED | FRAME_LOCKED)) != FRAME_VALIDATED ||
            (type & FRAME_TYPE_COUNT_MASK) < 2 || (old & FRAME_COUNT_MASK) < 2)
            return false;
    } while (!__atomic_compare_exchange_n(&f->state, &old, old - 1 - TYPE_ONE, false,
                                          __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    return true;
}

// The lock of a validated table of this type: held during changes of its entries; it counts as a
// use. False: f is no such table (any more).
static inline bool __must_check table_lock(struct frame *f, uint32_t type)
{
    uint32_t old = READ_ONCE(f->type);

    for (;;) {
        if ((old & (FRAME_TYPE_MASK | FRAME_VALIDATED)) != (type | FRAME_VALIDATED) ||
            !(old & FRAME_TYPE_COUNT_MASK))
            return false;
        if (unlikely(old & FRAME_LOCKED)) {
            cpu_relax();
            old = READ_ONCE(f->type);
            continue;
        }
        if (__atomic_compare_exchange_n(&f->type, &old, (old | FRAME_LOCKED) + 1, false,
                                        __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return true;
    }
}

static inline void table_unlock(struct frame *f)
{
    __atomic_sub_fetch(&f->type, FRAME_LOCKED + 1, __ATOMIC_RELEASE);
}

static inline int __must_check mm_get(struct vcpu *v, mfn_t mfn, struct domain *d, uint32_t type)
{
    struct frame *f = mfn_to_frame(mfn);

    if (likely(!v->arch.mm_partial && mfn.v < max_mfn && frame_owner_probe(f, d->id) &&
               table_get_fast(f, d->id, type)))
        return 0;
    return mm_get_slow(v, mfn, d, type);
}

static inline void mm_put(struct vcpu *v, struct frame *f)
{
    if (unlikely(!table_put_fast(f)))
        mm_put_slow(v, f);
}
