// SPDX-License-Identifier: BSD-2-Clause
#include "x86/cpu/descriptors.h"
#include "core/console.h"
#include "core/domain.h"
#include "lib/string.h"
#include "memory/heap.h"
#include "x86/cpu/cpuid.h"
#include "x86/cpu/entry.h"
#include "x86/cpu/msr.h"
#include "x86/mm/paging.h"
#include "x86/pv/pv.h"

#define DESC_CODE64(dpl) (0x00af9b000000ffffull | (uint64_t)(dpl) << 45)
#define DESC_CODE32(dpl) (0x00cf9b000000ffffull | (uint64_t)(dpl) << 45)
#define DESC_DATA(dpl)   (0x00cf93000000ffffull | (uint64_t)(dpl) << 45)
#define DESC_TSS         0x89ull
#define DESC_LDT         0x82ull
#define GDT_INDEX(sel)   (((sel)-GDT_HV_PAGE_OFFSET) >> 3)

struct table_register {
    uint16_t limit;
    uint64_t base;
} __packed;

struct syscall_slot syscall_slots[MAX_CPUS];

static struct cpu_tables boot_tables __section(".bss.page_aligned");
static uint8_t boot_ist[IST_COUNT][STACK_SIZE] __aligned(STACK_SIZE);
static struct cpu_tables *tables[MAX_CPUS];
static void *ist_stacks[MAX_CPUS][IST_COUNT];

static struct stack_info *stack_info_of(void *stack)
{
    return (struct stack_info *)((char *)stack + STACK_SIZE) - 1;
}

// A 16-byte system descriptor.
static void set_system_descriptor(uint64_t *d, uint64_t base, uint32_t limit, uint64_t type)
{
    d[0] = (limit & 0xffff) | (base & 0xffffff) << 16 | type << 40 |
           (uint64_t)(limit >> 16 & 0xf) << 48 | (base >> 24 & 0xff) << 56;
    d[1] = base >> 32;
}

static void fill_gdt(struct cpu_tables *t, unsigned int cpu)
{
    t->gdt[GDT_INDEX(SEL_HV_CS)] = DESC_CODE64(0);
    t->gdt[GDT_INDEX(SEL_HV_DS)] = DESC_DATA(0);
    t->gdt[GDT_INDEX(SEL_HV_CS32)] = DESC_CODE32(0);
    t->gdt[GDT_INDEX(SEL_GUEST_CS32)] = DESC_CODE32(3);
    t->gdt[GDT_INDEX(SEL_GUEST_DS32)] = DESC_DATA(3);
    t->gdt[GDT_INDEX(SEL_GUEST_CS64)] = DESC_CODE64(3);
    set_system_descriptor(&t->gdt[GDT_INDEX(SEL_TSS)], (uint64_t)&t->tss, sizeof(t->tss) - 1,
                          DESC_TSS);
    // Byte granular, so that LSL gives the number itself.
    t->gdt[GDT_INDEX(SEL_PERCPU)] = 0x0040f10000000000ull | cpu;
}

int descriptors_cpu_alloc(unsigned int cpu)
{
    if (tables[cpu])
        return 0;
    struct cpu_tables *t = cpu ? page_alloc_zero(0) : &boot_tables;
    if (!t)
        return -ENOMEM;
    for (unsigned int i = 0; i < IST_COUNT; i++) {
        void *stack = ist_stacks[cpu][i];
        if (!stack)
            stack = cpu ? stack_alloc() : boot_ist[i];
        if (!stack) {
            page_free(t, 0); // stacks found so far are kept for the next attempt
            return -ENOMEM;
        }
        ist_stacks[cpu][i] = stack;
        struct stack_info *info = stack_info_of(stack);
        info->percpu_offset = percpu_offsets[cpu];
        info->cpu = cpu;
        info->vcpu = NULL;
        // Same shape as a vCPU's stack: the register frame ends where es..gs would begin.
        t->tss.ist[i] = (uint64_t)info - (sizeof(struct cpu_user_regs) - ENTRY_FRAME_BYTES);
    }
    t->tss.iobitmap = sizeof(t->tss);
    fill_gdt(t, cpu);
    tables[cpu] = t;
    return 0;
}

