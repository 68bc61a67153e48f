// SPDX-License-Identifier: BSD-2-Clause
#include "x86/pv/mm_types.h"

#include "core/sched.h"
#include "lib/bug.h"
#include "x86/mm/paging.h"
#include "x86/pv/mm_entries.h"
#include "x86/pv/pv.h"

enum { ENTRIES = 512, GROUP = 8, STRIDE = 64 };

bool mm_preempted(void)
{
    return !current->is_idle && hypercall_preempt_check();
}

// ---- contents ------------------------------------------------------------------------------

// Most tables are nearly empty: look at many entries at once, n a multiple of GROUP.
static __always_inline bool none_present(const uint64_t *t, unsigned int n)
{
    uint64_t all = 0;

#pragma GCC unroll 64
    for (unsigned int i = 0; i < n; i++)
        all |= t[i];
    return !(all & PTE_P);
}

// The first group at or after t (a multiple of GROUP entries into the table that ends at `end`)
// with a present entry, or `end`.
static inline const uint64_t *next_group(const uint64_t *t, const uint64_t *end)
{
    for (; t < end; t += GROUP) {
        while (!((unsigned long)t & (STRIDE * 8 - 1)) && none_present(t, STRIDE))
            if ((t += STRIDE) >= end)
                return end;
        if (!none_present(t, GROUP))
            break;
    }
    return t;
}

// Drop what the first n entries hold.
static void l1_drop(const uint64_t *t, unsigned int n)
{
    const uint64_t *end = t + n, *table_end = t + ENTRIES;

    for (const uint64_t *group = next_group(t, table_end); group < end;
         group = next_group(group + GROUP, table_end)) {
        const uint64_t *stop = MIN(group + GROUP, end);
        for (const uint64_t *p = group; p < stop; p++)
            if (*p & PTE_P)
                l1_entry_put(*p);
    }
}

static int l1_validate(struct frame *f, struct domain *d)
{
    uint64_t *t = frame_to_virt(f), limit = max_mfn;
    domid_t id = d->id;

    for (uint64_t *group = t; (group = (uint64_t *)next_group(group, t + ENTRIES)) < t + ENTRIES;
         group += GROUP) {
        for (uint64_t *p = group; p < group + GROUP; p++) {
            if (!(*p & PTE_P))
                continue;
            uint64_t e = l1_adjust(*p);
            if (unlikely(!l1_entry_get_fast(e, id, limit))) {
                uint64_t changed = e;
                int rc = l1_entry_get_slow(&changed, d, d);
                if (unlikely(rc)) {
                    l1_drop(t, p - t);
                    return rc;
                }
                e = changed;
            }
            if (*p != e)
                *p = e;
        }
    }
    return 0;
}

static int segdesc_validate(struct frame *f, struct domain *d)
{
    uint64_t *t = frame_to_virt(f);

    for (unsigned int i = 0; i < ENTRIES; i++)
        if (!pv_descriptor_ok(d, &t[i]))
            return -EINVAL;
    return 0;
}

static inline bool hypervisor_slot(unsigned int level, unsigned int i)
{
    return level == 4 && i >= L4_SLOT_FIRST && i < L4_SLOT_END;
}

// Entries from entries_valid on. On any error entries_valid and partial say how far it came.
static int table_validate(struct frame *f, struct domain *d, unsigned int level, bool preemptible)
{
    uint64_t *t = frame_to_virt(f);
    mfn_t table = frame_to_mfn(f);
    bool held;
    int rc;

    for (unsigned int i = f->entries_valid; i < ENTRIES; i++) {
        if (!(i & (GROUP - 1)) && (i = next_group(&t[i], t + ENTRIES) - t) == ENTRIES)
            break;
        uint64_t e = t[i];
        if (!(e & PTE_P) || hypervisor_slot(level, i))
            continue;
        if (f->partial) {
            f->partial = 0;
            rc = pv_type_resume(mfn_to_frame(pte_mfn(e)), d, preemptible, &held);
            if (rc && !held)
                frame_put(mfn_to_frame(pte_mfn(e)));
            e |= PTE_US;
        } else {
            rc = table_entry_get(&e, level, table, d, preemptible, &held);
        }
        if (rc) {
            f->entries_valid = i;
            f->partial = held;
            return rc;
        }
        if (t[i] != e)
            t[i] = e;
        if (preemptible && mm_preempted()) {
            f->entries_valid = i + 1;
            return -ERESTART;
        }
    }
    if (level == 4)
        paging_init_guest_l4(t, d->arch.perdomain_l3);
    return 0;
}

