// SPDX-License-Identifier: BSD-2-Clause
// Traps and callbacks of this guest, and "this must fault" blocks.
#pragma once

#include "layout.h"
#include <stdbool.h>
#include <stdint.h>

// As pushed by the stubs; cs holds the saved upcall mask in bits 39:32.
struct regs {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};

// Where to resume (first part, see layout.h), then what happened.
struct trap {
    uint64_t rip, rsp, rbx, rbp, r12, r13, r14, r15;
    struct trap *outer;
    int vector; // -1: nothing trapped
    uint64_t cr2;
    struct regs regs;
};

// Runs the statements; the first trap or system call ends them, t tells which. Variables changed
// inside must be volatile.
#define CATCH(t, ...)           \
    do {                        \
        (t).vector = -1;        \
        if (!trap_save(&(t))) { \
            __VA_ARGS__;        \
            trap_disarm();      \
        }                       \
    } while (0)

int trap_save(struct trap *t) __attribute__((returns_twice));
int trap_arm(struct trap *t);
void trap_disarm(void);

// A hook sees a vector first and returns true when it dealt with it. NULL removes it.
typedef bool trap_hook_t(struct regs *r);
void trap_hook(unsigned int vector, trap_hook_t *hook);

// From a hook: end the innermost CATCH as if this trap had not been hooked.
void trap_abort(struct regs *r);

// Installs the default table and callbacks on this vCPU. trap_table() is the table itself, with
// 256 entries and a terminator.
void trap_init(void);
void trap_table(void *entries);
unsigned long trap_stub(unsigned int vector);

void trap_dispatch(struct regs *r);

// Enters user mode; comes back through CATCH alone.
void user_enter(uint64_t rip, uint64_t rsp, uint64_t rdi, uint64_t rflags)
    __attribute__((noreturn));
void iret_frame(const uint64_t frame[6]) __attribute__((noreturn));

void event_entry(void);
void failsafe_entry(void);
void syscall_entry(void);
void nmi_entry(void);
void sysenter_entry(void);
extern uint64_t failsafe_selectors[4];

// Memory accesses that may fault: the vector, or -1 when it worked.
int probe_read(const volatile void *va, uint64_t *value, struct trap *t);
int probe_write(volatile void *va, uint64_t value, struct trap *t);
