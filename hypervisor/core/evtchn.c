// SPDX-License-Identifier: BSD-2-Clause
// Ports: sending, allocation, life. Binding and closing: evtchn_bind.c.
#include "core/evtchn_private.h"
#include "core/hypercall.h"
#include "core/sched.h"
#include "memory/heap.h"

typedef void (*consumer_fn_t)(struct vcpu *v, evtchn_port_t port);
static consumer_fn_t consumers[8];
static spinlock_t consumers_lock = SPINLOCK_INIT;

// ---- raising -----------------------------------------------------------------------------------

void evtchn_mark_upcall(struct vcpu *v)
{
    if (__atomic_exchange_n(&v->info->evtchn_upcall_pending, 1, __ATOMIC_SEQ_CST))
        return;
    vcpu_unblock(v);
    arch_vcpu_kick(v);
}

static __noinline void wake_pollers(struct domain *d, evtchn_port_t port)
{
    struct evtchn_domain *e = d->evtchn;
    unsigned int i;

    bitmap_for_each (i, e->poll_mask, d->max_vcpus) {
        struct vcpu *v = d->vcpu[i];

        if (v && (v->poll_port == port || v->poll_port == POLL_ANY) &&
            (READ_ONCE(v->pause_flags) & VPF_BLOCKED_POLL)) {
            bit_clear_atomic(e->poll_mask, i);
            vcpu_unblock(v);
        }
    }
}

static void notify_pollers(struct domain *d, const struct port *p)
{
    const struct evtchn_domain *e = d->evtchn;

    if (unlikely(READ_ONCE(e->poll_mask[0]) | READ_ONCE(e->poll_mask[1])))
        wake_pollers(d, p->number);
}

void evtchn_raise_2l(struct domain *d, struct port *p)
{
    struct vcpu *v = d->vcpu[p->vcpu];
    uint32_t port = p->number;

    if (!bit_test(d->shared_info->evtchn_mask, port) &&
        !bit_test_and_set_atomic(&v->info->evtchn_pending_sel, port / BITS_PER_LONG))
        evtchn_mark_upcall(v);
    notify_pollers(d, p);
}

void evtchn_raise_fifo(struct domain *d, struct port *p)
{
    evtchn_fifo_set_pending(d->vcpu[p->vcpu], p->number, p);
    notify_pollers(d, p);
}

static __noinline int send_locked(struct port *p)
{
    int ret = 0;

    spin_lock(&p->lock);
    if (likely(p->state == PORT_INTERDOMAIN)) {
        // Our lock keeps the peer from going away.
        struct port *peer = p->peer.port;

        if (unlikely(peer->consumer))
            consumers[peer->consumer - 1](p->peer.d->vcpu[peer->vcpu], peer->number);
        else
            evtchn_raise(p->peer.d, peer);
    } else if (p->state != PORT_UNBOUND) { // unbound: nobody is there yet, dropped
        ret = -EINVAL;
    }
    spin_unlock(&p->lock);
    return ret;
}

int evtchn_send(struct domain *d, evtchn_port_t port)
{
    struct port *p = port_lookup(d->evtchn, port);

    if (unlikely(!p))
        return -EINVAL;
    if (READ_ONCE(p->state) != PORT_IPI)
        return send_locked(p);
    // Nothing of another domain's is needed: an event on a port that is being closed does no harm.
    evtchn_raise(d, p);
    return 0;
}

static void send_virq_port(struct vcpu *v, uint32_t virq)
{
    unsigned long flags;
    evtchn_port_t port;

    if (!READ_ONCE(v->virq_port[virq]))
        return;
    // The lock keeps the port bound.
    flags = spin_lock_irqsave(&v->virq_lock);
    port = v->virq_port[virq];
    if (port)
        evtchn_raise(v->domain, port_lookup(v->domain->evtchn, port));
    spin_unlock_irqrestore(&v->virq_lock, flags);
}

void evtchn_send_vcpu_virq(struct vcpu *v, uint32_t virq)
{
    send_virq_port(v, virq);
}

static struct domain *virq_handler[NR_VIRQS]; // with a reference; NULL: the control domain
static spinlock_t virq_handler_lock = SPINLOCK_INIT;

void evtchn_send_global_virq(uint32_t virq)
{
    unsigned long flags = spin_lock_irqsave(&virq_handler_lock);
    struct domain *d = virq_handler[virq] ? virq_handler[virq] : control_domain;

    if (d && d->evtchn && d->vcpu && d->vcpu[0])
        send_virq_port(d->vcpu[0], virq);
    spin_unlock_irqrestore(&virq_handler_lock, flags);
}

int evtchn_set_virq_handler(struct domain *d, uint32_t virq)
{
    struct domain *old;
    unsigned long flags;

    if (virq >= NR_VIRQS || !virq_is_global(virq))
        return -EINVAL;
    if (d->dying || !domain_get(d))
        return -ESRCH;
    flags = spin_lock_irqsave(&virq_handler_lock);
    old = virq_handler[virq];
    virq_handler[virq] = d;
    spin_unlock_irqrestore(&virq_handler_lock, flags);
    if (old)
        domain_put(old);
    return 0;
}