// Drop what entries [0, entries_valid) and the partial one hold.
static int table_invalidate(struct frame *f, unsigned int level, bool preemptible)
{
    const uint64_t *t = frame_to_virt(f);
    mfn_t table = frame_to_mfn(f);

    if (level == 1) {
        l1_drop(t, f->entries_valid);
        f->entries_valid = 0;
        return 0;
    }
    if (f->partial) {
        if (table_entry_put(t[f->entries_valid], level, table, preemptible))
            return -ERESTART;
        f->partial = 0;
    }
    for (unsigned int i = f->entries_valid; i > 0;) {
        while (i && !(i & (STRIDE - 1)) && none_present(&t[i - STRIDE], STRIDE))
            i -= STRIDE;
        if (!i)
            break;
        if (!(i & (GROUP - 1)) && none_present(&t[i - GROUP], GROUP)) {
            i -= GROUP;
            continue;
        }
        i--;
        if (!(t[i] & PTE_P) || hypervisor_slot(level, i))
            continue;
        if (table_entry_put(t[i], level, table, preemptible)) {
            f->entries_valid = i;
            f->partial = 1;
            return -ERESTART;
        }
        if (preemptible && mm_preempted()) {
            f->entries_valid = i;
            return -ERESTART;
        }
    }
    f->entries_valid = 0;
    return 0;
}

// ---- uses ----------------------------------------------------------------------------------

// The work on f failed or ended and nothing in it holds references: forget one use of it.
static void drop_use(struct frame *f)
{
    uint32_t old = READ_ONCE(f->type), new;

    do {
        bool last = (old & FRAME_TYPE_COUNT_MASK) == 1;
        // Others wait for the table: for them it is one of which nothing is validated yet.
        new = last ? old &FRAME_TYPE_MASK : (old - 1) | FRAME_PARTIAL;
        if (last)
            f->tlb_stamp = tlb_clock_now();
    } while (!__atomic_compare_exchange_n(&f->type, &old, new, false, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED));
}

// This CPU works on f (neither VALIDATED nor PARTIAL), holding one use.
static int validate(struct frame *f, struct domain *d, bool preemptible, bool *held)
{
    uint32_t type = f->type & FRAME_TYPE_MASK;
    int rc;

    *held = false;
    if (type == FRAME_TYPE_SEGDESC)
        rc = segdesc_validate(f, d);
    else if (type == FRAME_TYPE_L1)
        rc = l1_validate(f, d);
    else
        rc = table_validate(f, d, type_level(type), preemptible);
    if (!rc) {
        __atomic_or_fetch(&f->type, FRAME_VALIDATED, __ATOMIC_RELEASE);
        return 0;
    }
    if (rc == -ERESTART || (type_level(type) > 1 && type_level(type) <= 4 &&
                            table_invalidate(f, type_level(type), preemptible))) {
        *held = true;
        __atomic_or_fetch(&f->type, FRAME_PARTIAL, __ATOMIC_RELEASE);
        return rc;
    }
    drop_use(f);
    return rc;
}

