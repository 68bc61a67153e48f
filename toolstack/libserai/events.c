// SPDX-License-Identifier: BSD-2-Clause
// News of domains: xenstore tells that something has happened, a look at the domains what it was.
#include "store.h"

#include "xsclient.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { EVENTS_AGAIN_MS = 100, EVENTS_LOOKS = 8 };

struct serai_events {
    struct serai *s; // its own
    struct xsc *client;
    int epoll_fd, timer_fd; // the timer runs while there is no connection
    bool look;              // the domains may have changed
    struct serai_domain *known;
    size_t nr_known;
    struct serai_event *queue; // found, not yet told
    size_t queued, told;
};

const char *serai_event_name(enum serai_event_type type)
{
    static const char *const names[] = {"created", "shutdown", "destroyed", "renamed"};
    return (unsigned)type < sizeof(names) / sizeof(names[0]) ? names[type] : "unknown";
}

static int events_watch(struct serai_events *e, uint32_t type, const char *path)
{
    struct iovec parts[] = {{(void *)(uintptr_t)path, strlen(path) + 1},
                            {(void *)(uintptr_t) "e", 2}};
    return xsc_call(e->client, type, 0, parts, 2, NULL, NULL);
}

// Names change without anything else happening.
static void events_watch_name(struct serai_events *e, uint32_t id, uint32_t type)
{
    char path[STORE_PATH_MAX];
    snprintf(path, sizeof(path), "/local/domain/%u/name", id);
    if (e->client && id)
        events_watch(e, type, path); // a failure shows at the next look
}

static int events_connect(struct serai_events *e)
{
    int ret = xsc_open(&e->client);
    if (!ret)
        ret = events_watch(e, XS_WATCH, "@releaseDomain");
    if (!ret)
        ret = events_watch(e, XS_WATCH, "@introduceDomain");
    struct epoll_event event = {.events = EPOLLIN};
    if (!ret && epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, xsc_fd(e->client), &event))
        ret = -errno;
    if (ret) {
        xsc_close(e->client);
        e->client = NULL;
        return ret;
    }
    for (size_t i = 0; i < e->nr_known; i++)
        events_watch_name(e, e->known[i].id, XS_WATCH);
    return 0;
}

static void events_timer(struct serai_events *e, unsigned ms)
{
    struct itimerspec at = {.it_value.tv_nsec = (long)ms * 1000000};
    at.it_interval = at.it_value;
    timerfd_settime(e->timer_fd, 0, &at, NULL);
}

// After a restart of the daemon: tried again while it is away.
static int events_reconnect(struct serai_events *e)
{
    uint64_t ticks;
    if (e->client) {
        epoll_ctl(e->epoll_fd, EPOLL_CTL_DEL, xsc_fd(e->client), NULL);
        xsc_close(e->client);
        e->client = NULL;
        events_timer(e, EVENTS_AGAIN_MS);
    } else if (read(e->timer_fd, &ticks, sizeof(ticks)) < 0) {
        return 0; // not yet
    }
    if (events_connect(e))
        return 0;
    events_timer(e, 0);
    e->look = true;
    return 0;
}

static struct serai_event *events_add(struct serai_events *e, enum serai_event_type type,
                                      const struct serai_domain *d)
{
    struct serai_event *more = realloc(e->queue, (e->queued + 1) * sizeof(*more));
    if (!more)
        return NULL;
    e->queue = more;
    struct serai_event *event = &more[e->queued++];
    *event = (struct serai_event){.type = type, .domain = d->id, .reason = d->shutdown_reason};
    memcpy(event->uuid, d->uuid, sizeof(event->uuid));
    snprintf(event->name, sizeof(event->name), "%s", d->name);
    return event;
}

static struct serai_domain *events_known(struct serai_domain *list, size_t count,
                                         const struct serai_domain *d)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].id == d->id)
            return &list[i];
    return NULL;
}

// What has become of one that was there. Its UUID alone may change: serai_domain_set_aside.
static bool events_compare(struct serai_events *e, const struct serai_domain *was,
                           const struct serai_domain *is)
{
    bool good = true;
    if (is->flags & ~was->flags & SERAI_DOMAIN_SHUTDOWN)
        good = events_add(e, SERAI_EVENT_SHUTDOWN, is);
    if (good && strcmp(was->name, is->name) != 0 && strcmp(is->name, "(unknown)") != 0) {
        struct serai_event *event = events_add(e, SERAI_EVENT_RENAMED, is);
        good = event;
        if (event)
            snprintf(event->old_name, sizeof(event->old_name), "%s", was->name);
    }
    return good;
}

// A number that is used again at once: the second domain has used less CPU time than the first.
static bool events_same(const struct serai_domain *was, const struct serai_domain *is)
{
    return was && is &&
           (!memcmp(was->uuid, is->uuid, 16) ||
            (is->cpu_ns >= was->cpu_ns && is->flags & SERAI_DOMAIN_SHUTDOWN));
}

