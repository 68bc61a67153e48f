// SPDX-License-Identifier: BSD-2-Clause
#include "ring.h"

#include "log.h"
#include "mem.h"
#include "ops.h"

#include <string.h>

static uint32_t load(const uint32_t *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

// A store that makes what was written before it final. Full barrier: what the other side does
// meanwhile is either seen by us afterwards, or it sees this.
static void store_final(uint32_t *p, uint32_t v)
{
    ring_point();
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    ring_point();
}

static void ring_state_init(struct ring *r)
{
    struct ring_state *st = r->state;
    st->magic = 0;
    st->msg_start = st->msg_next = r->req_cons;
    st->out_start = r->rsp_prod;
    st->out_len = 0;
    st->seq_sent = st->seq_out = 0;
    store_final(&st->phase, RING_IDLE);
    store_final(&st->magic, RING_STATE_MAGIC);
}

static bool ring_state_fits(const struct ring *r)
{
    const struct ring_state *st = r->state;
    if (st->magic != RING_STATE_MAGIC || st->phase > RING_REPLY)
        return false;
    uint32_t taken = r->req_cons - st->msg_start;
    if (st->phase == RING_IDLE)
        return taken < MESSAGE_MAX;
    return st->out_len <= MESSAGE_MAX && r->rsp_prod - st->out_start <= st->out_len &&
           (st->phase == RING_EVENT ? taken < MESSAGE_MAX : taken <= MESSAGE_MAX) &&
           (st->phase == RING_EVENT || st->msg_next - st->msg_start <= MESSAGE_MAX);
}

void ring_attach(struct ring *r, struct conn *c, struct xenstore_domain_interface *shared,
                 struct ring_state *state, bool fresh)
{
    struct domain *d = c->domain;
    *r = (struct ring){.shared = shared, .state = state, .conn = c, .notify = true};
    r->req_cons = load(&shared->req_cons);
    r->rsp_prod = load(&shared->rsp_prod);
    if (!fresh && !ring_state_fits(r)) {
        if (state->magic) // otherwise the file is new: nobody has served the ring yet
            log_warn("domain %u: the state of its ring is lost: a request may be repeated", d->id);
        fresh = true;
    }
    if (fresh)
        ring_state_init(r);
    const struct ring_state *st = r->state;
    uint64_t given = st->phase == RING_EVENT ? st->seq_out : st->seq_sent;
    while (c->events && c->events->seq <= given)
        conn_event_done(c);
    r->redo = d->redo && !fresh && st->phase == RING_IDLE && d->redo_pos == st->msg_start;
    d->redo = r->redo;
    shared->error = XENSTORE_ERROR_NONE;
    __atomic_or_fetch(&shared->server_features,
                      XENSTORE_SERVER_FEATURE_RECONNECTION | XENSTORE_SERVER_FEATURE_ERROR,
                      __ATOMIC_RELEASE);
}

// The connection's watches and transactions are gone, for the journal too.
static void ring_forget(struct ring *r)
{
    BUF_AUTO body = {0};
    record_u16(&body, (uint16_t)r->conn->who.domid);
    if (store_record(r->conn->store, RECORD_RESET, &body) && domain_may_tell(r->conn->domain))
        log_error("domain %u: its reset cannot be recorded", r->conn->who.domid);
    conn_reset(r->conn);
    r->redo = false;
}

static void ring_break(struct ring *r, uint32_t error)
{
    if (domain_may_tell(r->conn->domain))
        log_warn("domain %u breaks the rules of its ring (error %u): it is not served any more",
                 r->conn->who.domid, error);
    r->broken = true;
    r->notify = true;
    ring_forget(r);
    __atomic_store_n(&r->shared->error, error, __ATOMIC_RELEASE);
}

static void ring_reconnect(struct ring *r)
{
    struct xenstore_domain_interface *shared = r->shared;
    ring_forget(r);
    r->req_cons = r->rsp_prod = 0;
    ring_state_init(r);
    r->state->seq_sent = r->conn->event_seq;
    shared->req_cons = shared->req_prod = 0;
    shared->rsp_cons = shared->rsp_prod = 0;
    shared->error = XENSTORE_ERROR_NONE;
    r->broken = false;
    r->notify = true;
    store_final(&shared->connection, XENSTORE_CONNECTED);
}

// ---- answers ------------------------------------------------------------------------------

static void ring_copy_out(struct ring *r, const char *from, uint32_t len)
{
    uint32_t at = MASK_XENSTORE_IDX(r->rsp_prod);
    uint32_t first = XENSTORE_RING_SIZE - at < len ? XENSTORE_RING_SIZE - at : len;
    memcpy(r->shared->rsp + at, from, first);
    memcpy(r->shared->rsp, from + first, len - first);
}

static void ring_finish(struct ring *r)
{
    struct ring_state *st = r->state;
    if (st->phase == RING_EVENT) {
        st->seq_sent = st->seq_out;
    } else {
        r->req_cons = st->msg_next;
        store_final(&r->shared->req_cons, r->req_cons);
        st->msg_start = st->msg_next;
        r->redo = false;
    }
    store_final(&st->phase, RING_IDLE);
}

// Gives what is in out[]. False when the ring is full (or broken): then the guest will tell us
// that it has read something.
static bool ring_push(struct ring *r)
{
    struct ring_state *st = r->state;
    uint32_t done;
    while ((done = r->rsp_prod - st->out_start) < st->out_len) {
        uint32_t used = r->rsp_prod - load(&r->shared->rsp_cons);
        if (used > XENSTORE_RING_SIZE) {
            ring_break(r, XENSTORE_ERROR_RINGIDX);
            return false;
        }
        uint32_t room = XENSTORE_RING_SIZE - used, len = st->out_len - done;
        if (!room)
            return false;
        if (len > room)
            len = room;
        ring_copy_out(r, st->out + done, len);
        r->rsp_prod += len;
        r->notify = true;
        store_final(&r->shared->rsp_prod, r->rsp_prod);
    }
    ring_finish(r);
    return true;
}

static void ring_take_event(struct ring *r)
{
    struct ring_state *st = r->state;
    const struct event *e = r->conn->events;
    memcpy(st->out, e->data, e->len);
    st->out_len = (uint32_t)e->len;
    st->out_start = r->rsp_prod;
    st->seq_out = e->seq;
    store_final(&st->phase, RING_EVENT);
    conn_event_done(r->conn);
}

// ---- requests -----------------------------------------------------------------------------

static void ring_copy_in(struct ring *r, char *to, uint32_t from, uint32_t len)
{
    uint32_t at = MASK_XENSTORE_IDX(from);
    uint32_t first = XENSTORE_RING_SIZE - at < len ? XENSTORE_RING_SIZE - at : len;
    memcpy(to, r->shared->req + at, first);
    memcpy(to + first, r->shared->req, len - first);
}

// Brings bytes [*have, want) of the request into in[], as far as they are there.
static bool ring_gather(struct ring *r, uint32_t *have, uint32_t want, uint32_t prod)
{
    struct ring_state *st = r->state;
    uint32_t there = prod - st->msg_start;
    uint32_t len = (there < want ? there : want) - *have;
    ring_copy_in(r, st->in + *have, st->msg_start + *have, len);
    *have += len;
    return *have == want;
}

// Whether a whole request is in in[]; its length. The part of it that is in the ring stays there,
// except of one that is not complete: it may be longer than the ring, and a guest tells us of
// more only when we have taken all there was.
static bool ring_pull(struct ring *r, uint32_t *total)
{
    struct ring_state *st = r->state;
    for (;;) {
        struct xsd_sockmsg head;
        uint32_t have = r->req_cons - st->msg_start;
        uint32_t prod = load(&r->shared->req_prod);
        if (prod - r->req_cons > XENSTORE_RING_SIZE) {
            ring_break(r, XENSTORE_ERROR_RINGIDX);
            return false;
        }
        if (prod == r->req_cons)
            return false;
        if (have >= sizeof(head) || ring_gather(r, &have, sizeof(head), prod)) {
            memcpy(&head, st->in, sizeof(head));
            if (head.len > XENSTORE_PAYLOAD_MAX) {
                ring_break(r, XENSTORE_ERROR_PROTO);
                return false;
            }
            *total = (uint32_t)sizeof(head) + head.len;
            // Of an index that was ours and that the guest moved while no daemon ran.
            if (have > *total) {
                ring_break(r, XENSTORE_ERROR_RINGIDX);
                return false;
            }
            if (ring_gather(r, &have, *total, prod))
                return true;
        }
        r->req_cons = prod;
        r->notify = true;
        store_final(&r->shared->req_cons, prod);
    }
}

static void ring_execute(struct ring *r, uint32_t total)
{
    struct ring_state *st = r->state;
    struct domain *d = r->conn->domain;
    r->conn->ring_pos = st->msg_start;
    ring_point();
    if (r->redo)
        st->out_len = (uint32_t)request_again(st->in, &d->redo_reply, st->out);
    else
        st->out_len = (uint32_t)request_run(r->conn, st->in, st->out);
    r->redo = d->redo = false;
    st->out_start = r->rsp_prod;
    st->msg_next = st->msg_start + total;
    store_final(&st->phase, RING_REPLY);
}

bool ring_serve(struct ring *r, unsigned budget)
{
    for (; budget; budget--) {
        uint32_t total;
        if (load(&r->shared->connection) == XENSTORE_RECONNECT)
            ring_reconnect(r);
        if (r->broken)
            return false;
        if (r->state->phase == RING_IDLE) {
            // A request that was executed is answered before anything else: its place in the
            // stream of answers does not matter to the guest, but that it is known does to us.
            if (r->conn->events && !r->redo)
                ring_take_event(r);
            else if (ring_pull(r, &total))
                ring_execute(r, total);
            else
                return false;
        }
        if (!ring_push(r))
            return false;
    }
    return true;
}