int pv_type_get(struct frame *f, struct domain *d, uint32_t type, bool preemptible, bool *held)
{
    uint32_t old = READ_ONCE(f->type), new;

    *held = false;
    for (;;) {
        if (!(old & FRAME_TYPE_COUNT_MASK))
            new = type | 1;
        else if ((old & FRAME_TYPE_MASK) != type || (old & FRAME_TYPE_COUNT_TOP))
            return -EINVAL;
        else if (old & (FRAME_VALIDATED | FRAME_PARTIAL))
            new = (old & ~FRAME_PARTIAL) + 1;
        else {
            cpu_relax();
            old = READ_ONCE(f->type);
            continue;
        }
        if (__atomic_compare_exchange_n(&f->type, &old, new, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            break;
    }
    if (old & FRAME_TYPE_COUNT_MASK) {
        if (old & FRAME_VALIDATED)
            return 0;
    } else {
        // Stale writable entries could change a table behind our back, stale paging-structure
        // caches use what is no longer the same kind of table.
        uint32_t was = old & FRAME_TYPE_MASK, stamp = f->tlb_stamp;
        if (was != type && was != FRAME_TYPE_NONE)
            tlb_flush_domain_since(d, stamp);
        f->entries_valid = 0;
        f->partial = 0;
        if (type != FRAME_TYPE_SEGDESC)
            f->linear = 0;
    }
    return validate(f, d, preemptible, held);
}

bool pv_segdesc_get_now(struct frame *f, struct domain *d)
{
    uint32_t old = READ_ONCE(f->type), new;
    bool held;

    do {
        if ((old & FRAME_TYPE_MASK) != FRAME_TYPE_SEGDESC || (old & FRAME_TYPE_COUNT_TOP))
            return false;
        if (!(old & FRAME_TYPE_COUNT_MASK))
            new = FRAME_TYPE_SEGDESC | 1;
        else if (old & FRAME_VALIDATED)
            new = old + 1;
        else
            return false;
    } while (!__atomic_compare_exchange_n(&f->type, &old, new, false, __ATOMIC_ACQUIRE,
                                          __ATOMIC_RELAXED));
    return (old & FRAME_TYPE_COUNT_MASK) || !validate(f, d, false, &held);
}

int pv_type_resume(struct frame *f, struct domain *d, bool preemptible, bool *held)
{
    uint32_t old = READ_ONCE(f->type);

    *held = false;
    for (;;) {
        if (old & FRAME_VALIDATED)
            return 0;
        if (!(old & FRAME_PARTIAL)) {
            cpu_relax();
            old = READ_ONCE(f->type);
            continue;
        }
        if (__atomic_compare_exchange_n(&f->type, &old, old & ~FRAME_PARTIAL, false,
                                        __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return validate(f, d, preemptible, held);
    }
}

static int last_put(struct frame *f, uint32_t old, bool preemptible)
{
    uint32_t type = old & FRAME_TYPE_MASK;

    if (!(old & FRAME_PARTIAL)) {
        f->entries_valid = ENTRIES;
        f->partial = 0;
    }
    if (table_invalidate(f, type_level(type), preemptible)) {
        __atomic_or_fetch(&f->type, FRAME_PARTIAL, __ATOMIC_RELEASE);
        return -ERESTART;
    }
    drop_use(f);
    return 0;
}

int pv_type_put(struct frame *f, bool preemptible)
{
    uint32_t old = READ_ONCE(f->type), new;

    for (;;) {
        uint32_t n = old & FRAME_TYPE_COUNT_MASK;
        bool table = type_level(old) >= 1 && type_level(old) <= 4;

        ASSERT(n);
        if (n == 1 && table)
            new = old & ~(FRAME_VALIDATED | FRAME_PARTIAL); // ours alone: work on it
        else
            new = n == 1 && type_level(old) == type_level(FRAME_TYPE_SEGDESC) ? FRAME_TYPE_SEGDESC
                                                                              : old - 1;
        if (n == 1 && !table)
            f->tlb_stamp = tlb_clock_now();
        // The one before the last use is not given up under a lock: the lock's end is no put.
        if ((n == 2 && (old & FRAME_LOCKED)) || (n == 1 && table && new == old)) {
            cpu_relax();
            old = READ_ONCE(f->type);
            continue;
        }
        if (!__atomic_compare_exchange_n(&f->type, &old, new, false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_RELAXED))
            continue;
        return n == 1 && table ? last_put(f, old, preemptible) : 0;
    }
}

// ---- operations of a vCPU ------------------------------------------------------------------

int mm_finish_slow(struct vcpu *v)
{
    struct frame *f = v->arch.mm_put;

    if (!f)
        return 0;
    if (pv_type_put(f, !current->is_idle))
        return -ERESTART;
    v->arch.mm_put = NULL;
    frame_put(f);
    return 0;
}

void mm_put_slow(struct vcpu *v, struct frame *f)
{
    ASSERT(!v->arch.mm_put);
    v->arch.mm_put = f;
    if (mm_finish_slow(v))
        return; // the caller's operation ends here, and the next one begins with mm_finish
}

int mm_get_slow(struct vcpu *v, mfn_t mfn, struct domain *d, uint32_t type)
{
    struct frame *f = v->arch.mm_partial;
    bool held, preemptible = !current->is_idle;
    int rc;

    if (f) {
        v->arch.mm_partial = NULL;
        if (mfn_eq(frame_to_mfn(f), mfn) && f->owner == d->id &&
            (f->type & FRAME_TYPE_MASK) == type) {
            rc = pv_type_resume(f, d, preemptible, &held);
            goto out;
        }
        mm_put_slow(v, f);
        if (mm_finish(v))
            return -ERESTART;
    }
    if (!frame_get(mfn, d))
        return -EINVAL;
    f = mfn_to_frame(mfn);
    rc = pv_type_get(f, d, type, preemptible, &held);

out:
    if (rc == -ERESTART)
        v->arch.mm_partial = f;
    else if (rc && held)
        v->arch.mm_put = f;
    else if (rc)
        frame_put(f);
    return rc;
}

int pv_frame_get_type(mfn_t mfn, struct domain *d, uint32_t type, bool preemptible)
{
    bool held;

    if (preemptible)
        return mm_get(current, mfn, d, type);
    if (!frame_get(mfn, d))
        return -EINVAL;
    struct frame *f = mfn_to_frame(mfn);
    int rc = 0;
    if (type == FRAME_TYPE_WRITABLE || type == FRAME_TYPE_SHARED)
        rc = frame_get_type_simple(f, type) ? 0 : -EINVAL;
    else
        rc = pv_type_get(f, d, type, false, &held);
    if (rc)
        frame_put(f);
    return rc;
}

int pv_frame_put_type_preemptible(struct frame *f)
{
    int rc = pv_type_put(f, true);
    if (!rc)
        frame_put(f);
    return rc;
}

void pv_frame_put_type(struct frame *f)
{
    if (pv_type_put(f, false))
        BUG(); // only the preemptible form stops half-way
    frame_put(f);
}
