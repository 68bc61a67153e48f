// SPDX-License-Identifier: BSD-2-Clause
// Exceptions that hit the hypervisor itself, and those that concern the machine (NMI, #MC).
#include "x86/cpu/traps.h"
#include "core/console.h"
#include "core/domain.h"
#include "core/panic.h"
#include "x86/arch/io.h"
#include "x86/cpu/cpuid.h"
#include "x86/cpu/entry.h"
#include "x86/cpu/extable.h"
#include "x86/cpu/msr.h"
#include "x86/pv/pv_internal.h"

#include <xen/nmi.h>

#define PORT_NMI_REASON  0x61
#define NMI_REASON_SERR  (1 << 7)
#define NMI_REASON_IOCHK (1 << 6)
#define MCG_BANKS        0xff
#define MSR_MC0_STATUS   0x401
#define MC_VALID         (1ull << 63)

struct extable_entry {
    int32_t from, to;
};
extern const struct extable_entry ex_table_start[], ex_table_end[];

static const char *const names[TRAP_COUNT] = {
    [TRAP_DE] = "divide error",       [TRAP_DB] = "debug",          [TRAP_NMI] = "NMI",
    [TRAP_BP] = "breakpoint",         [TRAP_OF] = "overflow",       [TRAP_BR] = "bounds",
    [TRAP_UD] = "invalid opcode",     [TRAP_NM] = "no coprocessor", [TRAP_DF] = "double fault",
    [TRAP_TS] = "invalid TSS",        [TRAP_NP] = "not present",    [TRAP_SS] = "stack fault",
    [TRAP_GP] = "general protection", [TRAP_PF] = "page fault",     [TRAP_MF] = "x87 error",
    [TRAP_AC] = "alignment check",    [TRAP_MC] = "machine check",  [TRAP_XM] = "SIMD error",
    [TRAP_CP] = "control protection",
};

const char *trap_name(unsigned int vector)
{
    return vector < TRAP_COUNT && names[vector] ? names[vector] : "unknown";
}

bool extable_fixup(struct cpu_user_regs *regs)
{
    for (const struct extable_entry *e = ex_table_start; e < ex_table_end; e++)
        if ((unsigned long)&e->from + e->from == regs->rip) {
            regs->rip = (unsigned long)&e->to + e->to;
            return true;
        }
    return false;
}

int rdmsr_safe(uint32_t msr, uint64_t *v)
{
    uint32_t lo, hi;
    int rc = -EFAULT;

    asm volatile("1: rdmsr\n xorl %0, %0\n2:\n" ASM_EXTABLE(1b, 2b)
                 : "+r"(rc), "=a"(lo), "=d"(hi)
                 : "c"(msr), "1"(0), "2"(0)
                 : "cc");
    *v = lo | (uint64_t)hi << 32;
    return rc;
}

int wrmsr_safe(uint32_t msr, uint64_t v)
{
    int rc = -EFAULT;

    asm volatile("1: wrmsr\n xorl %0, %0\n2:\n" ASM_EXTABLE(1b, 2b)
                 : "+r"(rc)
                 : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32))
                 : "cc", "memory");
    return rc;
}

void trap_from_hypervisor(struct cpu_user_regs *regs)
{
    unsigned int vector = regs->entry_vector;

    if (vector == TRAP_PF) {
        unsigned long addr = read_cr2();
        // Loading a guest's selector may need a page of its LDT.
        if (pv_ldt_fault(addr, false))
            return;
        if (extable_fixup(regs))
            return;
        panic_regs(regs, "Fatal page fault: address %#lx, error code %#x", addr, regs->error_code);
    }
    if (extable_fixup(regs))
        return;
    panic_regs(regs, "Fatal trap %u (%s), error code %#x", vector, trap_name(vector),
               regs->error_code);
}

static bool in_entry_text(unsigned long rip)
{
    return rip >= (unsigned long)entry_text_start && rip < (unsigned long)entry_text_end;
}

