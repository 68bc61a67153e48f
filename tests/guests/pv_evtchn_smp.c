// SPDX-License-Identifier: BSD-2-Clause
// Event channels between two vCPUs: IPIs, rebinding, wake-up from block, many at once.
#include "lib/guest.h"

static volatile unsigned int stage;

static void enable_and_wait(void *arg)
{
    (void)arg;
    event_enable();
    while (!stage)
        cpu_relax();
}

static void block_once(void *arg)
{
    volatile unsigned int *count = arg;
    unsigned int before = *count;

    event_disable();
    stage = 2;
    while (*count == before) {
        hc_sched_op(SCHEDOP_block, NULL); // enables, and delivers before it returns
        event_disable();
    }
    stage = 3;
}

static bool wait_for(volatile unsigned int *what, unsigned int value)
{
    uint64_t end = clock_now() + 2000 * MS;

    while (*what != value && clock_now() < end)
        hc_sched_op(SCHEDOP_yield, NULL);
    return *what == value;
}

static void ipi(void)
{
    evtchn_port_t p = (evtchn_port_t)event_bind_ipi(1);

    event_port_clear_mask(p);
    stage = 0;
    event_count[p] = 0;
    smp_post(1, enable_and_wait, NULL);
    for (unsigned int i = 1; i <= 100; i++) {
        event_send(p);
        if (!wait_for(&event_count[p], i))
            break;
    }
    is(event_count[p], 100, "a hundred IPIs to a running vCPU");
    is(event_last_vcpu[p], 1, "it took them");
    stage = 1;
    smp_wait(1);
    event_close(p);
}

static void rebind(void)
{
    evtchn_port_t a = (evtchn_port_t)event_alloc_unbound(DOMID_SELF, DOMID_SELF);
    evtchn_port_t b = (evtchn_port_t)event_bind_interdomain(DOMID_SELF, a);
    struct evtchn_bind_vcpu bv = {.port = a, .vcpu = 1};

    event_unmask(a);
    event_port_clear_pending(a);
    is(hc_event_channel_op(EVTCHNOP_bind_vcpu, &bv), 0, "bind a port to vCPU 1");
    stage = 0;
    event_count[a] = 0;
    smp_post(1, enable_and_wait, NULL);
    event_send(b);
    ok(wait_for(&event_count[a], 1), "it is delivered");
    is(event_last_vcpu[a], 1, "there");
    stage = 1;
    smp_wait(1);
    bv.vcpu = 0;
    is(hc_event_channel_op(EVTCHNOP_bind_vcpu, &bv), 0, "and back");
    event_enable();
    event_send(b);
    is(event_count[a], 2, "delivered");
    is(event_last_vcpu[a], 0, "here");
    event_close(b);
    event_close(a);
}

static void wake_up(void)
{
    evtchn_port_t p = (evtchn_port_t)event_bind_ipi(1);
    unsigned int woken = 0;

    event_port_clear_mask(p);
    for (unsigned int i = 0; i < 50; i++) {
        stage = 0;
        smp_post(1, block_once, (void *)&event_count[p]);
        wait_for(&stage, 2);
        if (i & 1)
            clock_spin(MS / 2);
        event_send(p);
        woken += wait_for(&stage, 3);
        if (stage != 3)
            break;
        smp_wait(1);
    }
    is(woken, 50, "fifty wake-ups from block, no event lost");
    event_close(p);
}

// What Linux does in its spin locks: wait in poll for a masked port, be kicked by another vCPU.
static evtchn_port_t kick_port;

static void poll_many(void *arg)
{
    struct sched_poll p = {.nr_ports = 1};

    (void)arg;
    event_disable();
    set_xen_guest_handle(p.ports, &kick_port);
    for (unsigned int i = 0; i < 60; i++) {
        stage = 2 * i + 1;
        hc_sched_op(SCHEDOP_poll, &p);
        if (!event_port_pending(kick_port))
            i--; // woken for another reason: wait again
        else
            event_port_clear_pending(kick_port);
    }
    stage = 1000;
}

static void kicks(void)
{
    unsigned int sent = 0;
    uint64_t start = clock_now(), end = start + 15000 * MS;

    kick_port = (evtchn_port_t)event_bind_ipi(1);
    event_port_mask(kick_port);
    stage = 0;
    smp_post(1, poll_many, NULL);
    for (unsigned int i = 0; i < 60 && clock_now() < end; i++) {
        while (stage != 2 * i + 1 && clock_now() < end)
            cpu_relax();
        if (i % 3 == 0)
            clock_spin(MS / 10);
        sent += !event_send(kick_port);
    }
    wait_for(&stage, 1000);
    tap_note("took %lu ms", (clock_now() - start) / MS);
    is(stage, 1000, "sixty kicks of a polling vCPU, none lost");
    if (stage != 1000)
        return;
    smp_wait(1);
    is(sent, 60, "all sent");
    event_close(kick_port);
}

void guest_main(void)
{
    if (smp_count() < 2) {
        tap_skip("two vCPUs", "this domain has one");
        return;
    }
    is(smp_start(1), 0, "start vCPU 1");
    ipi();
    rebind();
    wake_up();
    kicks();
}
