// SPDX-License-Identifier: BSD-2-Clause
#include "x86/cpu/clock.h"
#include "core/console.h"
#include "core/domain.h"
#include "core/softirq.h"
#include "drivers/acpi.h"
#include "x86/arch/domain.h"
#include "x86/arch/guest_access.h"
#include "x86/cpu/apic.h"
#include "x86/cpu/calibrate.h"
#include "x86/cpu/cpuid.h"
#include "x86/cpu/irq.h"
#include "x86/cpu/rtc.h"

// ns = (shift < 0 ? ticks >> -shift : ticks << shift) * mul >> 32
static struct {
    uint64_t hz;
    uint64_t tsc_base;     // boot CPU's TSC at system time 0
    uint64_t ticks_per_ns; // fixed point, 30 bits of fraction
    uint32_t mul;
    int8_t shift;
    bool synchronous; // invariant, and no CPU differs from another
} clock __read_only_after_boot;

// TSC of this CPU at system time 0.
static DEFINE_PER_CPU(uint64_t, tsc_base);

// UTC at system time 0, nanoseconds since 1970.
static uint64_t wallclock_base;
static spinlock_t wallclock_lock;

static inline uint64_t scale(uint64_t ticks)
{
    ticks = clock.shift < 0 ? ticks >> -clock.shift : ticks << clock.shift;
    return (unsigned __int128)ticks * clock.mul >> 32;
}

stime_t now_ns(void)
{
    return scale(rdtsc() - this_cpu(tsc_base));
}

uint64_t arch_ticks(void)
{
    return rdtsc();
}

uint64_t arch_tsc_khz(void)
{
    return clock.hz / 1000;
}

static void __init set_rate(uint64_t hz)
{
    // mul in [2^31, 2^32): the most precise.
    uint64_t ns = NS_PER_S, ticks = hz;
    int shift = 0;
    for (; ns >= ticks; ticks *= 2)
        shift++;
    for (; ns * 2 < ticks; ns *= 2)
        shift--;
    clock.hz = hz;
    clock.mul = (ns << 32) / ticks;
    clock.shift = shift;
    clock.ticks_per_ns = (hz << 30) / NS_PER_S;
}

static void on_timer(struct cpu_user_regs *regs)
{
    softirq_raise_local(SOFTIRQ_TIMER);
}

void __init time_init(void)
{
    struct calibration c = calibrate();
    set_rate(c.tsc_hz);
    clock.tsc_base = rdtsc();
    clock.synchronous = cpu_features.tsc_invariant;
    this_cpu(tsc_base) = clock.tsc_base;
    apic_timer_disarm();
    apic_timer_calibrated(c.apic_hz);
    irq_set_direct(VECTOR_TIMER, on_timer);
    wallclock_base = rtc_read_seconds(acpi_info.rtc_century) * NS_PER_S - now_ns();
    printk("Clock: TSC %lu.%03lu MHz by the %s%s, timer %s %lu.%03lu MHz\n", c.tsc_hz / 1000000,
           c.tsc_hz / 1000 % 1000, c.source, cpu_features.tsc_invariant ? "" : " (not invariant)",
           cpu_features.tsc_deadline ? "by TSC deadline, else" : "one-shot", c.apic_hz / 1000000,
           c.apic_hz / 1000 % 1000);
}

void time_set_cpu_offset(int64_t offset)
{
    this_cpu(tsc_base) = clock.tsc_base + offset;
    if (offset)
        clock.synchronous = false;
}

void time_delay_us(unsigned int us)
{
    uint64_t start = rdtsc(), ticks = us * (clock.hz / 1000000);
    while (rdtsc() - start < ticks)
        cpu_relax();
}

void arch_timer_program(stime_t deadline)
{
    if (deadline <= 0) {
        apic_timer_disarm();
        return;
    }
    uint64_t tsc = rdtsc();
    stime_t now = scale(tsc - this_cpu(tsc_base));
    uint64_t left = deadline > now ? deadline - now : 0;
    // Far deadlines are cut: the interrupt comes early and the timer is set again.
    left = MIN(left, 3600ull * NS_PER_S);
    apic_timer_arm(tsc + ((unsigned __int128)left * clock.ticks_per_ns >> 30) + 1, left);
}

// ---- guests' view -------------------------------------------------------------------------------

// Version protocol of the public header: odd while the record changes.
static void write_time_info(struct vcpu_time_info *t, const struct vcpu_time_info *now)
{
    uint32_t version = (READ_ONCE(t->version) | 1) + 2;
    WRITE_ONCE(t->version, version);
    smp_wmb();
    t->tsc_timestamp = now->tsc_timestamp;
    t->system_time = now->system_time;
    t->tsc_to_system_mul = now->tsc_to_system_mul;
    t->tsc_shift = now->tsc_shift;
    t->flags = now->flags;
    smp_wmb();
    WRITE_ONCE(t->version, version + 1);
}

// System time is linear in the TSC for ever, so the record only changes when the vCPU comes to a
// CPU whose counter differs.
void arch_time_update_vcpu(struct vcpu *v)
{
    struct vcpu_time_info *t = &v->info->time;
    const struct vcpu_time_info now = {
        .tsc_timestamp = this_cpu(tsc_base),
        .tsc_to_system_mul = clock.mul,
        .tsc_shift = clock.shift,
        .flags = clock.synchronous ? XEN_PVCLOCK_TSC_STABLE_BIT : 0,
    };
    bool changed = t->tsc_timestamp != now.tsc_timestamp || t->system_time != 0 ||
                   t->tsc_to_system_mul != now.tsc_to_system_mul || t->flags != now.flags;
    if (changed)
        write_time_info(t, &now);
    if (v->arch.time_area && (changed || v->arch.time_area != v->arch.time_area_written)) {
        struct vcpu_time_info copy = *t;
        if (!arch_copy_to_guest_kernel(v->arch.time_area, &copy, sizeof(copy)))
            v->arch.time_area_written = v->arch.time_area;
    }
}

void arch_time_update_wallclock(struct domain *d)
{
    struct shared_info *s = d->shared_info;
    if (!s)
        return;
    unsigned long flags = spin_lock_irqsave(&wallclock_lock);
    uint64_t base = wallclock_base + d->arch.time_offset_s * NS_PER_S;
    uint32_t version = (READ_ONCE(s->wc_version) | 1) + 2;
    WRITE_ONCE(s->wc_version, version);
    smp_wmb();
    s->wc_sec = base / NS_PER_S;
    s->wc_sec_hi = base / NS_PER_S >> 32;
    s->wc_nsec = base % NS_PER_S;
    smp_wmb();
    WRITE_ONCE(s->wc_version, version + 1);
    spin_unlock_irqrestore(&wallclock_lock, flags);
}

void arch_time_set_wallclock(uint64_t secs, uint32_t nsecs, stime_t at)
{
    unsigned long flags = spin_lock_irqsave(&wallclock_lock);
    wallclock_base = secs * NS_PER_S + nsecs - at;
    spin_unlock_irqrestore(&wallclock_lock, flags);
    domid_t id = 0;
    for (struct domain *d; (d = domain_get_next(id)); domain_put(d)) {
        arch_time_update_wallclock(d);
        id = d->id + 1;
    }
}

uint64_t arch_wallclock_seconds(void)
{
    return wallclock_base ? (wallclock_base + now_ns()) / NS_PER_S : 0;
}
