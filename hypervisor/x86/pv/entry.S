// SPDX-License-Identifier: BSD-2-Clause
// Ways into the hypervisor and back to a PV guest.
//
// Every entry from a guest makes the same frame at the top of the vCPU's stack, a struct
// cpu_user_regs (x86/arch/percpu.h), calls C with its address, and leaves through pv_exit, which
// looks at softirqs and at the guest's events first. The two most frequent transitions, a system
// call of a guest's process to its kernel and the kernel's iret, stay in assembly when nothing is
// out of the ordinary, and otherwise fall back to C with the frame as if they had not been tried.

#include "asm_offsets.h"
#include "x86/cpu/entry.h"
#include "x86/cpu/extable.h"
#include "x86/cpu/smap.h"

#define HYPERCALL_IRET 23
#define IRQ_FIRST      0x20
// Addresses of the hypervisor hole, and only those, have these bits from 43 up.
#define HOLE_SHIFT     43
#define HOLE_TOP_BITS  0x1ffff0

// Offsets in struct cpu_user_regs.
#define R_RAX    80
#define R_VECTOR 124
#define R_RIP    128
#define R_CS     136
#define R_RFLAGS 144
#define R_RSP    152

// struct stack_info, `bytes` being what was pushed since the frame's end (just above SS).
#define INFO(field, bytes) (bytes) + REGS_BYTES - ENTRY_FRAME_BYTES + field

// struct iret_context on the guest's stack, and the size of the frame of a system call.
#define IRET_RAX     0
#define IRET_R11     8
#define IRET_RCX     16
#define IRET_FLAGS   24
#define IRET_RIP     32
#define IRET_CS      40
#define IRET_RFLAGS  48
#define IRET_RSP     56
#define IRET_SS      64
#define SYSCALL_FRAME_BYTES 56

.macro PUSH_REGS_FROM_RAX
    pushq %rax
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
.endm

.macro PUSH_REGS
    pushq %rdi
    pushq %rsi
    pushq %rdx
    pushq %rcx
    PUSH_REGS_FROM_RAX
.endm

// The rest of a frame whose RIP..SS are there; RCX holds the vCPU and the guest's RCX is its RIP.
.macro PUSH_SYSCALL_REGS
    pushq $-1 // ENTRY_SYSCALL
    pushq %rdi
    pushq %rsi
    pushq %rdx
    pushq 32(%rsp)
    PUSH_REGS_FROM_RAX
    movq %rcx, %rbx
.endm

.macro POP_REGS_TO_RAX
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rax
.endm

.macro POP_REGS
    POP_REGS_TO_RAX
    popq %rcx
    popq %rdx
    popq %rsi
    popq %rdi
.endm

// Call a C function with the frame; the stack stays 8 lower, as pv_exit expects it.
.macro CALL_WITH_FRAME function
    movq %rsp, %rdi
    subq $8, %rsp
    call \function
.endm

// Go on unless the guest is what was interrupted. QEMU lets the IRET of a 32-bit program enter
// virtual-8086 mode, which long mode does not have; the CS of its frame then says nothing.
.macro UNLESS_VM86 guest
    testb $RFLAGS_VM >> 16, R_RFLAGS + 2(%rsp)
    jne \guest
.endm

    .section .text.entry, "ax"
    .globl entry_text_start
entry_text_start:

// ---- SYSCALL ----------------------------------------------------------------------------------
// Two stubs for each CPU, the second for compatibility mode: there is no other way to a stack
// without the help of GS, which the guest owns.
.macro SYSCALL_STUB slot, target
    movq %rsp, \slot(%rip)
    movq \slot + SLOT_FRAME_END(%rip), %rsp
    pushq $SELECTOR_SS
    pushq \slot(%rip)
    jmp \target
.endm

    .balign SYSCALL_STUB_BYTES
    .globl syscall_stubs
