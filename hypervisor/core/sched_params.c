// SPDX-License-Identifier: BSD-2-Clause
// Weights, caps and affinities, in the terms of the public credit2 interface.
#include "core/sched_private.h"
#include <xen/domctl.h>
#include <xen/sysctl.h>

static uint32_t ratelimit_us = 1000; // kept for toolstacks; wake-up margins do its work

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

int sched_domctl(struct domain *d, struct xen_domctl_scheduler_op *op)
{
    struct xen_domctl_sched_credit2 *p = &op->u.credit2;

    if (op->sched_id != XEN_SCHEDULER_CREDIT2)
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
        if (p->cap != 0xffff && p->cap != d->sched->cap)
            sched_cap_set(d->sched, p->cap);
        return 0;
    default:
        return -EINVAL; // no parameters per vCPU
    }
}

int sched_sysctl(struct xen_sysctl_scheduler_op *op)
{
    if (op->cpupool_id || op->sched_id != XEN_SCHEDULER_CREDIT2)
        return -EINVAL;
    switch (op->cmd) {
    case XEN_SYSCTL_SCHEDOP_getinfo:
        op->u.sched_credit2.ratelimit_us = ratelimit_us;
        return 0;
    case XEN_SYSCTL_SCHEDOP_putinfo:
        if (op->u.sched_credit2.ratelimit_us > 500000)
            return -EINVAL;
        ratelimit_us = op->u.sched_credit2.ratelimit_us;
        return 0;
    default:
        return -EINVAL;
    }
}

static int set_hard(struct vcpu *v, const unsigned long *cpus)
{
    unsigned long flags;
    struct sched_cpu *c;

    if (!bitmap_intersects(cpus, cpu_online_map, MAX_CPUS))
        return -EINVAL;
    c = sched_lock_vcpu(v, &flags);
    bitmap_copy(v->sched->hard, cpus, MAX_CPUS);
    if (!bit_test(cpus, c->cpu)) {
        if (v->sched->queued)
            sched_dequeue(c, v->sched);
        if (c->curr == v)
            softirq_raise(c->cpu, SOFTIRQ_SCHEDULE);
    }
    spin_unlock_irqrestore(&c->lock, flags);
    vcpu_wake(v); // queue it elsewhere if it was taken off
    return 0;
}

int vcpu_set_hard_affinity(struct vcpu *v, const unsigned long *cpus)
{
    if (v->sched->pinned) {
        if (!bitmap_intersects(cpus, cpu_online_map, MAX_CPUS))
            return -EINVAL;
        bitmap_copy(v->sched->saved_hard, cpus, MAX_CPUS);
        return 0;
    }
    return set_hard(v, cpus);
}

int vcpu_set_soft_affinity(struct vcpu *v, const unsigned long *cpus)
{
    unsigned long flags;
    struct sched_cpu *c;

    if (!bitmap_intersects(cpus, cpu_online_map, MAX_CPUS))
        return -EINVAL;
    c = sched_lock_vcpu(v, &flags);
    bitmap_copy(v->sched->soft, cpus, MAX_CPUS);
    spin_unlock_irqrestore(&c->lock, flags);
    return 0;
}

int vcpu_pin_override(struct vcpu *v, int32_t cpu)
{
    struct sched_vcpu *s = v->sched;
    DECLARE_BITMAP(only, MAX_CPUS);
    int ret;

    if (cpu < 0) {
        if (!s->pinned)
            return 0;
        s->pinned = false;
        return set_hard(v, s->saved_hard);
    }
    if (s->pinned)
        return -EBUSY;
    if (cpu >= MAX_CPUS || !bit_test(cpu_online_map, (unsigned int)cpu))
        return -EINVAL;
    bitmap_zero(only, MAX_CPUS);
    bit_set(only, (unsigned int)cpu);
    bitmap_copy(s->saved_hard, s->hard, MAX_CPUS);
    ret = set_hard(v, only);
    s->pinned = !ret;
    return ret;
}

const unsigned long *vcpu_hard_affinity(const struct vcpu *v)
{
    return v->sched->hard;
}

const unsigned long *vcpu_soft_affinity(const struct vcpu *v)
{
    return v->sched->soft;
}
