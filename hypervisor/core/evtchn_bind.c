// SPDX-License-Identifier: BSD-2-Clause
// Binding ports and closing them.
#include "core/evtchn_private.h"
#include "core/hypercall.h"
#include "core/sched.h"
#include "memory/heap.h"

#define PREEMPT_PORTS 64 // closed between two looks at the clock

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
    ret = evtchn_port_alloc(d, &op->local_port, &p);
    if (ret)
        return ret;
    lock_ports(p, rp);
    p->peer.d = rd;
    p->peer.port = rp;
    p->state = PORT_INTERDOMAIN;
    rp->peer.d = d;
    rp->peer.port = p;
    rp->state = PORT_INTERDOMAIN;
    // What the peer sent before is not lost.
    evtchn_raise(d, p);
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
    ret = v->virq_port[op->virq] ? -EEXIST : evtchn_port_alloc(d, &op->port, &p);
    if (!ret) {
        p->virq = op->virq;
        p->vcpu = (uint8_t)v->id;
        evtchn_set_state(p, PORT_VIRQ);
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
    ret = evtchn_port_alloc(d, &op->port, &p);
    if (!ret) {
        p->vcpu = (uint8_t)v->id;
        evtchn_set_state(p, PORT_IPI);
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
    ret = evtchn_port_alloc(d, port, p);
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
        WRITE_ONCE(*evtchn_pirq_slot(d->evtchn, op->pirq), 0);
        evtchn_port_release(d, op->port, p);
    } else {
        evtchn_set_state(p, PORT_PIRQ);
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
        WRITE_ONCE(p->vcpu, (uint8_t)v->id);
        break;
    case PORT_UNBOUND:
    case PORT_INTERDOMAIN:
    case PORT_PIRQ:
        if (p->consumer)
            ret = -EINVAL;
        else
            WRITE_ONCE(p->vcpu, (uint8_t)v->id);
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
        WRITE_ONCE(*evtchn_pirq_slot(d->evtchn, p->pirq), 0);
        arch_pirq_unbind(d, p->pirq);
        break;
    case PORT_VIRQ:
        unbind_virq(d, p);
        break;
    case PORT_INTERDOMAIN:
        peer = p->peer.port;
        lock_ports(p, peer);
        peer->state = PORT_UNBOUND;
        peer->unbound = d->id;
        evtchn_port_release(d, port, p);
        unlock_ports(p, peer);
        return;
    default:
        break;
    }
    spin_lock(&p->lock);
    evtchn_port_release(d, port, p);
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
int evtchn_close_all(struct domain *d, uint32_t *cursor, bool guest)
{
    struct evtchn_domain *e = d->evtchn;
    unsigned int done = 0;

    for (evtchn_port_t port = READ_ONCE(*cursor); port < EVTCHN_FIFO_NR_CHANNELS; port++) {
        struct port *p = port_lookup(e, port);

        if (!p) { // neither is the rest of its chunk there
            port |= PORTS_PER_CHUNK - 1;
            continue;
        }
        if (p->state == PORT_FREE)
            continue;
        if (evtchn_close(d, port, guest) == 0 && ++done % PREEMPT_PORTS == 0 &&
            hypercall_preempt_check()) {
            WRITE_ONCE(*cursor, port + 1);
            return -ERESTART;
        }
    }
    WRITE_ONCE(*cursor, 0);
    return 0;
}

// Off the FIFO queues: the other vCPUs may be in the middle of a call that looks at them, so they
// stop first. Two resets at once would wait for each other: the second starts again later.
static int leave_fifo(struct domain *d)
{
    struct evtchn_domain *e = d->evtchn;
    struct vcpu *v;

    if (__atomic_exchange_n(&e->leaving_fifo, true, __ATOMIC_ACQUIRE))
        return -ERESTART;
    for_each_vcpu (d, v)
        if (v != current)
            vcpu_pause(v);
    spin_lock(&e->lock);
    if (e->in_use == 0)
        evtchn_fifo_destroy(d);
    spin_unlock(&e->lock);
    for_each_vcpu (d, v)
        if (v != current)
            vcpu_unpause(v);
    __atomic_store_n(&e->leaving_fifo, false, __ATOMIC_RELEASE);
    return 0;
}

int evtchn_reset(struct domain *d)
{
    int ret;

    if (d != current->domain && !READ_ONCE(d->controller_pauses))
        return -EINVAL;
    ret = evtchn_close_all(d, &d->evtchn->cursor, true);
    if (ret)
        return ret;
    return d == current->domain && d->evtchn->fifo ? leave_fifo(d) : 0;
}
