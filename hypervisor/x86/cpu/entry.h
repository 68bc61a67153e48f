// SPDX-License-Identifier: BSD-2-Clause
// What x86/pv/entry.S and C know of each other. Included by assembly too.
#pragma once

// Bytes of struct cpu_user_regs up to and with SS: what an entry saves. es, ds, fs and gs behind it
// are filled only when somebody wants to see them.
#define ENTRY_FRAME_BYTES 168
#define REGS_BYTES        200

// Each CPU has two SYSCALL stubs, for 64-bit and for compatibility mode.
#define SYSCALL_STUB_BYTES 64

// entry_vector of a frame made by SYSCALL, which may be left with SYSRET: RCX and R11 are not kept.
#define ENTRY_SYSCALL 0xffffffff
// error_code of the other entries without a vector, for messages.
#define ENTRY_SYSENTER 0x100

#define RFLAGS_TF   0x100
#define RFLAGS_IF   0x200
#define RFLAGS_DF   0x400
#define RFLAGS_IOPL 0x3000
#define RFLAGS_NT   0x4000
#define RFLAGS_RF   0x10000
#define RFLAGS_VM   0x20000
#define RFLAGS_AC   0x40000
// What a guest may have set by itself: CF PF AF ZF SF TF IF DF OF RF AC ID.
#define RFLAGS_GUEST 0x250fd5
// What survives into a handler of the guest's kernel: no TF DF NT RF VM AC.
#define RFLAGS_HANDLER 0x200ad5
#define RFLAGS_ALWAYS  0x2

#define IDT_STUB_BYTES 16

#ifndef __ASSEMBLY__
#include "abi.h"

struct vcpu;

extern char syscall_stubs[];
extern char idt_stubs[]; // 256, IDT_STUB_BYTES each
extern char sysenter_entry[];
extern char entry_text_start[], entry_text_end[]; // code that runs before or after a frame exists
extern char vcpu_start[];
extern char debug_frame_lost[]; // goes on with the vCPU's frame for pv_on_debug_lost

// Leave to the guest with the current vCPU's frame, after softirqs and events. Interrupts on or
// off.
__noreturn void pv_return_to_guest(struct cpu_user_regs *regs);
// Save the callee-saved registers and the stack pointer in *save, go on at `sp`. Returns, on the
// stack switched to, the `prev` of the switch that came there.
struct vcpu *context_switch_stack(unsigned long *save, unsigned long sp, struct vcpu *prev);

// Called by entry.S.
void trap_from_hypervisor(struct cpu_user_regs *regs); // exceptions with CPL 0
void trap_debug_from_hypervisor(struct cpu_user_regs *regs);
void trap_nmi(struct cpu_user_regs *regs);
void trap_machine_check(struct cpu_user_regs *regs);
__noreturn void trap_double_fault(struct cpu_user_regs *regs);
void pv_on_exception(struct cpu_user_regs *regs);    // from ring 3, interrupts off
long pv_hypercall(const struct cpu_user_regs *regs); // interrupts on; the guest's RAX
void pv_on_syscall(struct cpu_user_regs *regs);      // SYSCALL that the fast path left alone
void pv_on_syscall32(struct cpu_user_regs *regs);
void pv_on_sysenter(struct cpu_user_regs *regs);
void pv_on_iret_fault(struct cpu_user_regs *regs);
void pv_on_debug_lost(struct cpu_user_regs *regs); // the frame holds nothing: it was overwritten
void pv_deliver_pending(struct vcpu *v);           // v->arch.trap_pending
void pv_deliver_event(struct vcpu *v);
__noreturn void vcpu_started(struct vcpu *prev);
#endif
