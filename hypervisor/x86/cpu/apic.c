// SPDX-License-Identifier: BSD-2-Clause
#include "x86/cpu/apic.h"
#include "x86/cpu/cpuid.h"
#include "x86/cpu/irq.h"
#include "x86/cpu/msr.h"
#include "x86/arch/cpu.h"
#include "x86/arch/percpu.h"
#include "x86/arch/io.h"
#include "x86/mm/paging.h"
#include "core/console.h"

enum { // register offsets; x2APIC: MSR 0x800 + offset / 16
    APIC_ID = 0x20,
    APIC_TPR = 0x80,
    APIC_EOI = 0xb0,
    APIC_LDR = 0xd0,
    APIC_DFR = 0xe0,
    APIC_SVR = 0xf0,
    APIC_ESR = 0x280,
    APIC_ICR = 0x300,
    APIC_ICR_HIGH = 0x310,
    APIC_LVT_TIMER = 0x320,
    APIC_LVT_THERMAL = 0x330,
    APIC_LVT_PERF = 0x340,
    APIC_LVT_LINT0 = 0x350,
    APIC_LVT_LINT1 = 0x360,
    APIC_LVT_ERROR = 0x370,
    APIC_TIMER_INITIAL = 0x380,
    APIC_TIMER_CURRENT = 0x390,
    APIC_TIMER_DIVIDE = 0x3e0,
    APIC_VERSION = 0x30,
};
enum {
    SVR_ENABLE = 1 << 8,
    LVT_MASKED = 1 << 16,
    LVT_NMI = 4 << 8,
    TIMER_TSC_DEADLINE = 2 << 17,
    ICR_NMI = 4 << 8,
    ICR_INIT = 5 << 8,
    ICR_STARTUP = 6 << 8,
    ICR_ASSERT = 1 << 14,
    ICR_BUSY = 1 << 12,
    DIVIDE_BY_1 = 0xb,
    XAPIC_BASE = 0xfee00000,
};

static bool __read_only_after_boot x2apic;
static char *__read_only_after_boot registers;
static uint64_t __read_only_after_boot timer_hz;
static uint32_t __read_only_after_boot ids[MAX_CPUS] = {[0 ... MAX_CPUS - 1] = ~0u};

static uint32_t apic_read(unsigned int reg)
{
    return x2apic ? rdmsr(MSR_X2APIC_FIRST + reg / 16) : read32(registers + reg);
}

static void apic_write(unsigned int reg, uint32_t v)
{
    if (x2apic)
        wrmsr(MSR_X2APIC_FIRST + reg / 16, v);
    else
        write32(registers + reg, v);
}

void __init apic_init(void)
{
    uint64_t base = rdmsr(MSR_APIC_BASE);
    bool firmware_x2apic = base & APIC_BASE_X2APIC;
    x2apic = cpu_features.x2apic || firmware_x2apic;
    if (!x2apic) {
        registers = ioremap(PADDR(XAPIC_BASE), PAGE_SIZE);
        if (!registers)
            panic("No memory to map the local APIC");
    }
    printk("APIC: %s mode\n", x2apic ? "x2APIC" : "xAPIC");
}

bool apic_is_x2apic(void)
{
    return x2apic;
}

static void timer_unmask(void)
{
    if (cpu_features.tsc_deadline) {
        apic_write(APIC_LVT_TIMER, TIMER_TSC_DEADLINE | VECTOR_TIMER);
        // The mode must be set before the first deadline is.
        asm volatile("mfence" ::: "memory");
    } else {
        apic_write(APIC_LVT_TIMER, VECTOR_TIMER);
    }
}

