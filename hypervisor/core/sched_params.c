// SPDX-License-Identifier: BSD-2-Clause
// Weights and caps, in the terms of the public credit and credit2 interfaces.
#include "core/cpupool.h"
#include "core/sched_private.h"
#include <xen/domctl.h>
#include <xen/sysctl.h>

#define KEEP_CAP 0xffff

static void domain_set_weight(struct domain *d, uint32_t weight)
{
    struct vcpu *v;

    d->sched->weight = weight;
    for_each_vcpu (d, v) {
        unsigned long flags;
        struct sched_cpu *c = sched_lock_vcpu(v, &flags);
        bool queued = v->sched->queued;

        // The queue's load counts the weight it was queued with.
        if (queued)
            sched_dequeue(c, v->sched);
        if (c->curr == v)
            sched_charge(c, now_ns());
        sched_set_weight(v->sched, weight);
        if (queued)
            sched_enqueue(c, v->sched);
        spin_unlock_irqrestore(&c->lock, flags);
    }
}

// credit and credit2 have the same two parameters, in the same places.
_Static_assert(offsetof(struct xen_domctl_sched_credit, weight) ==
                       offsetof(struct xen_domctl_sched_credit2, weight) &&
                   offsetof(struct xen_domctl_sched_credit, cap) ==
                       offsetof(struct xen_domctl_sched_credit2, cap),
               "public header");

static uint32_t sched_id_of(const struct domain *d)
{
    cpupool_lock();
    uint32_t id = d->pool->sched_id;
    cpupool_unlock();
    return id;
}

int sched_domctl(struct domain *d, struct xen_domctl_scheduler_op *op)
{
    struct xen_domctl_sched_credit2 *p = &op->u.credit2;

    if (d->is_system || op->sched_id != sched_id_of(d))
        return -EINVAL;
    switch (op->cmd) {
    case XEN_DOMCTL_SCHEDOP_getinfo:
        p->weight = (uint16_t)d->sched->weight;
        p->cap = (uint16_t)d->sched->cap;
        return 0;
    case XEN_DOMCTL_SCHEDOP_putinfo:
        if (p->weight)
            domain_set_weight(d, p->weight);
        // 0 lifts the cap; all ones leave it as it is.
        if (p->cap != KEEP_CAP && p->cap != d->sched->cap)
            sched_cap_set(d->sched, p->cap);
        return 0;
    default:
        return -EINVAL; // no parameters per vCPU
    }
}

void sched_domain_set_turns(struct domain *d, uint32_t ratelimit_us, uint32_t slice_ms)
{
    WRITE_ONCE(d->sched->ratelimit, (stime_t)ratelimit_us * NS_PER_US);
    WRITE_ONCE(d->sched->slice, (stime_t)slice_ms * NS_PER_MS);
}

static void pool_set_turns(struct cpupool *p, uint32_t ratelimit_us, uint32_t slice_ms)
{
    struct domain *d;
    domid_t next = 0;

    p->ratelimit_us = ratelimit_us;
    p->slice_ms = slice_ms;
    while (next < DOMID_FIRST_RESERVED && (d = domain_get_next(next))) {
        next = d->id + 1;
        if (d->pool == p)
            sched_domain_set_turns(d, ratelimit_us, slice_ms);
        domain_put(d);
    }
}

static bool ratelimit_ok(uint32_t us)
{
    return us == 0 ||
           (us >= XEN_SYSCTL_SCHED_RATELIMIT_MIN && us <= XEN_SYSCTL_SCHED_RATELIMIT_MAX);
}

static int credit_params(struct cpupool *p, struct xen_sysctl_scheduler_op *op)
{
    struct xen_sysctl_credit_schedule *c = &op->u.sched_credit;

    if (op->cmd == XEN_SYSCTL_SCHEDOP_putinfo) {
        if (c->tslice_ms < XEN_SYSCTL_CSCHED_TSLICE_MIN ||
            c->tslice_ms > XEN_SYSCTL_CSCHED_TSLICE_MAX || !ratelimit_ok(c->ratelimit_us) ||
            c->ratelimit_us / 1000 > c->tslice_ms ||
            c->vcpu_migr_delay_us > XEN_SYSCTL_CSCHED_MGR_DLY_MAX_US)
            return -EINVAL;
        pool_set_turns(p, c->ratelimit_us, c->tslice_ms);
        p->migr_delay_us = c->vcpu_migr_delay_us;
    }
    c->tslice_ms = p->slice_ms;
    c->ratelimit_us = p->ratelimit_us;
    c->vcpu_migr_delay_us = p->migr_delay_us;
    return 0;
}

static int credit2_params(struct cpupool *p, struct xen_sysctl_scheduler_op *op)
{
    struct xen_sysctl_credit2_schedule *c = &op->u.sched_credit2;

    if (op->cmd == XEN_SYSCTL_SCHEDOP_putinfo) {
        if (!ratelimit_ok(c->ratelimit_us))
            return -EINVAL;
        pool_set_turns(p, c->ratelimit_us, p->slice_ms);
    }
    c->ratelimit_us = p->ratelimit_us;
    return 0;
}

static int pool_params(struct cpupool *p, void *arg)
{
    struct xen_sysctl_scheduler_op *op = arg;

    if (op->sched_id != p->sched_id)
        return -EINVAL;
    if (op->cmd != XEN_SYSCTL_SCHEDOP_getinfo && op->cmd != XEN_SYSCTL_SCHEDOP_putinfo)
        return -EINVAL;
    return p->sched_id == XEN_SCHEDULER_CREDIT ? credit_params(p, op) : credit2_params(p, op);
}

int sched_sysctl(struct xen_sysctl_scheduler_op *op)
{
    return cpupool_with(op->cpupool_id, pool_params, op);
}