mfn_t descriptors_gdt_mfn(unsigned int cpu)
{
    return cpu ? virt_to_mfn(tables[cpu]) : MFN(image_to_paddr(&boot_tables).v >> PAGE_SHIFT);
}

void descriptors_set_entry_stack(unsigned int cpu, struct vcpu *v)
{
    unsigned long end = (unsigned long)v->arch.regs + ENTRY_FRAME_BYTES;

    syscall_slots[cpu].frame_end = end;
    tables[cpu]->tss.rsp[0] = end;
}

void descriptors_load_own(unsigned int cpu)
{
    struct table_register gdtr = {
        .limit = GDT_HV_PAGE_OFFSET + sizeof(tables[cpu]->gdt) - 1,
        // Nothing but the hypervisor's selectors is used while this is loaded, so what lies
        // before its page does not matter.
        .base = (uint64_t)tables[cpu] - GDT_HV_PAGE_OFFSET,
    };

    asm volatile("lldt %w0" ::"r"(0));
    asm volatile("lgdt %0" ::"m"(gdtr));
}

void descriptors_load_ldt(unsigned int cpu, unsigned long base, unsigned int entries)
{
    if (!entries) {
        asm volatile("lldt %w0" ::"r"(0));
        return;
    }
    set_system_descriptor(&tables[cpu]->gdt[GDT_INDEX(SEL_LDT)], base, entries * 8 - 1, DESC_LDT);
    asm volatile("lldt %w0" ::"r"(SEL_LDT) : "memory");
}

static void load_segments(void)
{
    unsigned long cs;

    asm volatile("pushq %1\n"
                 "leaq 1f(%%rip), %0\n"
                 "pushq %0\n"
                 "lretq\n"
                 "1: movl %2, %%ss\n"
                 "movl %3, %%ds\n"
                 "movl %3, %%es\n"
                 "movl %3, %%fs\n"
                 "movl %3, %%gs\n"
                 : "=&r"(cs)
                 : "i"(SEL_HV_CS), "r"(SEL_HV_DS), "r"(0)
                 : "memory");
}

static void init_syscall(unsigned int cpu)
{
    const uint64_t clear =
        RFLAGS_TF | RFLAGS_IF | RFLAGS_DF | RFLAGS_IOPL | RFLAGS_NT | RFLAGS_RF | RFLAGS_AC;

    wrmsr(MSR_STAR, (uint64_t)SEL_GUEST_CS32 << 48 | (uint64_t)SEL_HV_CS << 32);
    wrmsr(MSR_LSTAR, (uint64_t)syscall_stubs + cpu * SYSCALL_STUB_BYTES);
    wrmsr(MSR_CSTAR, (uint64_t)syscall_stubs + cpu * SYSCALL_STUB_BYTES + SYSCALL_STUB_BYTES / 2);
    wrmsr(MSR_SYSCALL_MASK, clear);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
    // The slot serves as stack pointer until the entry has loaded the real one.
    wrmsr(MSR_SYSENTER_CS, SEL_HV_CS);
    wrmsr(MSR_SYSENTER_ESP, (uint64_t)&syscall_slots[cpu]);
    wrmsr(MSR_SYSENTER_EIP, (uint64_t)sysenter_entry);
}

void descriptors_cpu_init(unsigned int cpu)
{
    if (descriptors_cpu_alloc(cpu))
        panic("no memory for the descriptor tables of CPU %u", cpu);
    // Loading TR marks it busy; the CPU may come up again.
    tables[cpu]->gdt[GDT_INDEX(SEL_TSS)] &= ~(2ull << 40);
    descriptors_load_own(cpu);
    load_segments();
    asm volatile("ltr %w0" ::"r"(SEL_TSS));
    idt_load();
    init_syscall(cpu);
}
