// SPDX-License-Identifier: BSD-2-Clause
// Debug builds watch the spinlocks for what would stop the machine one day, on the first run on
// which it could have: a lock taken twice, two orders of the same two locks, a lock that interrupt
// handlers take held with interrupts on, one that is held around a cross-call awaited with
// interrupts off, and a vCPU that leaves its CPU with a lock held. Each is a BUG that names the
// locks.
//
// Locks are told apart by class: all that one spin_lock_init() made, or a lock that was never
// initialised (it is zero), which is a class of its own. All functions: any context.
#pragma once

#include "lib/types.h"

#if defined(SERAI_DEBUG) && __STDC_HOSTED__ == 0
#define LOCK_CHECK 1

struct lock_class {
    const char *name; // of the initialisation: "file:line"
    uint8_t id;       // 0: not yet used
    bool in_interrupt, with_interrupts_on, with_interrupts_off, around_calls;
};

// The CPU is about to take the lock at `lock`, whose class is *class (NULL: it gets one of its
// own), and waits for it or (a try) does not: a try cannot be part of a deadlock.
void lock_check_take(const void *lock, struct lock_class **class, bool waits);
void lock_check_release(const void *lock);
void lock_check_none_held(void); // this CPU turns to another vCPU
void lock_check_call(void);      // this CPU is about to wait for the others' interrupts
void lock_check_interrupt(bool enter);
void lock_check_stop(void); // the machine goes down: locks are broken now
#else
#define LOCK_CHECK 0
static inline void lock_check_none_held(void) {}
static inline void lock_check_call(void) {}
static inline void lock_check_interrupt(bool enter) {}
static inline void lock_check_stop(void) {}
#endif