syscall_stubs:
    .set slot_offset, 0
    .rept MAX_CPU_COUNT
    SYSCALL_STUB syscall_slots+slot_offset, syscall_entry
    .balign SYSCALL_STUB_BYTES / 2
    SYSCALL_STUB syscall_slots+slot_offset, syscall32_entry
    .balign SYSCALL_STUB_BYTES / 2
    .set slot_offset, slot_offset + SYSCALL_STUB_BYTES
    .endr

    .balign 16
syscall_entry:
    pushq %r11
    pushq $SELECTOR_CS64
    pushq %rcx
    movq INFO(STACK_INFO_VCPU, 40)(%rsp), %rcx
    cmpb $0, VCPU_IN_KERNEL(%rcx)
    je syscall_from_user
    cmpq $HYPERCALL_IRET, %rax
    je iret_fast
hypercall:
    PUSH_SYSCALL_REGS
    sti
    CALL_WITH_FRAME pv_hypercall
    movq %rax, 8 + R_RAX(%rsp)

// Leave to the guest: rbx is the vCPU, the frame is at rsp + 8.
pv_exit:
    cli
    movq 8 + REGS_BYTES + STACK_INFO_PERCPU_OFFSET(%rsp), %rdx
    leaq percpu_softirq_pending(%rip), %rax
    cmpl $0, (%rax,%rdx)
    jne exit_softirq
    movq VCPU_INFO(%rbx), %rax
    cmpb $0, UPCALL_MASK(%rax)
    jne 1f
    cmpb $0, UPCALL_PENDING(%rax)
    jne exit_event
1:  cmpb $0, VCPU_TRAP_PENDING(%rbx)
    jne exit_trap
    addq $8, %rsp
    cmpl $ENTRY_SYSCALL, R_VECTOR(%rsp)
    jne exit_iret
    // SYSRET with a non-canonical RIP would fault in ring 0 on some CPUs.
    movq R_RIP(%rsp), %rcx
    movq %rcx, %rax
    sarq $47, %rax
    addq $1, %rax
    cmpq $1, %rax
    ja exit_iret
    POP_REGS_TO_RAX
    popq %rdx // RCX
    popq %rdx
    popq %rsi
    popq %rdi
    movq 24(%rsp), %r11
    movq 32(%rsp), %rsp
    sysretq

exit_iret:
    POP_REGS
    addq $8, %rsp
exit_iretq:
    iretq
    EXTABLE exit_iretq, iret_fault

exit_softirq:
    sti
    call do_softirq
    jmp pv_exit
exit_event:
    sti
    movq %rbx, %rdi
    call pv_deliver_event
    jmp pv_exit
exit_trap:
    sti
    movq %rbx, %rdi
    call pv_deliver_pending
    jmp pv_exit

// The guest's CS, SS or RIP were not loadable. All its registers are in place, and so is the frame
// from RIP up.
iret_fault:
    pushq $0
    PUSH_REGS
    movq REGS_BYTES + STACK_INFO_VCPU(%rsp), %rbx
    sti
    CALL_WITH_FRAME pv_on_iret_fault
    jmp pv_exit

    .globl pv_return_to_guest
pv_return_to_guest:
    leaq -8(%rdi), %rsp
    movq REGS_BYTES + STACK_INFO_VCPU(%rdi), %rbx
    jmp pv_exit

