// SPDX-License-Identifier: BSD-2-Clause
// The store and who takes part in it. Everything that names no descriptor, ring or hypervisor is
// built on this, and runs in tests as it runs in the daemon:
//
//      conn ── watches, transactions, events that wait for it
//       │
//     domain ── what it uses of its limits; its ring, when it is introduced
//       │
//     store ── the tree, the index of watches, the limits; records what it does for the journal
//
// One thread, no locks.
#pragma once

#include "quota.h"
#include "record.h"
#include "tree.h"

#include <stdbool.h>
#include <stdint.h>

struct conn;
struct domain;
struct event;
struct transaction;
struct watch;
struct watch_dir;

enum { MESSAGE_MAX = sizeof(struct xsd_sockmsg) + XENSTORE_PAYLOAD_MAX };
enum { SPECIAL_INTRODUCE, SPECIAL_RELEASE, SPECIAL_COUNT };

// What the outside does for the store. Members may be NULL (tests).
struct store_host {
    // Appends to the journal. 0 or -errno: then nothing happens.
    int (*record)(void *arg, const struct record *r);
    // Connects to the ring of d (d->mfn, d->port) and sets d->conn. 0 or -errno.
    int (*connect)(void *arg, struct domain *d);
    // The guest has made its port anew, the ring is the same. 0 or -errno.
    int (*rebind)(void *arg, struct domain *d);
    // Lets go of a ring and frees its connection, with conn_close().
    void (*disconnect)(void *arg, struct conn *c);
    // Whether the hypervisor still has the domain, alive or shut down but not dying.
    bool (*exists)(void *arg, unsigned domid);
    // The connection has events to send.
    void (*wake)(void *arg, struct conn *c);
    // A node of this domain has made a transaction of the control domain fail: hold it back a
    // little.
    void (*throttle)(void *arg, unsigned domid);
};

struct store {
    struct tree tree;
    struct perms *special[SPECIAL_COUNT]; // who hears of @introduceDomain and @releaseDomain
    struct watch_dir *watches;            // by path
    struct watch_dir *special_watches[SPECIAL_COUNT + 1]; // the last: names that never happen
    struct domain **domains;                              // what is known of some, by number
    unsigned domain_count, domain_cap;
    struct conn *conns;
    struct limits limits;
    const struct store_host *host;
    void *host_arg;
    struct record_origin origin; // of the request being served
    bool loading;                // records are being applied, none are made
    uint64_t requests, commits, conflicts;
};

// A domain that has been introduced, owns nodes or has a connection.
struct domain {
    unsigned id;
    bool introduced, shutdown; // shutdown: @releaseDomain has told so
    bool has_target;
    unsigned target;
    uint64_t mfn; // of the ring's page, and the guest's port
    uint32_t port;
    struct conn *conn; // its ring
    unsigned told;     // how often it made us write to the log
    struct usage use;
    struct usage counted; // store_check() alone
    // The last request of its ring that is in the journal; for a ring found half-way through.
    bool redo;
    uint32_t redo_pos;
    struct record_reply redo_reply;
};

// One who speaks: a ring or a socket. I/O modules embed it.
struct conn {
    struct store *store;
    struct conn *next;
    struct domain *domain;
    struct who who;
    bool ring;           // survives a restart: what it sets up is recorded
    uint32_t ring_pos;   // of the request being served, in the stream of requests
    uint32_t next_tx_id; // never 0
    struct watch *watches;
    struct transaction *transactions;
    struct event *events, *events_tail; // to be sent, in order
    unsigned event_count;
    bool overflow;      // events were dropped: when the rest is sent, every watch fires once
    uint64_t event_seq; // of the last event made
};

// An empty store with its first nodes. `host` may be NULL.
void store_init(struct store *s, const struct store_host *host, void *arg);
void store_free(struct store *s);
// Records for the journal, with the origin of the request being served. 0 or -errno.
int store_record(struct store *s, enum record_type type, struct buf *body);
// All records have been applied.
void store_loaded(struct store *s);
// Every now and then: lets go of what old transactions of guests hold.
void store_housekeep(struct store *s, uint64_t now_ms);
// Whether all counts and structures agree. NULL or what is wrong.
const char *store_check(struct store *s);

// domain.c
// NULL when nothing is known of it (or the number is no domain's).
struct domain *domain_find(struct store *s, unsigned id);
// Makes it known; NULL when the number is no domain's.
struct domain *domain_get(struct store *s, unsigned id);
// Whether something that the guest has caused may be written to the log: a few times in its life.
bool domain_may_tell(struct domain *d);
// Forgets it if it has nothing left.
void domain_drop(struct store *s, struct domain *d);
// Each of these records, then acts; 0 or -errno.
int domain_introduce(struct store *s, unsigned id, uint64_t mfn, uint32_t port);
int domain_release(struct store *s, unsigned id);
int domain_set_target(struct store *s, unsigned id, unsigned target);
// It has shut down or crashed (true), or runs again; told of once each.
int domain_set_shutdown(struct store *s, unsigned id, bool shutdown);
// The hypervisor has it no more: its connection, its nodes and its permissions go.
int domain_gone(struct store *s, unsigned id);
// The same without recording, for the journal's reader.
int domain_introduce_apply(struct store *s, unsigned id, uint64_t mfn, uint32_t port);
int domain_release_apply(struct store *s, unsigned id);
int domain_target_apply(struct store *s, unsigned id, unsigned target);
int domain_shutdown_apply(struct store *s, unsigned id, bool shutdown);

// conn.c
// `d` is its domain; a socket's is domain 0.
void conn_init(struct conn *c, struct store *s, struct domain *d, bool ring);
// Drops its watches, transactions and events, as for a client that starts anew.
void conn_reset(struct conn *c);
// conn_reset(), and the store forgets it. The memory is the I/O module's.
void conn_close(struct conn *c);
// Queues one event for a watch of it.
void conn_event(struct conn *c, struct watch *w, const char *path);
// Drops the events of a watch that goes.
void conn_forget_watch(struct conn *c, const struct watch *w);
// The oldest event has been handed over: frees it.
void conn_event_done(struct conn *c);

struct event {
    struct event *next, *prev;
    struct watch *watch;
    uint64_t seq;
    size_t len;  // header and payload
    char data[]; // what is to be sent
};
