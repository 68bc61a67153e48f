// SPDX-License-Identifier: BSD-2-Clause
// mmuext_op: pins, roots, TLB and cache flushes, page clearing and copying.
#include "core/hypercall.h"
#include "lib/bug.h"
#include "x86/arch/guest_access.h"
#include "x86/pv/mm_update.h"
#include "x86/pv/pv.h"

struct ext {
    struct vcpu *v;
    struct domain *d; // on whose frames
    struct mmuext_op op;
};

static int ext_pin(struct ext *x)
{
    static const uint32_t types[] = {FRAME_TYPE_L1, FRAME_TYPE_L2, FRAME_TYPE_L3, FRAME_TYPE_L4};
    mfn_t mfn = MFN(x->op.arg1.mfn);
    int rc = mm_get(x->v, mfn, x->d, types[x->op.cmd - MMUEXT_PIN_L1_TABLE]);

    if (rc)
        return rc;
    struct frame *f = mfn_to_frame(mfn);
    uint32_t old = __atomic_fetch_or(&f->type, FRAME_PINNED, __ATOMIC_SEQ_CST);
    // Pinned already, or the domain is being taken apart and nobody would unpin it any more.
    if ((old & FRAME_PINNED) || READ_ONCE(x->d->dying)) {
        if (!(old & FRAME_PINNED) &&
            !(__atomic_fetch_and(&f->type, ~FRAME_PINNED, __ATOMIC_SEQ_CST) & FRAME_PINNED))
            return -EINVAL; // unpinned by others meanwhile, with our references
        mm_put(x->v, f);
        return -EINVAL;
    }
    return 0;
}

static int ext_unpin(struct ext *x)
{
    mfn_t mfn = MFN(x->op.arg1.mfn);

    if (!frame_get(mfn, x->d))
        return -EINVAL;
    struct frame *f = mfn_to_frame(mfn);
    bool pinned = __atomic_fetch_and(&f->type, ~FRAME_PINNED, __ATOMIC_SEQ_CST) & FRAME_PINNED;
    if (pinned)
        mm_put(x->v, f); // what the pin held
    frame_put(f);
    return pinned ? 0 : -EINVAL;
}

static int new_kernel_root(struct vcpu *v, mfn_t mfn)
{
    mfn_t old = MFN(v->arch.kernel_l4 >> PAGE_SHIFT);

    if (mfn_eq(mfn, old)) { // nothing changes but the TLB
        pv_invalidate_ldt(v);
        pv_update_cr3(v);
        return 0;
    }
    int rc = mm_get(v, mfn, v->domain, FRAME_TYPE_L4);
    if (rc)
        return rc;
    pv_invalidate_ldt(v);
    mm_root_show_m2p(v, mfn);
    v->arch.kernel_l4 = mfn.v << PAGE_SHIFT;
    pv_update_cr3(v);
    mm_put(v, mfn_to_frame(old));
    return 0;
}

static int ext_new_baseptr(struct ext *x)
{
    return x->d == x->v->domain ? new_kernel_root(x->v, MFN(x->op.arg1.mfn)) : -EPERM;
}

int pv_write_cr3(struct vcpu *v, uint64_t value)
{
    int rc = mm_finish(v);

    if (!rc)
        rc = new_kernel_root(v, MFN(value >> PAGE_SHIFT));
    return rc ? rc : mm_finish(v);
}

static int ext_new_user_baseptr(struct ext *x)
{
    struct vcpu *v = x->v;
    mfn_t mfn = MFN(x->op.arg1.mfn);
    uint64_t old = v->arch.user_l4;

    if (x->d != v->domain)
        return -EPERM;
    if (mfn.v << PAGE_SHIFT == old)
        return 0;
    if (mfn.v) {
        int rc = mm_get(v, mfn, x->d, FRAME_TYPE_L4);
        if (rc)
            return rc;
        mm_root_hide_m2p(v, mfn);
    }
    v->arch.user_l4 = mfn.v << PAGE_SHIFT;
    if (old)
        mm_put(v, mfn_to_frame(MFN(old >> PAGE_SHIFT)));
    return 0;
}

static int ext_tlb_flush_local(struct ext *x)
{
    if (x->d != x->v->domain)
        return -EPERM;
    mm_flush_guest_local();
    return 0;
}

static int ext_invlpg_local(struct ext *x)
{
    if (x->d != x->v->domain)
        return -EPERM;
    tlb_invlpg(x->op.arg1.linear_addr);
    return 0;
}

static int ext_tlb_multi(struct ext *x)
{
    DECLARE_BITMAP(cpus, MAX_CPUS);

    if (x->d != x->v->domain)
        return -EPERM;
    if (mm_vcpumask_to_cpus(x->d, x->op.arg2.vcpumask.p, cpus))
        return -EFAULT;
    tlb_flush_mask(cpus, (void *)x->op.arg1.linear_addr, x->op.cmd == MMUEXT_INVLPG_MULTI);
    return 0;
}

static int ext_tlb_all(struct ext *x)
{
    if (x->d != x->v->domain)
        return -EPERM;
    tlb_flush_domain(x->d, (void *)x->op.arg1.linear_addr, x->op.cmd == MMUEXT_INVLPG_ALL);
    return 0;
}

static void wbinvd(void *unused)
{
    asm volatile("wbinvd" ::: "memory");
}

static int ext_flush_cache(struct ext *x)
{
    if (x->d != x->v->domain)
        return -EPERM;
    if (!x->d->is_control)
        return -EACCES;
    if (x->op.cmd == MMUEXT_FLUSH_CACHE)
        wbinvd(NULL);
    else
        arch_cpu_call(cpu_online_map, wbinvd, NULL);
    return 0;
}

