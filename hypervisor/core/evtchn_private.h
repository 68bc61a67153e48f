// SPDX-License-Identifier: BSD-2-Clause
// Inside event channels.
//
// A domain's ports live in chunks of 32, reached over a table of groups; a chunk stays until the
// domain is freed, so that a port number that was valid once can be looked up without a lock.
//
// Locks: the domain's lock covers which ports are in use; for two domains the one at the lower
// address comes first. A port's lock covers its state; it is taken inside the domain's, alone by
// senders. An interdomain port holds its peer in place: closing either end takes both port locks.
// Raising a port as pending needs no lock of these (interrupts do it).
#pragma once

#include "core/evtchn.h"

#define PORTS_PER_CHUNK  32
#define CHUNKS_PER_GROUP 64
#define GROUPS           (EVTCHN_FIFO_NR_CHANNELS / (PORTS_PER_CHUNK * CHUNKS_PER_GROUP))
#define PIRQS_PER_CHUNK  64
#define PIRQ_CHUNKS      64

enum port_state { // EVTCHNSTAT_* and one more
    PORT_FREE = EVTCHNSTAT_closed,
    PORT_UNBOUND = EVTCHNSTAT_unbound,
    PORT_INTERDOMAIN = EVTCHNSTAT_interdomain,
    PORT_PIRQ = EVTCHNSTAT_pirq,
    PORT_VIRQ = EVTCHNSTAT_virq,
    PORT_IPI = EVTCHNSTAT_ipi,
    PORT_RESERVED, // being set up
};

struct port {
    spinlock_t lock;
    uint8_t state;     // enum port_state
    uint8_t consumer;  // 1 + index of the hypervisor's notify function; 0: the guest's own port
    uint8_t priority;  // FIFO
    uint8_t missed;    // FIFO: raised before its event word existed
    uint8_t vcpu;      // whom it notifies
    uint8_t last_vcpu; // FIFO: the queue it was linked to last
    uint8_t last_priority;
    uint32_t number; // its own
    union {
        domid_t unbound; // who may bind
        struct {
            struct domain *d;
            struct port *port;
        } peer;
        uint32_t pirq;
        uint32_t virq;
    };
};
_Static_assert(LOCK_CHECK || sizeof(struct port) == 32, "a chunk of ports is 1 KiB");
_Static_assert(MAX_VIRT_CPUS <= 256, "vCPU numbers are kept in bytes");

struct evtchn_fifo;

struct evtchn_domain {
    spinlock_t lock;
    uint32_t max_port;   // highest port allowed by the toolstack
    uint32_t first_free; // no free port below
    uint32_t in_use;
    uint32_t cursor;          // of a reset in progress
    uint32_t dying_cursor;    // of a relinquish: a reset may be left half done
    bool leaving_fifo;        // a reset has stopped the other vCPUs
    struct evtchn_fifo *fifo; // NULL: 2-level
    unsigned long poll_mask[BITMAP_WORDS(MAX_VIRT_CPUS)]; // vCPUs that may be in SCHEDOP_poll
    struct port **groups[GROUPS];
    uint32_t *pirq_port[PIRQ_CHUNKS];
};

// The port's state, or NULL when the number was never in use. Bounds hold under speculation.
static inline struct port *port_lookup(const struct evtchn_domain *e, evtchn_port_t port)
{
    struct port **group, *chunk;

    if (unlikely(port >= EVTCHN_FIFO_NR_CHANNELS))
        return NULL;
    port = (evtchn_port_t)index_nospec(port, EVTCHN_FIFO_NR_CHANNELS);
    group = READ_ONCE(e->groups[port / (PORTS_PER_CHUNK * CHUNKS_PER_GROUP)]);
    if (unlikely(!group))
        return NULL;
    chunk = READ_ONCE(group[port / PORTS_PER_CHUNK % CHUNKS_PER_GROUP]);
    return chunk ? chunk + port % PORTS_PER_CHUNK : NULL;
}

