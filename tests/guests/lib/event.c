// SPDX-License-Identifier: BSD-2-Clause
#include "guest.h"

volatile unsigned int event_count[EVTCHN_2L_NR_CHANNELS];
volatile unsigned int event_last_vcpu[EVTCHN_2L_NR_CHANNELS];
volatile unsigned int event_upcalls;
void (*event_scan)(void);

static void bit_set(volatile void *p, unsigned int bit)
{
    __asm__ volatile("lock btsq %1, %0"
                     : "+m"(*(volatile unsigned long *)p)
                     : "r"((unsigned long)bit)
                     : "memory");
}

static void bit_clear(volatile void *p, unsigned int bit)
{
    __asm__ volatile("lock btrq %1, %0"
                     : "+m"(*(volatile unsigned long *)p)
                     : "r"((unsigned long)bit)
                     : "memory");
}

static unsigned long swap_long(volatile unsigned long *p, unsigned long v)
{
    __asm__ volatile("xchg %0, %1" : "+r"(v), "+m"(*p) : : "memory");
    return v;
}

static void scan_word(unsigned int word)
{
    for (;;) {
        unsigned long ready = READ_ONCE(shared_info->evtchn_pending[word]) &
                              ~READ_ONCE(shared_info->evtchn_mask[word]);
        unsigned int bit;

        if (!ready)
            return;
        bit = (unsigned int)__builtin_ctzl(ready);
        bit_clear(&shared_info->evtchn_pending[word], bit);
        event_count[word * 64 + bit]++;
        event_last_vcpu[word * 64 + bit] = this_vcpu()->id;
    }
}

static void scan_two_level(void)
{
    vcpu_info_t *info = this_vcpu()->info;
    unsigned long words = swap_long(&info->evtchn_pending_sel, 0);

    while (words) {
        unsigned int word = (unsigned int)__builtin_ctzl(words);

        words &= words - 1;
        scan_word(word);
    }
}

void event_upcall(void)
{
    vcpu_info_t *info = this_vcpu()->info;

    __atomic_fetch_add(&event_upcalls, 1, __ATOMIC_SEQ_CST);
    do {
        WRITE_ONCE(info->evtchn_upcall_pending, 0);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (event_scan)
            event_scan();
        else
            scan_two_level();
    } while (READ_ONCE(info->evtchn_upcall_pending));
}

void event_port_mask(evtchn_port_t port)
{
    bit_set(&shared_info->evtchn_mask[port / 64], port % 64);
}

void event_port_clear_mask(evtchn_port_t port)
{
    bit_clear(&shared_info->evtchn_mask[port / 64], port % 64);
}

bool event_port_pending(evtchn_port_t port)
{
    return READ_ONCE(shared_info->evtchn_pending[port / 64]) >> (port % 64) & 1;
}

void event_port_clear_pending(evtchn_port_t port)
{
    bit_clear(&shared_info->evtchn_pending[port / 64], port % 64);
}

void event_disable(void)
{
    WRITE_ONCE(this_vcpu()->info->evtchn_upcall_mask, 1);
    barrier();
}

void event_enable(void)
{
    vcpu_info_t *info = this_vcpu()->info;

    barrier();
    WRITE_ONCE(info->evtchn_upcall_mask, 0);
    barrier();
    // The hypervisor delivers on its next exit only: an event that came while we were masked is
    // forced out with a hypercall that does nothing.
    if (READ_ONCE(info->evtchn_upcall_pending))
        hc_xen_version(XENVER_version, NULL);
}

bool event_enabled(void)
{
    return !READ_ONCE(this_vcpu()->info->evtchn_upcall_mask);
}

long event_bind_virq(unsigned int virq, unsigned int vcpu)
{
    struct evtchn_bind_virq op = {.virq = virq, .vcpu = vcpu};
    long rc = hc_event_channel_op(EVTCHNOP_bind_virq, &op);

    return rc ? rc : (long)op.port;
}

long event_bind_ipi(unsigned int vcpu)
{
    struct evtchn_bind_ipi op = {.vcpu = vcpu};
    long rc = hc_event_channel_op(EVTCHNOP_bind_ipi, &op);

    return rc ? rc : (long)op.port;
}

long event_alloc_unbound(domid_t dom, domid_t remote)
{
    struct evtchn_alloc_unbound op = {.dom = dom, .remote_dom = remote};
    long rc = hc_event_channel_op(EVTCHNOP_alloc_unbound, &op);

    return rc ? rc : (long)op.port;
}

long event_bind_interdomain(domid_t remote, evtchn_port_t port)
{
    struct evtchn_bind_interdomain op = {.remote_dom = remote, .remote_port = port};
    long rc = hc_event_channel_op(EVTCHNOP_bind_interdomain, &op);

    return rc ? rc : (long)op.local_port;
}

long event_send(evtchn_port_t port)
{
    struct evtchn_send op = {.port = port};

    return hc_event_channel_op(EVTCHNOP_send, &op);
}

long event_close(evtchn_port_t port)
{
    struct evtchn_close op = {.port = port};

    return hc_event_channel_op(EVTCHNOP_close, &op);
}

long event_unmask(evtchn_port_t port)
{
    struct evtchn_unmask op = {.port = port};

    return hc_event_channel_op(EVTCHNOP_unmask, &op);
}

domid_t event_own_domid(void)
{
    evtchn_port_t a = (evtchn_port_t)event_alloc_unbound(DOMID_SELF, DOMID_SELF);
    evtchn_port_t b = (evtchn_port_t)event_bind_interdomain(DOMID_SELF, a);
    evtchn_status_t st = {.dom = DOMID_SELF, .port = a};

    hc_event_channel_op(EVTCHNOP_status, &st);
    event_close(b);
    event_close(a);
    return st.u.interdomain.dom;
}
