// SPDX-License-Identifier: BSD-2-Clause
// The scheduler: proportional share by weight with caps, hard and soft affinity, per-CPU run
// queues with balancing and wake-up preemption. Announces itself as credit2 to toolstacks
// (XEN_SCHEDULER_CREDIT2), whose weight and cap parameters it takes.
#pragma once

#include "core/domain.h"

struct xen_domctl_scheduler_op;
struct xen_sysctl_scheduler_op;

void sched_init(void);
void sched_cpu_init(unsigned int cpu); // before the CPU idles; its idle vCPU exists

int __must_check sched_domain_init(struct domain *d);
void sched_domain_destroy(struct domain *d);
int __must_check sched_vcpu_init(struct vcpu *v); // picks v->cpu
void sched_vcpu_destroy(struct vcpu *v);          // v is not runnable and off its CPU

// Look at v's pause_flags/pause_counts again. Any context, interrupts on or off.
void vcpu_wake(struct vcpu *v);
void vcpu_sleep_nosync(struct vcpu *v);
void vcpu_sleep_sync(struct vcpu *v); // waits until v->is_running is false; not for current
// Clear VPF_BLOCKED (an event came) and wake.
void vcpu_unblock(struct vcpu *v);
// SCHEDOP_block: enable upcalls, sleep unless an event is pending. Takes effect on guest return.
void vcpu_block_enable_events(void);
void vcpu_yield(void);
// The SOFTIRQ_SCHEDULE action; also called to leave a CPU for good.
void schedule(void);
// What a new vCPU's stack runs first, after the switch to it: finish the switch on this CPU.
void sched_switched_in(struct vcpu *prev);
// What an idle vCPU does for ever: softirqs, scrubbing, sleep.
__noreturn void idle_loop(void);
// True when a hypercall should stop soon (softirq pending, or an upcall waits for the guest).
bool hypercall_preempt_check(void);

int __must_check vcpu_set_hard_affinity(struct vcpu *v, const unsigned long *cpus);
int __must_check vcpu_set_soft_affinity(struct vcpu *v, const unsigned long *cpus);
// SCHEDOP_pin_override: keep v on one CPU (-EBUSY when it is overridden already); < 0: undo.
int __must_check vcpu_pin_override(struct vcpu *v, int32_t cpu);
int sched_pin_override(const struct vcpu *v);                  // that CPU, or -1
const unsigned long *vcpu_hard_affinity(const struct vcpu *v); // as asked for
const unsigned long *vcpu_soft_affinity(const struct vcpu *v);
// The CPUs v may run on now: within its domain's pool, and never none.
void vcpu_usable_cpus(const struct vcpu *v, unsigned long *out);
// Where v may run may have changed: the pool's CPUs, or who sees v. The first holds the lock of
// pools (core/cpupool.h), the second takes it.
void sched_domain_refresh(struct domain *d);
void sched_vcpu_published(struct vcpu *v);
void sched_domain_set_turns(struct domain *d, uint32_t ratelimit_us, uint32_t slice_ms);
int __must_check sched_domctl(struct domain *d, struct xen_domctl_scheduler_op *op);
int __must_check sched_sysctl(struct xen_sysctl_scheduler_op *op);

// Runstate of v as of now (with the running state's time added in).
void vcpu_runstate_get(struct vcpu *v, vcpu_runstate_info_t *out);
uint64_t vcpu_cpu_time(struct vcpu *v);     // ns in RUNSTATE_running
uint64_t sched_idle_time(unsigned int cpu); // ns

// Arm v's single-shot timer (VIRQ_TIMER) on the CPU where it runs.
void vcpu_set_singleshot(struct vcpu *v, stime_t deadline);

// Timer handlers that core/domain.c installs in each vCPU and domain (core/sched_op.c).
void sched_periodic_timer_fn(void *vcpu);
void sched_singleshot_timer_fn(void *vcpu);
void sched_poll_timer_fn(void *vcpu);
void sched_watchdog_fn(void *domain);
