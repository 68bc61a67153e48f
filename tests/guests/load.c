// SPDX-License-Identifier: BSD-2-Clause
// A guest that behaves as its command line says, for the system tests:
//   idle       blocks for ever             spin       burns its CPU
//   busy       burns it with PAUSE, as a kernel that waits: an emulator that runs all CPUs in one
//              thread goes on with the next one at once
//   masked     burns it, events disabled   flood      fills its console for ever
//   events     sends itself events         poweroff, crash   ends at once
//   fault      takes a fault with no handler (the PV form of a triple fault)
//   watchdog   sets one that bites after a second, and sleeps
//   wake       sleeps 10 ms 200 times, says how late it woke: "wake max=US mean=US"
#include "lib/guest.h"

static volatile unsigned long fault_at = 8;

// Without PAUSE: it makes an emulator that counts instructions give up its turn.
static void spin(void)
{
    for (;;)
        barrier();
}

static void busy(void)
{
    for (;;)
        __builtin_ia32_pause();
}

static void flood(void)
{
    for (unsigned long line = 0;; line++)
        print("flood %lu: the quick brown fox jumps over the lazy dog, again and again\n", line);
}

static void events(void)
{
    long port = event_bind_ipi(0);

    event_disable();
    for (;;)
        event_send(port);
}

static void watchdog(void)
{
    sched_watchdog_t w = {.timeout = 1};

    hc_sched_op(SCHEDOP_watchdog, &w);
}

static void wake(void)
{
    uint64_t max = 0, sum = 0;
    const unsigned int rounds = 200;
    evtchn_port_t port = event_bind_virq(VIRQ_TIMER, 0);
    sched_poll_t poll = {.nr_ports = 1};

    event_port_mask(port);
    set_xen_guest_handle(poll.ports, &port);
    for (unsigned int i = 0; i < rounds; i++) {
        uint64_t due = clock_now() + 10 * MS;
        uint64_t late;

        event_port_clear_pending(port);
        poll.timeout = due;
        hc_sched_op(SCHEDOP_poll, &poll);
        late = clock_now() - due;
        late = (int64_t)late < 0 ? 0 : late;
        sum += late;
        max = late > max ? late : max;
    }
    print("wake max=%lu mean=%lu\n", max / 1000, sum / rounds / 1000);
}

void guest_main(void)
{
    print("load: up\n");
    if (arg_present("spin"))
        spin();
    if (arg_present("busy"))
        busy();
    if (arg_present("masked")) {
        event_disable();
        spin();
    }
    if (arg_present("flood"))
        flood();
    if (arg_present("events"))
        events();
    if (arg_present("fault")) {
        hc_set_trap_table(NULL);
        *(volatile int *)fault_at = 0;
    }
    if (arg_present("crash"))
        guest_shutdown(SHUTDOWN_crash);
    if (arg_present("wake"))
        wake();
    if (arg_present("watchdog"))
        watchdog();
    if (arg_present("idle") || arg_present("watchdog"))
        for (;;)
            hc_sched_op(SCHEDOP_block, NULL);
    guest_shutdown(SHUTDOWN_poweroff);
}
