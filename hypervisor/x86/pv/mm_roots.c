// SPDX-License-Identifier: BSD-2-Clause
// Roots of vCPUs, walks of a guest's tables, and the end of a domain's memory.
#include "lib/bug.h"
#include "x86/pv/mm_update.h"
#include "x86/pv/pv.h"

void pv_update_cr3(struct vcpu *v)
{
    uint64_t root = v->arch.in_kernel || !v->arch.user_l4 ? v->arch.kernel_l4 : v->arch.user_l4;

    v->arch.cr3 = root;
    if (v != current)
        return;
    unsigned long flags = irq_save();
    tlb_write_cr3(root);
    irq_restore(flags);
}

int pv_pin_root(struct domain *d, mfn_t mfn)
{
    int rc = pv_frame_get_type(mfn, d, FRAME_TYPE_L4, false);

    if (rc)
        return rc;
    struct frame *f = mfn_to_frame(mfn);
    if (__atomic_fetch_or(&f->type, FRAME_PINNED, __ATOMIC_SEQ_CST) & FRAME_PINNED) {
        pv_frame_put_type(f);
        return -EINVAL;
    }
    return 0;
}

static inline bool m2p_strict(const struct vcpu *v)
{
    return unlikely(v->domain->vm_assist & (1ull << VMASST_TYPE_m2p_strict));
}

static uint64_t *m2p_slot(mfn_t l4)
{
    return (uint64_t *)mfn_to_virt(l4) + ((M2P_RO_VIRT >> L4_SHIFT) & 511);
}

void mm_root_show_m2p(struct vcpu *v, mfn_t l4)
{
    if (m2p_strict(v))
        WRITE_ONCE(*m2p_slot(l4), idle_l4[(M2P_RO_VIRT >> L4_SHIFT) & 511]);
}

void mm_root_hide_m2p(struct vcpu *v, mfn_t l4)
{
    if (m2p_strict(v))
        WRITE_ONCE(*m2p_slot(l4), 0);
}

// Replace one root; each step leaves v consistent, so that a retry goes on where it stopped.
static int root_set(struct vcpu *v, uint64_t *root, mfn_t mfn)
{
    uint64_t old = *root;

    if (old == mfn.v << PAGE_SHIFT)
        return 0;
    if (mfn.v) {
        int rc = mm_get(v, mfn, v->domain, FRAME_TYPE_L4);
        if (rc)
            return rc;
    }
    *root = mfn.v << PAGE_SHIFT;
    if (old)
        mm_put(v, mfn_to_frame(MFN(old >> PAGE_SHIFT)));
    return mm_finish(v);
}

int pv_vcpu_set_roots(struct vcpu *v, mfn_t kernel, mfn_t user)
{
    if (kernel.v == 0) // root_set() takes it for no root at all, and the vCPU would run on none
        return -EINVAL;
    int rc = mm_finish(v);
    if (!rc)
        rc = root_set(v, &v->arch.kernel_l4, kernel);
    if (!rc)
        rc = root_set(v, &v->arch.user_l4, user);
    if (!rc) {
        if (user.v)
            mm_root_hide_m2p(v, user);
        if (kernel.v)
            mm_root_show_m2p(v, kernel);
        pv_update_cr3(v);
    }
    return rc;
}

int pv_vcpu_drop_roots(struct vcpu *v)
{
    int rc = mm_finish(v);

    if (!rc && v->arch.mm_partial) {
        struct frame *f = v->arch.mm_partial;
        v->arch.mm_partial = NULL;
        mm_put(v, f);
        rc = mm_finish(v);
    }
    if (!rc)
        rc = root_set(v, &v->arch.kernel_l4, MFN(0));
    if (!rc)
        rc = root_set(v, &v->arch.user_l4, MFN(0));
    if (!rc)
        v->arch.cr3 = paging_idle_cr3().v;
    return rc;
}

// ---- walks ---------------------------------------------------------------------------------

