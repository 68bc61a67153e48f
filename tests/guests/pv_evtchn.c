// SPDX-License-Identifier: BSD-2-Clause
// Event channels, 2-level: binding, status, sending, masks, upcalls, errors.
#include "lib/guest.h"

static long status(evtchn_port_t port, evtchn_status_t *st)
{
    *st = (evtchn_status_t){.dom = DOMID_SELF, .port = port};
    return hc_event_channel_op(EVTCHNOP_status, st);
}

static void binding(void)
{
    evtchn_status_t st;
    long a, b, ipi, virq;

    a = event_alloc_unbound(DOMID_SELF, DOMID_SELF);
    ok(a > 0, "alloc_unbound");
    is(status((evtchn_port_t)a, &st), 0, "status");
    is(st.status, EVTCHNSTAT_unbound, "unbound");
    b = event_bind_interdomain(DOMID_SELF, (evtchn_port_t)a);
    ok(b > 0 && b != a, "bind_interdomain to oneself");
    status((evtchn_port_t)b, &st);
    is(st.status, EVTCHNSTAT_interdomain, "interdomain");
    is(st.u.interdomain.port, a, "its other end");
    status((evtchn_port_t)a, &st);
    is(st.u.interdomain.port, b, "and back");
    is(st.vcpu, 0, "vCPU 0");
    is_error(event_bind_interdomain(DOMID_SELF, (evtchn_port_t)a),
             "a bound port is not bound again");
    is(event_close((evtchn_port_t)b), 0, "close one end");
    status((evtchn_port_t)a, &st);
    is(st.status, EVTCHNSTAT_unbound, "the other is unbound");
    is(event_close((evtchn_port_t)a), 0, "close it");
    status((evtchn_port_t)a, &st);
    is(st.status, EVTCHNSTAT_closed, "closed");
    is_error(event_close((evtchn_port_t)a), "close it twice");

    ipi = event_bind_ipi(0);
    ok(ipi > 0, "bind_ipi");
    status((evtchn_port_t)ipi, &st);
    is(st.status, EVTCHNSTAT_ipi, "ipi");
    virq = event_bind_virq(VIRQ_DEBUG, 0);
    ok(virq > 0, "bind_virq");
    status((evtchn_port_t)virq, &st);
    is(st.status, EVTCHNSTAT_virq, "virq");
    is(st.u.virq, VIRQ_DEBUG, "its number");
    is(event_bind_virq(VIRQ_DEBUG, 0), -XEN_EEXIST, "a VIRQ is bound once");
    event_close((evtchn_port_t)virq);
    event_close((evtchn_port_t)ipi);
    virq = event_bind_virq(VIRQ_DEBUG, 0);
    ok(virq > 0, "and again after close");
    event_close((evtchn_port_t)virq);
}

static void delivery(void)
{
    evtchn_port_t p = (evtchn_port_t)event_bind_ipi(0);
    unsigned int n = event_count[p], up;

    event_port_clear_mask(p);
    event_enable();
    is(event_send(p), 0, "send");
    is(event_count[p], n + 1, "delivered at once");
    event_disable();
    event_send(p);
    event_send(p);
    is(event_count[p], n + 1, "not while the vCPU masks events");
    is(this_vcpu()->info->evtchn_upcall_pending, 1, "but pending");
    ok(event_port_pending(p), "its bit is set");
    event_enable();
    is(event_count[p], n + 2, "delivered once when enabled");
    event_port_mask(p);
    up = event_upcalls;
    event_send(p);
    ok(event_port_pending(p), "a masked port becomes pending");
    is(event_upcalls, up, "without upcall");
    is(event_unmask(p), 0, "unmask");
    is(event_count[p], n + 3, "delivers it");
    event_port_mask(p);
    event_port_clear_pending(p);
    event_send(p);
    event_port_clear_mask(p);
    hc_xen_version(XENVER_version, NULL);
    is(event_count[p], n + 3, "a mask cleared by hand does not deliver");
    event_port_clear_pending(p);
    event_close(p);
}

