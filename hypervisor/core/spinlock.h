// SPDX-License-Identifier: BSD-2-Clause
// Fair (ticket) spinlocks. A lock is either always taken with interrupts off (spin_lock_irqsave)
// or never from interrupt context. Not recursive. Order: docs/locking.md.
#pragma once

#include "core/lock_check.h"
#include "lib/bug.h"
#include "lib/types.h"
#include "x86/arch/cpu.h"

typedef struct {
    union {
        uint32_t both;
        struct {
            uint16_t head, tail;
        };
    };
#if LOCK_CHECK
    struct lock_class *class;
#endif
} spinlock_t;

#define SPINLOCK_INIT \
    {                 \
        .both = 0     \
    }

#if LOCK_CHECK
#define LOCK_TEXT_(x) #x
#define LOCK_TEXT(x)  LOCK_TEXT_(x)
#define spin_lock_init(l)                                                                    \
    do {                                                                                     \
        static struct lock_class class_ = {.name = #l " " __FILE__ ":" LOCK_TEXT(__LINE__)}; \
        spinlock_t *lock_ = (l);                                                             \
        lock_->both = 0;                                                                     \
        lock_->class = &class_;                                                              \
    } while (0)
#else
static inline void spin_lock_init(spinlock_t *l)
{
    l->both = 0;
}
#endif
static inline bool spin_is_locked(const spinlock_t *l)
{
    uint32_t v = READ_ONCE(l->both);
    return (uint16_t)v != (uint16_t)(v >> 16);
}
static inline void spin_check_take(spinlock_t *l, bool waits)
{
#if LOCK_CHECK
    lock_check_take(l, &l->class, waits);
#endif
}
static inline void spin_lock(spinlock_t *l)
{
    spin_check_take(l, true);
    uint16_t ticket = __atomic_fetch_add(&l->tail, 1, __ATOMIC_ACQUIRE);
    while (__atomic_load_n(&l->head, __ATOMIC_ACQUIRE) != ticket)
        cpu_relax();
}
static inline bool spin_trylock(spinlock_t *l)
{
    uint32_t v = READ_ONCE(l->both);
    if ((uint16_t)v != (uint16_t)(v >> 16))
        return false;
    if (!__atomic_compare_exchange_n(&l->both, &v, v + 0x10000, false, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED))
        return false;
    spin_check_take(l, false);
    return true;
}
static inline void spin_unlock(spinlock_t *l)
{
#if LOCK_CHECK
    lock_check_release(l);
#endif
    __atomic_store_n(&l->head, l->head + 1, __ATOMIC_RELEASE);
}
static inline void spin_lock_irq(spinlock_t *l)
{
    irq_disable();
    spin_lock(l);
}
static inline void spin_unlock_irq(spinlock_t *l)
{
    spin_unlock(l);
    irq_enable();
}
static inline unsigned long spin_lock_irqsave(spinlock_t *l)
{
    unsigned long flags = irq_save();
    spin_lock(l);
    return flags;
}
static inline void spin_unlock_irqrestore(spinlock_t *l, unsigned long flags)
{
    spin_unlock(l);
    irq_restore(flags);
}