// ---- a process calls its kernel --------------------------------------------------------------
// Free registers: rcx (the vCPU) and, once saved, rax and rdx. On the kernel's stack go rcx, r11,
// rip, cs, rflags, rsp, ss. Interrupts stay off, so what pv_exit would look at has not changed.
syscall_from_user:
    pushq %rax
    pushq %rdx
    movq VCPU_DOMAIN(%rcx), %rax
    testb $1 << 4, DOMAIN_VM_ASSIST(%rax) // VMASST_TYPE_architectural_iopl: flags show IOPL
    jne syscall_slow
    movq VCPU_INFO(%rcx), %rax
    cmpb $0, UPCALL_MASK(%rax)
    jne syscall_slow
    cmpq $0, VCPU_SYSCALL_RIP(%rcx)
    je syscall_slow
    movq VCPU_KERNEL_SP(%rcx), %rdx
    andq $-16, %rdx
    subq $SYSCALL_FRAME_BYTES, %rdx
    movq %rdx, %rax
    shrq $HOLE_SHIFT, %rax
    cmpl $HOLE_TOP_BITS, %eax
    je syscall_slow
    swapgs
    movb $1, VCPU_IN_KERNEL(%rcx)
    movq VCPU_KERNEL_L4(%rcx), %rax
    movq %rax, VCPU_CR3(%rcx)
    movq %rax, %cr3
    STAC
    movq 16(%rsp), %rax // RIP
11: movq %rax, 0(%rdx)
12: movq %r11, 8(%rdx)
13: movq %rax, 16(%rdx)
14: movq $SELECTOR_CS64, 24(%rdx)
15: movq %r11, 32(%rdx)
    movq 40(%rsp), %rax // RSP
16: movq %rax, 40(%rdx)
17: movq $SELECTOR_SS, 48(%rdx)
    CLAC
    cmpb $0, VCPU_SYSCALL_MASKS_EVENTS(%rcx)
    je 1f
    movq VCPU_INFO(%rcx), %rax
    movb $1, UPCALL_MASK(%rax)
1:  andl $RFLAGS_HANDLER, %r11d
    movq VCPU_SYSCALL_RIP(%rcx), %rcx // canonical: checked when it was set
    movq %rdx, 40(%rsp)
    movq (%rsp), %rdx
    movq 8(%rsp), %rax
    movq 40(%rsp), %rsp
    sysretq
    EXTABLE 11b, syscall_undo
    EXTABLE 12b, syscall_undo
    EXTABLE 13b, syscall_undo
    EXTABLE 14b, syscall_undo
    EXTABLE 15b, syscall_undo
    EXTABLE 16b, syscall_undo
    EXTABLE 17b, syscall_undo

syscall_undo:
    CLAC
    swapgs
    movb $0, VCPU_IN_KERNEL(%rcx)
    movq VCPU_USER_L4(%rcx), %rax
    testq %rax, %rax
    cmovzq VCPU_KERNEL_L4(%rcx), %rax
    movq %rax, VCPU_CR3(%rcx)
    movq %rax, %cr3
syscall_slow:
    popq %rdx
    popq %rax
    PUSH_SYSCALL_REGS
    sti
    CALL_WITH_FRAME pv_on_syscall
    jmp pv_exit

// ---- a kernel returns by the iret hypercall -----------------------------------------------------
// rcx is the vCPU; r11 and rax are free, they and rcx come from the guest's stack. Only the plain
// case: events get unmasked, none is pending, and the target is not a SYSRET one.
iret_fast:
    movq 24(%rsp), %r11 // guest's RSP: struct iret_context
    movq %r11, %rax
    shrq $HOLE_SHIFT, %rax
    cmpl $HOLE_TOP_BITS, %eax
    je iret_slow
    cmpb $0, VCPU_TRAP_PENDING(%rcx)
    jne iret_slow
    movq VCPU_DOMAIN(%rcx), %rax
    testb $1 << 4, DOMAIN_VM_ASSIST(%rax)
    jne iret_slow
    pushq %rdx
    movq VCPU_INFO(%rcx), %rdx
    STAC
    // The lowest and the highest word first: what lies between is on their pages.
21: movq IRET_RAX(%r11), %rax
22: movzwl IRET_SS(%r11), %eax
    orl $3, %eax
    movq %rax, 40(%rsp)
23: testb $1, IRET_FLAGS + 1(%r11) // VGCF_in_syscall
    jne iret_slow_clac
