// SPDX-License-Identifier: BSD-2-Clause
// What a PV vCPU has in the CPU besides its frame: selectors and bases, descriptor tables, debug
// registers, extended state, page tables. Saved when it leaves; the idle vCPU has none of it.
#include "x86/cpu/context.h"
#include "core/sched.h"
#include "x86/arch/time.h"
#include "x86/cpu/cpuid.h"
#include "x86/cpu/descriptors.h"
#include "x86/cpu/entry.h"
#include "x86/cpu/extable.h"
#include "x86/cpu/msr.h"
#include "x86/cpu/traps.h"
#include "x86/cpu/xstate.h"
#include "x86/mm/paging.h"
#include "x86/pv/pv_internal.h"

#define CR4_GUEST          (CR4_TSD | CR4_FSGSBASE) // bits that follow the guest's own CR4
#define CALLEE_SAVED_WORDS 6

static DEFINE_PER_CPU(uint32_t, loaded_tsc_aux);

// ---- leaving ------------------------------------------------------------------------------------

static void pv_save(struct vcpu *v)
{
    asm volatile("mov %%ds, %0" : "=m"(v->arch.ds));
    asm volatile("mov %%es, %0" : "=m"(v->arch.es));
    asm volatile("mov %%fs, %0" : "=m"(v->arch.fs));
    asm volatile("mov %%gs, %0" : "=m"(v->arch.gs));
    v->arch.fs_base = pv_read_fs_base(v);
    unsigned long gs = pv_read_gs_base(v), other = pv_read_other_gs_base(v);
    v->arch.gs_base_kernel = v->arch.in_kernel ? gs : other;
    v->arch.gs_base_user = v->arch.in_kernel ? other : gs;
    if (unlikely(v->arch.ts_set))
        clts();
    xstate_save(v);
    pv_debug_switch_out(v);
}

// ---- coming -------------------------------------------------------------------------------------

// Selectors are loaded with RPL 3, so that no descriptor of the hypervisor's fits. A bad one
// becomes null, and the guest is told by its failsafe callback.
#define LOAD_SELECTOR(reg, value, bad)               \
    asm volatile("1: mov %1, %%" #reg "\n"           \
                 "2:\n"                              \
                 ".pushsection .text.unlikely\n"     \
                 "3: xorl %1, %1\n"                  \
                 "mov %1, %%" #reg "\n"              \
                 "movb $1, %0\n"                     \
                 "jmp 2b\n"                          \
                 ".popsection\n" ASM_EXTABLE(1b, 3b) \
                 : "+q"(bad), "+r"(value))

static void load_selectors(struct vcpu *v)
{
    uint32_t ds = v->arch.ds, es = v->arch.es, fs = v->arch.fs, gs = v->arch.gs;
    bool bad = false;

    // Null selectors with any RPL are fine; what the guest could load itself has RPL 3 in effect.
    if (ds | es) {
        ds |= ds > 3 ? 3 : 0;
        es |= es > 3 ? 3 : 0;
    }
    LOAD_SELECTOR(ds, ds, bad);
    LOAD_SELECTOR(es, es, bad);
    if (fs > 3)
        fs |= 3;
    if (gs > 3)
        gs |= 3;
    LOAD_SELECTOR(fs, fs, bad);
    LOAD_SELECTOR(gs, gs, bad);
    if (unlikely(bad))
        __atomic_or_fetch(&v->arch.trap_pending, TRAP_PENDING_FAILSAFE, __ATOMIC_SEQ_CST);
}

static void pv_load(struct vcpu *v, unsigned int cpu)
{
    // The GDT in force must be mapped at every moment: the CPU's own is, in all address spaces.
    tlb_write_cr3(v->arch.cr3);
    pv_gdt_set_cpu_page(v, cpu);
    pv_load_gdt(v);
    descriptors_load_ldt(cpu, pv_ldt_virt(v), v->arch.ldt_entries);
    descriptors_set_entry_stack(cpu, v);

    unsigned long cr4 = read_cr4(),
                  want = (cr4 & ~(unsigned long)CR4_GUEST) | (v->arch.guest_cr4 & CR4_GUEST);
    if (unlikely(cr4 != want))
        write_cr4(want);
    load_selectors(v);
    // Loading a selector changes its base, so bases come second.
    pv_write_fs_base(v, v->arch.fs_base);
    pv_write_gs_base(v, v->arch.in_kernel ? v->arch.gs_base_kernel : v->arch.gs_base_user);
    pv_write_other_gs_base(v, v->arch.in_kernel ? v->arch.gs_base_user : v->arch.gs_base_kernel);
    if (unlikely(this_cpu(loaded_tsc_aux) != v->arch.tsc_aux)) {
        this_cpu(loaded_tsc_aux) = v->arch.tsc_aux;
        wrmsr(MSR_TSC_AUX, v->arch.tsc_aux);
    }
    xstate_restore(v);
    if (unlikely(v->arch.ts_set))
        write_cr0(read_cr0() | CR0_TS);
    pv_debug_switch_in(v);
}

void pv_set_tsc_aux(struct vcpu *v, uint32_t value)
{
    unsigned long flags = irq_save();

    v->arch.tsc_aux = value;
    this_cpu(loaded_tsc_aux) = value;
    wrmsr(MSR_TSC_AUX, value);
    irq_restore(flags);
}

// ---- the switch ---------------------------------------------------------------------------------

static struct stack_info *stack_info_of(const struct vcpu *v)
{
    return (struct stack_info *)((char *)v->stack + STACK_SIZE) - 1;
}

void arch_context_switch(struct vcpu *prev, struct vcpu *next)
{
    struct stack_info *info = stack_info_of(next);
    unsigned int cpu = cpu_id();

    if (!prev->is_idle) {
        pv_save(prev);
        descriptors_load_own(cpu);
    }
    info->cpu = cpu;
    info->percpu_offset = percpu_offsets[cpu];
    this_cpu(current_vcpu) = next;
    // From here on `current` is still prev and current_vcpu next: nothing below may ask.
    if (!next->is_idle)
        pv_load(next, cpu);
    else
        tlb_write_cr3(paging_idle_cr3().v);
    // After an interrupt in ring 3 SS is null, and SYSRET on AMD would give the guest its remains.
    asm volatile("mov %0, %%ss" ::"r"(SEL_HV_DS));
    context_switch_stack(&prev->arch.hv_sp, next->arch.hv_sp, prev);
    // prev runs again, perhaps on another CPU.
    if (!prev->is_idle)
        arch_time_update_vcpu(prev);
}

void context_init_stack(struct vcpu *v)
{
    unsigned long *sp = (unsigned long *)ROUND_DOWN((unsigned long)v->arch.regs, 16);

    *--sp = (unsigned long)vcpu_start;
    for (unsigned int i = 0; i < CALLEE_SAVED_WORDS; i++)
        *--sp = 0;
    v->arch.hv_sp = (unsigned long)sp;
}

void vcpu_started(struct vcpu *prev)
{
    arch_time_update_vcpu(current);
    sched_switched_in(prev);
    irq_enable();
    arch_vcpu_first_run(current);
    BUG();
}

void arch_vcpu_first_run(struct vcpu *v)
{
    pv_return_to_guest(v->arch.regs);
}
