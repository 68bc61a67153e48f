// SPDX-License-Identifier: BSD-2-Clause
// Caps: a domain may use `quota` ns of CPU in each period, over all its vCPUs. A vCPU takes a part
// of what is left when it is picked and gives back the rest; one that finds nothing left is parked
// until the next period. What was used too much is missing in the next period.
#include "core/sched_private.h"

static void refresh(struct sched_domain *sd, stime_t now)
{
    if (now >= sd->period_end) {
        int64_t periods = (now - sd->period_end) / CAP_PERIOD + 1;

        sd->period_end += periods * CAP_PERIOD;
        sd->budget = MIN(sd->budget + MIN(periods, 1000) * sd->quota, sd->quota);
    }
}

bool sched_cap_take(struct sched_vcpu *s, stime_t now)
{
    struct sched_domain *sd = s->v->domain->sched;
    int64_t part;

    if (likely(!READ_ONCE(sd->cap)))
        return true;
    spin_lock(&sd->lock);
    refresh(sd, now);
    if (sd->budget <= 0) {
        s->parked = true;
        list_add_tail(&s->parked_link, &sd->parked);
        timer_migrate(&sd->refill, s->v->cpu);
        if (!timer_active(&sd->refill))
            timer_set(&sd->refill, sd->period_end);
        spin_unlock(&sd->lock);
        return false;
    }
    part = MAX(sd->quota / sd->d->max_vcpus, NS_PER_MS / 2);
    part = MIN(part, sd->budget);
    sd->budget -= part;
    s->budget = part;
    spin_unlock(&sd->lock);
    return true;
}

void sched_cap_put(struct sched_vcpu *s, stime_t now)
{
    struct sched_domain *sd = s->v->domain->sched;

    if (likely(!READ_ONCE(sd->cap))) {
        s->budget = 0;
        return;
    }
    spin_lock(&sd->lock);
    sd->budget += s->budget;
    s->budget = 0;
    if (sd->budget > NS_PER_MS / 10 && !list_empty(&sd->parked))
        timer_set(&sd->refill, now);
    spin_unlock(&sd->lock);
}

static void unpark_all(struct sched_domain *sd)
{
    unsigned long flags = spin_lock_irqsave(&sd->lock);

    sd->refilling = true;
    while (!list_empty(&sd->parked)) {
        struct sched_vcpu *s = list_first(&sd->parked, struct sched_vcpu, parked_link);

        list_del(&s->parked_link);
        spin_unlock_irqrestore(&sd->lock, flags);
        WRITE_ONCE(s->parked, false);
        vcpu_wake(s->v);
        flags = spin_lock_irqsave(&sd->lock);
        if (sd->cap && sd->budget <= 0)
            break;
    }
    if (!list_empty(&sd->parked))
        timer_set(&sd->refill, sd->period_end);
    __atomic_store_n(&sd->refilling, false, __ATOMIC_RELEASE);
    spin_unlock_irqrestore(&sd->lock, flags);
}

static void refill_fn(void *data)
{
    struct sched_domain *sd = data;
    unsigned long flags = spin_lock_irqsave(&sd->lock);
    bool more;

    refresh(sd, now_ns());
    more = sd->budget > 0 || !sd->cap;
    if (!more)
        timer_set(&sd->refill, sd->period_end);
    spin_unlock_irqrestore(&sd->lock, flags);
    if (more)
        unpark_all(sd);
}

void sched_cap_set(struct sched_domain *sd, uint32_t cap)
{
    unsigned long flags = spin_lock_irqsave(&sd->lock);

    sd->quota = CAP_PERIOD * cap / 100;
    sd->budget = MIN(sd->budget, sd->quota);
    if (!sd->cap) {
        sd->budget = sd->quota;
        sd->period_end = now_ns() + CAP_PERIOD;
    }
    WRITE_ONCE(sd->cap, cap);
    if (!list_empty(&sd->parked))
        timer_set(&sd->refill, now_ns());
    spin_unlock_irqrestore(&sd->lock, flags);
}

void sched_cap_init(struct sched_domain *sd)
{
    spin_lock_init(&sd->lock);
    list_init(&sd->parked);
    timer_init(&sd->refill, refill_fn, sd, cpu_id());
}
