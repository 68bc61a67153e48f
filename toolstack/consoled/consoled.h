// SPDX-License-Identifier: BSD-2-Clause
// The console daemon: its guests, their viewers, and what they share.
//
// Nothing lives in the daemon alone: rings and ports are found again from the records of the
// domains, recent output from the logs. It may be killed and started again at any time.
#pragma once

#include "buf.h"
#include "logfile.h"
#include "loop.h"
#include "mark.h"
#include "serai.h"

#include <stdbool.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>
#include <xen/io/console.h>

struct pty;
struct viewer;

struct consoled {
    struct loop *loop;
    struct serai *s;
    xenevtchn_handle *evtchn;
    xenforeignmemory_handle *memory;
    const char *log_dir;
    char mark_dir[256];
    uint64_t log_limit;  // bytes of one log file
    unsigned log_keep;   // old files kept
    uint64_t rate_bytes; // a guest's output per second, on average
    int listen_fd;
    int pty_watch_fd; // tells who opens terminals
    struct guest *guests;
    struct viewer *viewers;
};

enum { GUEST_BACKLOG = 16 * 1024, GUEST_INPUT_MAX = 4096 };

// One guest's console.
struct guest {
    struct consoled *daemon;
    struct guest *next;
    uint32_t id;
    uint8_t uuid[16];
    char name[SERAI_NAME_MAX + 1];
    struct xencons_interface *ring;
    evtchn_port_t port; // ours
    struct logfile log;
    struct mark *mark;           // how far that has come, or NULL
    bool log_failed;             // told once
    struct buf backlog;          // recent output, for new viewers
    struct buf input;            // waits for room in the ring
    int64_t tokens;              // bytes it may still write now
    uint64_t tokens_ms;          // when that was counted
    struct pty *pty;             // or NULL
    struct loop_source *resume;  // timer: throttled, its event stays masked until then
    bool throttled, broken_told; // broken_told: nonsense in the ring was logged
};

// guest.c
// At the start: takes up the guests that there are, and clears away what is left of others.
void guests_begin(struct consoled *d);
// Brings the list in line with the records of the state directory.
void guests_rescan(struct consoled *d);
// Lets go of guests that are dead, whoever killed them.
void guests_check(struct consoled *d);
// The daemon's event channel descriptor is readable.
void guests_on_event(void *arg, uint32_t events);
struct guest *guest_find(struct consoled *d, uint32_t id);
// Input from a viewer; returns how much was accepted.
size_t guest_type(struct guest *g, const char *data, size_t len);
void guests_close(struct consoled *d);

// viewer.c
// Listens at `path` and serves who comes. 0 or -errno.
int viewers_listen(struct consoled *d, const char *path);
// Output of a guest goes to all who watch it.
void viewers_show(struct guest *g, const char *data, size_t len);
// The guest has room for input again.
void viewers_resume(struct guest *g);
// The guest is gone: its viewers get what is left and are closed.
void viewers_detach(struct guest *g);
void viewers_close(struct consoled *d);
