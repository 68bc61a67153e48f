// SPDX-License-Identifier: BSD-2-Clause
// TLB flushes and the clock that lets most of them be left out.
//
// tlb_clock advances when a CPU flushes after someone took a stamp, and only then: a flush that no
// stamp could depend on costs no write to a shared line. A CPU's `flushed` is the clock's value
// after its last full flush; a stamp s needs no flush there when flushed > s.
#include "x86/mm/paging.h"

#include "core/domain.h"
#include "core/softirq.h"
#include "lib/bitmap.h"
#include "lib/bug.h"
#include "x86/arch/memory.h"
#include "x86/cpu/msr.h"

static uint32_t tlb_clock __cacheline = 1;
static uint32_t tlb_stamped; // the last clock value that was given out as a stamp
DEFINE_PER_CPU(uint32_t, tlb_flushed);

uint32_t tlb_clock_now(void)
{
    uint32_t now = __atomic_load_n(&tlb_clock, __ATOMIC_RELAXED);
    if (READ_ONCE(tlb_stamped) != now) {
        WRITE_ONCE(tlb_stamped, now);
        smp_mb(); // before the stamped frame's state change is seen
    }
    return now;
}

uint32_t arch_tlb_stamp(void)
{
    return tlb_clock_now();
}

// A CPU that does not flush for 2^31 ticks would look freshly flushed again: shake all every 2^30.
static void clock_overflow(void)
{
    unsigned int cpu;
    for_each_online_cpu (cpu)
        softirq_raise(cpu, SOFTIRQ_TLB);
}

// Before a full flush of this CPU. The value to put into tlb_flushed after it.
static inline uint32_t clock_tick(void)
{
    uint32_t now = __atomic_load_n(&tlb_clock, __ATOMIC_RELAXED);
    if (READ_ONCE(tlb_stamped) == now) {
        uint32_t next = now + 1;
        if (__atomic_compare_exchange_n(&tlb_clock, &now, next, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST)) {
            now = next;
            if (unlikely(!(next & 0x3fffffff)))
                clock_overflow();
        }
    }
    return now;
}

static inline uint64_t read_cr4(void)
{
    uint64_t v;
    asm volatile("mov %%cr4, %0" : "=r"(v));
    return v;
}

static inline void write_cr4(uint64_t v)
{
    asm volatile("mov %0, %%cr4" ::"r"(v) : "memory");
}

static inline void flush_hardware(void)
{
    uint64_t cr4 = read_cr4();

    if (cr4 & CR4_PGE) { // any change of PGE drops all entries
        write_cr4(cr4 & ~(uint64_t)CR4_PGE);
        write_cr4(cr4);
    } else {
        uint64_t cr3;
        asm volatile("mov %%cr3, %0; mov %0, %%cr3" : "=r"(cr3)::"memory");
    }
}

void tlb_flush_local_global(void)
{
    unsigned long flags = irq_save();
    uint32_t t = clock_tick();
    flush_hardware();
    this_cpu(tlb_flushed) = t;
    irq_restore(flags);
}

void tlb_flush_local(void)
{
    uint64_t cr3;
    asm volatile("mov %%cr3, %0; mov %0, %%cr3" : "=r"(cr3)::"memory");
}

void tlb_invlpg(unsigned long va)
{
    asm volatile("invlpg (%0)" ::"r"(va) : "memory");
}

void tlb_write_cr3(uint64_t cr3)
{
    ASSERT(cr3);
    uint32_t t = clock_tick();
    uint64_t cr4 = read_cr4();

    // PGE off, new base, PGE on: both kinds of entries are gone, and none of the old base's can
    // come back in between.
    if (cr4 & CR4_PGE)
        write_cr4(cr4 & ~(uint64_t)CR4_PGE);
    asm volatile("mov %0, %%cr3" ::"r"(cr3) : "memory");
    if (cr4 & CR4_PGE)
        write_cr4(cr4);
    this_cpu(tlb_flushed) = t;
}

struct flush_request {
    unsigned long va;
    bool one_page;
};

static void flush_here(void *arg)
{
    const struct flush_request *r = arg;
    if (r->one_page)
        tlb_invlpg(r->va);
    else
        tlb_flush_local_global();
}

