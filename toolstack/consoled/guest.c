// SPDX-License-Identifier: BSD-2-Clause
// Guests: finding, mapping, reading and forgetting their consoles.
#include "consoled.h"

#include "log.h"
#include "pty.h"
#include "ring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

// An event costs as much as some bytes, so that a guest cannot flood us with empty ones.
enum { GUEST_BURST_SECONDS = 4, GUEST_PAUSE_MS = 50, GUEST_EVENT_COST = 64 };

struct guest *guest_find(struct consoled *d, uint32_t id)
{
    for (struct guest *g = d->guests; g; g = g->next)
        if (g->id == id)
            return g;
    return NULL;
}

static void guest_refill(struct guest *g)
{
    uint64_t now = loop_now_ms(), rate = g->daemon->rate_bytes;
    uint64_t passed = now - g->tokens_ms;
    uint64_t most = rate * GUEST_BURST_SECONDS;
    if (passed > GUEST_BURST_SECONDS * 1000)
        g->tokens = (int64_t)most;
    else
        g->tokens += (int64_t)(rate * passed / 1000);
    if (g->tokens > (int64_t)most)
        g->tokens = (int64_t)most;
    g->tokens_ms = now;
}

static void guest_output(struct guest *g, const char *data, size_t len)
{
    int ret = logfile_write(&g->log, data, len);
    if (ret && !g->log_failed)
        log_error("%s: cannot write its log: %s", g->name, strerror(-ret));
    g->log_failed = ret != 0;
    buf_add(&g->backlog, data, len);
    if (g->backlog.len > 2 * GUEST_BACKLOG)
        buf_consume(&g->backlog, g->backlog.len - GUEST_BACKLOG);
    viewers_show(g, data, len);
    pty_show(g->pty, data, len);
}

// Moves what the guest has written, as far as its tokens go. True when something was taken.
static bool guest_drain(struct guest *g, bool unlimited)
{
    char bytes[sizeof(g->ring->out)];
    bool any = false;
    guest_refill(g);
    g->tokens -= GUEST_EVENT_COST;
    // At most some rounds per event: a guest that writes while we read must not keep us here.
    for (unsigned round = 0; round < 16; round++) {
        if (g->tokens <= 0 && !unlimited) {
            g->throttled = true;
            break;
        }
        uint32_t cons = 0;
        int n = ring_peek(g->ring, bytes, sizeof(bytes), &cons);
        if (n < 0 && !g->broken_told) {
            log_warn("%s: its console ring holds nonsense", g->name);
            g->broken_told = true;
        }
        if (n <= 0)
            break;
        g->tokens -= n;
        any = true;
        mark_begin(g->mark, &g->log, cons, (uint32_t)n);
        guest_output(g, bytes, (size_t)n);
        ring_taken(g->ring, cons + (uint32_t)n);
        mark_end(g->mark);
    }
    return any;
}

static bool guest_feed(struct guest *g)
{
    if (!g->input.len)
        return false;
    size_t n = ring_give(g->ring, g->input.data, g->input.len);
    buf_consume(&g->input, n);
    return n != 0;
}

// One visit: take output, give input, tell the guest, and listen again unless it is throttled.
static void guest_serve(struct guest *g)
{
    g->throttled = false;
    bool took = guest_drain(g, false);
    bool gave = guest_feed(g);
    if (took || gave)
        xenevtchn_notify(g->daemon->evtchn, g->port);
    if (g->input.len < GUEST_INPUT_MAX) {
        viewers_resume(g);
        pty_resume(g->pty);
    }
    if (g->throttled)
        loop_arm(g->resume, GUEST_PAUSE_MS, 0);
    else
        xenevtchn_unmask(g->daemon->evtchn, g->port);
}

static void guest_on_resume(void *arg, uint32_t count)
{
    (void)count;
    guest_serve(arg);
}

void guests_on_event(void *arg, uint32_t events)
{
    struct consoled *d = arg;
    (void)events;
    int port = xenevtchn_pending(d->evtchn);
    for (struct guest *g = d->guests; g && port >= 0; g = g->next) {
        if (g->port == (evtchn_port_t)port) {
            guest_serve(g);
            return;
        }
    }
}

size_t guest_type(struct guest *g, const char *data, size_t len)
{
    size_t room = g->input.len < GUEST_INPUT_MAX ? GUEST_INPUT_MAX - g->input.len : 0;
    if (len > room)
        len = room;
    if (!len || buf_add(&g->input, data, len))
        return 0;
    if (guest_feed(g))
        xenevtchn_notify(g->daemon->evtchn, g->port);
    return len;
}

static void guest_free(struct guest *g)
{
    struct consoled *d = g->daemon;
    if (g->port)
        xenevtchn_unbind(d->evtchn, g->port);
    if (g->ring)
        xenforeignmemory_unmap(d->memory, g->ring, 1);
    loop_remove(g->resume);
    pty_close(g->pty);
    mark_close(g->mark);
    logfile_close(&g->log);
    buf_free(&g->backlog);
    buf_free(&g->input);
    free(g);
}

static void guest_close(struct guest *g)
{
    struct consoled *d = g->daemon;
    for (struct guest **p = &d->guests; *p; p = &(*p)->next) {
        if (*p == g) {
            *p = g->next;
            break;
        }
    }
    guest_drain(g, true); // its last words
    viewers_detach(g);
    log_info("%s (domain %u): gone", g->name, g->id);
    mark_forget(d->mark_dir, g->id);
    guest_free(g);
}

