// SPDX-License-Identifier: BSD-2-Clause
// event_channel_op: who may, copies in and out. The work is in evtchn.c.
#include "core/access.h"
#include "core/evtchn_private.h"
#include "core/hypercall.h"
#include "core/subop.h"
#include "x86/arch/guest_access.h"

// The domain a caller names, with a reference, if it may control it or is it.
static int get_controlled(domid_t id, struct domain **out)
{
    struct domain *d = domain_get_by_any_id(id);
    int ret;

    if (!d)
        return -ESRCH;
    ret = access_check(current->domain, ACCESS_SELF, d);
    if (ret) {
        domain_put(d);
        return ret;
    }
    *out = d;
    return 0;
}

static int evtchn_op_alloc_unbound(void *arg)
{
    struct evtchn_alloc_unbound *op = arg;
    domid_t remote = op->remote_dom == DOMID_SELF ? current->domain->id : op->remote_dom;
    struct domain *d;
    int ret = get_controlled(op->dom, &d);

    if (ret)
        return ret;
    ret = evtchn_alloc_unbound(d, remote, &op->port);
    domain_put(d);
    return ret;
}

static int evtchn_op_bind_interdomain(void *arg)
{
    return evtchn_bind_interdomain(current->domain, arg);
}

static int evtchn_op_bind_virq(void *arg)
{
    return evtchn_bind_virq(current->domain, arg);
}

static int evtchn_op_bind_pirq(void *arg)
{
    return evtchn_bind_pirq(current->domain, arg);
}

static int evtchn_op_bind_ipi(void *arg)
{
    return evtchn_bind_ipi(current->domain, arg);
}

static int evtchn_op_close(void *arg)
{
    return evtchn_close(current->domain, ((struct evtchn_close *)arg)->port, true);
}

static int evtchn_op_send(void *arg)
{
    return evtchn_send(current->domain, ((struct evtchn_send *)arg)->port);
}

static int evtchn_op_status(void *arg)
{
    struct evtchn_status *op = arg;
    struct domain *d;
    int ret = get_controlled(op->dom, &d);

    if (ret)
        return ret;
    ret = evtchn_status(d, op);
    domain_put(d);
    return ret;
}

static int evtchn_op_bind_vcpu(void *arg)
{
    return evtchn_bind_vcpu(current->domain, arg);
}

static int evtchn_op_unmask(void *arg)
{
    return evtchn_unmask(current->domain, ((struct evtchn_unmask *)arg)->port);
}

static int evtchn_op_reset(void *arg)
{
    struct evtchn_reset *op = arg;
    struct domain *d;
    int ret = get_controlled(op->dom, &d);

    if (ret)
        return ret;
    ret = evtchn_reset(d);
    domain_put(d);
    return ret;
}

static int evtchn_op_init_control(void *arg)
{
    struct domain *d = current->domain;
    int ret;

    spin_lock(&d->evtchn->lock);
    ret = evtchn_fifo_init_control(d, arg);
    spin_unlock(&d->evtchn->lock);
    return ret;
}

static int evtchn_op_expand_array(void *arg)
{
    struct domain *d = current->domain;
    int ret;

    spin_lock(&d->evtchn->lock);
    ret = evtchn_fifo_expand(d, arg);
    spin_unlock(&d->evtchn->lock);
    return ret;
}

static int evtchn_op_set_priority(void *arg)
{
    return evtchn_set_priority(current->domain, arg);
}

// clang-format off
static const struct subop evtchn_ops[] = {
    [EVTCHNOP_bind_interdomain] = SUBOP(evtchn_op_bind_interdomain, struct evtchn_bind_interdomain, SUBOP_INOUT),
    [EVTCHNOP_bind_virq]        = SUBOP(evtchn_op_bind_virq, struct evtchn_bind_virq, SUBOP_INOUT),
    [EVTCHNOP_bind_pirq]        = SUBOP(evtchn_op_bind_pirq, struct evtchn_bind_pirq, SUBOP_INOUT),
    [EVTCHNOP_close]            = SUBOP(evtchn_op_close, struct evtchn_close, SUBOP_IN),
    [EVTCHNOP_send]             = SUBOP(evtchn_op_send, struct evtchn_send, SUBOP_IN),
    [EVTCHNOP_status]           = SUBOP(evtchn_op_status, struct evtchn_status, SUBOP_INOUT),
    [EVTCHNOP_alloc_unbound]    = SUBOP(evtchn_op_alloc_unbound, struct evtchn_alloc_unbound, SUBOP_INOUT),
    [EVTCHNOP_bind_ipi]         = SUBOP(evtchn_op_bind_ipi, struct evtchn_bind_ipi, SUBOP_INOUT),
    [EVTCHNOP_bind_vcpu]        = SUBOP(evtchn_op_bind_vcpu, struct evtchn_bind_vcpu, SUBOP_IN),
    [EVTCHNOP_unmask]           = SUBOP(evtchn_op_unmask, struct evtchn_unmask, SUBOP_IN),
    [EVTCHNOP_reset]            = SUBOP(evtchn_op_reset, struct evtchn_reset, SUBOP_IN),
    [EVTCHNOP_init_control]     = SUBOP(evtchn_op_init_control, struct evtchn_init_control, SUBOP_INOUT),
    [EVTCHNOP_expand_array]     = SUBOP(evtchn_op_expand_array, struct evtchn_expand_array, SUBOP_IN),
    [EVTCHNOP_set_priority]     = SUBOP(evtchn_op_set_priority, struct evtchn_set_priority, SUBOP_IN),
};
// clang-format on

union evtchn_arg { // large enough for each
    struct evtchn_status status;
    struct evtchn_init_control init_control;
    uint64_t words[4];
};

static __noinline long run_other_op(unsigned long cmd, unsigned long arg)
{
    union evtchn_arg buf;
    long ret;

    ret = subop_run(evtchn_ops, ARRAY_SIZE(evtchn_ops), cmd, (void *)arg, &buf, sizeof(buf));
    if (ret == -ERESTART)
        return hypercall_continue(__HYPERVISOR_event_channel_op, 2, (unsigned long[]){cmd, arg});
    return ret;
}

long hc_event_channel_op(unsigned long cmd, unsigned long arg)
{
    struct evtchn_send send;

    if (unlikely(cmd != EVTCHNOP_send))
        return run_other_op(cmd, arg);
    if (unlikely(guest_read32(&send.port, (void *)arg)))
        return -EFAULT;
    return evtchn_send(current->domain, send.port);
}

// Here the command number stands in memory, before the structure.
long hc_event_channel_op_compat(unsigned long op)
{
    uint32_t cmd;

    if (guest_copy_from(&cmd, (void *)op, sizeof(cmd)))
        return -EFAULT;
    if (cmd > EVTCHNOP_unmask)
        return -ENOSYS;
    return hc_event_channel_op(cmd, op + offsetof(struct evtchn_op, u));
}
