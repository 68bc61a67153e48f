// SPDX-License-Identifier: BSD-2-Clause
// The daemon: the store, who is connected to it, and the machine below.
#pragma once

#include "journal.h"
#include "loop.h"
#include "ops.h"
#include "store.h"
#include "turns.h"

#include <stdbool.h>

struct ring_conn;
struct unix_conn;
struct xen;

struct stored {
    struct loop *loop;
    struct turns turns;
    struct store store;
    struct journal journal;
    struct turn compaction; // of the journal: not in the middle of a request
    const char *state_dir;
    struct xen *xen; // NULL: sockets alone (--no-xen)
    struct ring_conn *rings;
    struct unix_conn *sockets;
    unsigned socket_count;
    char *spare_buffer; // of a client that has nothing to say
};

// conn_unix.c
// Listens at a path, or at an abstract name when it begins with '@'. 0 or -errno.
int sockets_listen(struct stored *d, const char *path);
void sockets_wake(struct stored *d, struct conn *c);
void sockets_close(struct stored *d);

// conn_ring.c
// The hooks of struct store_host.
int rings_connect(void *arg, struct domain *dom);
int rings_rebind(void *arg, struct domain *dom);
void rings_disconnect(void *arg, struct conn *c);
void rings_throttle(void *arg, unsigned domid);
void rings_wake(struct stored *d, struct conn *c);
// Before the journal is read: the control domain's own.
int rings_open_control(struct stored *d);
// After it: reaches all rings that it named; domains that are gone are let go.
void rings_attach_all(struct stored *d);
// Tries those again that could not be reached.
void rings_retry(struct stored *d);
void rings_on_event(struct stored *d, unsigned port);
void rings_close(struct stored *d);
