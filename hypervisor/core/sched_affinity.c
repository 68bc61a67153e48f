// SPDX-License-Identifier: BSD-2-Clause
// Where a vCPU may run: what the toolstack asked for, within its domain's pool of CPUs. What was
// asked for is kept, so that it counts again when a CPU comes back into the pool.
// All of this is changed under the lock of pools.
#include "core/cpupool.h"
#include "core/sched_private.h"

static void effective(const struct vcpu *v, unsigned long *out)
{
    const struct sched_vcpu *s = v->sched;
    const unsigned long *pool = cpupool_cpus(v->domain);

    if (s->pin >= 0) {
        bitmap_zero(out, MAX_CPUS);
        bit_set(out, (unsigned int)s->pin);
    } else if (bitmap_intersects(s->affinity, pool, MAX_CPUS)) {
        bitmap_and(out, s->affinity, pool, MAX_CPUS);
    } else {
        bitmap_copy(out, pool, MAX_CPUS);
    }
}

static void refresh(struct vcpu *v)
{
    DECLARE_BITMAP(cpus, MAX_CPUS);
    unsigned long flags;
    struct sched_cpu *c;

    effective(v, cpus);
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
}

void sched_domain_refresh(struct domain *d)
{
    struct vcpu *v;

    for_each_vcpu (d, v)
        refresh(v);
}

void sched_vcpu_published(struct vcpu *v)
{
    cpupool_lock();
    refresh(v);
    cpupool_unlock();
}

int vcpu_set_hard_affinity(struct vcpu *v, const unsigned long *cpus)
{
    int rc = 0;

    cpupool_lock();
    if (!bitmap_intersects(cpus, cpupool_cpus(v->domain), MAX_CPUS)) {
        rc = -EINVAL;
    } else {
        bitmap_copy(v->sched->affinity, cpus, MAX_CPUS);
        refresh(v);
    }
    cpupool_unlock();
    return rc;
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
    int rc = 0;

    cpupool_lock();
    if (cpu < 0)
        s->pin = -1;
    else if (s->pin >= 0)
        rc = -EBUSY;
    else if (cpu >= MAX_CPUS || !bit_test(cpupool_cpus(v->domain), (unsigned int)cpu))
        rc = -EINVAL;
    else
        s->pin = cpu;
    if (!rc)
        refresh(v);
    cpupool_unlock();
    return rc;
}

int sched_pin_override(const struct vcpu *v)
{
    return v->sched->pin;
}

const unsigned long *vcpu_hard_affinity(const struct vcpu *v)
{
    return v->sched->affinity;
}

const unsigned long *vcpu_soft_affinity(const struct vcpu *v)
{
    return v->sched->soft;
}

void vcpu_usable_cpus(const struct vcpu *v, unsigned long *out)
{
    cpupool_lock();
    effective(v, out);
    cpupool_unlock();
}