24: movl IRET_RFLAGS(%r11), %eax
    testl $RFLAGS_IF, %eax
    je iret_slow_clac
    movb $0, UPCALL_MASK(%rdx)
    cmpb $0, UPCALL_PENDING(%rdx)
    jne iret_slow_clac
    andl $RFLAGS_GUEST, %eax
    orl $RFLAGS_ALWAYS, %eax
    movq %rax, 24(%rsp)
25: movq IRET_RIP(%r11), %rax
    movq %rax, 8(%rsp)
    movq %rcx, %rdx
26: movq IRET_RCX(%r11), %rcx
27: movzwl IRET_CS(%r11), %eax
    movq %rax, 16(%rsp)
    andl $3, %eax
    cmpl $3, %eax
    jne iret_to_kernel
28: movq IRET_RSP(%r11), %rax
    movq %rax, 32(%rsp)
    movq IRET_RAX(%r11), %rax
    movq IRET_R11(%r11), %r11
    CLAC
    swapgs
    movb $0, VCPU_IN_KERNEL(%rdx)
    pushq %rax
    movq VCPU_USER_L4(%rdx), %rax
    testq %rax, %rax
    cmovzq VCPU_KERNEL_L4(%rdx), %rax
    movq %rax, VCPU_CR3(%rdx)
    movq %rax, %cr3
    popq %rax
    popq %rdx
29: iretq
    EXTABLE 29b, iret_fault

iret_to_kernel:
    orb $3, 16(%rsp)
30: movq IRET_RSP(%r11), %rax
    movq %rax, 32(%rsp)
    movq IRET_RAX(%r11), %rax
    movq IRET_R11(%r11), %r11
    CLAC
    popq %rdx
31: iretq
    EXTABLE 31b, iret_fault

    EXTABLE 21b, iret_slow_clac
    EXTABLE 22b, iret_slow_clac
    EXTABLE 23b, iret_slow_clac
    EXTABLE 24b, iret_slow_clac
    EXTABLE 25b, iret_slow_clac
    EXTABLE 26b, iret_slow_rdx
    EXTABLE 27b, iret_slow_rdx
    EXTABLE 28b, iret_slow_rdx
    EXTABLE 30b, iret_slow_rdx
iret_slow_rdx:
    movq %rdx, %rcx
iret_slow_clac:
    CLAC
    popq %rdx
iret_slow:
    movl $HYPERCALL_IRET, %eax
    movq 16(%rsp), %r11
    jmp hypercall

// ---- SYSCALL from compatibility mode, SYSENTER --------------------------------------------------
syscall32_entry:
    pushq %r11
    pushq $SELECTOR_CS32
    pushq %rcx
    pushq $ENTRY_SYSENTER
    PUSH_REGS
    movq REGS_BYTES + STACK_INFO_VCPU(%rsp), %rbx
    sti
    CALL_WITH_FRAME pv_on_syscall32
    jmp pv_exit

// RSP points to this CPU's struct syscall_slot. The guest's RSP and RIP are lost by the instruction,
// and its flags are in force: a single step here comes on an IST stack, and ends at popfq.
    .balign 16
    .globl sysenter_entry
sysenter_entry:
    movq SLOT_FRAME_END(%rsp), %rsp
    pushq $SELECTOR_SS
    pushq $0
    pushfq
    pushq $RFLAGS_ALWAYS
    popfq
    pushq $SELECTOR_CS32
    pushq $0
    pushq $ENTRY_SYSENTER
    PUSH_REGS
    movq REGS_BYTES + STACK_INFO_VCPU(%rsp), %rbx
    orl $RFLAGS_IF, R_RFLAGS(%rsp)
    sti
    CALL_WITH_FRAME pv_on_sysenter
    jmp pv_exit

// ---- exceptions and interrupts ------------------------------------------------------------------
// Alignment check, with AC set by the guest, would be in force in these until CLAC.
exception_entry:
    CLAC
    cld
    PUSH_REGS
    testb $3, R_CS(%rsp)
    je exception_ring0
