// SPDX-License-Identifier: BSD-2-Clause
// Time: the version protocol, monotonic on and between vCPUs, wall clock.
#include "lib/guest.h"

static unsigned int backwards(uint64_t ns)
{
    uint64_t last = clock_now(), end = last + ns;
    unsigned int n = 0;

    while (last < end) {
        uint64_t now = clock_now();

        n += now < last;
        last = now;
    }
    return n;
}

static void one_vcpu(void)
{
    vcpu_time_info_t a, b;
    uint64_t tsc, start;

    a = clock_read(&this_vcpu()->info->time);
    is(a.version & 1, 0, "the version is even");
    ok(a.tsc_to_system_mul, "there is a scale");
    ok(clock_now() > 0, "there is a time");
    is(a.flags & ~XEN_PVCLOCK_TSC_STABLE_BIT & ~XEN_PVCLOCK_GUEST_STOPPED, 0, "no unknown flag");
    is(backwards(300 * MS), 0, "never backwards");
    b = clock_read(&this_vcpu()->info->time);
    ok(b.system_time >= a.system_time && b.tsc_timestamp >= a.tsc_timestamp, "records go forward");
    tsc = rdtsc_ordered();
    start = clock_now();
    clock_spin(50 * MS);
    tsc = clock_scale(&b, rdtsc_ordered() - tsc);
    start = clock_now() - start;
    ok(start >= 50 * MS && tsc + 20 * MS > start && start + 20 * MS > tsc,
       "time and time stamp counter agree");
    tap_note("scale %x shift %d, %lu kHz", b.tsc_to_system_mul, b.tsc_shift,
             b.tsc_shift >= 0
                 ? (unsigned long)(((1000000UL << 32) / b.tsc_to_system_mul) >> b.tsc_shift)
                 : (unsigned long)(((1000000UL << 32) / b.tsc_to_system_mul) << -b.tsc_shift));
}

static volatile uint64_t shared_time, other_time;
static volatile unsigned int turn, bad, rounds;

static void answer(void *arg)
{
    (void)arg;
    while (rounds) {
        if (turn == 1) {
            other_time = clock_now();
            bad += other_time + 1000 < shared_time;
            turn = 0;
        }
        cpu_relax();
    }
}

// Each looks at the clock after it has seen the other's reading.
static void two_vcpus(void)
{
    unsigned int n = 0;
    uint64_t end;

    if (smp_count() < 2 || smp_start(1)) {
        tap_skip("two vCPUs", "this domain has one");
        return;
    }
    rounds = 1;
    smp_post(1, answer, NULL);
    for (end = clock_now() + 400 * MS; clock_now() < end;) {
        if (turn)
            continue;
        if (n++)
            bad += clock_now() + 1000 < other_time;
        shared_time = clock_now();
        turn = 1;
    }
    rounds = 0;
    smp_wait(1);
    tap_note("%u exchanges", n);
    tap(!bad, "two vCPUs see one time, within a microsecond", "%u of %u went back", bad, n);
}

static void wall_clock(void)
{
    uint32_t version, sec, sec_hi;
    uint64_t now;

    do {
        version = READ_ONCE(shared_info->wc_version);
        sec = READ_ONCE(shared_info->wc_sec);
        sec_hi = READ_ONCE(shared_info->wc_sec_hi);
    } while ((version & 1) || version != READ_ONCE(shared_info->wc_version));
    now = ((uint64_t)sec_hi << 32 | sec) + clock_now() / 1000000000;
    tap_note("wall clock %lu s since 1970", now);
    ok(now > 1700000000UL && now < 4000000000UL, "the wall clock is of this age");
    ok(READ_ONCE(shared_info->wc_nsec) < 1000000000, "nanoseconds below one second");
}

void guest_main(void)
{
    one_vcpu();
    wall_clock();
    two_vcpus();
}
