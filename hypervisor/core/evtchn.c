// SPDX-License-Identifier: BSD-2-Clause
// Ports: allocation, binding, sending, closing.
#include "core/evtchn_private.h"
#include "core/hypercall.h"
#include "core/sched.h"
#include "memory/heap.h"

#define PREEMPT_PORTS 64 // closed between two looks at the clock

typedef void consumer_fn_t(struct vcpu *v, evtchn_port_t port);
static consumer_fn_t *consumers[8];
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

void evtchn_raise(struct domain *d, evtchn_port_t port, struct port *p)
{
    struct evtchn_domain *e = d->evtchn;
    struct vcpu *v = d->vcpu[p->vcpu];

    if (e->fifo)
        evtchn_fifo_set_pending(v, port, p);
    else
        evtchn_2l_set_pending(v, port);
    if (unlikely(READ_ONCE(e->poll_mask[0]) | READ_ONCE(e->poll_mask[1])))
        wake_pollers(d, port);
}

int evtchn_send(struct domain *d, evtchn_port_t port)
{
    struct port *p = port_lookup(d->evtchn, port), *peer;
    int ret = 0;

    if (unlikely(!p))
        return -EINVAL;
    spin_lock(&p->lock);
    switch (p->state) {
    case PORT_INTERDOMAIN:
        // Our lock keeps the peer from going away.
        peer = port_lookup(p->peer.d->evtchn, p->peer.port);
        if (unlikely(peer->consumer))
            consumers[peer->consumer - 1](p->peer.d->vcpu[peer->vcpu], p->peer.port);
        else
            evtchn_raise(p->peer.d, p->peer.port, peer);
        break;
    case PORT_IPI:
        evtchn_raise(d, port, p);
        break;
    case PORT_UNBOUND:
        break; // dropped: nobody is there yet
    default:
        ret = -EINVAL;
    }
    spin_unlock(&p->lock);
    return ret;
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
        evtchn_raise(v->domain, port, port_lookup(v->domain->evtchn, port));
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

static uint32_t *pirq_slot(const struct evtchn_domain *e, uint32_t pirq)
{
    uint32_t *chunk;

    if (pirq >= PIRQ_CHUNKS * PIRQS_PER_CHUNK)
        return NULL;
    chunk = READ_ONCE(e->pirq_port[index_nospec(pirq / PIRQS_PER_CHUNK, PIRQ_CHUNKS)]);
    return chunk ? chunk + pirq % PIRQS_PER_CHUNK : NULL;
}

void evtchn_send_pirq(struct domain *d, uint32_t pirq)
{
    uint32_t *slot = pirq_slot(d->evtchn, pirq);
    evtchn_port_t port = slot ? READ_ONCE(*slot) : 0;

    if (port)
        evtchn_raise(d, port, port_lookup(d->evtchn, port));
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
        for (unsigned int i = 0; i < PORTS_PER_CHUNK; i++)
            spin_lock_init(&ports[i].lock);
        __atomic_store_n(chunk, ports, __ATOMIC_RELEASE);
    }
    return *chunk + port % PORTS_PER_CHUNK;
}

