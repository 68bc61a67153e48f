// SPDX-License-Identifier: BSD-2-Clause
// The event loop of the daemons and of interactive commands: file descriptors, timers and
// signals over one epoll. Single-threaded; a callback may remove any source, its own too.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct loop;
struct loop_source;

// `events` holds EPOLL* bits; for a timer the number of expirations, for a signal its number.
typedef void loop_fn(void *arg, uint32_t events);

// NULL when the kernel gives no epoll descriptor or there is no memory.
struct loop *loop_new(void);
void loop_free(struct loop *l);

// Watches `fd`, which stays the caller's. NULL on failure (errno set).
struct loop_source *loop_add_fd(struct loop *l, int fd, uint32_t events, loop_fn *fn, void *arg);
int loop_set_events(struct loop_source *s, uint32_t events);
// A disarmed timer; see loop_arm.
struct loop_source *loop_add_timer(struct loop *l, loop_fn *fn, void *arg);
// First expiry after `first_ms` (0 disarms), then every `every_ms` (0: once).
int loop_arm(struct loop_source *s, uint64_t first_ms, uint64_t every_ms);
// Blocks the signal for the process and delivers it through the loop.
struct loop_source *loop_add_signal(struct loop *l, int signo, loop_fn *fn, void *arg);
// Stops watching; NULL is allowed.
void loop_remove(struct loop_source *s);

// Calls `fn` after each look at the descriptors; while it says true, the next look does not wait.
void loop_set_idle(struct loop *l, bool (*fn)(void *arg), void *arg);

// Runs until loop_stop; returns the value given to it, or -errno.
int loop_run(struct loop *l);
void loop_stop(struct loop *l, int result);
// Milliseconds of a clock that never jumps.
uint64_t loop_now_ms(void);
