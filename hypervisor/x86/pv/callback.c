// SPDX-License-Identifier: BSD-2-Clause
// Where a guest wants to be entered: trap table and callbacks.
#include "core/hypercall.h"
#include "core/sched.h"
#include "x86/arch/guest_access.h"
#include "x86/pv/pv_internal.h"

#include <xen/callback.h>
#include <xen/nmi.h>

static void store_trap(struct vcpu *v, const struct trap_info *t)
{
    v->arch.traps[t->vector] = (struct pv_trap){
        .address = t->address,
        .cs = t->cs,
        .flags = t->flags,
    };
}

// A table ends with an entry whose address is 0; each vector can usefully appear once, but the
// guest may repeat itself for ever.
long hc_set_trap_table(unsigned long traps)
{
    const struct trap_info *guest = (const struct trap_info *)traps;
    struct vcpu *v = current;
    struct trap_info t;

    if (!guest) {
        for (unsigned int i = 0; i < 256; i++)
            v->arch.traps[i] = (struct pv_trap){0};
        return 0;
    }
    for (unsigned int n = 0;; n++, guest++) {
        if ((n & 31) == 31 && hypercall_preempt_check()) {
            unsigned long next = (unsigned long)guest;
            return hypercall_continue(__HYPERVISOR_set_trap_table, 1, &next);
        }
        if (guest_copy_from(&t, guest, sizeof(t)))
            return -EFAULT;
        if (!t.address)
            return 0;
        if (!pv_canonical(t.address))
            return -EINVAL;
        store_trap(v, &t);
    }
}

static int set_callback(struct vcpu *v, unsigned int type, unsigned int flags, unsigned long addr)
{
    bool mask = flags & CALLBACKF_mask_events;

    if (!pv_canonical(addr))
        return -EINVAL;
    switch (type) {
    case CALLBACKTYPE_event:
        v->arch.event_rip = addr;
        return 0;
    case CALLBACKTYPE_failsafe:
        v->arch.failsafe_rip = addr;
        v->arch.failsafe_masks_events = mask;
        return 0;
    case CALLBACKTYPE_syscall:
        v->arch.syscall_rip = addr;
        v->arch.syscall_masks_events = mask;
        return 0;
    case CALLBACKTYPE_syscall32:
        v->arch.syscall32_rip = addr;
        v->arch.syscall32_masks_events = mask;
        return 0;
    case CALLBACKTYPE_sysenter:
        v->arch.sysenter_rip = addr;
        v->arch.sysenter_masks_events = mask;
        return 0;
    case CALLBACKTYPE_nmi:
        v->arch.nmi_rip = addr;
        return 0;
    default:
        return -ENOSYS;
    }
}

long hc_set_callbacks(unsigned long event, unsigned long failsafe, unsigned long syscall)
{
    struct vcpu *v = current;

    if (!pv_canonical(event) || !pv_canonical(failsafe) || !pv_canonical(syscall))
        return -EINVAL;
    v->arch.event_rip = event;
    v->arch.failsafe_rip = failsafe;
    v->arch.syscall_rip = syscall;
    return 0;
}

static long callback_unregister(struct vcpu *v, unsigned int type)
{
    switch (type) {
    case CALLBACKTYPE_event:
    case CALLBACKTYPE_failsafe:
    case CALLBACKTYPE_syscall:
    case CALLBACKTYPE_syscall32:
    case CALLBACKTYPE_sysenter:
        return -EINVAL; // a guest cannot run without them
    case CALLBACKTYPE_nmi:
        v->arch.nmi_rip = 0;
        return 0;
    default:
        return -ENOSYS;
    }
}

long hc_callback_op(unsigned long cmd, unsigned long arg)
{
    struct callback_register r;
    struct callback_unregister u;

    switch (cmd) {
    case CALLBACKOP_register:
        if (guest_copy_from(&r, (void *)arg, sizeof(r)))
            return -EFAULT;
        return set_callback(current, r.type, r.flags, r.address);
    case CALLBACKOP_unregister:
        if (guest_copy_from(&u, (void *)arg, sizeof(u)))
            return -EFAULT;
        return callback_unregister(current, u.type);
    default:
        return -ENOSYS;
    }
}

long hc_nmi_op(unsigned long cmd, unsigned long arg)
{
    struct xennmi_callback c;

    switch (cmd) {
    case XENNMI_register_callback:
        if (guest_copy_from(&c, (void *)arg, sizeof(c)))
            return -EFAULT;
        if (current->id != 0 || !current->domain->is_control)
            return -EINVAL; // the public header says so, unlike for callback_op
        return set_callback(current, CALLBACKTYPE_nmi, 0, c.handler_address);
    case XENNMI_unregister_callback:
        return callback_unregister(current, CALLBACKTYPE_nmi);
    default:
        return -ENOSYS;
    }
}
