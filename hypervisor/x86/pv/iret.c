// SPDX-License-Identifier: BSD-2-Clause
// The iret hypercall, when entry.S cannot do it in a hurry.
#include "core/hypercall.h"
#include "x86/arch/guest_access.h"
#include "x86/cpu/entry.h"
#include "x86/pv/pv_internal.h"

long hc_iret(void)
{
    struct vcpu *v = current;
    struct cpu_user_regs *regs = v->arch.regs;
    struct iret_context c;

    if (guest_copy_from(&c, (void *)regs->rsp, sizeof(c))) {
        domain_crash(v->domain, "iret with a bad stack, rsp %#lx", regs->rsp);
        return 0;
    }
    if ((c.cs & 3) == 3)
        pv_toggle_mode(v);
    regs->rip = c.rip;
    regs->rsp = c.rsp;
    regs->rflags = (c.rflags & RFLAGS_GUEST) | RFLAGS_IF | RFLAGS_ALWAYS;
    if (c.flags & VGCF_in_syscall) {
        regs->cs = SEL_GUEST_CS64;
        regs->ss = SEL_GUEST_DS32;
        regs->entry_vector = ENTRY_SYSCALL;
    } else {
        regs->cs = c.cs | 3;
        regs->ss = c.ss | 3;
        regs->rcx = c.rcx;
        regs->r11 = c.r11;
        regs->entry_vector = 0;
    }
    if (v->domain->vm_assist & (1ul << VMASST_TYPE_architectural_iopl))
        v->arch.iopl = c.rflags >> 12 & 3;
    WRITE_ONCE(v->info->evtchn_upcall_mask, !(c.rflags & RFLAGS_IF));
    return c.rax;
}
