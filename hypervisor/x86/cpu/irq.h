// SPDX-License-Identifier: BSD-2-Clause
// Interrupt vectors. 0x20..0xef are given to devices, per CPU; above them are our own.
#pragma once

#include "abi.h"

enum {
    VECTOR_FIRST_DEVICE = 0x20,
    VECTOR_LAST_DEVICE = 0xef,
    VECTOR_UART = 0xf0,  // serial receive
    VECTOR_TIMER = 0xf8, // LAPIC timer
    VECTOR_KICK = 0xf9,  // look at softirqs
    VECTOR_CALL = 0xfa,  // arch_cpu_call, TLB flush
    VECTOR_ERROR = 0xfe,
    VECTOR_SPURIOUS = 0xff,
};

// From the entry stubs: vectors 0x20..0xff, interrupts off. Acknowledges at the LAPIC.
void irq_dispatch(struct cpu_user_regs *regs); // regs->entry_vector is the vector
// A handler for one of our own vectors, on all CPUs; called before or after EOI as it asks.
void irq_set_direct(unsigned int vector, void (*fn)(struct cpu_user_regs *regs));
