// SPDX-License-Identifier: BSD-2-Clause
// Where secondary CPUs start: copied to a page below 1 MiB, entered in real mode with CS:IP =
// page:0. The page tables behind it (trampoline_base + 4 KiB) map that page at its own address and
// the hypervisor as usual.

#include "x86/cpu/msr.h"
#include "asm_offsets.h"

    .section .rodata.trampoline, "a"
    .globl trampoline_start, trampoline_end, trampoline_patch
    .balign 16
    .code16
trampoline_start:
    cli
    movw %cs, %ax
    movw %ax, %ds
    movzwl %ax, %ebx
    shll $4, %ebx // where this page is
    // Fix up the pointers that depend on it.
    leal gdt - trampoline_start(%ebx), %eax
    movl %eax, gdt_pointer + 2 - trampoline_start
    leal start32_secondary - trampoline_start(%ebx), %eax
    movl %eax, far32 - trampoline_start
    leal start64_secondary - trampoline_start(%ebx), %eax
    movl %eax, far64 - trampoline_start
    lgdtl gdt_pointer - trampoline_start
    movl $CR0_PE | CR0_ET, %eax
    movl %eax, %cr0
    ljmpl *(far32 - trampoline_start)

    .code32
start32_secondary:
    movl $16, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $CR4_PAE, %eax
    movl %eax, %cr4
    leal 0x1000(%ebx), %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    rdmsr
    orl $EFER_LME | EFER_NXE, %eax
    wrmsr
    movl $CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE, %eax
    movl %eax, %cr0
    ljmpl *(far64 - trampoline_start)(%ebx)

    .code64
start64_secondary:
    movq stack - trampoline_start(%rbx), %rsp
    movq entry - trampoline_start(%rbx), %rax
    movq page_tables - trampoline_start(%rbx), %rcx
    jmp *%rax

    .balign 8
gdt:
    .quad 0
    .quad 0x00af9b000000ffff // 0x08: 64-bit code
    .quad 0x00cf93000000ffff // 0x10: data
    .quad 0x00cf9b000000ffff // 0x18: 32-bit code
gdt_pointer:
    .short 31
    .long 0
    .balign 4
far32:
    .long 0
    .short 0x18
    .balign 4
far64:
    .long 0
    .short 0x08
    .balign 8
trampoline_patch: // struct trampoline_patch of smp_boot.c
stack:
    .quad 0
entry:
    .quad 0
page_tables:
    .quad 0
trampoline_end:

    // In the image: leave the trampoline's page tables.
    .section .text.secondary_start, "ax"
    .code64
    .globl secondary_start
secondary_start:
    movq %rcx, %cr3
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    xorl %ebp, %ebp
    pushq $0 // end of back traces
    call secondary_main
    ud2

    .section .note.GNU-stack, "", @progbits
