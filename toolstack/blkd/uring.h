// SPDX-License-Identifier: BSD-2-Clause
// Asynchronous file I/O over one io_uring, in the event loop, which watches the ring's descriptor.
// One thread. Operations beyond the ring's depth wait their turn.
#pragma once

#include "loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct uring;
struct uring_op;

// `result` is what the system call would give: bytes or -errno. Called from the event loop and
// from uring_reap, never from within uring_start.
typedef void uring_fn(struct uring_op *op, int result);

enum uring_kind { URING_READV, URING_WRITEV, URING_FDATASYNC, URING_PUNCH };

// Filled in by the caller, kept by him until `done` is called, and the buffers too.
struct uring_op {
    uring_fn *done;
    enum uring_kind kind;
    int fd;
    const struct iovec *iov;
    unsigned iovcnt;
    uint64_t offset, length; // length: URING_PUNCH only
    struct uring_op *next;   // the engine's
};

// `after` runs when the loop has delivered a batch of completions; it has to call uring_submit.
// NULL on failure (errno set).
struct uring *uring_new(struct loop *l, unsigned depth, void (*after)(void *arg), void *arg);
// Nothing may be in flight.
void uring_free(struct uring *u);
void uring_start(struct uring *u, struct uring_op *op);
// Hands what was started to the kernel; call it once at the end of each batch of work.
void uring_submit(struct uring *u);
// Delivers what has ended by now: many operations end while they are submitted, and then there is
// no need to wait for the loop. False when there was nothing.
bool uring_reap(struct uring *u);