static bool events_diff(struct serai_events *e, struct serai_domain *list, size_t count)
{
    bool good = true;
    for (size_t i = 0; good && i < e->nr_known; i++) {
        const struct serai_domain *was = &e->known[i];
        if (!events_same(was, events_known(list, count, was))) {
            events_watch_name(e, was->id, XS_UNWATCH);
            good = events_add(e, SERAI_EVENT_DESTROYED, was);
        }
    }
    for (size_t i = 0; good && i < count; i++) {
        struct serai_domain *was = events_known(e->known, e->nr_known, &list[i]);
        if (events_same(was, &list[i])) {
            good = events_compare(e, was, &list[i]);
            // A name that cannot be read any more stays what it was.
            if (!strcmp(list[i].name, "(unknown)"))
                snprintf(list[i].name, sizeof(list[i].name), "%s", was->name);
            continue;
        }
        events_watch_name(e, list[i].id, XS_WATCH);
        good = events_add(e, SERAI_EVENT_CREATED, &list[i]);
        if (good && list[i].flags & SERAI_DOMAIN_SHUTDOWN)
            good = events_add(e, SERAI_EVENT_SHUTDOWN, &list[i]);
    }
    return good;
}

// Those that are going are gone.
static int events_list(struct serai_events *e, struct serai_domain **list, size_t *count,
                       struct serai_error *err)
{
    size_t n = 0;
    int ret = serai_domain_list(e->s, list, count, err);
    for (size_t i = 0; !ret && i < *count; i++)
        if (!((*list)[i].flags & SERAI_DOMAIN_DYING))
            (*list)[n++] = (*list)[i];
    if (!ret)
        *count = n;
    return ret;
}

static int events_look(struct serai_events *e, struct serai_error *err)
{
    struct serai_domain *list;
    size_t count;
    e->look = false;
    int ret = events_list(e, &list, &count, err);
    if (ret) {
        e->look = true;
        return ret;
    }
    bool good = events_diff(e, list, count);
    free(e->known);
    e->known = list;
    e->nr_known = count;
    return good ? 0 : err_set(err, -ENOMEM, "out of memory");
}

int serai_events_take(struct serai_events *e)
{
    char *path;
    int ret;
    if (!e->client)
        return -ECONNRESET;
    while ((ret = xsc_event(e->client, 0, &path)) == 1) {
        free(path);
        e->look = true;
    }
    return ret;
}

int serai_events_next(struct serai_events *e, struct serai_event *out, struct serai_error *err)
{
    // A look sets watches, and their answers may bring events along.
    for (unsigned i = 0; i < EVENTS_LOOKS && e->told == e->queued; i++) {
        e->told = e->queued = 0;
        int ret = serai_events_take(e);
        if (ret == -ECONNRESET)
            ret = events_reconnect(e);
        if (ret)
            return err_sys(err, ret, "cannot take events");
        if (!e->look)
            return 0;
        ret = events_look(e, err);
        if (ret)
            return ret;
    }
    if (e->told == e->queued)
        return 0;
    *out = e->queue[e->told++];
    return 1;
}

static int events_begin(struct serai_events *e, struct serai_error *err)
{
    struct epoll_event event = {.events = EPOLLIN};
    e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    e->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (e->epoll_fd < 0 || e->timer_fd < 0 ||
        epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, e->timer_fd, &event))
        return err_sys(err, -errno, "cannot make a descriptor for events");
    int ret = events_connect(e);
    if (ret == -ENOENT || ret == -ECONNREFUSED)
        return err_set(err, -ENOTCONN, "xenstore is not served here");
    if (ret)
        return err_sys(err, ret, "cannot watch the domains in xenstore");
    ret = events_list(e, &e->known, &e->nr_known, err);
    for (size_t i = 0; !ret && i < e->nr_known; i++)
        events_watch_name(e, e->known[i].id, XS_WATCH);
    return ret;
}

int serai_events_open(struct serai *s, struct serai_events **out, struct serai_error *err)
{
    struct serai_events *e = calloc(1, sizeof(*e));
    if (!e)
        return err_set(err, -ENOMEM, "out of memory");
    e->epoll_fd = e->timer_fd = -1;
    e->s = serai_child(s, -1);
    int ret = e->s ? events_begin(e, err) : err_set(err, -ENOMEM, "out of memory");
    if (ret) {
        serai_events_close(e);
        return ret;
    }
    *out = e;
    return 0;
}

int serai_events_fd(const struct serai_events *e)
{
    return e->epoll_fd;
}

void serai_events_close(struct serai_events *e)
{
    if (!e)
        return;
    xsc_close(e->client);
    if (e->timer_fd >= 0)
        close(e->timer_fd);
    if (e->epoll_fd >= 0)
        close(e->epoll_fd);
    if (e->s)
        serai_child_end(e->s);
    free(e->known);
    free(e->queue);
    free(e);
}
