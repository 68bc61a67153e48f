// SPDX-License-Identifier: BSD-2-Clause
// Timers: set_timer_op, single-shot and periodic timers of vcpu_op, VIRQ_TIMER.
#include "lib/guest.h"

static evtchn_port_t timer;

static bool wait_events(unsigned int n, uint64_t ns)
{
    uint64_t end = clock_now() + ns;

    while (event_count[timer] < n && clock_now() < end)
        cpu_relax();
    return event_count[timer] >= n;
}

// Spins until shortly before a deadline; false when an event came ahead of it.
static bool silent_until(uint64_t deadline)
{
    unsigned int n;

    do {
        n = event_count[timer];
        if (clock_now() >= deadline) // when the machine was busy: then it is no longer early
            return true;
    } while (!n && clock_now() + MS < deadline);
    return !n;
}

static long one_shot(uint64_t when, uint32_t flags)
{
    struct vcpu_set_singleshot_timer s = {.timeout_abs_ns = when, .flags = flags};

    return hc_vcpu_op(VCPUOP_set_singleshot_timer, 0, &s);
}

static void timer_op(void)
{
    uint64_t start, worst = 0;

    event_count[timer] = 0;
    start = clock_now() + 20 * MS;
    is(hc_set_timer_op(start), 0, "set_timer_op");
    ok(silent_until(start), "not early");
    ok(wait_events(1, 1000 * MS), "it comes");
    clock_spin(30 * MS);
    is(event_count[timer], 1, "once");
    for (unsigned int i = 0; i < 20; i++) {
        event_count[timer] = 0;
        start = clock_now() + MS;
        hc_set_timer_op(start);
        wait_events(1, 1000 * MS);
        if (clock_now() - start > worst)
            worst = clock_now() - start;
    }
    tap_note("latest of twenty by %lu us", worst / 1000);
    ok(worst < 1000 * MS, "twenty timers of 1 ms come in time");
    event_count[timer] = 0;
    hc_set_timer_op(clock_now() + 100 * MS);
    is(hc_set_timer_op(0), 0, "zero stops it");
    clock_spin(120 * MS);
    is(event_count[timer], 0, "it does not come");
    is(hc_set_timer_op(clock_now() - MS), 0, "a time in the past");
    ok(wait_events(1, 1000 * MS), "comes at once");
}

static void singleshot(void)
{
    uint64_t start = clock_now() + 10 * MS;

    event_count[timer] = 0;
    is(one_shot(start, 0), 0, "set_singleshot_timer");
    ok(silent_until(start), "not early");
    ok(wait_events(1, 1000 * MS), "it comes");
    // The hypervisor may ignore the flag: then the event comes at once.
    is_either(one_shot(clock_now() - MS, VCPU_SSHOTTMR_future), -XEN_ETIME, 0,
              "future flag, time passed");
    clock_spin(2 * MS);
    event_count[timer] = 0;
    is(one_shot(clock_now() + 20 * MS, VCPU_SSHOTTMR_future), 0, "future flag, time to come");
    ok(wait_events(1, 1000 * MS), "it comes");
    event_count[timer] = 0;
    one_shot(clock_now() + 100 * MS, 0);
    is(hc_vcpu_op(VCPUOP_stop_singleshot_timer, 0, NULL), 0, "stop_singleshot_timer");
    clock_spin(120 * MS);
    is(event_count[timer], 0, "it does not come");
    one_shot(clock_now() - 5 * MS, 0);
    ok(wait_events(1, 1000 * MS), "a time in the past, no flag: at once");
    is_error(hc_vcpu_op(VCPUOP_set_singleshot_timer, 0, (void *)0x1000), "bad pointer");
    if (smp_count() > 1) {
        struct vcpu_set_singleshot_timer s = {.timeout_abs_ns = clock_now()};

        is_error(hc_vcpu_op(VCPUOP_set_singleshot_timer, 1, &s), "of another vCPU");
    }
}

static void periodic(void)
{
    struct vcpu_set_periodic_timer p = {.period_ns = 10 * MS};
    unsigned int n;

    event_count[timer] = 0;
    is(hc_vcpu_op(VCPUOP_set_periodic_timer, 0, &p), 0, "set_periodic_timer");
    clock_spin(205 * MS);
    n = event_count[timer];
    tap(n >= 5 && n <= 22, "about twenty times in 200 ms", "%u times", n);
    is(hc_vcpu_op(VCPUOP_stop_periodic_timer, 0, NULL), 0, "stop_periodic_timer");
    n = event_count[timer];
    clock_spin(30 * MS);
    is(event_count[timer], n, "it stopped");
    p.period_ns = 1;
    is_error(hc_vcpu_op(VCPUOP_set_periodic_timer, 0, &p), "a period too short");
    p.period_ns = ~0UL;
    is_error(hc_vcpu_op(VCPUOP_set_periodic_timer, 0, &p), "a period too long");
    is_error(hc_vcpu_op(VCPUOP_set_periodic_timer, 0, (void *)0x1000), "bad pointer");
}

static void sleep(void)
{
    unsigned int n = 0;
    uint64_t start = clock_now();

    for (int i = 0; i < 20; i++) {
        event_count[timer] = 0;
        event_disable();
        one_shot(clock_now() + 2 * MS, 0);
        while (!event_count[timer]) {
            hc_sched_op(SCHEDOP_block, NULL);
            event_disable();
        }
        n++;
    }
    event_enable();
    is(n, 20, "twenty sleeps of 2 ms");
    tap_note("took %lu ms", (clock_now() - start) / MS);
    ok(clock_now() - start >= 40 * MS && clock_now() - start < 1000 * MS,
       "in 40 ms and not much more");
}

void guest_main(void)
{
    timer = (evtchn_port_t)event_bind_virq(VIRQ_TIMER, 0);
    hc_vcpu_op(VCPUOP_stop_periodic_timer, 0, NULL);
    event_port_clear_mask(timer);
    event_enable();
    timer_op();
    singleshot();
    periodic();
    sleep();
}
