// SPDX-License-Identifier: BSD-2-Clause
// Structure offsets for assembly; the Makefile turns them into asm_offsets.h.
#include "core/domain.h"
#include "x86/cpu/descriptors.h"
#include "x86/cpu/entry.h"
#include "x86/pv/pv.h"
#include "x86/arch/page.h"
#include "x86/arch/page.h"

#define OFFSET(name, type, member) \
    asm volatile("\n.ascii \"->" #name " %0\"" ::"i"(offsetof(type, member)))
#define CONSTANT(name, value) asm volatile("\n.ascii \"->" #name " %0\"" ::"i"(value))

void asm_offsets(void);
void asm_offsets(void)
{
    OFFSET(STACK_INFO_PERCPU_OFFSET, struct stack_info, percpu_offset);
    OFFSET(STACK_INFO_VCPU, struct stack_info, vcpu);
    OFFSET(STACK_INFO_CPU, struct stack_info, cpu);
    CONSTANT(STACK_INFO_SIZE, sizeof(struct stack_info));
    CONSTANT(STACK_SIZE_BYTES, STACK_SIZE);
    CONSTANT(IMAGE_VIRT, IMAGE_VIRT);
    CONSTANT(DIRECTMAP_VIRT, DIRECTMAP_VIRT);
    OFFSET(VCPU_DOMAIN, struct vcpu, domain);
    OFFSET(VCPU_INFO, struct vcpu, info);
    OFFSET(VCPU_REGS, struct vcpu, arch.regs);
    OFFSET(VCPU_CR3, struct vcpu, arch.cr3);
    OFFSET(VCPU_KERNEL_L4, struct vcpu, arch.kernel_l4);
    OFFSET(VCPU_USER_L4, struct vcpu, arch.user_l4);
    OFFSET(VCPU_KERNEL_SP, struct vcpu, arch.kernel_sp);
    OFFSET(VCPU_SYSCALL_RIP, struct vcpu, arch.syscall_rip);
    OFFSET(VCPU_IN_KERNEL, struct vcpu, arch.in_kernel);
    OFFSET(VCPU_SYSCALL_MASKS_EVENTS, struct vcpu, arch.syscall_masks_events);
    OFFSET(VCPU_TRAP_PENDING, struct vcpu, arch.trap_pending);
    OFFSET(DOMAIN_VM_ASSIST, struct domain, vm_assist);
    CONSTANT(UPCALL_PENDING, offsetof(vcpu_info_t, evtchn_upcall_pending));
    CONSTANT(UPCALL_MASK, offsetof(vcpu_info_t, evtchn_upcall_mask));
    OFFSET(SLOT_FRAME_END, struct syscall_slot, frame_end);
    CONSTANT(SELECTOR_CS64, SEL_GUEST_CS64);
    CONSTANT(SELECTOR_CS32, SEL_GUEST_CS32);
    CONSTANT(SELECTOR_SS, SEL_GUEST_DS32);
    CONSTANT(MAX_CPU_COUNT, MAX_CPUS);
}

_Static_assert(offsetof(struct cpu_user_regs, es) == ENTRY_FRAME_BYTES, "entry.h");
_Static_assert(sizeof(struct cpu_user_regs) == REGS_BYTES, "entry.h");
