// SPDX-License-Identifier: BSD-2-Clause
#include "request.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void queue_mark(struct queue *q)
{
    struct disk_env *env = q->disk->env;
    if (q->marked)
        return;
    q->marked = true;
    q->next_marked = env->marked;
    env->marked = q;
}

static void disk_mark(struct disk *d)
{
    for (unsigned i = 0; i < d->queues; i++)
        queue_mark(d->queue[i]);
}

static void queue_unmark(struct queue *q)
{
    for (struct queue **p = &q->disk->env->marked; *p; p = &(*p)->next_marked) {
        if (*p == q) {
            *p = q->next_marked;
            break;
        }
    }
    q->marked = false;
}

static void disk_count(struct disk *d, const struct request *rq)
{
    switch (rq->log->req.operation) {
    case BLKIF_OP_READ:
        d->done[0]++;
        d->done_bytes[0] += rq->bytes;
        break;
    case BLKIF_OP_DISCARD:
        d->done[3]++;
        break;
    case BLKIF_OP_FLUSH_DISKCACHE:
        d->done[2]++;
        break;
    default:
        d->done[1]++;
        d->done_bytes[1] += rq->bytes;
    }
}

void request_end(struct request *rq, int status)
{
    struct queue *q = rq->queue;
    struct disk *d = q->disk;
    const struct blk_request *r = &rq->log->req;
    if (status == BLKIF_RSP_OKAY)
        disk_count(d, rq);
    blk_ring_respond(&q->ring, r->id, r->operation, (int16_t)status);
    journal_done(rq->log, q->ring.rsp_prod - 1);
    rq->next = q->done;
    q->done = rq;
    queue_mark(q);
    if (rq->counted) {
        rq->counted = false;
        d->running--;
        d->bytes -= rq->bytes;
    }
    if (d->barrier == rq) {
        d->barrier = NULL;
        d->barrier_runs = false;
        disk_mark(d);
    }
    if (d->starved && d->bytes <= DISK_BYTES_MAX / 2 && d->running <= DISK_RUNNING_MAX / 2) {
        d->starved = false;
        disk_mark(d);
    }
    if (d->running)
        return;
    if (d->stopped)
        d->calls->idle(d->arg);
    else if (d->barrier && !d->barrier_runs)
        request_start_barrier(d->barrier);
}

static void queue_publish(struct queue *q)
{
    struct host *h = q->disk->env->host;
    if (!q->done)
        return;
    if (blk_ring_publish(&q->ring))
        h->ops->notify(h->ctx, q->port);
    while (q->done) {
        struct request *rq = q->done;
        q->done = rq->next;
        journal_free(rq->log);
        rq->next = q->free;
        q->free = rq;
    }
}

// The next request to start, NULL when there is none.
static struct request *queue_take(struct queue *q, int pending)
{
    struct request *rq = q->redo;
    if (rq) {
        q->redo = rq->next;
        return rq;
    }
    rq = q->free;
    if (!pending || !rq)
        return NULL;
    q->free = rq->next;
    blk_ring_copy(&q->ring, &rq->log->req);
    journal_take(q->journal, rq->log, q->ring.req_cons);
    blk_ring_advance(&q->ring);
    return rq;
}

// Whether the disk may have more in work. With nothing in work it may always: nobody else would
// come back to it.
static bool disk_has_room(const struct disk *d)
{
    return !d->running || (d->bytes < DISK_BYTES_MAX && d->running < DISK_RUNNING_MAX &&
                           d->env->bounce < DISK_BOUNCE_MAX);
}

// Whether its rings have to wait for the limit of its rate; then the timer comes back to them.
static bool disk_must_wait(struct disk *d)
{
    uint64_t ms = d->rate_timer ? disk_rate_wait(&d->rate, loop_now_ms()) : 0;
    if (ms)
        loop_arm(d->rate_timer, ms, 0);
    return ms != 0;
}

