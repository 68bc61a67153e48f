// SPDX-License-Identifier: BSD-2-Clause
#include "loop.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum loop_kind { LOOP_FD, LOOP_TIMER, LOOP_SIGNAL };

struct loop_source {
    struct loop *loop;
    struct loop_source *next;
    loop_fn *fn;
    void *arg;
    int fd;
    enum loop_kind kind;
    bool dead; // removed during dispatch: freed after the batch, never called again
};

struct loop {
    int epoll_fd;
    struct loop_source *sources;
    bool stopped;
    bool reap;
    int result;
    bool (*idle)(void *arg);
    void *idle_arg;
};

struct loop *loop_new(void)
{
    struct loop *l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll_fd < 0) {
        free(l);
        return NULL;
    }
    return l;
}

static void loop_source_destroy(struct loop_source *s)
{
    if (s->kind != LOOP_FD && s->fd >= 0)
        close(s->fd);
    free(s);
}

static void loop_reap(struct loop *l)
{
    for (struct loop_source **p = &l->sources; *p;) {
        struct loop_source *s = *p;
        if (!s->dead) {
            p = &s->next;
            continue;
        }
        *p = s->next;
        loop_source_destroy(s);
    }
    l->reap = false;
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    while (l->sources) {
        struct loop_source *s = l->sources;
        l->sources = s->next;
        loop_source_destroy(s);
    }
    close(l->epoll_fd);
    free(l);
}

static struct loop_source *loop_add(struct loop *l, enum loop_kind kind, int fd, uint32_t events,
                                    loop_fn *fn, void *arg)
{
    struct loop_source *s = fd < 0 ? NULL : calloc(1, sizeof(*s));
    if (!s)
        goto out_close;
    *s = (struct loop_source){
        .loop = l, .fn = fn, .arg = arg, .fd = fd, .kind = kind, .next = l->sources};
    struct epoll_event ev = {.events = events, .data.ptr = s};
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev)) {
        free(s);
        goto out_close;
    }
    l->sources = s;
    return s;

out_close:
    if (kind != LOOP_FD && fd >= 0)
        close(fd);
    return NULL;
}

struct loop_source *loop_add_fd(struct loop *l, int fd, uint32_t events, loop_fn *fn, void *arg)
{
    return loop_add(l, LOOP_FD, fd, events, fn, arg);
}

int loop_set_events(struct loop_source *s, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = s};
    return epoll_ctl(s->loop->epoll_fd, EPOLL_CTL_MOD, s->fd, &ev) ? -errno : 0;
}

struct loop_source *loop_add_timer(struct loop *l, loop_fn *fn, void *arg)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    return loop_add(l, LOOP_TIMER, fd, EPOLLIN, fn, arg);
}

int loop_arm(struct loop_source *s, uint64_t first_ms, uint64_t every_ms)
{
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(first_ms / 1000),
                     .tv_nsec = (long)(first_ms % 1000) * 1000000},
        .it_interval = {.tv_sec = (time_t)(every_ms / 1000),
                        .tv_nsec = (long)(every_ms % 1000) * 1000000},
    };
    return timerfd_settime(s->fd, 0, &when, NULL) ? -errno : 0;
}

struct loop_source *loop_add_signal(struct loop *l, int signo, loop_fn *fn, void *arg)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signo);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return loop_add(l, LOOP_SIGNAL, fd, EPOLLIN, fn, arg);
}

void loop_remove(struct loop_source *s)
{
    if (!s || s->dead)
        return;
    epoll_ctl(s->loop->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
    s->dead = true;
    s->loop->reap = true;
}

static void loop_dispatch(struct loop_source *s, uint32_t events)
{
    if (s->kind == LOOP_TIMER) {
        uint64_t count;
        if (read(s->fd, &count, sizeof(count)) != sizeof(count))
            return;
        events = count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;
    } else if (s->kind == LOOP_SIGNAL) {
        struct signalfd_siginfo info;
        if (read(s->fd, &info, sizeof(info)) != sizeof(info))
            return;
        events = info.ssi_signo;
    }
    s->fn(s->arg, events);
}

void loop_set_idle(struct loop *l, bool (*fn)(void *arg), void *arg)
{
    l->idle = fn;
    l->idle_arg = arg;
}

int loop_run(struct loop *l)
{
    struct epoll_event batch[32];
    l->stopped = false;
    while (!l->stopped) {
        bool more = l->idle && l->idle(l->idle_arg);
        int n = epoll_wait(l->epoll_fd, batch, 32, more ? 0 : -1);
        if (n < 0 && errno != EINTR)
            return -errno;
        for (int i = 0; i < n && !l->stopped; i++) {
            struct loop_source *s = batch[i].data.ptr;
            if (!s->dead)
                loop_dispatch(s, batch[i].events);
        }
        if (l->reap)
            loop_reap(l);
    }
    return l->result;
}

void loop_stop(struct loop *l, int result)
{
    l->stopped = true;
    l->result = result;
}

uint64_t loop_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