static uint64_t walk(uint64_t root, unsigned long va)
{
    uint64_t e = root | PTE_P;

    if (!root || va - HYPERVISOR_HOLE_START < HYPERVISOR_HOLE_END - HYPERVISOR_HOLE_START)
        return 0;
    e = mm_next_entry(e, va, L4_SHIFT);
    e = mm_next_entry(e, va, L3_SHIFT);
    e = mm_next_entry(e, va, L2_SHIFT);
    e = mm_next_entry(e, va, L1_SHIFT);
    return e & PTE_P ? e : 0;
}

uint64_t pv_guest_pte(struct vcpu *v, unsigned long va)
{
    return walk(v->arch.in_kernel || !v->arch.user_l4 ? v->arch.kernel_l4 : v->arch.user_l4, va);
}

mfn_t pv_linear_to_mfn(struct vcpu *v, unsigned long va)
{
    uint64_t e = walk(v->arch.kernel_l4, va);
    return e ? pte_mfn(e) : INVALID_MFN;
}

// ---- the end -------------------------------------------------------------------------------

enum { RELINQUISH_PINS, RELINQUISH_FRAMES, RELINQUISH_DONE };

// The frame after f (first: f NULL) on d's list, with a reference, so that it stays there.
// f's own reference is dropped.
static struct frame *next_frame(struct domain *d, struct frame *f)
{
    struct frame *next = NULL;

    spin_lock(&d->page_lock);
    uint32_t i = f ? f->next : d->page_list;
    for (; i != FRAME_NONE; i = next->next) {
        next = mfn_to_frame(MFN(i));
        if (frame_get(MFN(i), d))
            break; // else: its last reference is just being dropped by another CPU
    }
    spin_unlock(&d->page_lock);
    if (f)
        frame_put(f);
    return i != FRAME_NONE ? next : NULL;
}

static int unpin(struct frame *f)
{
    if (!(__atomic_load_n(&f->type, __ATOMIC_ACQUIRE) & FRAME_PINNED))
        return 0;
    // The pin stays until its use is gone: a retry finds it again.
    if (pv_type_put(f, true))
        return -ERESTART;
    __atomic_and_fetch(&f->type, ~FRAME_PINNED, __ATOMIC_SEQ_CST);
    frame_put(f);
    return 0;
}

static int release(struct frame *f)
{
    if (__atomic_fetch_and(&f->count, ~FRAME_ALLOCATED, __ATOMIC_SEQ_CST) & FRAME_ALLOCATED)
        frame_put(f);
    return 0;
}

// Calls fn for every frame of the list. When it has to stop, the frame it was at keeps its
// reference and with it its place on the list, and the next call goes on there: starting anew would
// never come to the end of a list that takes longer than the time until the next interruption.
static int for_each_frame(struct domain *d, int (*fn)(struct frame *f))
{
    uint32_t *cursor = &d->arch.pv->relinquish_cursor;
    struct frame *f = *cursor != FRAME_NONE ? mfn_to_frame(MFN(*cursor)) : next_frame(d, NULL);
    unsigned int n = 0;

    *cursor = FRAME_NONE;
    for (; f; f = next_frame(d, f)) {
        int rc = fn(f);
        if (!rc && !(++n & 63) && mm_preempted())
            rc = -ERESTART;
        if (rc) {
            *cursor = (uint32_t)frame_to_mfn(f).v;
            return rc;
        }
    }
    return 0;
}

int pv_mm_relinquish(struct domain *d)
{
    struct vcpu *v;
    int rc;

    switch (d->arch.pv->pinned_relinquish_state) {
    case RELINQUISH_PINS:
        for_each_vcpu (d, v) {
            rc = pv_vcpu_drop_roots(v);
            if (rc)
                return rc;
        }
        rc = for_each_frame(d, unpin);
        if (rc)
            return rc;
        d->arch.pv->pinned_relinquish_state = RELINQUISH_FRAMES;
        // fall through
    case RELINQUISH_FRAMES:
        rc = for_each_frame(d, release);
        if (rc)
            return rc;
        d->arch.pv->pinned_relinquish_state = RELINQUISH_DONE;
    }
    return 0;
}