static void disk_on_rate(void *arg, uint32_t count)
{
    struct disk *d = arg;
    (void)count;
    disk_mark(d);
    disk_env_run(d->env);
}

int disk_set_rate(struct disk *d, uint64_t bytes, uint64_t requests)
{
    if (!bytes && !requests && !d->rate_timer)
        return 0;
    if (!d->rate_timer)
        d->rate_timer = loop_add_timer(d->env->loop, disk_on_rate, d);
    if (!d->rate_timer)
        return -ENOMEM;
    disk_rate_set(&d->rate, bytes, requests, loop_now_ms());
    return loop_arm(d->rate_timer, 1, 0); // who waits may not have to any more
}

// One visit: show what has been answered, take what has come. A guest that produces while we take
// cannot keep us here: the ring's size bounds what fits between two publications.
static void queue_visit(struct queue *q)
{
    struct disk *d = q->disk;
    queue_publish(q);
    int pending = 0;
    bool wait = false;
    while (!d->stopped && !d->barrier && disk_has_room(d) && !(wait = disk_must_wait(d))) {
        pending = blk_ring_pending(&q->ring);
        if (pending < 0) {
            d->stopped = true;
            d->calls->broken(d->arg, q->number);
            return;
        }
        struct request *rq = queue_take(q, pending);
        if (!rq)
            break;
        request_start(rq);
    }
    queue_publish(q);
    bool room = disk_has_room(d);
    d->starved |= !room;
    if (d->stopped || d->barrier || !room || wait)
        return; // the end of what runs, or the timer, brings us back
    if (blk_ring_sleep(&q->ring)) {
        queue_mark(q);
        eventfd_write(d->env->again_fd, 1);
    }
}

// Visits the queues that are marked now. What is marked meanwhile by blk_ring_sleep waits for the
// eventfd; by request_end, for the next pass.
static void disk_env_pass(struct disk_env *env)
{
    struct queue *list = env->marked;
    env->marked = NULL;
    for (struct queue *q = list; q; q = q->next_marked)
        q->marked = false;
    while (list) {
        struct queue *q = list;
        list = q->next_marked;
        queue_visit(q);
    }
}

void disk_env_run(struct disk_env *env)
{
    bool ended = true;
    env->now_ms = loop_now_ms();
    for (unsigned round = 0; round < 4 && ended; round++) {
        disk_env_pass(env);
        disk_env_pass(env);
        uring_submit(env->ring);
        ended = uring_reap(env->ring);
    }
    if (env->marked || ended)
        eventfd_write(env->again_fd, 1);
}

static void disk_env_after(void *arg)
{
    disk_env_run(arg);
}

static void disk_env_on_again(void *arg, uint32_t events)
{
    struct disk_env *env = arg;
    eventfd_t count;
    (void)events;
    eventfd_read(env->again_fd, &count);
    disk_env_run(env);
}

int disk_env_init(struct disk_env *env, struct host *host, struct loop *loop, unsigned depth)
{
    *env = (struct disk_env){.host = host, .loop = loop, .again_fd = -1};
    env->ring = uring_new(loop, depth, disk_env_after, env);
    if (!env->ring)
        return -errno;
    env->again_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (env->again_fd < 0 || !loop_add_fd(loop, env->again_fd, EPOLLIN, disk_env_on_again, env)) {
        disk_env_fini(env);
        return -ENOMEM;
    }
    return 0;
}

void disk_env_fini(struct disk_env *env)
{
    uring_free(env->ring);
    if (env->again_fd >= 0)
        close(env->again_fd);
}

static int request_order(const void *a, const void *b)
{
    const struct request *const *x = a, *const *y = b;
    return (int32_t)((*x)->log->index - (*y)->log->index);
}

