// SPDX-License-Identifier: BSD-2-Clause
// What core code may ask of a CPU: interrupt flag, barriers, pause, who am I.
#pragma once

#include "lib/types.h"

#define MAX_CPUS 256 // physical CPUs the hypervisor is built for

#define barrier() asm volatile("" ::: "memory")
#define smp_mb()  asm volatile("lock addl $0, -4(%%rsp)" ::: "memory", "cc")
#define smp_rmb() barrier() // loads are not reordered with loads on x86
#define smp_wmb() barrier() // stores are not reordered with stores on x86

static inline void cpu_relax(void)
{
    asm volatile("pause" ::: "memory");
}
static inline void irq_disable(void)
{
    asm volatile("cli" ::: "memory");
}
static inline void irq_enable(void)
{
    asm volatile("sti" ::: "memory");
}

static inline unsigned long irq_flags(void)
{
    unsigned long f;
    asm volatile("pushfq; popq %0" : "=r"(f)::"memory");
    return f;
}
static inline bool irq_enabled(void)
{
    return irq_flags() & 0x200;
}
static inline unsigned long irq_save(void)
{
    unsigned long f = irq_flags();
    irq_disable();
    return f;
}
static inline void irq_restore(unsigned long flags)
{
    if (flags & 0x200)
        irq_enable();
}

// Bound an untrusted index under speculation: i when i < n, else 0. Branch-free.
static inline unsigned long index_nospec(unsigned long i, unsigned long n)
{
    unsigned long mask;
    asm volatile("cmp %2, %1; sbb %0, %0" : "=r"(mask) : "r"(i), "r"(n) : "cc");
    return i & mask;
}

extern unsigned long cpu_online_map[MAX_CPUS / 64]; // set by the CPU itself when it can take work
extern unsigned int cpu_count;                      // number of possible CPUs: ids 0..cpu_count-1

#define for_each_online_cpu(n) bitmap_for_each (n, cpu_online_map, cpu_count)

// Make `cpu` run do_softirq() soon (it may be idle or in a guest). Any context.
void arch_cpu_kick(unsigned int cpu);
// Wait for an interrupt with no softirq pending; called by the idle loop with interrupts off,
// returns with them on.
void arch_cpu_idle(void);
// The CPU's firmware ids: APIC id in bits 31:0, ACPI id above. 0 or -EINVAL.
int __must_check arch_cpu_physid(unsigned int cpu, uint64_t *id);
// Which core of which socket a CPU is a thread of: numbers that may have gaps.
struct cpu_topology {
    uint32_t core, socket;
};
struct cpu_topology arch_cpu_topology(unsigned int cpu);
// Run fn(arg) on every CPU in the mask (the caller's own included) and wait for all. Interrupts on.
void arch_cpu_call(const unsigned long *mask, void (*fn)(void *arg), void *arg);
// Return once every CPU has taken an interrupt: whoever looked something up with interrupts off
// before is done with it. Interrupts on.
void arch_cpu_sync(void);
__noreturn void arch_machine_restart(void);
__noreturn void arch_machine_halt(void);
__noreturn void arch_machine_poweroff(void);        // ACPI S5 if known, else halt
__noreturn void arch_machine_restart_or_halt(void); // after a crash, as noreboot says
