// SPDX-License-Identifier: BSD-2-Clause
// Inside the scheduler.
//
// Each CPU has a queue of runnable vCPUs in order of virtual time: the time they ran, scaled by
// 256/weight. The one that is furthest behind runs next, so that over time everyone gets a share in
// proportion to its weight. A vCPU that wakes after a long sleep starts a little behind the others
// (WAKE_BONUS) and preempts them, but cannot use up what it did not use earlier. It does so
// when the other has had the shortest turn (ratelimit), or, if it slept for that long itself, as
// soon as the other has got to do anything (TURN_MIN; it may have slept as well): two vCPUs that
// work for each other would otherwise take turns for every single event, and never have several of
// them at a time.
//
//  - v->cpu names the queue whose lock covers v's scheduling state. It changes only under that lock
//    and only while v->is_running is false.
//  - v->is_running is set under the lock by the CPU that picks v and cleared, without the lock, by
//    the same CPU once it is off v's stack. Until then v stays on that CPU's queue.
//  - Lock order: queue, then domain (caps), then timers. A second queue is only ever try-locked.
#pragma once

#include "core/sched.h"
#include "core/softirq.h"
#include "lib/heap.h"
#include "x86/arch/time.h"

#define WEIGHT_DEFAULT 256
#define CAP_PERIOD     (10 * NS_PER_MS)
#define SLICE_MIN      (1500 * NS_PER_US)
#define SLICE_MAX      (10 * NS_PER_MS)  // unless the pool says otherwise
#define WAKE_BONUS     (3 * NS_PER_MS)   // virtual
#define WAKE_MARGIN    (500 * NS_PER_US) // virtual; less of a lead does not preempt, but for rested
#define TURN_MIN       (100 * NS_PER_US) // before one that has slept preempts
#define TURN_SHORT     (500 * NS_PER_US) // when one that has slept waits at the head of the queue
#define BALANCE_PERIOD (20 * NS_PER_MS)
#define ROTATE_PERIOD  (100 * NS_PER_MS)

struct sched_cpu {
    spinlock_t lock; // irqsave
    uint32_t cpu;
    uint32_t sibling;   // the next thread of this core, in a ring; itself when it is the only one
    uint32_t queued;    // elements of the queue
    uint32_t load;      // their weights
    struct heap queue;  // struct sched_vcpu by virtual time
    uint64_t min_vtime; // never goes back; no one runs far before it
    struct vcpu *curr;  // chosen to run; current until the switch is done
    struct vcpu *idle;
    struct vcpu *prev;  // whom the last switch left
    stime_t charged;    // curr has been charged up to here
    stime_t since;      // curr runs since then
    struct timer slice; // end of curr's turn; off when no one else wants the CPU
    stime_t slice_end;  // when it fires, if it is on
    stime_t balance_at, rotate_at;
    uint32_t balance_cursor;
} __cacheline;

struct sched_vcpu {
    struct heap_node node; // key: vtime
    struct vcpu *v;
    uint64_t vtime;
    uint64_t inverse; // 256 << 24 / weight
    uint32_t weight;
    bool queued;
    bool parked; // out of budget, on the domain's list
    bool yielding;
    bool rested;    // slept long enough to preempt at once; until it runs
    bool migrating; // wants another CPU as soon as it is off this one
    int64_t budget; // ns left of what it took from the domain (caps)
    struct list parked_link;
    int32_t pin;                    // SCHEDOP_pin_override: the CPU, or -1
    DECLARE_BITMAP(hard, MAX_CPUS); // may run there: affinity within the pool, or the pin
    DECLARE_BITMAP(soft, MAX_CPUS);
    DECLARE_BITMAP(affinity, MAX_CPUS); // what the toolstack asked for
};

struct sched_domain {
    struct domain *d;
    uint32_t weight;
    uint32_t cap;      // percent of one CPU; 0: none
    stime_t slice;     // longest turn while others wait
    stime_t ratelimit; // shortest turn that those who wake soon again leave to its vCPUs
    // The rest belongs to caps and is covered by the lock.
    spinlock_t lock;
    bool refilling;
    int64_t quota, budget; // ns per period; left of this period, negative when overdrawn
    stime_t period_end;
    struct list parked;
    struct timer refill;
};

DECLARE_PER_CPU(struct sched_cpu, sched_cpu);
// sched_balance.c: find the CPU's core among those of lower numbers, which have come before.
void sched_join_siblings(unsigned int cpu);
extern unsigned long sched_idle_map[BITMAP_WORDS(MAX_CPUS)];    // idle and not claimed
extern unsigned long sched_waiting_map[BITMAP_WORDS(MAX_CPUS)]; // someone is queued

static inline struct sched_vcpu *node_to_sched(struct heap_node *n)
{
    return container_of(n, struct sched_vcpu, node);
}

// sched_queue.c: the lock of the queue concerned is held.
struct sched_cpu *sched_lock_vcpu(const struct vcpu *v, unsigned long *flags);
void sched_enqueue(struct sched_cpu *c, struct sched_vcpu *s);
void sched_dequeue(struct sched_cpu *c, struct sched_vcpu *s);
void sched_charge(struct sched_cpu *c, stime_t now); // curr, up to now
void sched_place_woken(struct sched_cpu *c, struct sched_vcpu *s);
// Carry virtual time over to another queue, and make that v's.
void sched_move(struct sched_cpu *from, struct sched_cpu *to, struct sched_vcpu *s);
void sched_check_preempt(struct sched_cpu *c, struct sched_vcpu *s, stime_t now);
void sched_arm_slice(struct sched_cpu *c, stime_t now);
void sched_runstate(struct vcpu *v, int state, stime_t now);
void sched_set_weight(struct sched_vcpu *s, uint32_t weight);

// sched_cap.c
bool sched_cap_take(struct sched_vcpu *s, stime_t now); // false: parked
void sched_cap_put(struct sched_vcpu *s, stime_t now);
void sched_cap_set(struct sched_domain *sd, uint32_t cap);
void sched_cap_init(struct sched_domain *sd);

// sched_balance.c
unsigned int sched_choose_cpu(const struct vcpu *v); // claims it when it idles
unsigned int sched_first_cpu(const struct sched_vcpu *s);
bool sched_steal(struct sched_cpu *c);             // c locked and empty: true when it got one
void sched_push(struct sched_cpu *c, stime_t now); // c locked
