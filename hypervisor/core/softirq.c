// SPDX-License-Identifier: BSD-2-Clause
#include "core/softirq.h"
#include "core/timer.h"
#include "lib/bug.h"
#include "x86/arch/cpu.h"

DEFINE_PER_CPU(uint32_t, softirq_pending);
static DEFINE_PER_CPU(struct deferred_call *, deferred_head);

static void run_deferred(void);

static void (*softirq_actions[SOFTIRQ_COUNT])(void) __read_only_after_boot = {
    [SOFTIRQ_TIMER] = timer_softirq,
    [SOFTIRQ_DEFERRED] = run_deferred,
};

void softirq_register(enum softirq nr, void (*fn)(void))
{
    softirq_actions[nr] = fn;
}

void softirq_raise(unsigned int cpu, enum softirq nr)
{
    uint32_t bit = 1u << nr;
    uint32_t old = __atomic_fetch_or(&per_cpu(softirq_pending, cpu), bit, __ATOMIC_SEQ_CST);

    // A CPU that has something pending was kicked for it already.
    if (!old && cpu != cpu_id())
        arch_cpu_kick(cpu);
}

void softirq_raise_local(enum softirq nr)
{
    __atomic_fetch_or(&this_cpu(softirq_pending), 1u << nr, __ATOMIC_RELAXED);
}

void do_softirq(void)
{
    uint32_t pending;

    // The scheduler may bring us back on another CPU: look up the variable each time.
    while ((pending = READ_ONCE(this_cpu(softirq_pending)))) {
        unsigned int nr = __builtin_ctz(pending);

        __atomic_fetch_and(&this_cpu(softirq_pending), ~(1u << nr), __ATOMIC_SEQ_CST);
        if (softirq_actions[nr])
            softirq_actions[nr]();
    }
}

void deferred_call(struct deferred_call *d, void (*fn)(void *), void *arg)
{
    unsigned long flags = irq_save();

    d->fn = fn;
    d->arg = arg;
    d->next = this_cpu(deferred_head);
    this_cpu(deferred_head) = d;
    irq_restore(flags);
    softirq_raise_local(SOFTIRQ_DEFERRED);
}

static void run_deferred(void)
{
    struct deferred_call *d, *next, *ordered = NULL;
    unsigned long flags = irq_save();

    d = this_cpu(deferred_head);
    this_cpu(deferred_head) = NULL;
    irq_restore(flags);
    for (; d; d = next) {
        next = d->next;
        d->next = ordered;
        ordered = d;
    }
    for (d = ordered; d; d = next) {
        next = d->next; // the call may free d
        d->fn(d->arg);
    }
}