exception_ring3:
    movq REGS_BYTES + STACK_INFO_VCPU(%rsp), %rbx
    CALL_WITH_FRAME pv_on_exception
    jmp pv_exit
exception_ring0:
    UNLESS_VM86 exception_ring3
    CALL_WITH_FRAME trap_from_hypervisor
return_ring0:
    addq $8, %rsp
    POP_REGS
    addq $8, %rsp
    iretq

irq_entry:
    CLAC
    cld
    PUSH_REGS
    testb $3, R_CS(%rsp)
    je 1f
irq_ring3:
    movq REGS_BYTES + STACK_INFO_VCPU(%rsp), %rbx
    CALL_WITH_FRAME irq_dispatch
    jmp pv_exit
1:  UNLESS_VM86 irq_ring3
    CALL_WITH_FRAME irq_dispatch
    jmp return_ring0

// On their own stacks, and back from there, wherever they hit.
.macro IST_ENTRY name, function
\name:
    CLAC
    cld
    PUSH_REGS
    CALL_WITH_FRAME \function
    jmp return_ring0
.endm
IST_ENTRY nmi_entry, trap_nmi
IST_ENTRY machine_check_entry, trap_machine_check
IST_ENTRY double_fault_entry, trap_double_fault

// #DB from a guest moves from the IST stack to the vCPU's.
debug_entry:
    CLAC
    cld
    PUSH_REGS
    testb $3, R_CS(%rsp)
    jne 1f
    UNLESS_VM86 1f
    CALL_WITH_FRAME trap_debug_from_hypervisor
    jmp return_ring0
1:  movq REGS_BYTES + STACK_INFO_PERCPU_OFFSET(%rsp), %rdx
    leaq percpu_current_vcpu(%rip), %rax
    movq (%rax,%rdx), %rbx
    movq VCPU_REGS(%rbx), %rdi
    movq %rdi, %rdx
    movq %rsp, %rsi
    movl $ENTRY_FRAME_BYTES / 8, %ecx
    rep movsq
    movq %rdx, %rsp
    jmp exception_ring3

// The frame of a #DB is gone (cpu/traps.c tells why): the vCPU cannot go on.
    .globl debug_frame_lost
debug_frame_lost:
    movq REGS_BYTES + STACK_INFO_VCPU(%rsp), %rbx
    CALL_WITH_FRAME pv_on_debug_lost
    jmp pv_exit

// One stub of 16 bytes for each vector: completes the frame with error code and vector.
.macro IDT_STUB vector, target, error_code
    .balign 16
    .if \error_code == 0
    pushq $0
    .endif
    movl $\vector, 4(%rsp)
    jmp \target
.endm

    .balign 16
    .globl idt_stubs
idt_stubs:
    .set vector, 0
    .rept 256
    .if vector == 1
    IDT_STUB vector, debug_entry, 0
    .elseif vector == 2
    IDT_STUB vector, nmi_entry, 0
    .elseif vector == 8
    IDT_STUB vector, double_fault_entry, 1
    .elseif vector == 18
    IDT_STUB vector, machine_check_entry, 0
    .elseif vector >= IRQ_FIRST
    IDT_STUB vector, irq_entry, 0
    // #TS #NP #SS #GP #PF #AC #CP #VC #SX
    .elseif (0x60227c00 >> vector) & 1
    IDT_STUB vector, exception_entry, 1
    .else
    IDT_STUB vector, exception_entry, 0
    .endif
    .set vector, vector + 1
    .endr
    .balign 16
    .globl entry_text_end
entry_text_end:

// ---- context switch -----------------------------------------------------------------------------
    .text
    .balign 16
    .globl context_switch_stack
context_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    movq %rdx, %rax
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret

// A new vCPU's stack begins here.
    .globl vcpu_start
vcpu_start:
    movq %rax, %rdi
    call vcpu_started
    ud2

    .section .note.GNU-stack, "", @progbits