void apic_init_cpu(void)
{
    uint64_t base = XAPIC_BASE | (rdmsr(MSR_APIC_BASE) & APIC_BASE_BSP) | APIC_BASE_ENABLE;
    // x2APIC can only be entered from enabled xAPIC mode.
    if (!(rdmsr(MSR_APIC_BASE) & APIC_BASE_X2APIC))
        wrmsr(MSR_APIC_BASE, base);
    if (x2apic)
        wrmsr(MSR_APIC_BASE, base | APIC_BASE_X2APIC);
    apic_write(APIC_TPR, 0);
    if (!x2apic) {
        apic_write(APIC_DFR, 0xffffffff);
        apic_write(APIC_LDR, 0);
    }
    unsigned int last_lvt = apic_read(APIC_VERSION) >> 16 & 0xff;
    apic_write(APIC_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
    if (last_lvt >= 4)
        apic_write(APIC_LVT_PERF, LVT_MASKED | VECTOR_SPURIOUS);
    if (last_lvt >= 5)
        apic_write(APIC_LVT_THERMAL, LVT_MASKED | VECTOR_SPURIOUS);
    apic_write(APIC_LVT_LINT0, LVT_MASKED | VECTOR_SPURIOUS);
    apic_write(APIC_LVT_LINT1, LVT_NMI | (cpu_id() ? LVT_MASKED : 0));
    apic_write(APIC_ESR, 0);
    apic_write(APIC_LVT_ERROR, VECTOR_ERROR);
    apic_write(APIC_SVR, SVR_ENABLE | VECTOR_SPURIOUS);
    apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1);
    timer_unmask();
    // Interrupts left in service by the firmware would block ours.
    for (unsigned int i = 0; i < 256; i++)
        apic_eoi();
}

uint32_t apic_id_read(void)
{
    uint32_t id = apic_read(APIC_ID);
    return x2apic ? id : id >> 24;
}

uint32_t apic_id_of(unsigned int cpu)
{
    return cpu < MAX_CPUS ? ids[cpu] : ~0u;
}

void __init apic_set_id(unsigned int cpu, uint32_t id)
{
    ids[cpu] = id;
}

void apic_eoi(void)
{
    apic_write(APIC_EOI, 0);
}

// ---- inter-processor interrupts -----------------------------------------------------------------

static void icr_send(uint32_t apic_id, uint32_t command)
{
    if (x2apic) {
        // Unlike a memory access, this write does not order earlier stores.
        asm volatile("mfence; lfence" ::: "memory");
        wrmsr(MSR_X2APIC_FIRST + APIC_ICR / 16, (uint64_t)apic_id << 32 | command);
        return;
    }
    // An interrupt handler between the two halves could send as well.
    unsigned long flags = irq_save();
    while (apic_read(APIC_ICR) & ICR_BUSY)
        cpu_relax();
    apic_write(APIC_ICR_HIGH, apic_id << 24);
    apic_write(APIC_ICR, command);
    irq_restore(flags);
}

void apic_send_ipi(unsigned int cpu, uint8_t vector)
{
    icr_send(ids[cpu], vector | ICR_ASSERT);
}

void apic_send_nmi(unsigned int cpu)
{
    icr_send(ids[cpu], ICR_NMI | ICR_ASSERT);
}

void apic_send_init(uint32_t apic_id)
{
    icr_send(apic_id, ICR_INIT | ICR_ASSERT);
}

void apic_send_startup(uint32_t apic_id, uint8_t page)
{
    icr_send(apic_id, ICR_STARTUP | ICR_ASSERT | page);
}

// ---- timer --------------------------------------------------------------------------------------

void __init apic_timer_calibrated(uint64_t hz)
{
    timer_hz = hz;
    timer_unmask(); // calibration had it run free, masked
}

uint32_t apic_timer_count(void)
{
    return apic_read(APIC_TIMER_CURRENT);
}

void __init apic_timer_start_free(void)
{
    apic_write(APIC_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
    apic_write(APIC_TIMER_INITIAL, 0xffffffff);
}

void apic_timer_arm(uint64_t tsc, uint64_t ns_left)
{
    if (cpu_features.tsc_deadline) {
        wrmsr(MSR_TSC_DEADLINE, tsc);
        return;
    }
    uint64_t count = 0xffffffff;
    if (ns_left < NS_PER_S)
        count = MIN(ns_left * timer_hz / NS_PER_S + 1, count);
    apic_write(APIC_TIMER_INITIAL, count);
}

void apic_timer_disarm(void)
{
    if (cpu_features.tsc_deadline)
        wrmsr(MSR_TSC_DEADLINE, 0);
    else
        apic_write(APIC_TIMER_INITIAL, 0);
}
