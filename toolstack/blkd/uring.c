// SPDX-License-Identifier: BSD-2-Clause
// no sparse: liburing.h itself is not clean
#include "uring.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { URING_BATCH = 128 }; // what is handed over at once; more takes several calls

struct uring {
    struct io_uring ring;
    int retry_fd;            // readable while the kernel was short of memory for what is queued
    unsigned depth, running; // operations the kernel may have, and has
    bool unsubmitted;
    struct uring_op *waiting, **waiting_end;
    struct loop_source *source, *retry;
    void (*after)(void *arg);
    void *arg;
};

static void uring_prepare(struct io_uring_sqe *sqe, struct uring_op *op)
{
    switch (op->kind) {
    case URING_READV: // one piece takes a shorter way through the kernel
        if (op->iovcnt == 1)
            io_uring_prep_read(sqe, op->fd, op->iov->iov_base, (unsigned)op->iov->iov_len,
                               op->offset);
        else
            io_uring_prep_readv(sqe, op->fd, op->iov, op->iovcnt, op->offset);
        break;
    case URING_WRITEV:
        if (op->iovcnt == 1)
            io_uring_prep_write(sqe, op->fd, op->iov->iov_base, (unsigned)op->iov->iov_len,
                                op->offset);
        else
            io_uring_prep_writev(sqe, op->fd, op->iov, op->iovcnt, op->offset);
        break;
    case URING_FDATASYNC:
        io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC);
        break;
    case URING_PUNCH:
        io_uring_prep_fallocate(sqe, op->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                (off_t)op->offset, (off_t)op->length);
        break;
    }
    io_uring_sqe_set_data(sqe, op);
}

// False when there is no room for it now.
static bool uring_queue(struct uring *u, struct uring_op *op)
{
    struct io_uring_sqe *sqe = u->running < u->depth ? io_uring_get_sqe(&u->ring) : NULL;
    if (!sqe)
        return false;
    uring_prepare(sqe, op);
    u->running++;
    u->unsubmitted = true;
    return true;
}

void uring_start(struct uring *u, struct uring_op *op)
{
    op->next = NULL;
    if (!u->waiting && uring_queue(u, op))
        return;
    *u->waiting_end = op;
    u->waiting_end = &op->next;
}

static void uring_drain_waiting(struct uring *u)
{
    while (u->waiting) {
        struct uring_op *next = u->waiting->next;
        if (!uring_queue(u, u->waiting))
            return;
        u->waiting = next;
        if (!next)
            u->waiting_end = &u->waiting;
    }
}

void uring_submit(struct uring *u)
{
    for (;;) {
        uring_drain_waiting(u);
        if (!u->unsubmitted)
            return;
        int ret = io_uring_submit(&u->ring);
        if (ret == -EINTR)
            continue;
        if (ret < 0) { // short of memory or of completion slots
            eventfd_write(u->retry_fd, 1);
            return;
        }
        u->unsubmitted = io_uring_sq_ready(&u->ring) > 0;
    }
}

bool uring_reap(struct uring *u)
{
    struct io_uring_cqe *cqe;
    bool any = false;
    while (!io_uring_peek_cqe(&u->ring, &cqe)) {
        struct uring_op *op = io_uring_cqe_get_data(cqe);
        int result = cqe->res;
        io_uring_cqe_seen(&u->ring, cqe);
        u->running--;
        op->done(op, result);
        any = true;
    }
    return any;
}

static void uring_on_event(void *arg, uint32_t events)
{
    struct uring *u = arg;
    (void)events;
    uring_reap(u);
    u->after(u->arg);
}

static void uring_on_retry(void *arg, uint32_t events)
{
    struct uring *u = arg;
    eventfd_t count;
    eventfd_read(u->retry_fd, &count);
    uring_on_event(arg, events);
}

struct uring *uring_new(struct loop *l, unsigned depth, void (*after)(void *arg), void *arg)
{
    struct uring *u = calloc(1, sizeof(*u));
    if (!u)
        return NULL;
    *u = (struct uring){.depth = depth, .after = after, .arg = arg};
    u->waiting_end = &u->waiting;
    u->retry_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (u->retry_fd < 0)
        goto out_free;
    // Room for all completions, but not for submitting all at once: that is memory for nothing.
    struct io_uring_params params = {.flags = IORING_SETUP_CQSIZE, .cq_entries = depth};
    int ret =
        io_uring_queue_init_params(depth < URING_BATCH ? depth : URING_BATCH, &u->ring, &params);
    if (ret) {
        errno = -ret;
        goto out_close;
    }
    // The ring's memory must not be shared with a child, and its descriptor not inherited.
    io_uring_ring_dontfork(&u->ring);
    u->retry = loop_add_fd(l, u->retry_fd, EPOLLIN, uring_on_retry, u);
    if (u->retry)
        u->source = loop_add_fd(l, u->ring.ring_fd, EPOLLIN, uring_on_event, u);
    if (u->source)
        return u;
    loop_remove(u->retry);
    errno = ENOMEM;
    io_uring_queue_exit(&u->ring);
out_close:
    close(u->retry_fd);
out_free:
    free(u);
    return NULL;
}

void uring_free(struct uring *u)
{
    if (!u)
        return;
    loop_remove(u->source);
    loop_remove(u->retry);
    io_uring_queue_exit(&u->ring);
    close(u->retry_fd);
    free(u);
}
