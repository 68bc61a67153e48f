// SPDX-License-Identifier: BSD-2-Clause
#include "x86/pv/mm_entries.h"

#include "core/rangeset.h"
#include "lib/bug.h"
#include "x86/cpu/cpuid.h"
#include "x86/pv/pv.h"

struct rangeset *mmio_read_only;

// A frame that is no RAM: by the domain's permissions.
static int io_entry_get(uint64_t *pe, struct domain *owner, struct domain *pg_owner)
{
    uint64_t mfn = pte_mfn(*pe).v;

    if (mfn_is_ram(MFN(mfn)) || mfn >> (cpu_features.phys_bits - PAGE_SHIFT))
        return -EINVAL;
    if (pg_owner != owner && pg_owner != dom_io)
        return -EINVAL;
    if (!owner->iomem_caps || !rangeset_contains(owner->iomem_caps, mfn, mfn))
        return -EINVAL;
    if ((*pe & PTE_RW) && mmio_read_only && rangeset_overlaps(mmio_read_only, mfn, mfn))
        *pe &= ~PTE_RW; // writes fault and are looked at one by one
    *pe |= PTE_GUEST_IO;
    return 0;
}

int l1_entry_get_slow(uint64_t *pe, struct domain *owner, struct domain *pg_owner)
{
    mfn_t mfn = pte_mfn(*pe);

    if (!mfn_valid(mfn))
        return io_entry_get(pe, owner, pg_owner);
    if (!frame_get(mfn, pg_owner))
        return -EINVAL;
    struct frame *f = mfn_to_frame(mfn);
    if (READ_ONCE(f->state) & (FRAME_COUNT_TOP | (uint64_t)FRAME_TYPE_COUNT_TOP << 32))
        goto out_put;
    if ((*pe & PTE_RW) && !frame_get_type_simple(f, FRAME_TYPE_WRITABLE))
        goto out_put;
    // Only who drives hardware has a reason for uncached RAM.
    if (!owner->is_control)
        *pe &= ~PTE_CACHE;
    return 0;

out_put:
    frame_put(f);
    return -EINVAL;
}

void l1_entry_get_undo(struct frame *f, bool writable)
{
    if (writable)
        frame_put_type_simple(f);
    frame_put(f);
}

// A descriptor page loses a mapping: the shadow LDT may be what keeps it a descriptor page.
void l1_segdesc_unmapped(struct frame *f)
{
    struct domain *d = current->domain;
    struct vcpu *v;

    if (f->owner != d->id || !(READ_ONCE(f->type) & FRAME_TYPE_COUNT_MASK))
        return;
    for_each_vcpu (d, v)
        if (v->arch.ldt_shadow)
            pv_invalidate_ldt(v);
}

// ---- linear page tables -------------------------------------------------------------------------
// A table may be entered read-only in a table of its own level, so that a guest can see its tables
// as one array. Not to build cycles that would never be freed, a table that contains such entries
// (linear < 0) may not be entered so itself (linear > 0). An entry for the own table is free.

static bool linear_count(struct frame *f, int16_t step)
{
    uint16_t old = READ_ONCE(f->linear);
    int16_t new;

    do {
        if (step > 0 ? (int16_t)old < 0 || (int16_t)old == INT16_MAX
                     : (int16_t)old > 0 || (int16_t)old == INT16_MIN)
            return false;
        new = (int16_t)old + step;
    } while (!__atomic_compare_exchange_n(&f->linear, &old, (uint16_t) new, false, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED));
    return true;
}

static void linear_uncount(struct frame *f, int16_t step)
{
    __atomic_sub_fetch(&f->linear, (uint16_t)step, __ATOMIC_SEQ_CST);
}

static int linear_get(struct frame *child, unsigned int level, struct frame *table,
                      struct domain *d)
{
    uint32_t old;

    if (!frame_get(frame_to_mfn(child), d))
        return -EINVAL;
    if (!linear_count(table, -1))
        goto out_ref;
    if (!linear_count(child, 1))
        goto out_table;
    old = READ_ONCE(child->type);
    do {
        if ((old & (FRAME_TYPE_MASK | FRAME_VALIDATED)) != (level_type(level) | FRAME_VALIDATED) ||
            !(old & FRAME_TYPE_COUNT_MASK) || (old & FRAME_TYPE_COUNT_TOP))
            goto out_child;
    } while (!__atomic_compare_exchange_n(&child->type, &old, old + 1, false, __ATOMIC_ACQUIRE,
                                          __ATOMIC_RELAXED));
    return 0;

out_child:
    linear_uncount(child, 1);
out_table:
    linear_uncount(table, -1);
out_ref:
    frame_put(child);
    return -EINVAL;
}

// ---- entries of L2, L3 and L4 --------------------------------------------------------------

int table_entry_get(uint64_t *pe, unsigned int level, mfn_t table, struct domain *d,
                    bool preemptible, bool *held)
{
    mfn_t mfn = pte_mfn(*pe);
    uint32_t type = level_type(level - 1);

    *held = false;
    struct frame *f = mfn_to_frame(mfn);
    if ((*pe & TABLE_REFUSED) || mfn.v >= max_mfn || !frame_owner_probe(f, d->id))
        return -EINVAL;
    *pe |= PTE_US;

    if (table_get_fast(f, d->id, type))
        return 0;
    if (unlikely((READ_ONCE(f->type) & FRAME_TYPE_MASK) == level_type(level)) &&
        (READ_ONCE(f->type) & FRAME_TYPE_COUNT_MASK)) {
        if (*pe & PTE_RW)
            return -EINVAL;
        return mfn_eq(mfn, table) ? 0 : linear_get(f, level, mfn_to_frame(table), d);
    }
    if (!frame_get(mfn, d))
        return -EINVAL;
    int rc = pv_type_get(f, d, type, preemptible, held);
    if (rc && !*held)
        frame_put(f);
    return rc;
}

int table_entry_put(uint64_t e, unsigned int level, mfn_t table, bool preemptible)
{
    mfn_t mfn = pte_mfn(e);
    struct frame *f = mfn_to_frame(mfn);

    if (mfn_eq(mfn, table))
        return 0;
    bool linear = (READ_ONCE(f->type) & FRAME_TYPE_MASK) == level_type(level);
    if (!linear && table_put_fast(f))
        return 0;
    int rc = pv_type_put(f, preemptible);
    if (rc)
        return rc;
    if (unlikely(linear)) {
        linear_uncount(f, 1);
        linear_uncount(mfn_to_frame(table), -1);
    }
    frame_put(f);
    return 0;
}
