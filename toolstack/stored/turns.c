// SPDX-License-Identifier: BSD-2-Clause
#include "turns.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct turn *turns_take(struct turns *t)
{
    struct turn *x = t->first;
    t->first = x->next;
    if (!t->first)
        t->end = &t->first;
    x->next = NULL;
    x->queued = false;
    return x;
}

// One round: those who wait now. The last of them is marked by where the list ended.
static void turns_on_round(void *arg, uint32_t events)
{
    struct turns *t = arg;
    struct turn mark = {0};
    (void)events;
    turn_queue(t, &mark);
    while (t->first) {
        struct turn *x = turns_take(t);
        if (x == &mark)
            break;
        x->serve(x);
    }
    uint64_t count;
    if (!t->first && t->signalled && read(t->fd, &count, sizeof(count)) == sizeof(count))
        t->signalled = false;
}

int turns_init(struct turns *t, struct loop *l)
{
    *t = (struct turns){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    t->end = &t->first;
    if (t->fd < 0)
        return -errno;
    return loop_add_fd(l, t->fd, EPOLLIN, turns_on_round, t) ? 0 : -ENOMEM;
}

void turns_free(struct turns *t)
{
    if (t->fd >= 0)
        close(t->fd);
    t->fd = -1;
}

void turn_queue(struct turns *t, struct turn *x)
{
    if (x->queued)
        return;
    x->queued = true;
    x->next = NULL;
    *t->end = x;
    t->end = &x->next;
    if (!t->signalled) {
        uint64_t one = 1;
        t->signalled = write(t->fd, &one, sizeof(one)) == sizeof(one);
    }
}

void turn_cancel(struct turns *t, struct turn *x)
{
    for (struct turn **p = &t->first; x->queued && *p; p = &(*p)->next) {
        if (*p != x)
            continue;
        *p = x->next;
        if (t->end == &x->next)
            t->end = p;
        x->queued = false;
        break;
    }
}