// QEMU delivers a guest's single step and its watchpoint as two exceptions, the second one before
// the first instruction of the handler, where it overwrites the guest's frame on the IST stack.
// Returning would run the handler for ever.
static bool debug_overwrote_frame(struct cpu_user_regs *regs)
{
    struct vcpu *v = this_cpu(current_vcpu);

    if (regs->rip != (unsigned long)idt_stubs + TRAP_DB * IDT_STUB_BYTES || v->is_idle)
        return false;
    regs->rip = (unsigned long)debug_frame_lost;
    regs->rflags = RFLAGS_ALWAYS;
    regs->rsp = (unsigned long)v->arch.regs;
    return true;
}

void trap_debug_from_hypervisor(struct cpu_user_regs *regs)
{
    unsigned long dr6;

    if (unlikely(debug_overwrote_frame(regs)))
        return;

    // Only a guest causes these: its single step over SYSENTER, a watchpoint on memory that the
    // hypervisor copied for it, or one delayed by MOV SS into an entry. None is the hypervisor's.
    asm volatile("mov %%dr6, %0" : "=r"(dr6));
    asm volatile("mov %0, %%dr6" ::"r"(DR6_DEFAULT));
    if (dr6 & DR6_STEP) {
        regs->rflags &= ~(uint64_t)RFLAGS_TF;
        if (!in_entry_text(regs->rip))
            printk(LOG_WARN "Single step in the hypervisor at %pS\n", (void *)regs->rip);
    }
}

// What the control domain sees as the reason of an NMI.
static void report_nmi(unsigned int reason_bit)
{
    struct domain *d = control_domain;

    if (!d || !d->shared_info || !d->max_vcpus || !d->vcpu[0])
        return;
    bit_set_atomic(&d->shared_info->arch.nmi_reason, reason_bit);
    // It sees it when it next enters the guest: waking it takes locks, which an NMI must not.
    __atomic_or_fetch(&d->vcpu[0]->arch.trap_pending, TRAP_PENDING_NMI, __ATOMIC_SEQ_CST);
}

void trap_nmi(struct cpu_user_regs *regs)
{
    if (panic_in_progress())
        panic_park();
    if (cpu_id() != 0)
        return;
    uint8_t reason = inb(PORT_NMI_REASON);
    if (reason == 0xff || !(reason & (NMI_REASON_SERR | NMI_REASON_IOCHK))) {
        if (printk_ratelimit())
            printk(LOG_WARN "NMI of unknown origin, rip %#lx\n", regs->rip);
        report_nmi(_XEN_NMIREASON_unknown);
        return;
    }
    if (reason & NMI_REASON_SERR)
        report_nmi(_XEN_NMIREASON_pci_serr);
    if (reason & NMI_REASON_IOCHK)
        report_nmi(_XEN_NMIREASON_io_error);
    // Set and clear the enables, so that the next one is seen.
    outb(PORT_NMI_REASON, (reason & 0x0f) | 0x0c);
    outb(PORT_NMI_REASON, reason & 0x03);
}

void trap_machine_check(struct cpu_user_regs *regs)
{
    uint64_t cap, status = 0, bank;

    console_force_unlock();
    if (!rdmsr_safe(MSR_MCG_CAP, &cap)) {
        if (rdmsr_safe(MSR_MCG_STATUS, &status))
            status = 0;
        printk(LOG_ERR "Machine check on CPU %u, global status %#lx\n", cpu_id(), status);
        for (unsigned int i = 0; i < (cap & MCG_BANKS); i++)
            if (!rdmsr_safe(MSR_MC0_STATUS + 4 * i, &bank) && (bank & MC_VALID))
                printk(LOG_ERR "  bank %u: status %#lx\n", i, bank);
    }
    panic_regs(regs, "Machine check");
}

void trap_double_fault(struct cpu_user_regs *regs)
{
    console_force_unlock();
    panic_regs(regs, "Double fault: a hypervisor stack overflowed or is corrupt");
}