static void forget_virq_handler(struct domain *d)
{
    for (unsigned int i = 0; i < NR_VIRQS; i++) {
        unsigned long flags = spin_lock_irqsave(&virq_handler_lock);
        bool was = virq_handler[i] == d;

        if (was)
            virq_handler[i] = NULL;
        spin_unlock_irqrestore(&virq_handler_lock, flags);
        if (was)
            domain_put(d);
    }
}

uint32_t *evtchn_pirq_slot(const struct evtchn_domain *e, uint32_t pirq)
{
    uint32_t *chunk;

    if (pirq >= PIRQ_CHUNKS * PIRQS_PER_CHUNK)
        return NULL;
    chunk = READ_ONCE(e->pirq_port[index_nospec(pirq / PIRQS_PER_CHUNK, PIRQ_CHUNKS)]);
    return chunk ? chunk + pirq % PIRQS_PER_CHUNK : NULL;
}

void evtchn_send_pirq(struct domain *d, uint32_t pirq)
{
    uint32_t *slot = evtchn_pirq_slot(d->evtchn, pirq);
    evtchn_port_t port = slot ? READ_ONCE(*slot) : 0;

    if (port)
        evtchn_raise(d, port_lookup(d->evtchn, port));
}

// ---- allocation ---------------------------------------------------------------------------------

static struct port *port_make(struct evtchn_domain *e, evtchn_port_t port)
{
    struct port ***group = &e->groups[port / (PORTS_PER_CHUNK * CHUNKS_PER_GROUP)];
    struct port **chunk, *ports;

    if (!*group)
        WRITE_ONCE(*group, heap_alloc_array(CHUNKS_PER_GROUP, sizeof(**group)));
    if (!*group)
        return NULL;
    chunk = &(*group)[port / PORTS_PER_CHUNK % CHUNKS_PER_GROUP];
    if (!*chunk) {
        ports = heap_alloc_array(PORTS_PER_CHUNK, sizeof(struct port));
        if (!ports)
            return NULL;
        for (unsigned int i = 0; i < PORTS_PER_CHUNK; i++) {
            spin_lock_init(&ports[i].lock);
            ports[i].number = port / PORTS_PER_CHUNK * PORTS_PER_CHUNK + i;
        }
        __atomic_store_n(chunk, ports, __ATOMIC_RELEASE);
    }
    return *chunk + port % PORTS_PER_CHUNK;
}

// Take the lowest free port: locked domain. 0 or -ENOSPC, -ENOMEM, -EINVAL (dying).
int evtchn_port_alloc(struct domain *d, evtchn_port_t *out, struct port **out_port)
{
    struct evtchn_domain *e = d->evtchn;

    // A port notifies vCPU 0 until it is bound to another.
    if (d->dying || !d->vcpu[0])
        return -EINVAL;
    for (evtchn_port_t port = e->first_free; port < port_limit(e); port++) {
        struct port *p = port_lookup(e, port);

        if (p && p->state != PORT_FREE)
            continue;
        if (!p)
            p = port_make(e, port);
        if (!p)
            return -ENOMEM;
        e->first_free = port + 1;
        e->in_use++;
        p->vcpu = 0;
        p->consumer = 0;
        p->missed = 0;
        p->priority = EVTCHN_FIFO_PRIORITY_DEFAULT;
        *out = port;
        *out_port = p;
        return 0;
    }
    return -ENOSPC;
}

// The domain and, but for a port that was never shown to anyone, the port are locked.
void evtchn_port_release(struct domain *d, evtchn_port_t port, struct port *p)
{
    struct evtchn_domain *e = d->evtchn;

    p->state = PORT_FREE;
    p->vcpu = 0;
    e->in_use--;
    e->first_free = MIN(e->first_free, port);
    if (e->fifo)
        evtchn_fifo_clear_pending(d, port);
    else
        evtchn_2l_clear_pending(d, port);
}

void evtchn_set_state(struct port *p, enum port_state state)
{
    spin_lock(&p->lock);
    p->state = (uint8_t)state;
    spin_unlock(&p->lock);
}

static int alloc_unbound(struct domain *d, domid_t remote, unsigned int vcpu, unsigned int consumer,
                         evtchn_port_t *out)
{
    struct port *p;
    int ret;

    spin_lock(&d->evtchn->lock);
    ret = evtchn_port_alloc(d, out, &p);
    if (!ret) {
        p->unbound = remote;
        p->vcpu = (uint8_t)vcpu;
        p->consumer = (uint8_t)consumer;
        evtchn_set_state(p, PORT_UNBOUND);
    }
    spin_unlock(&d->evtchn->lock);
    return ret;
}

int evtchn_alloc_unbound(struct domain *d, domid_t remote, evtchn_port_t *out)
{
    return alloc_unbound(d, remote, 0, 0, out);
}