// Take the lowest free port: locked domain. 0 or -ENOSPC, -ENOMEM, -EINVAL (dying).
static int port_alloc(struct domain *d, evtchn_port_t *out, struct port **out_port)
{
    struct evtchn_domain *e = d->evtchn;

    if (d->dying)
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
static void port_release(struct domain *d, evtchn_port_t port, struct port *p)
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

static void set_state(struct port *p, enum port_state state)
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
    ret = port_alloc(d, out, &p);
    if (!ret) {
        p->unbound = remote;
        p->vcpu = (uint16_t)vcpu;
        p->consumer = (uint8_t)consumer;
        set_state(p, PORT_UNBOUND);
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

// ---- binding ------------------------------------------------------------------------------------

static void lock_two(struct domain *a, struct domain *b)
{
    if (a > b) {
        struct domain *t = a;
        a = b;
        b = t;
    }
    spin_lock(&a->evtchn->lock);
    if (a != b)
        spin_lock(&b->evtchn->lock);
}

static void unlock_two(struct domain *a, struct domain *b)
{
    spin_unlock(&a->evtchn->lock);
    if (a != b)
        spin_unlock(&b->evtchn->lock);
}

static void lock_ports(struct port *a, struct port *b)
{
    spin_lock(a < b ? &a->lock : &b->lock);
    if (a != b)
        spin_lock(a < b ? &b->lock : &a->lock);
}

static void unlock_ports(struct port *a, struct port *b)
{
    spin_unlock(&a->lock);
    if (a != b)
        spin_unlock(&b->lock);
}

static int connect(struct domain *d, struct domain *rd, struct evtchn_bind_interdomain *op)
{
    struct port *rp = port_lookup(rd->evtchn, op->remote_port), *p;
    int ret;

    if (!rp || rp->state != PORT_UNBOUND || rp->unbound != d->id)
        return -EINVAL;
    ret = port_alloc(d, &op->local_port, &p);
    if (ret)
        return ret;
    lock_ports(p, rp);
    p->peer.d = rd;
    p->peer.port = op->remote_port;
    p->state = PORT_INTERDOMAIN;
    rp->peer.d = d;
    rp->peer.port = op->local_port;
    rp->state = PORT_INTERDOMAIN;
    // What the peer sent before is not lost.
    evtchn_raise(d, op->local_port, p);
    unlock_ports(p, rp);
    return 0;
}

int evtchn_bind_interdomain(struct domain *d, struct evtchn_bind_interdomain *op)
{
    struct domain *rd = domain_get_by_any_id(op->remote_dom);
    int ret;

    if (!rd)
        return -ESRCH;
    if (!rd->evtchn) {
        ret = -EINVAL;
    } else {
        lock_two(d, rd);
        ret = connect(d, rd, op);
        unlock_two(d, rd);
    }
    domain_put(rd);
    return ret;
}

int evtchn_bind_virq(struct domain *d, struct evtchn_bind_virq *op)
{
    struct vcpu *v;
    struct port *p;
    int ret;

    if (op->virq >= NR_VIRQS || (virq_is_global(op->virq) && op->vcpu))
        return -EINVAL;
    op->virq = (uint32_t)index_nospec(op->virq, NR_VIRQS);
    v = domain_vcpu(d, op->vcpu);
    if (!v)
        return -ENOENT;
    spin_lock(&d->evtchn->lock);
    ret = v->virq_port[op->virq] ? -EEXIST : port_alloc(d, &op->port, &p);
    if (!ret) {
        p->virq = op->virq;
        p->vcpu = (uint16_t)v->id;
        set_state(p, PORT_VIRQ);
        __atomic_store_n(&v->virq_port[op->virq], op->port, __ATOMIC_RELEASE);
    }
    spin_unlock(&d->evtchn->lock);
    return ret;
}

int evtchn_bind_ipi(struct domain *d, struct evtchn_bind_ipi *op)
{
    struct vcpu *v = domain_vcpu(d, op->vcpu);
    struct port *p;
    int ret;

    if (!v)
        return -ENOENT;
    spin_lock(&d->evtchn->lock);
    ret = port_alloc(d, &op->port, &p);
    if (!ret) {
        p->vcpu = (uint16_t)v->id;
        set_state(p, PORT_IPI);
    }
    spin_unlock(&d->evtchn->lock);
    return ret;
}

// Reserve a port for the pirq and enter it in the table: an interrupt may come as soon as
// arch_pirq_bind() has bound it.
static int reserve_pirq_port(struct domain *d, uint32_t pirq, evtchn_port_t *port, struct port **p)
{
    struct evtchn_domain *e = d->evtchn;
    uint32_t **chunk;
    int ret;

    if (pirq >= PIRQ_CHUNKS * PIRQS_PER_CHUNK)
        return -EINVAL;
    chunk = &e->pirq_port[index_nospec(pirq / PIRQS_PER_CHUNK, PIRQ_CHUNKS)];
    if (!*chunk)
        WRITE_ONCE(*chunk, heap_alloc_array(PIRQS_PER_CHUNK, sizeof(**chunk)));
    if (!*chunk)
        return -ENOMEM;
    if ((*chunk)[pirq % PIRQS_PER_CHUNK])
        return -EEXIST;
    ret = port_alloc(d, port, p);
    if (ret)
        return ret;
    (*p)->pirq = pirq;
    (*p)->state = PORT_RESERVED;
    __atomic_store_n(&(*chunk)[pirq % PIRQS_PER_CHUNK], *port, __ATOMIC_RELEASE);
    return 0;
}

int evtchn_bind_pirq(struct domain *d, struct evtchn_bind_pirq *op)
{
    struct port *p;
    int ret;

    spin_lock(&d->evtchn->lock);
    ret = reserve_pirq_port(d, op->pirq, &op->port, &p);
    spin_unlock(&d->evtchn->lock);
    if (ret)
        return ret;
    ret = arch_pirq_bind(d->vcpu[0], op->pirq, op->flags & BIND_PIRQ__WILL_SHARE);
    spin_lock(&d->evtchn->lock);
    if (ret) {
        WRITE_ONCE(*pirq_slot(d->evtchn, op->pirq), 0);
        port_release(d, op->port, p);
    } else {
        set_state(p, PORT_PIRQ);
    }
    spin_unlock(&d->evtchn->lock);
    return ret;
}

int evtchn_bind_vcpu(struct domain *d, const struct evtchn_bind_vcpu *op)
{
    struct vcpu *v = domain_vcpu(d, op->vcpu);
    struct port *p = port_lookup(d->evtchn, op->port);
    int ret = 0;

    if (!v)
        return -ENOENT;
    if (!p)
        return -EINVAL;
    spin_lock(&p->lock);
    switch (p->state) {
    case PORT_VIRQ:
        if (!virq_is_global(p->virq)) {
            ret = -EINVAL;
            break;
        }
        WRITE_ONCE(p->vcpu, (uint16_t)v->id);
        break;
    case PORT_UNBOUND:
    case PORT_INTERDOMAIN:
    case PORT_PIRQ:
        if (p->consumer)
            ret = -EINVAL;
        else
            WRITE_ONCE(p->vcpu, (uint16_t)v->id);
        break;
    default:
        ret = -EINVAL;
    }
    spin_unlock(&p->lock);
    return ret;
}

int evtchn_set_priority(struct domain *d, const struct evtchn_set_priority *op)
{
    struct port *p = port_lookup(d->evtchn, op->port);
    int ret = 0;

    if (!d->evtchn->fifo)
        return -ENOSYS;
    if (!p || op->priority > EVTCHN_FIFO_PRIORITY_MIN)
        return -EINVAL;
    spin_lock(&p->lock);
    if (p->state == PORT_FREE || p->state == PORT_RESERVED || p->consumer)
        ret = -EINVAL;
    else
        WRITE_ONCE(p->priority, (uint8_t)op->priority);
    spin_unlock(&p->lock);
    return ret;
}

// ---- closing ------------------------------------------------------------------------------------

static void unbind_virq(struct domain *d, struct port *p)
{
    struct vcpu *v = d->vcpu[virq_is_global(p->virq) ? 0 : p->vcpu];
    unsigned long flags = spin_lock_irqsave(&v->virq_lock);

    v->virq_port[p->virq] = 0;
    spin_unlock_irqrestore(&v->virq_lock, flags);
}

// d (and for interdomain ports the peer's domain rd) locked.
static void close_locked(struct domain *d, evtchn_port_t port, struct port *p, struct domain *rd)
{
    struct port *peer;

    switch (p->state) {
    case PORT_PIRQ:
        WRITE_ONCE(*pirq_slot(d->evtchn, p->pirq), 0);
        arch_pirq_unbind(d, p->pirq);
        break;
    case PORT_VIRQ:
        unbind_virq(d, p);
        break;
    case PORT_INTERDOMAIN:
        peer = port_lookup(rd->evtchn, p->peer.port);
        lock_ports(p, peer);
        peer->state = PORT_UNBOUND;
        peer->unbound = d->id;
        port_release(d, port, p);
        unlock_ports(p, peer);
        return;
    default:
        break;
    }
    spin_lock(&p->lock);
    port_release(d, port, p);
    spin_unlock(&p->lock);
}

// The port's peer domain with a reference and both domain locks held, or d's alone and NULL.
static struct domain *lock_with_peer(struct domain *d, struct port *p)
{
    for (;;) {
        struct domain *rd;

        spin_lock(&d->evtchn->lock);
        if (p->state != PORT_INTERDOMAIN)
            return NULL;
        // The peer's end is closed before its domain goes: while ours is bound it is there.
        rd = p->peer.d;
        if (!domain_get(rd)) {
            spin_unlock(&d->evtchn->lock);
            cpu_relax();
            continue;
        }
        spin_unlock(&d->evtchn->lock);
        lock_two(d, rd);
        if (p->state == PORT_INTERDOMAIN && p->peer.d == rd)
            return rd;
        unlock_two(d, rd);
        domain_put(rd);
    }
}

int evtchn_close(struct domain *d, evtchn_port_t port, bool guest)
{
    struct port *p = port_lookup(d->evtchn, port);
    struct domain *rd;
    int ret = 0;

    if (!p)
        return -EINVAL;
    rd = lock_with_peer(d, p);
    if (p->state == PORT_FREE || p->state == PORT_RESERVED || (guest && p->consumer))
        ret = -EINVAL;
    else
        close_locked(d, port, p, rd);
    if (rd) {
        unlock_two(d, rd);
        domain_put(rd);
    } else {
        spin_unlock(&d->evtchn->lock);
    }
    return ret;
}

// Close all ports from the cursor on: 0 or -ERESTART.
static int close_all(struct domain *d, bool guest)
{
    struct evtchn_domain *e = d->evtchn;
    unsigned int done = 0;

    for (evtchn_port_t port = e->cursor; port < EVTCHN_FIFO_NR_CHANNELS; port++) {
        struct port *p = port_lookup(e, port);

        if (!p) { // neither is the rest of its chunk there
            port |= PORTS_PER_CHUNK - 1;
            continue;
        }
        if (p->state == PORT_FREE)
            continue;
        if (evtchn_close(d, port, guest) == 0 && ++done % PREEMPT_PORTS == 0 &&
            hypercall_preempt_check()) {
            e->cursor = port + 1;
            return -ERESTART;
        }
    }
    e->cursor = 0;
    return 0;
}

int evtchn_reset(struct domain *d)
{
    int ret;

    if (d != current->domain && !READ_ONCE(d->controller_pauses))
        return -EINVAL;
    ret = close_all(d, true);
    if (ret)
        return ret;
    spin_lock(&d->evtchn->lock);
    // Only the domain itself knows that none of its vCPUs is using the queues.
    if (d == current->domain && d->evtchn->fifo && d->evtchn->in_use == 0)
        evtchn_fifo_destroy(d);
    spin_unlock(&d->evtchn->lock);
    return 0;
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
        op->u.interdomain.port = p->peer.port;
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
    int ret = close_all(d, false);

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
