// SPDX-License-Identifier: BSD-2-Clause
#include "core/lock_check.h"

#if LOCK_CHECK
#include "core/console.h"
#include "core/panic.h"
#include "lib/bitmap.h"
#include "lib/bug.h"
#include "lib/string.h"
#include "x86/arch/cpu.h"
#include "x86/arch/percpu.h"

enum { MAX_CLASSES = 128, OWN_CLASSES = 64, MAX_HELD = 16 };

static struct lock_class own_classes[OWN_CLASSES];
static unsigned int own_count;
// order[a] has b: b was waited for with a held.
static unsigned long order[MAX_CLASSES][MAX_CLASSES / BITS_PER_LONG];
static uint32_t busy; // classes and orders are being changed
static bool off;      // too many classes, or a report is under way

struct held {
    struct {
        const void *lock;
        struct lock_class *class;
    } of[MAX_HELD];
    unsigned int count, interrupts;
};
static DEFINE_PER_CPU(struct held, held);

static unsigned long begin_change(void)
{
    unsigned long flags = irq_save();

    while (__atomic_exchange_n(&busy, 1, __ATOMIC_ACQUIRE))
        cpu_relax();
    return flags;
}

static void end_change(unsigned long flags)
{
    __atomic_store_n(&busy, 0, __ATOMIC_RELEASE);
    irq_restore(flags);
}

static __noreturn void complain(const char *what, const struct lock_class *a,
                                const struct lock_class *b)
{
    panic("Locks: %s: %s%s%s", what, a->name, b ? ", then " : "", b ? b->name : "");
}

// The lock's class, with a number; a lock without one gets one. NULL: there are too many.
static struct lock_class *known_class(struct lock_class **class, const void *user)
{
    static unsigned int count = 1;
    static char names[OWN_CLASSES][48];
    struct lock_class *c = READ_ONCE(*class);
    unsigned long flags;

    if (likely(c && READ_ONCE(c->id)))
        return c;
    flags = begin_change();
    c = *class;
    if (!c && own_count < OWN_CLASSES) {
        snprintf(names[own_count], sizeof(names[0]), "the lock of %pS", user);
        c = &own_classes[own_count];
        c->name = names[own_count++];
        WRITE_ONCE(*class, c);
    }
    if (c && !c->id && count < MAX_CLASSES)
        WRITE_ONCE(c->id, count++);
    if (!c || !c->id) {
        c = NULL;
        off = true;
    }
    end_change(flags);
    if (!c)
        printk(LOG_WARN "Locks: too many kinds to watch, the check is off\n");
    return c;
}

// Is there a chain of orders from `from` to `to`?
static bool leads_to(unsigned int from, unsigned int to)
{
    DECLARE_BITMAP(seen, MAX_CLASSES);
    uint8_t stack[MAX_CLASSES];
    unsigned int depth = 0, next;

    bitmap_zero(seen, MAX_CLASSES);
    stack[depth++] = from;
    bit_set(seen, from);
    while (depth) {
        unsigned int at = stack[--depth];

        if (at == to)
            return true;
        bitmap_for_each (next, order[at], MAX_CLASSES)
            if (!bit_test(seen, next)) {
                bit_set(seen, next);
                stack[depth++] = next;
            }
    }
    return false;
}

static void check_order(struct lock_class *held_class, struct lock_class *class)
{
    unsigned long flags;
    bool against;

    // Several of one kind have an order of their own that their owner keeps (domain ids).
    if (held_class == class || bit_test(order[held_class->id], class->id))
        return;
    flags = begin_change();
    against = leads_to(class->id, held_class->id);
    bit_set(order[held_class->id], class->id);
    end_change(flags);
    if (against)
        complain("taken in two orders", held_class, class);
}

static void check_kind(struct lock_class *c, const struct held *h)
{
    static bool interrupts_seen;

    if (!interrupts_seen && !irq_enabled())
        return; // an early step of boot
    interrupts_seen = true;
    if (h->interrupts)
        c->in_interrupt = true;
    if (irq_enabled())
        c->with_interrupts_on = true;
    else
        c->with_interrupts_off = true;
    if (c->in_interrupt && c->with_interrupts_on)
        complain("interrupt handlers take it, and others with interrupts on", c, NULL);
    if (c->around_calls && c->with_interrupts_off)
        complain("held around cross-calls, and waited for with interrupts off", c, NULL);
}

void lock_check_take(const void *lock, struct lock_class **class, bool waits)
{
    struct lock_class *c;
    struct held *h;
    unsigned long flags;

    if (off || !(c = known_class(class, __builtin_return_address(0))))
        return;
    flags = irq_save();
    h = &this_cpu(held);
    for (unsigned int i = 0; i < h->count; i++) {
        if (h->of[i].lock == lock)
            complain("taken twice", c, NULL);
        if (waits)
            check_order(h->of[i].class, c);
    }
    irq_restore(flags);
    if (waits)
        check_kind(c, h);
    flags = irq_save();
    BUG_ON(h->count == MAX_HELD);
    h->of[h->count].lock = lock;
    h->of[h->count++].class = c;
    irq_restore(flags);
}

void lock_check_release(const void *lock)
{
    unsigned long flags = irq_save();
    struct held *h = &this_cpu(held);

    for (unsigned int i = h->count; i-- > 0;)
        if (h->of[i].lock == lock) {
            for (h->count--; i < h->count; i++)
                h->of[i] = h->of[i + 1];
            break;
        }
    irq_restore(flags);
}

void lock_check_none_held(void)
{
    const struct held *h = &this_cpu(held);

    if (!off && h->count)
        complain("held while its CPU turns to another vCPU", h->of[0].class, NULL);
}

void lock_check_stop(void)
{
    off = true;
}

void lock_check_call(void)
{
    const struct held *h = &this_cpu(held);

    for (unsigned int i = 0; !off && i < h->count; i++) {
        h->of[i].class->around_calls = true;
        if (h->of[i].class->with_interrupts_off)
            complain("held around cross-calls, and waited for with interrupts off", h->of[i].class,
                     NULL);
    }
}

void lock_check_interrupt(bool enter)
{
    this_cpu(held).interrupts += enter ? 1 : -1;
}
#endif
