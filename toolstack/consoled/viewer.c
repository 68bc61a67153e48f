// SPDX-License-Identifier: BSD-2-Clause
// Viewers: clients of the socket. Each says "attach ID" and then gets the guest's output and
// may type. A viewer that does not read loses output; it holds up nobody.
#include "consoled.h"

#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { VIEWER_OUT_MAX = 256 * 1024, VIEWER_LINE_MAX = 64 };

struct viewer {
    struct consoled *daemon;
    struct viewer *next;
    struct guest *guest; // NULL until it has attached
    int fd;
    struct loop_source *source;
    struct buf out;  // waits for the client to read
    struct buf line; // the request, until its newline
    size_t lost;     // bytes that found no room
    bool paused;     // its input is not read: the guest takes no more
    bool closing;    // closes when `out` has been written
};

static void viewer_free(struct viewer *v)
{
    for (struct viewer **p = &v->daemon->viewers; *p; p = &(*p)->next) {
        if (*p == v) {
            *p = v->next;
            break;
        }
    }
    loop_remove(v->source);
    close(v->fd);
    buf_free(&v->out);
    buf_free(&v->line);
    free(v);
}

static void viewer_watch(struct viewer *v)
{
    uint32_t events = v->out.len ? EPOLLOUT : 0;
    if (!v->paused && !v->closing)
        events |= EPOLLIN;
    loop_set_events(v->source, events);
}

// Writes what it can. False when the viewer is gone (and freed).
static bool viewer_flush(struct viewer *v)
{
    while (v->out.len) {
        ssize_t n = send(v->fd, v->out.data, v->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            viewer_free(v);
            return false;
        }
        buf_consume(&v->out, (size_t)n);
        if (v->lost && !v->out.len) {
            buf_printf(&v->out, "\r\n[%zu bytes of output lost]\r\n", v->lost);
            v->lost = 0;
        }
    }
    if (!v->out.len && v->closing) {
        viewer_free(v);
        return false;
    }
    viewer_watch(v);
    return true;
}

static bool viewer_send(struct viewer *v, const char *data, size_t len)
{
    if (v->lost || v->out.len + len > VIEWER_OUT_MAX || buf_add(&v->out, data, len))
        v->lost += len;
    return viewer_flush(v);
}

// Input for the guest; what it cannot take now is read again later.
static void viewer_type(struct viewer *v)
{
    char bytes[512];
    ssize_t n = recv(v->fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        viewer_free(v);
        return;
    }
    size_t taken = guest_type(v->guest, bytes, (size_t)n);
    if (taken && recv(v->fd, bytes, taken, MSG_DONTWAIT) < 0) {
        viewer_free(v);
        return;
    }
    v->paused = taken < (size_t)n;
    viewer_watch(v);
}

static void viewer_refuse(struct viewer *v, const char *why)
{
    v->closing = true;
    viewer_send(v, why, strlen(why));
}

static void viewer_attach(struct viewer *v)
{
    unsigned id;
    char end;
    if (sscanf(v->line.data, "attach %u%c", &id, &end) != 1) {
        viewer_refuse(v, "request not understood\n");
        return;
    }
    struct guest *g = guest_find(v->daemon, id);
    if (!g) { // the request may be faster than the news of a guest just made
        guests_rescan(v->daemon);
        g = guest_find(v->daemon, id);
    }
    if (!g) {
        viewer_refuse(v, "no such console\n");
        return;
    }
    v->guest = g;
    size_t recent = g->backlog.len < GUEST_BACKLOG ? g->backlog.len : GUEST_BACKLOG;
    buf_puts(&v->out, "ok\n");
    if (recent)
        buf_add(&v->out, g->backlog.data + g->backlog.len - recent, recent);
    viewer_flush(v);
}

// One byte at a time: what follows the newline belongs to the guest.
static void viewer_request(struct viewer *v)
{
    char ch;
    for (;;) {
        ssize_t n = recv(v->fd, &ch, 1, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0 || v->line.len >= VIEWER_LINE_MAX) {
            viewer_free(v);
            return;
        }
        if (ch == '\n') {
            buf_puts(&v->line, "");
            viewer_attach(v);
            return;
        }
        buf_add(&v->line, &ch, 1);
    }
}

static void viewer_on_event(void *arg, uint32_t events)
{
    struct viewer *v = arg;
    if ((events & EPOLLOUT) && !viewer_flush(v))
        return;
    if (events & EPOLLIN) {
        if (v->guest)
            viewer_type(v);
        else
            viewer_request(v);
    } else if (events & (EPOLLHUP | EPOLLERR)) {
        viewer_free(v);
    }
}

static void viewers_on_connect(void *arg, uint32_t events)
{
    struct consoled *d = arg;
    (void)events;
    int fd = accept4(d->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    struct viewer *v = calloc(1, sizeof(*v));
    if (v) {
        *v = (struct viewer){.daemon = d, .fd = fd, .next = d->viewers};
        v->source = loop_add_fd(d->loop, fd, EPOLLIN, viewer_on_event, v);
    }
    if (!v || !v->source) {
        log_error("cannot serve another viewer");
        close(fd);
        free(v);
        return;
    }
    d->viewers = v;
}

int viewers_listen(struct consoled *d, const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int len = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s.new", path);
    if (len < 0 || (size_t)len >= sizeof(addr.sun_path))
        return -ENAMETOOLONG;
    d->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (d->listen_fd < 0)
        return -errno;
    unlink(addr.sun_path);
    mode_t mask = umask(0077);
    int ret = bind(d->listen_fd, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
    umask(mask);
    // Renamed, so that a client finds the socket of a daemon before us or ours.
    if (!ret && (listen(d->listen_fd, 64) || rename(addr.sun_path, path)))
        ret = -errno;
    if (!ret && !loop_add_fd(d->loop, d->listen_fd, EPOLLIN, viewers_on_connect, d))
        ret = -ENOMEM;
    return ret;
}

void viewers_show(struct guest *g, const char *data, size_t len)
{
    for (struct viewer *v = g->daemon->viewers, *next; v; v = next) {
        next = v->next;
        if (v->guest == g)
            viewer_send(v, data, len);
    }
}

void viewers_resume(struct guest *g)
{
    for (struct viewer *v = g->daemon->viewers; v; v = v->next) {
        if (v->guest == g && v->paused) {
            v->paused = false;
            viewer_watch(v);
        }
    }
}

void viewers_detach(struct guest *g)
{
    for (struct viewer *v = g->daemon->viewers, *next; v; v = next) {
        next = v->next;
        if (v->guest != g)
            continue;
        v->guest = NULL;
        v->closing = true;
        viewer_flush(v);
    }
}

void viewers_close(struct consoled *d)
{
    for (struct viewer *v = d->viewers, *next; v; v = next) {
        next = v->next;
        viewer_free(v);
    }
    if (d->listen_fd >= 0)
        close(d->listen_fd);
}
