// SPDX-License-Identifier: BSD-2-Clause
// Entry points of a 64-bit PV micro guest: notes, first instruction, trap and callback stubs,
// recovery points, the way into user mode and the first instruction of further vCPUs.
#include "layout.h"

#define NOTE(type, ...) .long 4, 2f - 1f, type; .asciz "Xen"; 1: __VA_ARGS__; 2: .align 4

    .section .note.Xen, "a", @note
    NOTE(6, .asciz "serai-guest")
    NOTE(7, .asciz "1")
    NOTE(5, .asciz "xen-3.0")
    NOTE(8, .asciz "generic")
    NOTE(3, .quad VIRT_BASE)
    NOTE(4, .quad 0)
    NOTE(1, .quad _start)
    NOTE(2, .quad hypercall_page)
    NOTE(9, .asciz "yes")

    .text
    .code64
    .globl _start
_start:
    cld
    mov %rsi, start_info
    lea first_area + AREA_SIZE, %rsp
    xor %ebp, %ebp
    call guest_start
    ud2

// A secondary vCPU begins here, its stack set by vcpu_op(initialise).
    .globl vcpu_entry
vcpu_entry:
    cld
    xor %ebp, %ebp
    call smp_vcpu_main
    ud2

// One 16-byte stub per vector. The hypervisor pushed (from the top) rcx, r11, an error code for
// some vectors, rip, cs, rflags, rsp, ss.
    .balign 16
    .globl trap_stubs
trap_stubs:
    vec = 0
    .rept 256
    .balign 16
    pop %rcx
    pop %r11
    .if !(vec == 8 || (vec >= 10 && vec <= 14) || vec == 17 || vec == 21)
    push $0
    .endif
    push $vec
    jmp trap_common
    vec = vec + 1
    .endr

.macro CALLBACK name vec
    .globl \name
\name:
    pop %rcx
    pop %r11
    push $0
    push $\vec
    jmp trap_common
.endm
    CALLBACK event_entry, VEC_EVENT
    CALLBACK syscall_entry, VEC_SYSCALL
    CALLBACK nmi_entry, VEC_NMI
    CALLBACK sysenter_entry, VEC_SYSENTER

// The failsafe frame has ds, es, fs, gs between r11 and rip.
    .globl failsafe_entry
failsafe_entry:
    pop %rcx
    pop %r11
    popq failsafe_selectors
    popq failsafe_selectors + 8
    popq failsafe_selectors + 16
    popq failsafe_selectors + 24
    push $0
    push $VEC_FAILSAFE

trap_common:
    push %rax
    push %rcx
    push %rdx
    push %rbx
    push %rbp
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    push %r12
    push %r13
    push %r14
    push %r15
    cld
    mov %rsp, %rdi
    mov %rsp, %rbp
    and $-16, %rsp
    call trap_dispatch
    mov %rbp, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rbp
    pop %rbx
    pop %rdx
    pop %rcx
    pop %rax
    add $8, %rsp                // vector
    movq $0, (%rsp)             // error code becomes the flags word of the iret frame
    jmp hypercall_page + 23 * 32

// int trap_save(struct trap *t): 0 now, 1 again after a trap.
    .globl trap_save
trap_save:
    mov (%rsp), %rax
    mov %rax, TRAP_RIP(%rdi)
    lea 8(%rsp), %rax
    mov %rax, TRAP_RSP(%rdi)
    mov %rbx, TRAP_RBX(%rdi)
    mov %rbp, TRAP_RBP(%rdi)
    mov %r12, TRAP_R12(%rdi)
    mov %r13, TRAP_R13(%rdi)
    mov %r14, TRAP_R14(%rdi)
    mov %r15, TRAP_R15(%rdi)
    jmp trap_arm

// void user_enter(rip, rsp, rdi_value, rflags): user mode, code and data selectors flat.
    .globl user_enter
user_enter:
    push $0xe02b                // ss
    push %rsi
    push %rcx
    push $0xe033                // cs, ring 3: user mode
    push %rdi
    push $0                     // flags
    mov %rdx, %rdi
    jmp hypercall_page + 23 * 32

// void iret_frame(const uint64_t frame[6]): frame is flags, rip, cs, rflags, rsp, ss.
    .globl iret_frame
iret_frame:
    push 40(%rdi)
    push 32(%rdi)
    push 24(%rdi)
    push 16(%rdi)
    push 8(%rdi)
    push (%rdi)
    jmp hypercall_page + 23 * 32

    .section .hypercall, "ax"
    .balign 4096
    .globl hypercall_page
hypercall_page:
    .skip 4096, 0x90

    .bss
    .balign AREA_SIZE
    .globl first_area
first_area:
    .skip AREA_SIZE
    .globl failsafe_selectors
failsafe_selectors:
    .skip 32
    .section .note.GNU-stack, "", @progbits
