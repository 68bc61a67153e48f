// SPDX-License-Identifier: BSD-2-Clause
// Hypervisor stacks and per-CPU data.
//
// Every vCPU (idle ones included) has its own hypervisor stack of STACK_SIZE bytes, aligned to
// its size, with an unmapped guard below it. Its top holds a struct stack_info, under which a PV
// vCPU's guest registers (struct cpu_user_regs) are saved on entry:
//
//   STACK_SIZE  +------------------+
//               | struct stack_info|  cpu number, per-CPU offset, vcpu
//               | cpu_user_regs    |  PV guest's registers  <- TSS.RSP0 / SYSCALL stack pointer
//               | ...              |  C frames
//   0           +------------------+
//
// The hypervisor never uses FS or GS: these stay the guest's. The IST stacks (NMI, #MC, #DF) are
// per CPU, of the same size, and have a stack_info as well, whose vcpu field is not valid there.
#pragma once

#include "lib/types.h"

#define STACK_ORDER 1
#define STACK_SIZE  (PAGE_SIZE << STACK_ORDER)

struct vcpu;

struct stack_info {
    unsigned long percpu_offset; // add to the address of a per-CPU variable
    struct vcpu *vcpu;           // owner of this stack
    uint32_t cpu;                // physical CPU this stack runs on
    uint32_t pad;
    unsigned long scratch; // entry code only
};

static inline struct stack_info *stack_info(void)
{
    unsigned long sp;
    asm("mov %%rsp, %0" : "=r"(sp));
    return (struct stack_info *)((sp | (STACK_SIZE - 1)) + 1) - 1;
}

// Per-CPU variables live in section .percpu (the template; it is copied for each CPU).
#define DEFINE_PER_CPU(type, name)  __section(".percpu") typeof(type) percpu_##name
#define DECLARE_PER_CPU(type, name) extern typeof(type) percpu_##name

extern unsigned long percpu_offsets[]; // by CPU number

#define this_cpu(name) \
    (*(typeof(percpu_##name) *)((char *)&percpu_##name + stack_info()->percpu_offset))
#define per_cpu(name, cpu) \
    (*(typeof(percpu_##name) *)((char *)&percpu_##name + percpu_offsets[cpu]))

static inline unsigned int cpu_id(void)
{
    return stack_info()->cpu;
}

DECLARE_PER_CPU(struct vcpu *, current_vcpu); // also right on IST stacks

// The vCPU whose hypervisor stack we run on. Not for NMI, #MC and #DF handlers.
#define current (stack_info()->vcpu)