static void guest_log_open(struct guest *g)
{
    struct consoled *d = g->daemon;
    int ret = logfile_open(&g->log, d->log_dir, g->name, d->log_limit, d->log_keep);
    if (ret)
        log_error("%s: cannot open its log in %s: %s", g->name, d->log_dir, strerror(-ret));
}

// A daemon started anew finds recent output in the log, if the log is younger than the domain.
static void guest_recover_backlog(struct guest *g)
{
    char path[4096];
    struct stat record, log;
    snprintf(path, sizeof(path), "%s/%u", serai_domain_dir(g->daemon->s), g->id);
    if (g->log.fd >= 0 && !stat(path, &record) && !fstat(g->log.fd, &log) &&
        log.st_mtime >= record.st_mtime)
        logfile_tail(&g->log, GUEST_BACKLOG, &g->backlog);
}

// What a process before us has put into the log and not taken off the ring any more.
static void guest_recover_place(struct guest *g)
{
    char bytes[sizeof(g->ring->out)];
    uint32_t cons = 0;
    g->mark = mark_open(g->daemon->mark_dir, g->id, g->uuid);
    int used = ring_peek(g->ring, bytes, sizeof(bytes), &cons);
    uint32_t done = mark_written(g->mark, &g->log, cons);
    if (used > 0 && done)
        ring_taken(g->ring, cons + (done < (uint32_t)used ? done : (uint32_t)used));
    mark_end(g->mark);
}

static int guest_connect(struct guest *g, const struct serai_console *c)
{
    struct consoled *d = g->daemon;
    xen_pfn_t mfn = c->mfn;
    g->ring = xenforeignmemory_map(d->memory, g->id, PROT_READ | PROT_WRITE, 1, &mfn, NULL);
    if (!g->ring)
        return -errno;
    int port = xenevtchn_bind_interdomain(d->evtchn, g->id, c->port);
    if (port < 0)
        return -errno;
    g->port = (evtchn_port_t)port;
    g->resume = loop_add_timer(d->loop, guest_on_resume, g);
    return g->resume ? 0 : -ENOMEM;
}

static void guest_open(struct consoled *d, const struct serai_domain *dom)
{
    struct serai_console c;
    struct serai_error err;
    if (serai_console_get(d->s, dom->id, &c, &err)) {
        log_error("domain %u: %s", dom->id, err.text);
        return;
    }
    struct guest *g = calloc(1, sizeof(*g));
    if (!g) {
        log_error("out of memory");
        return;
    }
    g->daemon = d;
    g->id = dom->id;
    g->log.fd = -1;
    memcpy(g->uuid, dom->uuid, sizeof(g->uuid));
    snprintf(g->name, sizeof(g->name), "%s", dom->name);
    int ret = guest_connect(g, &c);
    if (ret) {
        log_error("%s (domain %u): cannot reach its console: %s", g->name, g->id, strerror(-ret));
        guest_free(g);
        return;
    }
    guest_log_open(g);
    guest_recover_backlog(g);
    guest_recover_place(g);
    g->next = d->guests;
    d->guests = g;
    g->pty = pty_open(g);
    log_info("%s (domain %u): console served", g->name, g->id);
    guest_serve(g); // whatever it wrote before anybody listened
}

static void guest_rename(struct guest *g, const char *name)
{
    log_info("%s (domain %u): now \"%s\"", g->name, g->id, name);
    snprintf(g->name, sizeof(g->name), "%s", name);
    logfile_close(&g->log);
    guest_log_open(g);
}

static bool guest_is(const struct guest *g, const struct serai_domain *dom)
{
    return g->id == dom->id && !memcmp(g->uuid, dom->uuid, sizeof(g->uuid));
}

static const struct serai_domain *guest_domain(const struct guest *g,
                                               const struct serai_domain *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (guest_is(g, &list[i]) && (list[i].flags & SERAI_DOMAIN_MANAGED) &&
            !(list[i].flags & SERAI_DOMAIN_DYING))
            return &list[i];
    return NULL;
}

static void guests_update(struct consoled *d, bool add)
{
    struct serai_domain *list;
    size_t count;
    struct serai_error err;
    if (serai_domain_list(d->s, &list, &count, &err)) {
        log_error("%s", err.text);
        return;
    }
    for (struct guest *g = d->guests, *next; g; g = next) {
        next = g->next;
        const struct serai_domain *dom = guest_domain(g, list, count);
        if (!dom)
            guest_close(g);
        else if (strcmp(dom->name, g->name) != 0)
            guest_rename(g, dom->name);
    }
    for (size_t i = 0; add && i < count; i++)
        if ((list[i].flags & SERAI_DOMAIN_MANAGED) && !(list[i].flags & SERAI_DOMAIN_DYING) &&
            !guest_find(d, list[i].id))
            guest_open(d, &list[i]);
    free(list);
}

void guests_rescan(struct consoled *d)
{
    guests_update(d, true);
}

static bool guest_is_there(void *arg, uint32_t id)
{
    return guest_find(arg, id) != NULL;
}

void guests_begin(struct consoled *d)
{
    guests_rescan(d);
    mark_sweep(d->mark_dir, guest_is_there, d);
}

void guests_check(struct consoled *d)
{
    if (d->guests)
        guests_update(d, false);
}

void guests_close(struct consoled *d)
{
    while (d->guests) {
        struct guest *g = d->guests;
        d->guests = g->next;
        guest_free(g);
    }
}