static void loopback(void)
{
    evtchn_port_t a = (evtchn_port_t)event_alloc_unbound(DOMID_SELF, DOMID_SELF);
    evtchn_port_t b;
    unsigned int na, nb;

    is(event_send(a), 0, "send on an unbound port is no error");
    b = (evtchn_port_t)event_bind_interdomain(DOMID_SELF, a);
    event_port_clear_pending(b);
    event_unmask(a);
    event_unmask(b);
    event_enable();
    na = event_count[a];
    nb = event_count[b];
    event_send(a);
    ok(event_count[b] == nb + 1 && event_count[a] == na, "send on one end, arrive on the other");
    event_send(b);
    ok(event_count[a] == na + 1, "and back");
    event_close(b);
    event_close(a);
}

static void errors(void)
{
    evtchn_status_t st;
    struct evtchn_bind_vcpu bv = {.port = 1, .vcpu = 9999};
    evtchn_port_t ipi = (evtchn_port_t)event_bind_ipi(0);

    is_error(event_send(4000), "send on a closed port");
    is_error(event_send(0xffffffff), "send on a port out of range");
    is_error(event_close(0xffffffff), "close a port out of range");
    is_error(event_unmask(0xffffffff), "unmask a port out of range");
    is_error(status(0xffffffff, &st), "status of a port out of range");
    is_error(event_bind_ipi(9999), "bind_ipi to no vCPU");
    is_error(event_bind_virq(99, 0), "no such VIRQ");
    is_error(event_bind_virq(VIRQ_TIMER, 9999), "VIRQ of no vCPU");
    is_error(event_alloc_unbound(0x7000, DOMID_SELF), "alloc_unbound in no domain");
    is_error(event_bind_interdomain(0x7000, 1), "bind_interdomain to no domain");
    is_error(event_bind_interdomain(DOMID_SELF, 0xffffffff), "to no port");
    is_error(hc_event_channel_op(EVTCHNOP_bind_vcpu, &bv), "bind_vcpu to no vCPU");
    bv = (struct evtchn_bind_vcpu){.port = ipi, .vcpu = 0};
    is_error(hc_event_channel_op(EVTCHNOP_bind_vcpu, &bv), "an IPI port is not rebound");
    is_error(hc_event_channel_op(77, &bv), "unknown operation");
    is_error(hc_event_channel_op(EVTCHNOP_status, (void *)0x1000), "bad pointer");
    event_close(ipi);
}

static void old_call(void)
{
    evtchn_op_t op = {.cmd = EVTCHNOP_bind_ipi};

    op.u.bind_ipi.vcpu = 0;
    is(HC(__HYPERVISOR_event_channel_op_compat, &op, 0, 0, 0), 0, "event_channel_op_compat");
    ok(op.u.bind_ipi.port > 0, "gives a port");
    event_close(op.u.bind_ipi.port);
}

static void all_ports(void)
{
    static uint16_t ports[EVTCHN_2L_NR_CHANNELS];
    unsigned int n = 0, delivered = 0;
    long p;

    event_disable();
    while (n < EVTCHN_2L_NR_CHANNELS && (p = event_bind_ipi(0)) > 0) {
        event_port_clear_mask((evtchn_port_t)p);
        ports[n++] = (uint16_t)p;
    }
    tap_note("%u ports could be bound", n);
    ok(n > 900, "a great many ports");
    for (unsigned int i = 0; i < n; i++) {
        event_count[ports[i]] = 0;
        event_send(ports[i]);
    }
    event_enable();
    for (unsigned int i = 0; i < n; i++)
        delivered += event_count[ports[i]] == 1;
    is(delivered, n, "each delivered exactly once");
    for (unsigned int i = 0; i < n; i++)
        event_close(ports[i]);
}

static void reset(void)
{
    struct evtchn_reset r = {.dom = DOMID_SELF};
    evtchn_status_t st;
    evtchn_port_t p = (evtchn_port_t)event_bind_ipi(0);

    if (!(start_info->flags & SIF_INITDOMAIN)) {
        tap_skip("reset", "it would close the console");
        return;
    }
    is(hc_event_channel_op(EVTCHNOP_reset, &r), 0, "reset");
    status(p, &st);
    is(st.status, EVTCHNSTAT_closed, "all ports are closed");
    r.dom = 0x7000;
    is_error(hc_event_channel_op(EVTCHNOP_reset, &r), "reset of no domain");
}

void guest_main(void)
{
    binding();
    delivery();
    loopback();
    errors();
    old_call();
    all_ports();
    reset();
}
