// SPDX-License-Identifier: BSD-2-Clause
// libserai: operations that take long, done in the background, and news of domains. Part of
// serai.h; include that.
//
// An operation is started, runs in a thread of its own, and is finished:
//
//     struct serai_op *op;
//     int ret = serai_create_start(s, config, &how, &op, &err);
//     poll serai_op_fd(op) for reading; serai_op_progress(op, &p) until p.finished
//     ret = serai_op_finish(op, &result, &err);
//
// Start functions copy what they are given, check what can be checked at once, and return 0 or
// a negative errno number. Every operation that was started must be finished, cancelled or not.
// Any number of them may run on one handle at the same time; the handle may be closed meanwhile.
// An operation's functions may be called from any thread, but none after (or during) its
// serai_op_finish. The handle's log function is then called from the operation's thread.
#pragma once

struct serai_op;

struct serai_progress {
    bool finished;
    unsigned percent; // 0 to 100, never goes back
    char step[32];    // one word for people: "memory", "kernel", "devices", "waiting"
};

struct serai_op_result {
    uint32_t domain; // the one worked on; of a create the new one
    unsigned devid;  // of the device that was attached
};

// serai_domain_create. Of `how` (may be NULL) only `start` counts.
int serai_create_start(struct serai *s, const struct serai_config *c,
                       const struct serai_create *how, struct serai_op **out,
                       struct serai_error *err);
// serai_domain_destroy. Once begun it cannot be cancelled.
int serai_destroy_start(struct serai *s, uint32_t domain, struct serai_op **out,
                        struct serai_error *err);
// serai_domain_request, then serai_domain_wait_end: finished when the guest has ended (a
// rebooted guest is a new domain). -ETIMEDOUT when it does not within timeout_ms, or does not
// take notice within 20 seconds. A cancelled guest stays asked.
int serai_request_start(struct serai *s, uint32_t domain, enum serai_request what,
                        unsigned timeout_ms, struct serai_op **out, struct serai_error *err);
// serai_domain_set_target, then serai_domain_wait_target. What was given back or taken by the
// time it is cancelled stays so, and so does the target.
int serai_target_start(struct serai *s, uint32_t domain, uint64_t kib, unsigned timeout_ms,
                       struct serai_op **out, struct serai_error *err);
// serai_disk_attach and so on. A cancelled attach takes the device away again; after a cancelled
// detach the guest stays asked to let go.
int serai_disk_attach_start(struct serai *s, uint32_t domain, const struct serai_disk *disk,
                            struct serai_op **out, struct serai_error *err);
int serai_disk_detach_start(struct serai *s, uint32_t domain, uint32_t devid, bool force,
                            struct serai_op **out, struct serai_error *err);
int serai_vif_attach_start(struct serai *s, uint32_t domain, const struct serai_vif *vif,
                           struct serai_op **out, struct serai_error *err);
int serai_vif_detach_start(struct serai *s, uint32_t domain, unsigned devid, bool force,
                           struct serai_op **out, struct serai_error *err);

// A descriptor that is readable when there is progress to look at, and from the end on. It
// belongs to the operation.
int serai_op_fd(const struct serai_op *op);
// How far it is; makes the descriptor unreadable until there is more to say.
void serai_op_progress(struct serai_op *op, struct serai_progress *out);
// Asks it to stop and returns at once. What it was doing is undone: a cancelled create leaves
// nothing behind. An operation that is at its end succeeds all the same.
void serai_op_cancel(struct serai_op *op);
// Waits for its end, releases it, and returns what the function of the same name would have:
// 0, a negative errno number with text, or -ECANCELED. `result` may be NULL.
int serai_op_finish(struct serai_op *op, struct serai_op_result *result, struct serai_error *err);

// ---- news of domains (events.c) --------------------------------------------------------------

enum serai_event_type {
    SERAI_EVENT_CREATED,
    SERAI_EVENT_SHUTDOWN,  // ended by itself: see `reason`
    SERAI_EVENT_DESTROYED, // gone, or going
    SERAI_EVENT_RENAMED,   // see `old_name`
};

struct serai_event {
    enum serai_event_type type;
    uint32_t domain;
    uint8_t uuid[16];
    char name[SERAI_NAME_MAX + 1];
    char old_name[SERAI_NAME_MAX + 1];
    unsigned reason; // enum serai_shutdown
};

// Watches the domains through xenstore; -ENOTCONN when none is served. What is there already is
// not told: open first, then list. One thread at a time may use it. It keeps the handle open.
// Release with serai_events_close.
struct serai_events;
int serai_events_open(struct serai *s, struct serai_events **out, struct serai_error *err);
// A descriptor to poll for reading; the same for ever.
int serai_events_fd(const struct serai_events *e);
// The next event: 1, or 0 when there are no more for now, or a negative errno number. Never
// waits. Nothing is missed when the xenstore daemon is restarted.
int serai_events_next(struct serai_events *e, struct serai_event *out, struct serai_error *err);
// For those who look at the domains themselves: forgets what has come. -ECONNRESET when the
// daemon is gone: close and open again.
int serai_events_take(struct serai_events *e);
void serai_events_close(struct serai_events *e);
// "created", ...
const char *serai_event_name(enum serai_event_type type);