// Ports the ABI in use can name.
static inline uint32_t port_limit(const struct evtchn_domain *e)
{
    uint32_t abi = READ_ONCE(e->fifo) ? EVTCHN_FIFO_NR_CHANNELS : EVTCHN_2L_NR_CHANNELS;

    return MIN(abi, e->max_port + 1);
}

static inline bool virq_is_global(uint32_t virq)
{
    return virq != VIRQ_TIMER && virq != VIRQ_DEBUG && virq != VIRQ_XENOPROF && virq != VIRQ_XENPMU;
}

// v has events to look at.
void evtchn_mark_upcall(struct vcpu *v);
void evtchn_2l_clear_pending(struct domain *d, evtchn_port_t port);
bool evtchn_2l_is_pending(struct domain *d, evtchn_port_t port);
bool evtchn_2l_is_masked(struct domain *d, evtchn_port_t port);
void evtchn_2l_unmask(struct vcpu *v, evtchn_port_t port);

void evtchn_fifo_set_pending(struct vcpu *v, evtchn_port_t port, struct port *p);
void evtchn_fifo_clear_pending(struct domain *d, evtchn_port_t port);
bool evtchn_fifo_is_pending(struct domain *d, evtchn_port_t port);
bool evtchn_fifo_is_masked(struct domain *d, evtchn_port_t port);
void evtchn_fifo_unmask(struct vcpu *v, evtchn_port_t port, struct port *p);
int __must_check evtchn_fifo_init_control(struct domain *d, struct evtchn_init_control *op);
int __must_check evtchn_fifo_expand(struct domain *d, const struct evtchn_expand_array *op);
void evtchn_fifo_destroy(struct domain *d); // no port is in use; back to 2-level

// The rest of evtchn_raise: for a bit that has just been set, and for FIFO.
void evtchn_raise_2l(struct domain *d, struct port *p);
void evtchn_raise_fifo(struct domain *d, struct port *p);

// The port is pending from now on; tell its vCPU if unmasked, and pollers.
static inline void evtchn_raise(struct domain *d, struct port *p)
{
    if (d->evtchn->fifo)
        evtchn_raise_fifo(d, p);
    else if (!bit_test_and_set_atomic(d->shared_info->evtchn_pending, p->number))
        evtchn_raise_2l(d, p);
}

// evtchn.c: the table. The domain is locked.
// Take the lowest free port: 0 or -ENOSPC, -ENOMEM, -EINVAL (dying).
int __must_check evtchn_port_alloc(struct domain *d, evtchn_port_t *out, struct port **out_port);
// The port is locked too, unless it was never shown to anyone.
void evtchn_port_release(struct domain *d, evtchn_port_t port, struct port *p);
void evtchn_set_state(struct port *p, enum port_state state);
// Where the pirq's port stands; NULL: never bound.
uint32_t *evtchn_pirq_slot(const struct evtchn_domain *e, uint32_t pirq);
// evtchn_bind.c: close all ports from the cursor on. 0 or -ERESTART.
int __must_check evtchn_close_all(struct domain *d, uint32_t *cursor, bool guest);

// Ports, for evtchn_op.c. 0 or -E.
int __must_check evtchn_bind_interdomain(struct domain *d, struct evtchn_bind_interdomain *op);
int __must_check evtchn_bind_virq(struct domain *d, struct evtchn_bind_virq *op);
int __must_check evtchn_bind_pirq(struct domain *d, struct evtchn_bind_pirq *op);
int __must_check evtchn_bind_ipi(struct domain *d, struct evtchn_bind_ipi *op);
int __must_check evtchn_bind_vcpu(struct domain *d, const struct evtchn_bind_vcpu *op);
int __must_check evtchn_close(struct domain *d, evtchn_port_t port, bool guest);
int __must_check evtchn_status(struct domain *d, struct evtchn_status *op);
int __must_check evtchn_unmask(struct domain *d, evtchn_port_t port);
int __must_check evtchn_set_priority(struct domain *d, const struct evtchn_set_priority *op);
int __must_check evtchn_reset(struct domain *d); // preemptible: -ERESTART
