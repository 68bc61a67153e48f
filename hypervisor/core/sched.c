// SPDX-License-Identifier: BSD-2-Clause
// Wake, sleep and switch. core/sched_private.h explains the rules.
#include "core/cpupool.h"
#include "core/sched_private.h"
#include "memory/frame.h"
#include "memory/heap.h"
#include "x86/arch/guest_access.h"

static int sleep_state(const struct vcpu *v)
{
    return READ_ONCE(v->pause_flags) & VPF_BLOCKED ? RUNSTATE_blocked : RUNSTATE_offline;
}

// v is runnable, neither queued nor parked nor anyone's curr: put it on a queue. c is v's, locked.
static void enqueue_woken(struct sched_cpu *c, struct vcpu *v, stime_t now)
{
    struct sched_vcpu *s = v->sched;

    // A vCPU that runs alone is not charged until somebody comes: without this the queue's clock
    // would stand where it stood when it began, and the newcomer far before it.
    sched_charge(c, now);
    sched_place_woken(c, s);
    sched_enqueue(c, s);
    sched_check_preempt(c, s, now);
}

// True when v must wait for the end of a switch away from it, which wakes it again.
static bool wait_for_switch(struct sched_cpu *c, struct vcpu *v)
{
    if (!READ_ONCE(v->is_running) || bit_test(v->sched->hard, c->cpu))
        return false;
    WRITE_ONCE(v->sched->migrating, true);
    smp_mb();
    return READ_ONCE(v->is_running);
}

static bool wants_queue(const struct sched_cpu *c, const struct vcpu *v)
{
    return vcpu_runnable(v) && !v->sched->queued && !READ_ONCE(v->sched->parked) && c->curr != v;
}

// Called with c locked; unlocks.
static void wake_runnable(struct sched_cpu *c, struct vcpu *v, unsigned long flags)
{
    stime_t now = now_ns();
    stime_t slept = now - (stime_t)v->runstate.state_entry_time;
    unsigned int cpu;

    v->sched->rested = slept >= READ_ONCE(v->domain->sched->ratelimit);
    sched_runstate(v, RUNSTATE_runnable, now);
    if (wait_for_switch(c, v)) {
        spin_unlock_irqrestore(&c->lock, flags);
        return;
    }
    cpu = READ_ONCE(v->is_running) ? c->cpu : sched_choose_cpu(v);
    if (cpu != c->cpu) {
        struct sched_cpu *to = &per_cpu(sched_cpu, cpu);

        sched_move(c, to, v->sched);
        spin_unlock(&c->lock);
        c = to;
        spin_lock(&c->lock);
        // Others may have seen it meanwhile; the claimed CPU has to look around itself then.
        if (READ_ONCE(v->cpu) != cpu || !wants_queue(c, v)) {
            softirq_raise(cpu, SOFTIRQ_SCHEDULE);
            spin_unlock_irqrestore(&c->lock, flags);
            return;
        }
    }
    enqueue_woken(c, v, now);
    spin_unlock_irqrestore(&c->lock, flags);
}

void vcpu_wake(struct vcpu *v)
{
    unsigned long flags;
    struct sched_cpu *c = sched_lock_vcpu(v, &flags);

    if (wants_queue(c, v)) {
        wake_runnable(c, v, flags);
        return;
    }
    if (!vcpu_runnable(v)) {
        if (v->sched->queued)
            sched_dequeue(c, v->sched);
        if (c->curr == v)
            softirq_raise(c->cpu, SOFTIRQ_SCHEDULE);
        else
            sched_runstate(v, sleep_state(v), now_ns());
    }
    spin_unlock_irqrestore(&c->lock, flags);
}

void vcpu_sleep_nosync(struct vcpu *v)
{
    vcpu_wake(v);
}

void vcpu_sleep_sync(struct vcpu *v)
{
    vcpu_sleep_nosync(v);
    while (__atomic_load_n(&v->is_running, __ATOMIC_ACQUIRE))
        cpu_relax();
}

void vcpu_unblock(struct vcpu *v)
{
    uint32_t both = VPF_BLOCKED | VPF_BLOCKED_POLL;

    if (!(READ_ONCE(v->pause_flags) & VPF_BLOCKED))
        return;
    if (__atomic_fetch_and(&v->pause_flags, ~both, __ATOMIC_SEQ_CST) & VPF_BLOCKED)
        vcpu_wake(v);
}

