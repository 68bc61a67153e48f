// SPDX-License-Identifier: BSD-2-Clause
// sched_op: yield, block, poll, watchdog, shutdown_code, errors.
#include "lib/guest.h"

static void set_timer(uint64_t ns)
{
    struct vcpu_set_singleshot_timer s = {.timeout_abs_ns = clock_now() + ns};

    hc_vcpu_op(VCPUOP_set_singleshot_timer, this_vcpu()->id, &s);
}

static long poll(evtchn_port_t *ports, unsigned int n, uint64_t timeout)
{
    struct sched_poll p = {.nr_ports = n, .timeout = timeout};

    set_xen_guest_handle(p.ports, ports);
    return hc_sched_op(SCHEDOP_poll, &p);
}

static void block(evtchn_port_t timer)
{
    unsigned int n = event_count[timer];
    uint64_t start = clock_now();

    event_disable();
    set_timer(20 * MS);
    while (event_count[timer] == n) {
        hc_sched_op(SCHEDOP_block, NULL);
        event_disable();
    }
    ok(clock_now() - start >= 19 * MS, "block sleeps until the timer");
    ok(clock_now() - start < 1000 * MS, "not much longer");
    event_enable();
    event_disable();
    event_send(timer); // no effect: a VIRQ port; makes sure nothing is stuck
    is(hc_sched_op(SCHEDOP_yield, NULL), 0, "yield");
    is(HC(__HYPERVISOR_sched_op_compat, SCHEDOP_yield, 0, 0, 0), 0, "sched_op_compat: yield");
    event_enable();
}

static void poll_ports(evtchn_port_t ipi)
{
    uint64_t start = clock_now();

    event_disable();
    event_port_clear_pending(ipi);
    is(poll(&ipi, 1, start + 20 * MS), 0, "poll with a timeout");
    ok(clock_now() - start >= 19 * MS, "sleeps until then");
    start = clock_now();
    is(poll(NULL, 0, start + 10 * MS), 0, "poll of no port");
    ok(clock_now() - start >= 9 * MS, "is a sleep");
    event_send(ipi);
    start = clock_now();
    is(poll(&ipi, 1, start + 5000 * MS), 0, "poll of a pending port");
    ok(clock_now() - start < 1000 * MS, "returns at once");
    event_port_mask(ipi);
    event_port_clear_pending(ipi);
    event_send(ipi);
    start = clock_now();
    is(poll(&ipi, 1, 0), 0, "poll of a masked pending port, no timeout");
    event_port_clear_pending(ipi);
    start = clock_now();
    is(poll(&ipi, 1, 1), 0, "poll with a timeout in the past");
    ok(clock_now() - start < 1000 * MS, "returns at once");
    is_error(poll((evtchn_port_t *)0x1000, 1, 1), "bad ports pointer");
    is_error(poll(&ipi, 1000, 1), "too many ports");
    ipi = 0xffffffff;
    is_error(poll(&ipi, 1, 1), "a port out of range");
    event_enable();
}

// Events stay masked by poll, which is how it differs from block.
static void poll_keeps_mask(void)
{
    event_disable();
    poll(NULL, 0, clock_now() + MS);
    ok(!event_enabled(), "poll leaves the event mask alone");
    event_enable();
}

static void watchdog(void)
{
    struct sched_watchdog w = {.id = 0, .timeout = 30};
    long id = hc_sched_op(SCHEDOP_watchdog, &w);

    ok(id > 0, "set a watchdog");
    w = (struct sched_watchdog){.id = (uint32_t)id, .timeout = 40};
    is(hc_sched_op(SCHEDOP_watchdog, &w), 0, "poke it");
    w.timeout = 0;
    is(hc_sched_op(SCHEDOP_watchdog, &w), 0, "remove it");
    is_error(hc_sched_op(SCHEDOP_watchdog, &w), "remove it twice");
    w.id = 77;
    is_error(hc_sched_op(SCHEDOP_watchdog, &w), "no such watchdog");
    w = (struct sched_watchdog){.id = 0, .timeout = 30};
    id = hc_sched_op(SCHEDOP_watchdog, &w);
    ok(id > 0, "set one");
    is(hc_sched_op(SCHEDOP_watchdog, &w), id + 1, "set another");
    is_error((int)hc_sched_op(SCHEDOP_watchdog, &w), "there are two");
    for (long i = id; i < id + 2; i++) {
        w = (struct sched_watchdog){.id = (uint32_t)i, .timeout = 0};
        hc_sched_op(SCHEDOP_watchdog, &w);
    }
}

static void others(void)
{
    struct sched_shutdown s = {.reason = 99};
    struct sched_remote_shutdown r = {.domain_id = 0x7000};
    struct sched_pin_override p = {.pcpu = 0};
    long rc;

    is_error(hc_sched_op(SCHEDOP_remote_shutdown, &r), "remote_shutdown of no domain");
    is(hc_sched_op(SCHEDOP_yield | 1UL << 31, NULL), -XEN_ENOSYS, "unknown operation");
    is_error(hc_sched_op(SCHEDOP_shutdown_code, (void *)0x1000), "shutdown_code, bad pointer");
    is_error(hc_sched_op(SCHEDOP_shutdown, (void *)0x1000), "shutdown, bad pointer");
    s.reason = SHUTDOWN_poweroff;
    is(hc_sched_op(SCHEDOP_shutdown_code, &s), 0, "shutdown_code");
    rc = hc_sched_op(SCHEDOP_pin_override, &p);
    if (start_info->flags & SIF_INITDOMAIN) {
        is(rc, 0, "pin_override");
        p.pcpu = 9999;
        is_error(hc_sched_op(SCHEDOP_pin_override, &p), "to no CPU");
        p.pcpu = -1;
        is(hc_sched_op(SCHEDOP_pin_override, &p), 0, "undo it");
    } else {
        is_error(rc, "pin_override");
    }
}

void guest_main(void)
{
    evtchn_port_t timer = (evtchn_port_t)event_bind_virq(VIRQ_TIMER, 0);
    evtchn_port_t ipi = (evtchn_port_t)event_bind_ipi(0);

    hc_vcpu_op(VCPUOP_stop_periodic_timer, 0, NULL);
    event_port_clear_mask(timer);
    block(timer);
    event_port_mask(timer);
    event_port_clear_mask(ipi);
    poll_ports(ipi);
    poll_keeps_mask();
    watchdog();
    others();
}
