// SPDX-License-Identifier: BSD-2-Clause
#include "x86/cpu/smp.h"
#include "core/panic.h"
#include "core/spinlock.h"
#include "lib/bitmap.h"
#include "x86/arch/crash.h"
#include "x86/arch/percpu.h"
#include "x86/cpu/apic.h"
#include "x86/cpu/irq.h"

unsigned long cpu_online_map[MAX_CPUS / 64];
unsigned int __read_only_after_boot cpu_count = 1;
unsigned long __read_only_after_boot percpu_offsets[MAX_CPUS];

DEFINE_PER_CPU(struct vcpu *, current_vcpu);

// ---- calls --------------------------------------------------------------------------------------

// One call at a time. A CPU that waits for its turn has interrupts on and serves the others.
static spinlock_t call_lock;
static struct {
    void (*fn)(void *arg);
    void *arg;
    unsigned long waiting[MAX_CPUS / 64]; // CPUs that have not run it yet
} call;

static void on_call(struct cpu_user_regs *regs)
{
    unsigned int cpu = cpu_id();
    // A late second interrupt for a call already served finds its bit clear.
    if (!bit_test(call.waiting, cpu))
        return;
    smp_rmb();
    call.fn(call.arg);
    bit_clear_atomic(call.waiting, cpu);
}

static void call_others(const unsigned long *mask, void (*fn)(void *arg), void *arg)
{
    unsigned int cpu, self = cpu_id();
    lock_check_call();
    while (!spin_trylock(&call_lock))
        cpu_relax();
    call.fn = fn;
    call.arg = arg;
    smp_wmb();
    for (unsigned int i = 0; i < ARRAY_SIZE(call.waiting); i++) {
        unsigned long word = mask[i] & cpu_online_map[i];
        if (i == self / 64)
            word &= ~(1ul << self % 64);
        WRITE_ONCE(call.waiting[i], word);
    }
    bitmap_for_each (cpu, call.waiting, cpu_count)
        apic_send_ipi(cpu, VECTOR_CALL);
    while (!bitmap_empty(call.waiting, cpu_count)) {
        cpu_relax();
        barrier();
    }
    spin_unlock(&call_lock);
}

void arch_cpu_call(const unsigned long *mask, void (*fn)(void *arg), void *arg)
{
    unsigned int self = cpu_id();
    bool others = false;
    for (unsigned int i = 0; i < DIV_ROUND_UP(cpu_count, 64); i++) {
        unsigned long word = mask[i] & cpu_online_map[i];
        if (i == self / 64)
            word &= ~(1ul << self % 64);
        others |= word != 0;
    }
    if (others) {
        ASSERT(irq_enabled());
        call_others(mask, fn, arg);
    }
    if (bit_test(mask, self)) {
        unsigned long flags = irq_save(); // as on the others
        fn(arg);
        irq_restore(flags);
    }
}

static void on_kick(struct cpu_user_regs *regs)
{
    // The way back from the interrupt looks at the softirqs.
}

void arch_cpu_kick(unsigned int cpu)
{
    apic_send_ipi(cpu, VECTOR_KICK);
}

void arch_cpu_idle(void)
{
    asm volatile("sti; hlt" ::: "memory");
}

void arch_stop_other_cpus(void)
{
    unsigned int cpu;
    for_each_online_cpu (cpu)
        if (cpu != cpu_id())
            apic_send_nmi(cpu);
}

void __init smp_init_vectors(void)
{
    irq_set_direct(VECTOR_KICK, on_kick);
    irq_set_direct(VECTOR_CALL, on_call);
}

static void nothing(void *arg) {}

void arch_cpu_sync(void)
{
    arch_cpu_call(cpu_online_map, nothing, NULL);
}
