// SPDX-License-Identifier: BSD-2-Clause
// Rings: of the control domain's kernel and of guests.
#include "stored.h"

#include "log.h"
#include "mem.h"
#include "ring.h"
#include "xen.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

// What one turn may do; the control domain waits for nobody, so it gets more of them.
enum { RING_TURN_GUEST = 4, RING_TURN_CONTROL = 16, RING_HOLD_MS = 20 };
// For the kernel to take down what a killed daemon had bound.
enum { RING_BIND_TRIES = 100, RING_BIND_WAIT_MS = 10 };

struct ring_conn {
    struct conn conn;
    struct ring ring;
    struct turn turn;
    struct stored *daemon;
    struct ring_conn *next;
    struct xenstore_domain_interface *page;
    struct ring_state *state;
    unsigned port; // our end; 0: none
    struct loop_source *timer;
    bool held; // sits out until the timer
};

static void ring_state_path(const struct ring_conn *rc, char *path, size_t size)
{
    snprintf(path, size, "%s/ring-%u", rc->daemon->state_dir, rc->conn.who.domid);
}

static int ring_state_map(struct ring_conn *rc)
{
    char path[PATH_MAX];
    ring_state_path(rc, path, sizeof(path));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    // Allocated now: a full disk must not show itself in the middle of a request.
    int ret = -posix_fallocate(fd, 0, sizeof(*rc->state));
    void *p = MAP_FAILED;
    if (!ret)
        p = mmap(NULL, sizeof(*rc->state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (!ret && p == MAP_FAILED)
        ret = -errno;
    close(fd);
    if (!ret)
        rc->state = p;
    return ret;
}

// A dead process's end of the channel may be there for a moment yet. What is waited for it is taken
// from `tries`, so that guests that have closed their ends together cost no more than one.
static int ring_bind(struct ring_conn *rc, uint32_t remote, unsigned *tries)
{
    static const struct timespec pause = {.tv_nsec = RING_BIND_WAIT_MS * 1000000L};
    int port = xen_bind(rc->daemon->xen, rc->conn.who.domid, remote);
    while (port < 0 && *tries) {
        --*tries;
        nanosleep(&pause, NULL);
        port = xen_bind(rc->daemon->xen, rc->conn.who.domid, remote);
    }
    return port;
}

static void ring_let_go(struct ring_conn *rc)
{
    if (rc->port)
        xen_unbind(rc->daemon->xen, rc->port);
    if (rc->page)
        xen_unmap(rc->daemon->xen, rc->page);
    if (rc->state)
        munmap(rc->state, sizeof(*rc->state));
    rc->port = 0;
    rc->page = NULL;
    rc->state = NULL;
}

// Maps and binds everything. `fresh`: a ring that has not been served before.
static int ring_reach(struct ring_conn *rc, bool fresh, unsigned *tries)
{
    struct stored *d = rc->daemon;
    struct domain *dom = rc->conn.domain;
    uint32_t remote = dom->port;
    int ret = 0;
    if (dom->id)
        rc->page = xen_map_guest(d->xen, dom->id, dom->mfn);
    else
        ret = xen_map_control(d->xen, &rc->page, &remote);
    if (!ret && !rc->page)
        ret = errno ? -errno : -EIO;
    if (!ret)
        ret = ring_state_map(rc);
    if (!ret) {
        int port = ring_bind(rc, remote, tries);
        if (port < 0)
            ret = port;
        else
            rc->port = (unsigned)port;
    }
    if (ret) {
        ring_let_go(rc);
        return ret;
    }
    ring_attach(&rc->ring, &rc->conn, rc->page, rc->state, fresh);
    turn_queue(&d->turns, &rc->turn);
    return 0;
}

static void ring_serve_turn(struct turn *t)
{
    struct ring_conn *rc = (struct ring_conn *)((char *)t - offsetof(struct ring_conn, turn));
    if (rc->held || !rc->port)
        return;
    bool more =
        ring_serve(&rc->ring, rc->conn.who.privileged ? RING_TURN_CONTROL : RING_TURN_GUEST);
    if (rc->ring.notify) {
        rc->ring.notify = false;
        xen_notify(rc->daemon->xen, rc->port);
    }
    if (more)
        turn_queue(&rc->daemon->turns, &rc->turn);
}

static void ring_on_timer(void *arg, uint32_t count)
{
    struct ring_conn *rc = arg;
    (void)count;
    rc->held = false;
    turn_queue(&rc->daemon->turns, &rc->turn);
}

static struct ring_conn *ring_new(struct stored *d, struct domain *dom)
{
    struct ring_conn *rc = mem_alloc(sizeof(*rc));
    rc->daemon = d;
    rc->turn.serve = ring_serve_turn;
    rc->next = d->rings;
    d->rings = rc;
    conn_init(&rc->conn, &d->store, dom, true);
    dom->conn = &rc->conn;
    return rc;
}

static struct ring_conn *ring_of(struct conn *c)
{
    return (struct ring_conn *)((char *)c - offsetof(struct ring_conn, conn));
}

static void ring_free(struct ring_conn *rc, bool forget)
{
    struct stored *d = rc->daemon;
    char path[PATH_MAX];
    for (struct ring_conn **p = &d->rings; *p; p = &(*p)->next) {
        if (*p == rc) {
            *p = rc->next;
            break;
        }
    }
    turn_cancel(&d->turns, &rc->turn);
    loop_remove(rc->timer);
    ring_let_go(rc);
    if (forget) {
        ring_state_path(rc, path, sizeof(path));
        unlink(path);
    }
    conn_close(&rc->conn);
    free(rc);
}

// ---- hooks of the store -------------------------------------------------------------------

int rings_connect(void *arg, struct domain *dom)
{
    struct stored *d = arg;
    if (!d->xen)
        return -ENOSYS;
    struct ring_conn *rc = ring_new(d, dom);
    if (d->store.loading)
        return 0; // rings_attach_all() follows
    int ret = ring_reach(rc, true, &(unsigned){0});
    if (ret) {
        log_warn("domain %u: cannot reach its ring: %s", dom->id, strerror(-ret));
        ring_free(rc, true);
        return ret == -ENOSPC ? ret : -EINVAL; // what the protocol has for it
    }
    log_debug("domain %u: introduced", dom->id);
    return 0;
}

int rings_rebind(void *arg, struct domain *dom)
{
    const struct stored *d = arg;
    struct ring_conn *rc = ring_of(dom->conn);
    if (d->store.loading || !rc->port)
        return 0;
    xen_unbind(rc->daemon->xen, rc->port);
    rc->port = 0;
    int port = ring_bind(rc, dom->port, &(unsigned){0});
    if (port < 0) {
        log_warn("domain %u: cannot bind its port again: %s", dom->id, strerror(-port));
        ring_let_go(rc);
        return -EINVAL;
    }
    rc->port = (unsigned)port;
    rc->ring.notify = true;
    turn_queue(&rc->daemon->turns, &rc->turn);
    return 0;
}

void rings_disconnect(void *arg, struct conn *c)
{
    const struct stored *d = arg;
    // While the journal is read the state in the file may belong to a later ring of the domain.
    ring_free(ring_of(c), !d->store.loading);
}

void rings_throttle(void *arg, unsigned domid)
{
    struct stored *d = arg;
    const struct domain *dom = domain_find(&d->store, domid);
    struct ring_conn *rc = dom && dom->conn ? ring_of(dom->conn) : NULL;
    if (!rc || rc->held)
        return;
    if (!rc->timer)
        rc->timer = loop_add_timer(d->loop, ring_on_timer, rc);
    if (rc->timer && !loop_arm(rc->timer, RING_HOLD_MS, 0))
        rc->held = true;
}

void rings_wake(struct stored *d, struct conn *c)
{
    struct ring_conn *rc = ring_of(c);
    if (rc->port)
        turn_queue(&d->turns, &rc->turn);
}

// ---- the daemon's life --------------------------------------------------------------------

int rings_open_control(struct stored *d)
{
    ring_new(d, domain_get(&d->store, 0));
    return 0;
}

void rings_attach_all(struct stored *d)
{
    unsigned tries = RING_BIND_TRIES;
    int looked = xen_look(d->xen);
    if (looked)
        log_warn("cannot ask which domains there are: %s", strerror(-looked));
    for (struct ring_conn *rc = d->rings, *next; rc; rc = next) {
        next = rc->next;
        unsigned id = rc->conn.who.domid;
        if (id && !looked && xen_domain_state(d->xen, id) == XEN_DOMAIN_NONE)
            continue; // is let go when the domains are looked at
        int ret = ring_reach(rc, false, &tries);
        if (ret)
            log_error("domain %u: cannot reach its ring: %s", id, strerror(-ret));
    }
}

void rings_retry(struct stored *d)
{
    for (struct ring_conn *rc = d->rings; rc; rc = rc->next) {
        unsigned id = rc->conn.who.domid;
        if (!rc->port && (!id || xen_domain_state(d->xen, id) != XEN_DOMAIN_NONE) &&
            !ring_reach(rc, false, &(unsigned){0}))
            log_info("domain %u: its ring is reached now", id);
    }
}

void rings_on_event(struct stored *d, unsigned port)
{
    for (struct ring_conn *rc = d->rings; rc; rc = rc->next) {
        if (rc->port == port) {
            turn_queue(&d->turns, &rc->turn);
            return;
        }
    }
}

void rings_close(struct stored *d)
{
    for (struct ring_conn *rc = d->rings, *next; rc; rc = next) {
        next = rc->next;
        ring_free(rc, false);
    }
}
