// SPDX-License-Identifier: BSD-2-Clause
#include "x86/vcpu_state.h"

#include "core/sched.h"
#include "lib/string.h"
#include "memory/heap.h"
#include "x86/arch/guest_access.h"
#include "x86/cpu/msr.h"
#include "x86/cpu/xstate.h"
#include "x86/pv/pv_internal.h"

#define IMAGE_HEAD (2 * sizeof(uint64_t)) // of extstate: XCR0, and all that it ever was

// ---- entry points of 32-bit system calls -------------------------------------------------------

static long ext_context_get(struct vcpu *v, struct xen_domctl_ext_vcpucontext *c)
{
    *c = (struct xen_domctl_ext_vcpucontext){
        .vcpu = v->id,
        .size = sizeof(*c),
        .syscall32_callback_eip = v->arch.syscall32_rip,
        .sysenter_callback_eip = v->arch.sysenter_rip,
        .syscall32_disables_events = v->arch.syscall32_masks_events,
        .sysenter_disables_events = v->arch.sysenter_masks_events,
    };
    return 0;
}

// Selectors are for 32-bit kernels, machine check banks for fully virtualised domains.
static long ext_context_set(struct vcpu *v, const struct xen_domctl_ext_vcpucontext *c)
{
    if (c->size < offsetof(struct xen_domctl_ext_vcpucontext, mcg_cap) || c->size > 128 ||
        !pv_canonical(c->syscall32_callback_eip) || !pv_canonical(c->sysenter_callback_eip))
        return -EINVAL;
    v->arch.syscall32_rip = c->syscall32_callback_eip;
    v->arch.sysenter_rip = c->sysenter_callback_eip;
    v->arch.syscall32_masks_events = !!c->syscall32_disables_events;
    v->arch.sysenter_masks_events = !!c->sysenter_disables_events;
    return 0;
}

// ---- FPU and extended registers ----------------------------------------------------------------

// A call without size and mask asks for both.
static long extstate_get(struct vcpu *v, struct xen_domctl_vcpuextstate *e)
{
    uint64_t mask = xstate_mask(), head[2] = {v->arch.xcr0, v->arch.xcr0};
    size_t area = xstate_image_size(), size = area ? IMAGE_HEAD + area : 0;

    if (!e->size && !e->xfeature_mask) {
        e->size = size;
        e->xfeature_mask = mask;
        return 0;
    }
    if (!size || e->size != size || e->xfeature_mask != mask)
        return -EINVAL;
    if (guest_copy_to(e->buffer.p, head, sizeof(head)) ||
        guest_copy_to((char *)e->buffer.p + IMAGE_HEAD, v->arch.xsave, area))
        return -EFAULT;
    return 0;
}

static long extstate_set(struct vcpu *v, const struct xen_domctl_vcpuextstate *e)
{
    size_t area = xstate_image_size();
    uint64_t head[2];

    if (!area || e->size < IMAGE_HEAD || e->size - IMAGE_HEAD > area)
        return -EINVAL;
    // An image of a CPU with fewer components is shorter: the others start clean.
    char *image = heap_alloc(area);
    if (!image)
        return -ENOMEM;
    long rc = -EFAULT;
    if (!guest_copy_from(head, e->buffer.p, sizeof(head)) &&
        !guest_copy_from(image, (char *)e->buffer.p + IMAGE_HEAD, e->size - IMAGE_HEAD))
        rc = xstate_set_image(v, head[0], image, e->size - IMAGE_HEAD);
    heap_free(image);
    return rc;
}

// ---- model-specific registers ------------------------------------------------------------------

// There is one that a guest can set and that no other call carries.
static long msrs_get(struct vcpu *v, struct xen_domctl_vcpu_msrs *m)
{
    struct xen_domctl_vcpu_msr msr = {.index = MSR_TSC_AUX, .value = v->arch.tsc_aux};
    uint32_t room = m->msr_count;

    m->msr_count = 1;
    if (!m->msrs.p)
        return 0;
    m->msr_count = !!msr.value;
    if (m->msr_count > room)
        return -ENOBUFS;
    return m->msr_count ? guest_handle_to(m->msrs, 0, &msr, 1) : 0;
}

static long msrs_set(struct vcpu *v, struct xen_domctl_vcpu_msrs *m)
{
    struct xen_domctl_vcpu_msr msr;

    for (uint32_t i = 0; i < m->msr_count; i++) {
        if (guest_handle_from(&msr, m->msrs, i, 1))
            return -EFAULT;
        // One after another that is taken: nothing runs for long here.
        if (msr.index != MSR_TSC_AUX || msr.reserved || msr.value >> 32 || i) {
            m->msr_count = i;
            return -EINVAL;
        }
        v->arch.tsc_aux = msr.value;
    }
    return 0;
}

static long vcpu_state_run(struct vcpu *v, struct xen_domctl *op)
{
    switch (op->cmd) {
    case XEN_DOMCTL_get_ext_vcpucontext:
        return ext_context_get(v, &op->u.ext_vcpucontext);
    case XEN_DOMCTL_set_ext_vcpucontext:
        return ext_context_set(v, &op->u.ext_vcpucontext);
    case XEN_DOMCTL_getvcpuextstate:
        return extstate_get(v, &op->u.vcpuextstate);
    case XEN_DOMCTL_setvcpuextstate:
        return extstate_set(v, &op->u.vcpuextstate);
    case XEN_DOMCTL_get_vcpu_msrs:
        return msrs_get(v, &op->u.vcpu_msrs);
    case XEN_DOMCTL_set_vcpu_msrs:
        return msrs_set(v, &op->u.vcpu_msrs);
    default:
        return -ENOSYS;
    }
}

long vcpu_state_domctl(struct domain *d, struct xen_domctl *op)
{
    // All of them begin with the vCPU's number.
    struct vcpu *v = domain_vcpu(d, op->u.vcpuextstate.vcpu);

    if (d == current->domain || d->dying)
        return -EINVAL;
    if (!v)
        return -ESRCH;
    domain_pause(d);
    long rc = vcpu_state_run(v, op);
    domain_unpause(d);
    return rc;
}