void tlb_flush_mask(const unsigned long *cpus, const void *va, bool va_valid)
{
    struct flush_request r = {.va = (unsigned long)va, .one_page = va_valid};
    DECLARE_BITMAP(others, MAX_CPUS);
    unsigned int me = cpu_id();
    unsigned long any = 0;

    for (unsigned int i = 0; i < ARRAY_SIZE(others); i++) {
        others[i] = cpus[i] & cpu_online_map[i];
        if (i == me / BITS_PER_LONG)
            others[i] &= ~(1ul << (me % BITS_PER_LONG));
        any |= others[i];
    }
    if (bit_test(cpus, me))
        flush_here(&r);
    if (any)
        arch_cpu_call(others, flush_here, &r);
}

void tlb_flush_all_global(void)
{
    if (bitmap_weight(cpu_online_map, MAX_CPUS) <= 1)
        tlb_flush_local_global();
    else
        tlb_flush_mask(cpu_online_map, NULL, false);
}

// Does the CPU still hold entries from before the stamp?
static inline bool needs_flush(uint32_t flushed, uint32_t stamp)
{
    return (int32_t)(flushed - stamp) <= 0;
}

void tlb_filter(unsigned long *mask, uint32_t stamp)
{
    unsigned int cpu;

    for (cpu = bitmap_next(mask, cpu_count, 0); cpu < cpu_count;
         cpu = bitmap_next(mask, cpu_count, cpu + 1))
        if (!needs_flush(READ_ONCE(per_cpu(tlb_flushed, cpu)), stamp))
            bit_clear(mask, cpu);
}

void arch_tlb_flush_since(uint32_t stamp)
{
    DECLARE_BITMAP(mask, MAX_CPUS);
    unsigned int cpu;

    smp_mb();
    bitmap_copy(mask, cpu_online_map, MAX_CPUS);
    // An idle CPU uses nothing of a guest's, and flushes when it takes up a vCPU again.
    for_each_online_cpu (cpu) {
        const struct vcpu *v = READ_ONCE(per_cpu(current_vcpu, cpu));
        if (v && v->is_idle)
            bit_clear(mask, cpu);
    }
    tlb_filter(mask, stamp);
    tlb_flush_mask(mask, NULL, false);
}

// A vCPU that is not running flushes everything when it is switched in (tlb_write_cr3), and CPUs
// do not keep a descheduled vCPU's tables loaded; so the CPUs of running vCPUs are all there are.
void tlb_domain_dirty_mask(const struct domain *d, unsigned long *mask)
{
    struct vcpu *v;

    bitmap_zero(mask, MAX_CPUS);
    smp_mb(); // page-table changes before the look at who runs
    for_each_vcpu (d, v)
        if (READ_ONCE(v->is_running))
            bit_set(mask, READ_ONCE(v->cpu));
}

void tlb_flush_domain_since(const struct domain *d, uint32_t stamp)
{
    DECLARE_BITMAP(others, MAX_CPUS);
    unsigned int me = cpu_id();
    bool here = false, elsewhere = false;
    struct vcpu *v;

    smp_mb(); // page-table changes before the look at who runs
    for_each_vcpu (d, v) {
        unsigned int cpu = READ_ONCE(v->cpu);
        if (!READ_ONCE(v->is_running) || !needs_flush(READ_ONCE(per_cpu(tlb_flushed, cpu)), stamp))
            continue;
        if (cpu == me) {
            here = true;
            continue;
        }
        if (!elsewhere)
            bitmap_zero(others, MAX_CPUS);
        elsewhere = true;
        bit_set(others, cpu);
    }
    if (here)
        tlb_flush_local_global();
    if (elsewhere)
        tlb_flush_mask(others, NULL, false);
}

void tlb_flush_domain(const struct domain *d, const void *va, bool va_valid)
{
    DECLARE_BITMAP(mask, MAX_CPUS);

    tlb_domain_dirty_mask(d, mask);
    tlb_flush_mask(mask, va, va_valid);
}

void tlb_cpu_init(void)
{
    softirq_register(SOFTIRQ_TLB, tlb_flush_local_global);
}
