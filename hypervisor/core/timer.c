// SPDX-License-Identifier: BSD-2-Clause
#include "core/timer.h"
#include "core/softirq.h"
#include "core/spinlock.h"
#include "x86/arch/cpu.h"
#include "x86/arch/percpu.h"
#include "x86/arch/time.h"

// The lock covers the queue and the timers whose cpu is this one.
struct timer_queue {
    spinlock_t lock;
    struct heap heap;
    struct timer *running;
    stime_t programmed; // what the hardware is armed for; 0: nothing
} __cacheline;

static DEFINE_PER_CPU(struct timer_queue, timer_queue);

// Lock the queue that t belongs to, which can change until the lock is held.
static struct timer_queue *lock_queue(const struct timer *t, unsigned long *flags)
{
    for (;;) {
        unsigned int cpu = READ_ONCE(t->cpu);
        struct timer_queue *q = &per_cpu(timer_queue, cpu);

        *flags = spin_lock_irqsave(&q->lock);
        if (cpu == READ_ONCE(t->cpu))
            return q;
        spin_unlock_irqrestore(&q->lock, *flags);
    }
}

static void dequeue(struct timer_queue *q, struct timer *t)
{
    if (!t->queued)
        return;
    heap_remove(&q->heap, &t->node);
    WRITE_ONCE(t->queued, 0);
}

// Make sure that the CPU wakes in time for its first timer. A deadline that is too early is left
// alone: the spurious interrupt costs less than programming the hardware at each change.
static void program(struct timer_queue *q, unsigned int cpu)
{
    stime_t first = q->heap.root ? (stime_t)q->heap.root->key : 0;

    if (!first || (q->programmed && q->programmed <= first))
        return;
    if (cpu != cpu_id()) {
        softirq_raise(cpu, SOFTIRQ_TIMER);
        return;
    }
    q->programmed = first;
    arch_timer_program(first);
}

static void enqueue(struct timer_queue *q, struct timer *t, stime_t expires)
{
    heap_insert(&q->heap, &t->node, (uint64_t)MAX(expires, 1));
    WRITE_ONCE(t->queued, 1);
    if (q->heap.root == &t->node)
        program(q, t->cpu);
}

void timer_init(struct timer *t, void (*fn)(void *), void *data, unsigned int cpu)
{
    *t = (struct timer){.fn = fn, .data = data, .cpu = cpu};
}

void timer_set(struct timer *t, stime_t expires)
{
    unsigned long flags;
    struct timer_queue *q = lock_queue(t, &flags);

    dequeue(q, t);
    if (!t->dead)
        enqueue(q, t, expires);
    spin_unlock_irqrestore(&q->lock, flags);
}

void timer_stop(struct timer *t)
{
    unsigned long flags;
    struct timer_queue *q;

    if (!timer_active(t))
        return;
    q = lock_queue(t, &flags);
    dequeue(q, t);
    spin_unlock_irqrestore(&q->lock, flags);
}

void timer_kill(struct timer *t)
{
    unsigned long flags;
    struct timer_queue *q;

    if (!t->fn) // never initialised: a half-made owner is being freed
        return;
    q = lock_queue(t, &flags);
    dequeue(q, t);
    t->dead = 1;
    spin_unlock_irqrestore(&q->lock, flags);
    // On this CPU no handler can be half-way, unless it is the caller itself.
    while (q != &this_cpu(timer_queue) && READ_ONCE(q->running) == t)
        cpu_relax();
}

void timer_migrate(struct timer *t, unsigned int cpu)
{
    unsigned long flags;
    struct timer_queue *q;
    bool queued;
    stime_t expires;

    if (READ_ONCE(t->cpu) == cpu)
        return;
    q = lock_queue(t, &flags);
    queued = t->queued;
    expires = (stime_t)t->node.key;
    dequeue(q, t);
    WRITE_ONCE(t->cpu, cpu);
    spin_unlock_irqrestore(&q->lock, flags);
    if (!queued)
        return;
    q = lock_queue(t, &flags);
    // Someone may have set it anew meanwhile: that deadline is the newer one.
    if (!t->queued && !t->dead)
        enqueue(q, t, expires);
    spin_unlock_irqrestore(&q->lock, flags);
}

void timer_cpu_init(unsigned int cpu)
{
    struct timer_queue *q = &per_cpu(timer_queue, cpu);

    *q = (struct timer_queue){.heap = {NULL}};
    spin_lock_init(&q->lock);
}

void timer_softirq(void)
{
    struct timer_queue *q = &this_cpu(timer_queue);
    struct heap_node *n;

    spin_lock_irq(&q->lock);
    while ((n = q->heap.root) && (stime_t)n->key <= now_ns()) {
        struct timer *t = container_of(n, struct timer, node);
        void (*fn)(void *) = t->fn;
        void *data = t->data;

        dequeue(q, t);
        WRITE_ONCE(q->running, t);
        spin_unlock_irq(&q->lock);
        fn(data);
        spin_lock_irq(&q->lock);
        __atomic_store_n(&q->running, NULL, __ATOMIC_RELEASE);
    }
    q->programmed = n ? (stime_t)n->key : 0;
    arch_timer_program(q->programmed);
    spin_unlock_irq(&q->lock);
}