// Sorts the requests of a recovered journal into `free` and `redo`.
static int queue_fill(struct queue *q)
{
    unsigned n = q->ring.entries, taken = 0;
    struct request **list = calloc(n, sizeof(struct request *));
    if (!list)
        return -ENOMEM;
    for (unsigned i = 0; i < n; i++) {
        struct request *rq = &q->requests[i];
        rq->queue = q;
        rq->log = &q->journal->entry[i];
        if (rq->log->state == JOURNAL_TAKEN) {
            list[taken++] = rq;
        } else {
            rq->next = q->free;
            q->free = rq;
        }
    }
    qsort(list, taken, sizeof(struct request *), request_order);
    while (taken) {
        list[--taken]->next = q->redo;
        q->redo = list[taken];
    }
    free(list);
    return 0;
}

static int queue_take_up(struct queue *q, bool redo)
{
    if (!redo) {
        journal_reset(q->journal, q->ring.entries, q->ring.req_cons);
        return 0;
    }
    int ret = journal_recover(q->journal, q->ring.entries, q->ring.rsp_prod);
    if (ret)
        return ret;
    q->ring.req_cons = q->journal->req_cons;
    return blk_ring_pending(&q->ring) < 0 ? -EPROTO : 0;
}

static void queue_free(struct queue *q)
{
    queue_unmark(q);
    for (unsigned i = 0; q->requests && i < q->ring.entries; i++)
        request_release(&q->requests[i]);
    free(q->requests);
    free(q);
}

int disk_add_queue(struct disk *d, enum blk_abi abi, void *shared, size_t bytes,
                   struct journal *journal, bool redo, int port)
{
    struct queue *q = d->queues < DISK_QUEUES_MAX ? calloc(1, sizeof(*q)) : NULL;
    if (!q)
        return -ENOMEM;
    *q = (struct queue){.disk = d, .number = d->queues, .journal = journal, .port = port};
    int ret = blk_ring_attach(&q->ring, abi, shared, bytes);
    if (!ret)
        ret = queue_take_up(q, redo);
    if (!ret) {
        q->requests = calloc(q->ring.entries, sizeof(struct request));
        ret = q->requests ? queue_fill(q) : -ENOMEM;
    }
    if (ret) {
        queue_free(q);
        return ret;
    }
    d->queue[d->queues++] = q;
    return 0;
}

void disk_start(struct disk *d)
{
    struct host *h = d->env->host;
    disk_mark(d);
    eventfd_write(d->env->again_fd, 1);
    // A process that was killed may have shown responses and not said so any more.
    for (unsigned i = 0; i < d->queues; i++)
        h->ops->notify(h->ctx, d->queue[i]->port);
}

void disk_stop(struct disk *d)
{
    d->stopped = true;
    if (!d->running)
        d->calls->idle(d->arg);
}

void disk_resume(struct disk *d)
{
    d->stopped = false;
    if (d->barrier && !d->barrier_runs && !d->running)
        request_start_barrier(d->barrier);
    disk_mark(d);
    eventfd_write(d->env->again_fd, 1);
}

void queue_kick(struct queue *q)
{
    queue_mark(q);
}

struct disk *queue_disk(const struct queue *q)
{
    return q->disk;
}

int queue_port(const struct queue *q)
{
    return q->port;
}

void queue_describe(const struct queue *q, char *text, size_t size)
{
    const uint32_t *shared = (const void *)q->ring.shared; // told as it is, not used
    unsigned taken = 0;
    for (unsigned i = 0; i < q->ring.entries; i++)
        taken += q->journal->entry[i].state == JOURNAL_TAKEN;
    snprintf(text, size,
             "queue %u: taken %u, answered %u, in work %u; the ring says req_prod %u, req_event "
             "%u, rsp_prod %u, rsp_event %u",
             q->number, q->ring.req_cons, q->ring.rsp_prod, taken, shared[0], shared[1], shared[2],
             shared[3]);
}

void disk_free_queues(struct disk *d)
{
    for (unsigned i = 0; i < d->queues; i++)
        queue_free(d->queue[i]);
    d->queues = 0;
    loop_remove(d->rate_timer);
    d->rate_timer = NULL;
}
