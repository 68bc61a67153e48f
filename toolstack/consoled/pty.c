// SPDX-License-Identifier: BSD-2-Clause
#include "pty.h"

#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <termios.h>
#include <unistd.h>

enum { PTY_OUT_MAX = 64 * 1024 };

struct pty {
    struct guest *guest;
    int fd;                     // the master's side
    int watch;                  // inotify's number of the other
    char path[64];              // of the other
    struct loop_source *source; // NULL: nobody has it open
    struct buf out;             // waits for them to read
    size_t lost;                // bytes that found no room
    bool told;                  // xenstore knows its path
};

static void pty_watch(struct pty *p)
{
    uint32_t events = p->out.len ? EPOLLOUT : 0;
    if (p->guest->input.len < GUEST_INPUT_MAX)
        events |= EPOLLIN;
    loop_set_events(p->source, events);
}

// Nobody has it open any more.
static void pty_leave(struct pty *p)
{
    loop_remove(p->source);
    p->source = NULL;
    buf_free(&p->out);
    p->lost = 0;
}

static void pty_flush(struct pty *p)
{
    while (p->out.len) {
        ssize_t n = write(p->fd, p->out.data, p->out.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break; // full, or they have left: an event tells
        buf_consume(&p->out, (size_t)n);
        if (p->lost && !p->out.len) {
            buf_printf(&p->out, "\r\n[%zu bytes of output lost]\r\n", p->lost);
            p->lost = 0;
        }
    }
    pty_watch(p);
}

void pty_show(struct pty *p, const char *data, size_t len)
{
    if (!p || !p->source)
        return;
    if (p->lost || p->out.len + len > PTY_OUT_MAX || buf_add(&p->out, data, len))
        p->lost += len;
    pty_flush(p);
}

// No more than the guest takes: the rest waits in the terminal.
static void pty_type(struct pty *p)
{
    char bytes[512];
    size_t room = GUEST_INPUT_MAX - p->guest->input.len;
    ssize_t n = read(p->fd, bytes, room < sizeof(bytes) ? room : sizeof(bytes));
    if (n > 0)
        guest_type(p->guest, bytes, (size_t)n);
    else if (n < 0 && errno != EAGAIN && errno != EINTR)
        pty_leave(p);
}

static void pty_on_event(void *arg, uint32_t events)
{
    struct pty *p = arg;
    if ((events & EPOLLIN) && p->guest->input.len < GUEST_INPUT_MAX)
        pty_type(p);
    else if (events & (EPOLLHUP | EPOLLERR))
        pty_leave(p);
    if (p->source && (events & EPOLLOUT))
        pty_flush(p);
    if (p->source)
        pty_watch(p);
}

// Somebody opens it.
static void pty_enter(struct pty *p)
{
    const struct buf *b = &p->guest->backlog;
    if (p->source)
        return;
    p->source = loop_add_fd(p->guest->daemon->loop, p->fd, EPOLLIN, pty_on_event, p);
    size_t recent = b->len < GUEST_BACKLOG ? b->len : GUEST_BACKLOG;
    if (p->source && recent)
        pty_show(p, b->data + b->len - recent, recent);
}

static void ptys_on_open(void *arg, uint32_t events)
{
    struct consoled *d = arg;
    char bytes[4096] __attribute__((aligned(8)));
    ssize_t n;
    (void)events;
    while ((n = read(d->pty_watch_fd, bytes, sizeof(bytes))) > 0) {
        const struct inotify_event *e;
        for (char *at = bytes; at < bytes + n; at += sizeof(*e) + e->len) {
            e = (const struct inotify_event *)(void *)at;
            for (struct guest *g = d->guests; g; g = g->next)
                if (g->pty && g->pty->watch == e->wd && (e->mask & IN_OPEN))
                    pty_enter(g->pty);
        }
    }
}

int ptys_begin(struct consoled *d)
{
    d->pty_watch_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (d->pty_watch_fd < 0)
        return -errno;
    return loop_add_fd(d->loop, d->pty_watch_fd, EPOLLIN, ptys_on_open, d) ? 0 : -ENOMEM;
}

void ptys_end(struct consoled *d)
{
    if (d->pty_watch_fd >= 0)
        close(d->pty_watch_fd);
}

static void pty_tell(struct pty *p)
{
    const struct guest *g = p->guest;
    struct serai_error err;
    int ret = serai_console_set_tty(g->daemon->s, g->id, p->path, &err);
    // One that was made without xenstore has no place for it, now and later.
    p->told = ret != -ENOTCONN && ret != -ECONNRESET;
    if (ret && ret != -ENOTCONN && ret != -ENOENT)
        log_warn("%s: %s", g->name, err.text);
}

void ptys_tell(struct consoled *d)
{
    for (struct guest *g = d->guests; g; g = g->next)
        if (g->pty && !g->pty->told)
            pty_tell(g->pty);
}

// Plain bytes both ways from the start. The settings outlive this opening of the other side.
static int pty_make_raw(const char *path)
{
    struct termios t;
    int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int ret = tcgetattr(fd, &t) ? -errno : 0;
    cfmakeraw(&t);
    if (!ret && tcsetattr(fd, TCSANOW, &t))
        ret = -errno;
    close(fd);
    return ret;
}

static int pty_make(struct pty *p)
{
    p->fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (p->fd < 0 || grantpt(p->fd) || unlockpt(p->fd))
        return -errno;
    int ret = ptsname_r(p->fd, p->path, sizeof(p->path));
    if (ret)
        return -ret;
    ret = pty_make_raw(p->path);
    if (ret)
        return ret;
    p->watch = inotify_add_watch(p->guest->daemon->pty_watch_fd, p->path, IN_OPEN);
    return p->watch < 0 ? -errno : 0;
}

struct pty *pty_open(struct guest *g)
{
    struct pty *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    *p = (struct pty){.guest = g, .fd = -1, .watch = -1};
    int ret = pty_make(p);
    if (ret) {
        log_warn("%s: no terminal for other programs: %s", g->name, strerror(-ret));
        pty_close(p);
        return NULL;
    }
    pty_tell(p);
    return p;
}

void pty_resume(struct pty *p)
{
    if (p && p->source)
        pty_watch(p);
}

void pty_close(struct pty *p)
{
    if (!p)
        return;
    loop_remove(p->source);
    if (p->watch >= 0)
        inotify_rm_watch(p->guest->daemon->pty_watch_fd, p->watch);
    if (p->fd >= 0)
        close(p->fd);
    buf_free(&p->out);
    free(p);
}
