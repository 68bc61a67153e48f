// SPDX-License-Identifier: BSD-2-Clause
// What all connections have in common: their events, and their end.
#include "store.h"
#include "transaction.h"
#include "watch.h"

#include "log.h"
#include "mem.h"

#include <stdlib.h>
#include <string.h>

// A client of the control domain may leave this many times more events unread than a guest.
enum { PRIVILEGED_EVENTS = 32 };

void conn_init(struct conn *c, struct store *s, struct domain *d, bool ring)
{
    *c = (struct conn){.store = s, .domain = d, .ring = ring, .next = s->conns, .next_tx_id = 1};
    c->who = (struct who){
        .domid = d->id, .target = d->has_target ? d->target : d->id, .privileged = d->id == 0};
    s->conns = c;
}

static void event_free(struct conn *c, struct event *e)
{
    if (e->prev)
        e->prev->next = e->next;
    else
        c->events = e->next;
    if (e->next)
        e->next->prev = e->prev;
    else
        c->events_tail = e->prev;
    if (e->watch && e->watch->last == e)
        e->watch->last = NULL;
    c->event_count--;
    c->domain->use.bytes -= (long)(sizeof(*e) + e->len);
    free(e);
}

static void event_queue(struct conn *c, struct event *e)
{
    e->prev = c->events_tail;
    if (c->events_tail)
        c->events_tail->next = e;
    else
        c->events = e;
    c->events_tail = e;
    c->event_count++;
    c->domain->use.bytes += (long)(sizeof(*e) + e->len);
}

static bool conn_full(const struct conn *c)
{
    const struct limits *l = &c->store->limits;
    unsigned most = c->who.privileged ? l->outstanding * PRIVILEGED_EVENTS : l->outstanding;
    return c->event_count >= most;
}

static void conn_wake(struct conn *c)
{
    const struct store *s = c->store;
    if (s->host && s->host->wake)
        s->host->wake(s->host_arg, c);
}

// The same event may wait only once: then it counts as the younger one. Numbers rise along the
// queue, so that after a restart "all up to number n" is what the client has got.
static void conn_event_numbered(struct conn *c, struct watch *w, const char *path, uint64_t seq)
{
    size_t path_len = strlen(path) + 1, token_len = strlen(w->token) + 1;
    size_t payload = path_len + token_len;
    struct event *old = w->last;
    if (payload > XENSTORE_PAYLOAD_MAX)
        return; // not possible by the limits of WATCH: see ops_watch.c
    if (old && old->len == sizeof(struct xsd_sockmsg) + payload &&
        !memcmp(old->data + sizeof(struct xsd_sockmsg), path, path_len))
        event_free(c, old);
    if (conn_full(c)) {
        if (!c->overflow && domain_may_tell(c->domain))
            log_warn("domain %u does not read its events: some are dropped", c->who.domid);
        c->overflow = true;
        return;
    }
    struct xsd_sockmsg head = {.type = XS_WATCH_EVENT, .len = (uint32_t)payload};
    struct event *e = mem_alloc(sizeof(*e) + sizeof(head) + payload);
    e->watch = w;
    e->seq = seq;
    e->len = sizeof(head) + payload;
    memcpy(e->data, &head, sizeof(head));
    memcpy(e->data + sizeof(head), path, path_len);
    memcpy(e->data + sizeof(head) + path_len, w->token, token_len);
    event_queue(c, e);
    w->last = e;
    conn_wake(c);
}

void conn_event(struct conn *c, struct watch *w, const char *path)
{
    conn_event_numbered(c, w, path, ++c->event_seq);
}

void conn_forget_watch(struct conn *c, const struct watch *w)
{
    for (struct event *e = c->events, *next; e; e = next) {
        next = e->next;
        if (e->watch == w)
            event_free(c, e);
    }
}

void conn_event_done(struct conn *c)
{
    if (c->events)
        event_free(c, c->events);
    if (c->events || !c->overflow)
        return;
    // What was dropped is made good: every watch says "look at all of it". These are not new
    // events: the journal's reader, who drops none, must count as we do.
    c->overflow = false;
    for (struct watch *w = c->watches; w; w = w->next)
        conn_event_numbered(c, w, w->path, c->event_seq);
}

void conn_reset(struct conn *c)
{
    watch_remove_all(c);
    while (c->transactions)
        transaction_free(c->transactions);
    for (struct event *e = c->events, *next; e; e = next) {
        next = e->next;
        event_free(c, e);
    }
    c->overflow = false;
}

void conn_close(struct conn *c)
{
    conn_reset(c);
    for (struct conn **p = &c->store->conns; *p; p = &(*p)->next) {
        if (*p == c) {
            *p = c->next;
            break;
        }
    }
    if (c->domain->conn == c)
        c->domain->conn = NULL;
}