void vcpu_block_enable_events(void)
{
    struct vcpu *v = current;

    WRITE_ONCE(v->info->evtchn_upcall_mask, 0);
    __atomic_fetch_or(&v->pause_flags, VPF_BLOCKED, __ATOMIC_SEQ_CST);
    // An event that came before the flag was set does not unblock.
    if (arch_vcpu_event_pending(v))
        __atomic_fetch_and(&v->pause_flags, ~VPF_BLOCKED, __ATOMIC_SEQ_CST);
    else
        softirq_raise_local(SOFTIRQ_SCHEDULE);
}

void vcpu_yield(void)
{
    current->sched->yielding = true;
    softirq_raise_local(SOFTIRQ_SCHEDULE);
}

// prev goes back to the queue if it can still run.
static void put_prev(struct sched_cpu *c, struct vcpu *prev, stime_t now)
{
    struct sched_vcpu *s = prev->sched;

    sched_cap_put(s, now);
    if (!vcpu_runnable(prev))
        return;
    if (!bit_test(s->hard, c->cpu)) {
        WRITE_ONCE(s->migrating, true);
        return;
    }
    if (s->yielding && c->queue.root && heap_key_before(s->vtime, c->queue.root->key + 1))
        s->vtime = c->queue.root->key + 1;
    s->yielding = false;
    sched_enqueue(c, s);
}

static struct vcpu *pick_next(struct sched_cpu *c, stime_t now)
{
    do {
        while (c->queue.root) {
            struct sched_vcpu *s = node_to_sched(c->queue.root);

            sched_dequeue(c, s);
            if (sched_cap_take(s, now))
                return s->v;
        }
    } while (sched_steal(c));
    return c->idle;
}

// Everything about a switch that happens under the lock.
static struct vcpu *choose_next(struct sched_cpu *c, struct vcpu *prev)
{
    stime_t now = now_ns();
    struct vcpu *next;

    sched_charge(c, now);
    if (!prev->is_idle)
        put_prev(c, prev, now);
    if (c->queued > 1 && now >= c->balance_at) // one alone is about to run here
        sched_push(c, now);
    next = pick_next(c, now);
    next->sched->rested = false;
    if (next != prev) {
        if (prev->is_idle || vcpu_runnable(prev))
            sched_runstate(prev, RUNSTATE_runnable, now);
        else
            sched_runstate(prev, sleep_state(prev), now);
        sched_runstate(next, RUNSTATE_running, now);
    }
    if (next != prev)
        c->since = now;
    c->curr = next;
    c->charged = now;
    next->is_running = true;
    if (next->is_idle)
        bit_set_atomic(sched_idle_map, c->cpu);
    else if (prev->is_idle)
        bit_clear_atomic(sched_idle_map, c->cpu);
    sched_arm_slice(c, now);
    return next;
}

// Show the guest its runstate. `current` must still (or again) be v.
static void update_runstate_area(struct vcpu *v)
{
    vcpu_runstate_info_t info = v->runstate;
    vcpu_runstate_info_t *area = v->runstate_area;
    bool flag = v->domain->vm_assist & (1ull << VMASST_TYPE_runstate_update_flag);
    int failed = 0;

    if (flag) {
        info.state_entry_time |= XEN_RUNSTATE_UPDATE;
        failed = arch_copy_to_guest_kernel(&area->state_entry_time, &info.state_entry_time, 8);
        smp_wmb();
    }
    if (!failed)
        failed = arch_copy_to_guest_kernel(area, &info, sizeof(info));
    if (flag && !failed) {
        info.state_entry_time &= ~XEN_RUNSTATE_UPDATE;
        smp_wmb();
        failed = arch_copy_to_guest_kernel(&area->state_entry_time, &info.state_entry_time, 8);
    }
    (void)failed; // the guest unmapped its area: its loss
}

void schedule(void)
{
    struct sched_cpu *c = &this_cpu(sched_cpu);
    struct vcpu *prev = current, *next;

    lock_check_none_held();
    spin_lock_irq(&c->lock);
    next = choose_next(c, prev);
    spin_unlock(&c->lock);
    if (next == prev) {
        irq_enable();
        return;
    }
    if (prev->runstate_area) {
        irq_enable();
        update_runstate_area(prev);
        irq_disable();
    }
    c->prev = prev;
    arch_context_switch(prev, next);
    // prev runs again, perhaps on another CPU.
    sched_switched_in(this_cpu(sched_cpu).prev);
    irq_enable();
    if (prev->runstate_area)
        update_runstate_area(prev);
}

