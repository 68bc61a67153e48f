// SPDX-License-Identifier: BSD-2-Clause
// The data path of one connected frontend: its queues, the requests in work, the image below. A
// disk knows nothing of xenstore; device.c makes and ends it.
//
// A request is copied off the ring into the journal, checked, carried out, answered, shown. Where
// its pages are mapped (persistent grants) the kernel transfers to and from them directly,
// otherwise through a buffer of ours and one grant copy. A read goes directly only when the image
// is locked for us alone, because then the lock also tells the next process that no transfer of a
// killed one can still arrive in the guest's memory.
#pragma once

#include "disk_rate.h"
#include "host.h"
#include "image.h"
#include "journal.h"
#include "pgrant.h"
#include "ring.h"

struct disk;
struct queue;
struct request;

enum {
    DISK_QUEUES_MAX = 16,
    DISK_BYTES_MAX = 32 << 20,   // in work at once for one disk; then its rings wait
    DISK_RUNNING_MAX = 128,      // requests, likewise
    DISK_BOUNCE_MAX = 256 << 20, // bytes of buffers for all disks, apart from one request each
    DISK_GRANTS_PER_QUEUE = 1056 // pages kept mapped
};

// What all disks of the process share.
struct disk_env {
    struct host *host;
    struct loop *loop;
    struct uring *ring;
    struct queue *marked; // to be visited before the loop waits again
    uint64_t bounce;      // bytes of buffers in use
    uint64_t now_ms;      // when this batch of visits began
    int again_fd;         // an eventfd: visits that were put off, so that others get their turn
};

struct disk_calls {
    // Stopped, and nothing is in work any more; may come twice. Neither this nor `broken` may free
    // anything at once.
    void (*idle)(void *arg);
    // A ring holds nonsense; the disk takes no more requests.
    void (*broken)(void *arg, unsigned queue);
    // I/O failed; `err` is positive.
    void (*failed)(void *arg, const char *what, int err);
};

struct disk {
    struct disk_env *env;
    uint32_t domid;
    struct image *image;
    struct blk_limits limits;
    struct pgrant_table *grants; // NULL: the frontend does not use grants again
    struct queue *queue[DISK_QUEUES_MAX];
    unsigned queues;
    unsigned running;        // requests in work
    uint64_t bytes;          // of these
    struct request *barrier; // waits for all others, or runs alone
    bool barrier_runs, stopped;
    bool starved; // a queue waits for `bytes` to fall
    struct disk_rate rate;
    struct loop_source *rate_timer;  // its rings wait until then; NULL: never had a limit
    uint64_t done[4], done_bytes[2]; // counters: reads, writes, flushes, discards; read, written
    const struct disk_calls *calls;
    void *arg;
};

// 0 or -errno.
int disk_env_init(struct disk_env *env, struct host *host, struct loop *loop, unsigned depth);
void disk_env_fini(struct disk_env *env);
// Visits what is marked and hands I/O to the kernel; after each batch of events.
void disk_env_run(struct disk_env *env);

// Adds a queue over mapped memory; `journal` has journal_bytes for the ring's entries. With `redo`
// it continues where another process was killed. 0, -EPROTO (ring), -EINVAL (journal), -ENOMEM.
int disk_add_queue(struct disk *d, enum blk_abi abi, void *shared, size_t bytes,
                   struct journal *journal, bool redo, int port);
// Limits what it does in a second, from now on. 0, or -ENOMEM with the limit as it was.
int disk_set_rate(struct disk *d, uint64_t bytes, uint64_t requests);
// Starts serving: also requests that have come before.
void disk_start(struct disk *d);
// Takes no more requests; calls->idle follows, perhaps at once.
void disk_stop(struct disk *d);
// After idle: goes on, perhaps with another image.
void disk_resume(struct disk *d);
// An event of this queue has come.
void queue_kick(struct queue *q);
struct disk *queue_disk(const struct queue *q);
int queue_port(const struct queue *q);
// Where a queue stands, for people.
void queue_describe(const struct queue *q, char *text, size_t size);
// Frees the queues (not what they point to). Nothing may be in work.
void disk_free_queues(struct disk *d);
