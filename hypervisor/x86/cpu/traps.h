// SPDX-License-Identifier: BSD-2-Clause
// Exceptions, seen from the hypervisor's side.
#pragma once

#include "abi.h"

enum {
    TRAP_DE = 0,
    TRAP_DB = 1,
    TRAP_NMI = 2,
    TRAP_BP = 3,
    TRAP_OF = 4,
    TRAP_BR = 5,
    TRAP_UD = 6,
    TRAP_NM = 7,
    TRAP_DF = 8,
    TRAP_TS = 10,
    TRAP_NP = 11,
    TRAP_SS = 12,
    TRAP_GP = 13,
    TRAP_PF = 14,
    TRAP_MF = 16,
    TRAP_AC = 17,
    TRAP_MC = 18,
    TRAP_XM = 19,
    TRAP_CP = 21,
    TRAP_COUNT = 32,
};

// Page fault error code.
#define PF_PRESENT  0x01
#define PF_WRITE    0x02
#define PF_USER     0x04
#define PF_RESERVED 0x08
#define PF_FETCH    0x10

// Bits of DR6 that say why; the others read as constants.
#define DR6_DEFAULT 0xffff0ff0ul
#define DR6_STEP    0x4000ul

const char *trap_name(unsigned int vector);
// Does the CPU push an error code with this exception?
static inline bool trap_has_error_code(unsigned int vector)
{
    return vector < 32 && ((0x60227d00u >> vector) & 1);
}

static inline unsigned long read_cr2(void)
{
    unsigned long v;
    asm volatile("mov %%cr2, %0" : "=r"(v));
    return v;
}
static inline unsigned long read_cr0(void)
{
    unsigned long v;
    asm volatile("mov %%cr0, %0" : "=r"(v));
    return v;
}
static inline unsigned long read_cr4(void)
{
    unsigned long v;
    asm volatile("mov %%cr4, %0" : "=r"(v));
    return v;
}
static inline void write_cr0(unsigned long v)
{
    asm volatile("mov %0, %%cr0" ::"r"(v) : "memory");
}
static inline void write_cr4(unsigned long v)
{
    asm volatile("mov %0, %%cr4" ::"r"(v) : "memory");
}
static inline void clts(void)
{
    asm volatile("clts" ::: "memory");
}

// Ring-3 code made this frame.
static inline bool regs_from_guest(const struct cpu_user_regs *regs)
{
    return regs->cs & 3;
}
