// SPDX-License-Identifier: BSD-2-Clause
// Work that a CPU does on its way back to a guest and in the idle loop, with interrupts on.
#pragma once

#include "lib/types.h"
#include "x86/arch/percpu.h"

enum softirq {
    SOFTIRQ_TIMER,    // core/timer.c
    SOFTIRQ_TLB,      // x86/mm/tlb.c
    SOFTIRQ_DEFERRED, // core/softirq.c: frees and other deferred calls
    SOFTIRQ_SCHEDULE, // core/sched.c; last: does not return until the vCPU runs again
    SOFTIRQ_COUNT
};

DECLARE_PER_CPU(uint32_t, softirq_pending);

// Mark on a CPU (and kick it when it is another one) / on this CPU. Any context.
void softirq_raise(unsigned int cpu, enum softirq nr);
void softirq_raise_local(enum softirq nr);
void softirq_register(enum softirq nr, void (*fn)(void));
// Run what is pending. Interrupts on at entry and return.
void do_softirq(void);

// Call fn(arg) once, soon, in softirq context on this CPU. `d` must stay valid until it ran.
struct deferred_call {
    struct deferred_call *next;
    void (*fn)(void *arg);
    void *arg;
};
void deferred_call(struct deferred_call *d, void (*fn)(void *), void *arg);