static int ext_set_ldt(struct ext *x)
{
    unsigned long base = x->op.arg1.linear_addr;
    unsigned int n = x->op.arg2.nr_ents;

    if (x->d != x->v->domain)
        return -EPERM;
    if (n > 8192 || (base & (PAGE_SIZE - 1)) || (n && !guest_range_ok((void *)base, n * 8ul)))
        return -EINVAL;
    return pv_set_ldt(x->v, base, n);
}

// A frame of d that may be written to, with references; NULL: none.
static struct frame *get_writable(struct domain *d, mfn_t mfn)
{
    if (!frame_get(mfn, d))
        return NULL;
    struct frame *f = mfn_to_frame(mfn);
    if (frame_get_type_simple(f, FRAME_TYPE_WRITABLE))
        return f;
    frame_put(f);
    return NULL;
}

static void put_writable(struct frame *f)
{
    frame_put_type_simple(f);
    frame_put(f);
}

static int ext_clear_page(struct ext *x)
{
    struct frame *f = get_writable(x->d, MFN(x->op.arg1.mfn));

    if (!f)
        return -EINVAL;
    clear_page(frame_to_virt(f));
    put_writable(f);
    return 0;
}

static int ext_copy_page(struct ext *x)
{
    mfn_t src = MFN(x->op.arg2.src_mfn);

    if (!frame_get(src, x->d))
        return -EINVAL;
    struct frame *f = get_writable(x->d, MFN(x->op.arg1.mfn));
    if (f) {
        copy_page(frame_to_virt(f), mfn_to_virt(src));
        put_writable(f);
    }
    frame_put(mfn_to_frame(src));
    return f ? 0 : -EINVAL;
}

static int ext_superpage(struct ext *x)
{
    return -EOPNOTSUPP; // PV superpage mappings are refused, so there is nothing to mark
}

static int (*const ops[])(struct ext *x) = {
    [MMUEXT_PIN_L1_TABLE] = ext_pin,
    [MMUEXT_PIN_L2_TABLE] = ext_pin,
    [MMUEXT_PIN_L3_TABLE] = ext_pin,
    [MMUEXT_PIN_L4_TABLE] = ext_pin,
    [MMUEXT_UNPIN_TABLE] = ext_unpin,
    [MMUEXT_NEW_BASEPTR] = ext_new_baseptr,
    [MMUEXT_TLB_FLUSH_LOCAL] = ext_tlb_flush_local,
    [MMUEXT_INVLPG_LOCAL] = ext_invlpg_local,
    [MMUEXT_TLB_FLUSH_MULTI] = ext_tlb_multi,
    [MMUEXT_INVLPG_MULTI] = ext_tlb_multi,
    [MMUEXT_TLB_FLUSH_ALL] = ext_tlb_all,
    [MMUEXT_INVLPG_ALL] = ext_tlb_all,
    [MMUEXT_FLUSH_CACHE] = ext_flush_cache,
    [MMUEXT_SET_LDT] = ext_set_ldt,
    [MMUEXT_NEW_USER_BASEPTR] = ext_new_user_baseptr,
    [MMUEXT_CLEAR_PAGE] = ext_clear_page,
    [MMUEXT_COPY_PAGE] = ext_copy_page,
    [MMUEXT_FLUSH_CACHE_GLOBAL] = ext_flush_cache,
    [MMUEXT_MARK_SUPER] = ext_superpage,
    [MMUEXT_UNMARK_SUPER] = ext_superpage,
};

static int ext_one(struct ext *x)
{
    unsigned int cmd = x->op.cmd;

    if (cmd >= ARRAY_SIZE(ops))
        return -ENOSYS;
    cmd = index_nospec(cmd, ARRAY_SIZE(ops));
    return ops[cmd] ? ops[cmd](x) : -ENOSYS;
}

static int ext_all(struct ext *x, const struct mmuext_op *ops_guest, uint32_t *i, uint32_t count)
{
    while (*i < count) {
        if (guest_copy_from(&x->op, &ops_guest[*i], sizeof(x->op)))
            return -EFAULT;
        int rc = ext_one(x);
        if (rc)
            return rc;
        ++*i;
        if (x->v->arch.mm_put || (*i < count && mm_preempted()))
            return -ERESTART;
    }
    return 0;
}

long hc_mmuext_op(unsigned long ops_guest, unsigned long count_arg, unsigned long udone,
                  unsigned long dom)
{
    struct ext x = {.v = current};
    uint32_t count = count_arg, done = 0, i = 0;

    if (unlikely(count & MMU_UPDATE_PREEMPTED)) {
        count &= ~MMU_UPDATE_PREEMPTED;
        if (udone && guest_copy_from(&done, (void *)udone, sizeof(done)))
            return -EFAULT;
    }
    int rc = mm_target_get(dom, &x.d);
    if (rc)
        return rc;
    rc = mm_finish(x.v);
    if (!rc)
        rc = ext_all(&x, (const struct mmuext_op *)ops_guest, &i, count);
    mm_target_put(x.d);
    done += i;
    if (udone && guest_copy_to((void *)udone, &done, sizeof(done)))
        rc = rc ?: -EFAULT;
    if (unlikely(rc == -ERESTART)) {
        const unsigned long args[] = {ops_guest + i * sizeof(struct mmuext_op),
                                      (count - i) | MMU_UPDATE_PREEMPTED, udone, dom};
        return hypercall_continue(__HYPERVISOR_mmuext_op, 4, args);
    }
    return rc;
}
