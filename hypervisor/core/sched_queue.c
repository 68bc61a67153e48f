// SPDX-License-Identifier: BSD-2-Clause
// The run queue of one CPU: virtual time, slices, preemption.
#include "core/sched_private.h"

DEFINE_PER_CPU(struct sched_cpu, sched_cpu);
unsigned long sched_waiting_map[BITMAP_WORDS(MAX_CPUS)];

struct sched_cpu *sched_lock_vcpu(const struct vcpu *v, unsigned long *flags)
{
    for (;;) {
        unsigned int cpu = READ_ONCE(v->cpu);
        struct sched_cpu *c = &per_cpu(sched_cpu, cpu);

        *flags = spin_lock_irqsave(&c->lock);
        if (likely(cpu == READ_ONCE(v->cpu)))
            return c;
        spin_unlock_irqrestore(&c->lock, *flags);
    }
}

void sched_enqueue(struct sched_cpu *c, struct sched_vcpu *s)
{
    heap_insert(&c->queue, &s->node, s->vtime);
    s->queued = true;
    c->load += s->weight;
    if (c->queued++ == 0)
        bit_set_atomic(sched_waiting_map, c->cpu);
}

void sched_dequeue(struct sched_cpu *c, struct sched_vcpu *s)
{
    heap_remove(&c->queue, &s->node);
    s->queued = false;
    c->load -= s->weight;
    if (--c->queued == 0)
        bit_clear_atomic(sched_waiting_map, c->cpu);
}

static uint64_t weighted(const struct sched_vcpu *s, uint64_t ns)
{
    return (uint64_t)(((unsigned __int128)ns * s->inverse) >> 24);
}

void sched_set_weight(struct sched_vcpu *s, uint32_t weight)
{
    s->weight = weight;
    s->inverse = ((uint64_t)WEIGHT_DEFAULT << 24) / weight;
}

// The queue's own clock follows whoever is furthest behind.
static void advance_min_vtime(struct sched_cpu *c)
{
    const struct heap_node *first = c->queue.root;
    uint64_t t;

    if (!c->curr->is_idle) {
        t = c->curr->sched->vtime;
        if (first && heap_key_before(first->key, t))
            t = first->key;
    } else if (first) {
        t = first->key;
    } else {
        return;
    }
    if (heap_key_before(c->min_vtime, t))
        c->min_vtime = t;
}

void sched_charge(struct sched_cpu *c, stime_t now)
{
    struct vcpu *v = c->curr;
    stime_t delta = now - c->charged;

    if (delta <= 0)
        return;
    c->charged = now;
    if (v->is_idle)
        return;
    v->sched->vtime += weighted(v->sched, (uint64_t)delta);
    v->sched->budget -= delta;
    advance_min_vtime(c);
}

void sched_place_woken(struct sched_cpu *c, struct sched_vcpu *s)
{
    uint64_t floor = c->min_vtime - WAKE_BONUS;

    if (heap_key_before(s->vtime, floor))
        s->vtime = floor;
}

void sched_move(struct sched_cpu *from, struct sched_cpu *to, struct sched_vcpu *s)
{
    s->vtime += READ_ONCE(to->min_vtime) - READ_ONCE(from->min_vtime);
    WRITE_ONCE(s->v->cpu, to->cpu);
}

// How long curr may run while others wait; with no one waiting only a budget limits it.
void sched_arm_slice(struct sched_cpu *c, stime_t now)
{
    const struct sched_vcpu *s = c->curr->sched;
    stime_t ns, target;
    bool capped;

    if (c->curr->is_idle) {
        timer_stop(&c->slice);
        return;
    }
    capped = READ_ONCE(s->v->domain->sched->cap);
    ns = READ_ONCE(s->v->domain->sched->slice);
    if (c->queued) {
        // Everyone on the queue runs about once in this time.
        target = (ns + ns / 5) * s->weight / (c->load + s->weight);
        ns = MIN(ns, MAX(target, SLICE_MIN));
        if (node_to_sched(c->queue.root)->rested)
            ns = MIN(ns, TURN_SHORT);
    } else if (!capped) {
        timer_stop(&c->slice);
        return;
    }
    if (capped)
        ns = MIN(ns, MAX(s->budget, 20 * NS_PER_US));
    c->slice_end = now + ns;
    timer_set(&c->slice, c->slice_end);
}

// curr's turn ends as soon as it may end for the sake of s.
static void cut_turn(struct sched_cpu *c, const struct sched_vcpu *s, stime_t now)
{
    stime_t least = READ_ONCE(c->curr->domain->sched->ratelimit);

    if (s->rested)
        least = MIN(least, TURN_MIN);
    stime_t end = c->since + least;
    if (now >= end) {
        softirq_raise(c->cpu, SOFTIRQ_SCHEDULE);
    } else if (!timer_active(&c->slice) || end < c->slice_end) {
        c->slice_end = end;
        timer_set(&c->slice, end);
    }
}

void sched_check_preempt(struct sched_cpu *c, struct sched_vcpu *s, stime_t now)
{
    if (c->curr->is_idle) {
        softirq_raise(c->cpu, SOFTIRQ_SCHEDULE);
        return;
    }
    sched_charge(c, now);
    // One that has slept goes before another that woke and has run since.
    uint64_t margin = s->rested ? 0 : WAKE_MARGIN;
    if (heap_key_before(s->vtime + margin, c->curr->sched->vtime))
        cut_turn(c, s, now);
    else if (!timer_active(&c->slice))
        sched_arm_slice(c, now);
}

void sched_runstate(struct vcpu *v, int state, stime_t now)
{
    vcpu_runstate_info_t *r = &v->runstate;

    if (r->state == state)
        return;
    if (now > (stime_t)r->state_entry_time) {
        r->time[r->state] += (uint64_t)now - r->state_entry_time;
        r->state_entry_time = (uint64_t)now;
    }
    r->state = state;
}
