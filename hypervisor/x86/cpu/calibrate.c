// SPDX-License-Identifier: BSD-2-Clause
#include "x86/cpu/calibrate.h"
#include "core/console.h"
#include "drivers/acpi.h"
#include "x86/arch/io.h"
#include "x86/cpu/apic.h"
#include "x86/cpu/cpuid.h"
#include "x86/mm/paging.h"

// A free-running counter. read() counts up and wraps at mask.
struct reference {
    const char *name;
    uint64_t hz, mask;
    uint64_t (*read)(void);
};

enum {
    PIT_COMMAND = 0x43,
    PIT_CHANNEL2 = 0x42,
    PIT_GATE = 0x61,
    PIT_HZ = 1193182,
    PM_TIMER_HZ = 3579545,
    HPET_PERIOD = 0x04,
    HPET_CONFIG = 0x10,
    HPET_COUNTER = 0xf0,
    HPET_ENABLE = 1,
    SAMPLE_TRIES = 8,
    WINDOW_PER_SECOND = 100, // the measurement takes 1/100 s
};
#define HPET_FS_PER_S 1000000000000000ull

static char *__initdata hpet;

static uint64_t __init read_pm_timer(void)
{
    return inl(acpi_info.pm_timer) & 0xffffff;
}

static uint64_t __init read_hpet(void)
{
    return read32(hpet + HPET_COUNTER);
}

static uint64_t __init read_pit(void)
{
    outb(PIT_COMMAND, 0x80); // latch channel 2
    uint16_t count = inb(PIT_CHANNEL2);
    count |= inb(PIT_CHANNEL2) << 8;
    return (uint16_t)-count;
}

static bool __init open_hpet(struct reference *r)
{
    if (!acpi_info.hpet.v || !(hpet = ioremap(acpi_info.hpet, 0x400)))
        return false;
    uint32_t period = read32(hpet + HPET_PERIOD);
    if (!period || period > 100000000) {
        vunmap(hpet);
        return false;
    }
    write32(hpet + HPET_CONFIG, read32(hpet + HPET_CONFIG) | HPET_ENABLE);
    *r = (struct reference){"HPET", HPET_FS_PER_S / period, 0xffffffff, read_hpet};
    return true;
}

// A counter that does not move is no clock.
static bool __init moves(const struct reference *r)
{
    uint64_t first = r->read();
    for (unsigned int i = 0; i < 100000; i++)
        if (r->read() != first)
            return true;
    return false;
}

static void __init open_reference(struct reference *r)
{
    if (acpi_info.pm_timer) {
        *r = (struct reference){"PM timer", PM_TIMER_HZ, 0xffffff, read_pm_timer};
        if (moves(r))
            return;
    }
    if (open_hpet(r)) {
        if (moves(r))
            return;
        vunmap(hpet);
    }
    outb(PIT_GATE, (inb(PIT_GATE) & ~2) | 1); // gate on, speaker off
    outb(PIT_COMMAND, 0xb0);                  // channel 2, mode 0, both bytes
    outb(PIT_CHANNEL2, 0xff);
    outb(PIT_CHANNEL2, 0xff);
    *r = (struct reference){"PIT", PIT_HZ, 0xffff, read_pit};
    if (!moves(r))
        panic("This machine has no PM timer, HPET or PIT to measure the CPU's clock with");
}

struct sample {
    uint64_t tsc, ref;
    uint32_t apic;
};

// Catch the reference just after it has moved. How well the moment is known shows in how close the
// two TSC readings around all others are; a host that takes our CPU away in between makes a wide
// pair.
static struct sample __init take_sample(const struct reference *r)
{
    struct sample best = {};
    uint64_t width = ~0ull;
    for (unsigned int i = 0; i < SAMPLE_TRIES; i++) {
        uint64_t previous = r->read(), before, ref, after;
        uint32_t apic;
        do {
            before = rdtsc();
            ref = r->read();
            apic = apic_timer_count();
            after = rdtsc();
        } while (ref == previous);
        if (after - before >= width)
            continue;
        width = after - before;
        best = (struct sample){before + width / 2, ref, apic};
    }
    return best;
}

struct calibration __init calibrate(void)
{
    struct reference ref;
    open_reference(&ref);
    apic_timer_start_free();
    struct sample a = take_sample(&ref);
    while (((ref.read() - a.ref) & ref.mask) < ref.hz / WINDOW_PER_SECOND)
        ;
    struct sample b = take_sample(&ref);
    uint64_t ticks = (b.ref - a.ref) & ref.mask;
    struct calibration c = {
        .tsc_hz = (b.tsc - a.tsc) * ref.hz / ticks,
        .apic_hz = (uint64_t)(a.apic - b.apic) * ref.hz / ticks,
        .source = ref.name,
    };
    if (hpet && ref.read == read_hpet)
        vunmap(hpet);
    return c;
}
