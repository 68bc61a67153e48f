// SPDX-License-Identifier: BSD-2-Clause
// Numbers shared by C and assembly: where the guest lives, its stacks, the trap record.
#pragma once

#define VIRT_BASE 0xffffffff80000000

// Each vCPU owns one aligned area: its record at the bottom, the stack that the hypervisor
// switches to when user mode traps below TRAP_STACK_TOP, the normal stack at the top.
#define AREA_SIZE      16384
#define TRAP_STACK_TOP 6144

// Vectors of our own for the callbacks.
#define VEC_EVENT    256
#define VEC_SYSCALL  257
#define VEC_NMI      258
#define VEC_SYSENTER 259
#define VEC_FAILSAFE 260
#define VEC_COUNT    261

// Offsets in struct trap.
#define TRAP_RIP 0
#define TRAP_RSP 8
#define TRAP_RBX 16
#define TRAP_RBP 24
#define TRAP_R12 32
#define TRAP_R13 40
#define TRAP_R14 48
#define TRAP_R15 56