void sched_switched_in(struct vcpu *prev)
{
    // Full barrier: pairs with wait_for_switch().
    (void)__atomic_exchange_n(&prev->is_running, false, __ATOMIC_SEQ_CST);
    if (unlikely(!prev->is_idle && READ_ONCE(prev->sched->migrating))) {
        WRITE_ONCE(prev->sched->migrating, false);
        vcpu_wake(prev);
    }
}

void idle_loop(void)
{
    for (;;) {
        if (READ_ONCE(this_cpu(softirq_pending))) {
            do_softirq();
            continue;
        }
        if (memory_scrub_idle())
            continue;
        irq_disable();
        if (READ_ONCE(this_cpu(softirq_pending)))
            irq_enable();
        else
            arch_cpu_idle();
    }
}

static void slice_fn(void *data)
{
    softirq_raise_local(SOFTIRQ_SCHEDULE);
}

void sched_init(void)
{
    softirq_register(SOFTIRQ_SCHEDULE, schedule);
}

void sched_cpu_init(unsigned int cpu)
{
    struct sched_cpu *c = &per_cpu(sched_cpu, cpu);

    spin_lock_init(&c->lock);
    c->cpu = cpu;
    sched_join_siblings(cpu);
    c->idle = c->curr = c->prev = idle_domain->vcpu[cpu];
    c->idle->is_running = true;
    c->charged = now_ns();
    c->balance_cursor = cpu + 1;
    sched_runstate(c->idle, RUNSTATE_running, c->charged);
    timer_init(&c->slice, slice_fn, NULL, cpu);
    bit_set_atomic(sched_idle_map, cpu);
}

int sched_domain_init(struct domain *d)
{
    struct sched_domain *sd = heap_new(struct sched_domain);

    if (!sd)
        return -ENOMEM;
    sd->d = d;
    sd->weight = WEIGHT_DEFAULT;
    sd->slice = SLICE_MAX;
    sched_cap_init(sd);
    d->sched = sd;
    return 0;
}

void sched_domain_destroy(struct domain *d)
{
    if (!d->sched)
        return;
    timer_kill(&d->sched->refill);
    heap_free(d->sched);
    d->sched = NULL;
}

int sched_vcpu_init(struct vcpu *v)
{
    struct sched_vcpu *s = heap_new(struct sched_vcpu);

    if (!s)
        return -ENOMEM;
    s->v = v;
    list_init(&s->parked_link);
    s->pin = -1;
    // Within its pool from the start; sched_vcpu_published() looks again.
    bitmap_copy(s->hard, cpupool_cpus(v->domain), MAX_CPUS);
    bitmap_fill(s->soft, MAX_CPUS);
    bitmap_fill(s->affinity, MAX_CPUS);
    sched_set_weight(s, v->is_idle ? WEIGHT_DEFAULT : v->domain->sched->weight);
    v->sched = s;
    if (!v->is_idle)
        v->cpu = sched_first_cpu(s);
    v->runstate.state_entry_time = (uint64_t)now_ns();
    return 0;
}

void sched_vcpu_destroy(struct vcpu *v)
{
    struct sched_domain *sd = v->domain->sched;
    unsigned long flags;

    if (!v->sched)
        return;
    flags = spin_lock_irqsave(&sd->lock);
    list_del(&v->sched->parked_link);
    spin_unlock_irqrestore(&sd->lock, flags);
    // The refill timer may have taken it off the list and still be about to wake it.
    while (__atomic_load_n(&sd->refilling, __ATOMIC_ACQUIRE))
        cpu_relax();
    heap_free(v->sched);
    v->sched = NULL;
}

void vcpu_runstate_get(struct vcpu *v, vcpu_runstate_info_t *out)
{
    unsigned long flags;
    struct sched_cpu *c = sched_lock_vcpu(v, &flags);
    stime_t now = now_ns();

    *out = v->runstate;
    spin_unlock_irqrestore(&c->lock, flags);
    if (now > (stime_t)out->state_entry_time)
        out->time[out->state] += (uint64_t)now - out->state_entry_time;
}

uint64_t vcpu_cpu_time(struct vcpu *v)
{
    vcpu_runstate_info_t r;

    vcpu_runstate_get(v, &r);
    return r.time[RUNSTATE_running];
}

uint64_t sched_idle_time(unsigned int cpu)
{
    return vcpu_cpu_time(idle_domain->vcpu[cpu]);
}