int evtchn_alloc_xen(struct domain *d, unsigned int vcpu, domid_t remote,
                     void (*notify)(struct vcpu *v, evtchn_port_t port), evtchn_port_t *out)
{
    unsigned int i;

    spin_lock(&consumers_lock);
    for (i = 0; i < ARRAY_SIZE(consumers); i++)
        if (!consumers[i] || consumers[i] == notify)
            break;
    if (i < ARRAY_SIZE(consumers))
        consumers[i] = notify;
    spin_unlock(&consumers_lock);
    if (i == ARRAY_SIZE(consumers))
        return -ENOSPC;
    return alloc_unbound(d, remote, vcpu, i + 1, out);
}

// ---- looking ------------------------------------------------------------------------------------

int evtchn_status(struct domain *d, struct evtchn_status *op)
{
    struct port *p = port_lookup(d->evtchn, op->port);

    if (!p)
        return -EINVAL;
    spin_lock(&p->lock);
    op->status = p->state == PORT_RESERVED ? PORT_FREE : p->state;
    op->vcpu = p->vcpu;
    switch (p->state) {
    case PORT_UNBOUND:
        op->u.unbound.dom = p->unbound;
        break;
    case PORT_INTERDOMAIN:
        op->u.interdomain.dom = p->peer.d->id;
        op->u.interdomain.port = p->peer.port->number;
        break;
    case PORT_PIRQ:
        op->u.pirq = p->pirq;
        break;
    case PORT_VIRQ:
        op->u.virq = p->virq;
        break;
    default:
        break;
    }
    spin_unlock(&p->lock);
    return 0;
}

int evtchn_unmask(struct domain *d, evtchn_port_t port)
{
    struct port *p = port_lookup(d->evtchn, port);
    uint32_t pirq = ~0u;

    if (!p)
        return -EINVAL;
    spin_lock(&p->lock);
    if (p->state != PORT_FREE) {
        struct vcpu *v = d->vcpu[p->vcpu];

        if (d->evtchn->fifo)
            evtchn_fifo_unmask(v, port, p);
        else
            evtchn_2l_unmask(v, port);
        if (p->state == PORT_PIRQ)
            pirq = p->pirq;
    }
    spin_unlock(&p->lock);
    if (pirq != ~0u)
        arch_pirq_unmask(d, pirq);
    return 0;
}

bool evtchn_port_valid(struct domain *d, evtchn_port_t port)
{
    return port < port_limit(d->evtchn);
}

bool evtchn_port_pending(struct domain *d, evtchn_port_t port)
{
    return d->evtchn->fifo ? evtchn_fifo_is_pending(d, port) : evtchn_2l_is_pending(d, port);
}

void evtchn_poll_begin(struct vcpu *v, evtchn_port_t port)
{
    WRITE_ONCE(v->poll_port, port);
    bit_set_atomic(v->domain->evtchn->poll_mask, v->id);
}

void evtchn_poll_end(struct vcpu *v)
{
    bit_clear_atomic(v->domain->evtchn->poll_mask, v->id);
}

unsigned int evtchn_domain_ports_in_use(const struct domain *d)
{
    return d->evtchn ? d->evtchn->in_use : 0;
}

// ---- life ---------------------------------------------------------------------------------------

int evtchn_domain_init(struct domain *d)
{
    struct evtchn_domain *e = heap_new(struct evtchn_domain);

    if (!e)
        return -ENOMEM;
    spin_lock_init(&e->lock);
    e->max_port = EVTCHN_FIFO_NR_CHANNELS - 1;
    e->first_free = 1; // port 0 means none
    d->evtchn = e;
    return 0;
}

void evtchn_domain_set_limit(struct domain *d, int32_t max_port)
{
    if (max_port >= 0)
        d->evtchn->max_port = MIN((uint32_t)max_port, EVTCHN_FIFO_NR_CHANNELS - 1u);
}

int evtchn_vcpu_init(struct vcpu *v)
{
    return 0; // made with the FIFO control block
}

void evtchn_vcpu_destroy(struct vcpu *v)
{
    heap_free(v->evtchn);
    v->evtchn = NULL;
}

int evtchn_domain_relinquish(struct domain *d)
{
    int ret;

    // Whoever looked at d->dying before it was set has its port by the time this lock is ours.
    spin_lock(&d->evtchn->lock);
    spin_unlock(&d->evtchn->lock);
    ret = evtchn_close_all(d, &d->evtchn->dying_cursor, false);
    if (ret)
        return ret;
    forget_virq_handler(d);
    spin_lock(&d->evtchn->lock);
    evtchn_fifo_destroy(d);
    spin_unlock(&d->evtchn->lock);
    return 0;
}

void evtchn_domain_destroy(struct domain *d)
{
    struct evtchn_domain *e = d->evtchn;

    if (!e)
        return;
    for (unsigned int i = 0; i < GROUPS; i++) {
        for (unsigned int j = 0; e->groups[i] && j < CHUNKS_PER_GROUP; j++)
            heap_free(e->groups[i][j]);
        heap_free(e->groups[i]);
    }
    for (unsigned int i = 0; i < PIRQ_CHUNKS; i++)
        heap_free(e->pirq_port[i]);
    heap_free(e);
    d->evtchn = NULL;
}
