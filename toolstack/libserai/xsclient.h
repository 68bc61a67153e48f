// SPDX-License-Identifier: BSD-2-Clause
// A client of the xenstore daemon over its unix socket: xen/io/xs_wire.h, requests one after
// another, each within a bounded time. (Debian's static libxenstore cannot tell of events by a
// file descriptor, and waits for ever.) No locks: one owner.
#pragma once

#include <errno.h> // before xs_wire.h, which makes a table of the numbers it knows
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <xen/io/xs_wire.h>

struct xsc;

// Connects to $XENSTORED_PATH, else $XENSTORED_RUNDIR/socket, else where Debian's daemon listens.
// -ENOENT or -ECONNREFUSED: nobody serves.
int xsc_open(struct xsc **out);
// NULL is allowed.
void xsc_close(struct xsc *c);
// Readable when an answer or an event may have come; see xsc_event.
int xsc_fd(const struct xsc *c);
// Sends the parts as one request of `type` (enum xsd_sockmsg_type) in transaction `tx` (0: none).
// *reply (may be NULL) is malloc'ed and has a NUL byte behind its *len bytes. The daemon's answer
// as -errno; -ECONNRESET when the connection is of no use any more.
int xsc_call(struct xsc *c, uint32_t type, uint32_t tx, const struct iovec *parts, unsigned count,
             char **reply, size_t *len);
// One answer of many.
struct xsc_answer {
    int ret; // as xsc_call would return
    char *text;
    size_t len;
};
// As many requests of one type, each about one path and outside transactions, as xsc_call would do
// one after another, but without waiting for each answer before the next request. The answers'
// texts are malloc'ed or NULL. 0, or -ECONNRESET, and then there are no answers.
int xsc_call_many(struct xsc *c, uint32_t type, char *const *paths, unsigned count,
                  struct xsc_answer *answers);
// The next event of a watch, waiting for it at most timeout_ms: 1 and the path, malloc'ed, with
// the token behind its NUL byte; 0 when none came; or -ECONNRESET.
int xsc_event(struct xsc *c, int timeout_ms, char **path);
