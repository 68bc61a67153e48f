// SPDX-License-Identifier: BSD-2-Clause
// One-shot timers, kept per CPU in a heap ordered by expiry. The handler runs in softirq context
// (interrupts on, hypervisor stack of whichever vCPU is current) on the timer's CPU.
#pragma once

#include "lib/heap.h"
#include "lib/types.h"

struct timer {
    struct heap_node node; // key: absolute system time, ns
    void (*fn)(void *data);
    void *data;
    uint32_t cpu;    // whose queue
    uint16_t queued; // in that queue
    uint16_t dead;   // killed: never again
};

void timer_init(struct timer *t, void (*fn)(void *), void *data, unsigned int cpu);
// (Re)arm for an absolute system time. Any context. A dead timer stays dead.
void timer_set(struct timer *t, stime_t expires);
void timer_stop(struct timer *t);
// Stop, and wait until a running handler has returned; it can never be armed again.
void timer_kill(struct timer *t);
// Move to another CPU's queue, keeping its deadline.
void timer_migrate(struct timer *t, unsigned int cpu);
static inline bool timer_active(const struct timer *t)
{
    return READ_ONCE(t->queued);
}

void timer_cpu_init(unsigned int cpu); // heap for a CPU, before it runs timers
void timer_softirq(void);              // SOFTIRQ_TIMER's action
