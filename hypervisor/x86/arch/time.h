// SPDX-License-Identifier: BSD-2-Clause
// System time and the per-CPU one-shot timer.
#pragma once

#include "lib/types.h"

struct vcpu;
struct domain;

// Nanoseconds since boot, monotonic on each CPU and between CPUs. Any context; a few instructions.
stime_t now_ns(void);
// Arm this CPU's timer interrupt for an absolute time (in the past: fires at once); <= 0 disarms.
// The interrupt raises SOFTIRQ_TIMER. Interrupts off.
void arch_timer_program(stime_t deadline);
// Refresh the vcpu_time_info (and secondary time area) of v, which is about to run here.
void arch_time_update_vcpu(struct vcpu *v);
// Wall-clock seconds/nanoseconds at system time 0 -> shared_info of d (and the domain's offset).
void arch_time_update_wallclock(struct domain *d);
// platform_op settime: UTC was secs.nsecs at system time `at`.
void arch_time_set_wallclock(uint64_t secs, uint32_t nsecs, stime_t at);
uint64_t arch_tsc_khz(void);
uint64_t arch_ticks(void);             // the raw time stamp counter
uint64_t arch_wallclock_seconds(void); // UTC now, seconds since 1970; 0 while not known
