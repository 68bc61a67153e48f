// SPDX-License-Identifier: BSD-2-Clause
// The daemon that looks after the ends of guests.
#pragma once

#include "loop.h"
#include "serai.h"

#include <stdbool.h>
#include <xenevtchn.h>

enum { WORKERS_MAX = 4 };

struct lifed {
    struct loop *loop;
    struct serai *s;
    const char *state_dir, *dump_dir;
    uint64_t keep_free_kib; // of the machine's memory, not given to guests with a range of it
    struct serai_balance *balance;
    unsigned dumps_kept;      // of each guest, 0: all
    bool virq;                // the hypervisor tells this process of ended domains
    xenevtchn_handle *evtchn; // NULL: no events from the hypervisor
    struct loop_source *virq_fd;
    struct serai_events *events; // from xenstore, NULL: it is not served
    struct loop_source *events_fd;
    struct loop_source *poll;  // timer: looking without having been told
    struct loop_source *later; // timer: something has to wait a moment
    struct loop_source *share; // timer: memory
    struct {
        pid_t pid; // 0: free
        uint32_t id;
    } worker[WORKERS_MAX];
};

// act.c: looks at every domain and acts on those that have ended.
void lifed_look(struct lifed *l);
// Why guests ended long ago is not kept.
void lifed_forget_ends(struct lifed *l);
// What a worker does: acts on one domain, if it has ended. An exit code.
int lifed_act(struct lifed *l, uint32_t id);

// dump.c: writes the dump of a domain into the directory for them, after the oldest ones of its
// name were removed. What goes wrong is logged.
void dump_domain(struct lifed *l, const struct serai_domain *d);

// worker.c: what takes its time is done by processes of their own, one for a domain.
// Starts one, unless it is there already or all are busy: then the next look does it.
void worker_start(struct lifed *l, uint32_t id);
// SIGCHLD.
void worker_on_exit(void *arg, uint32_t signo);
// Waits until no other process works on this domain, a worker of an earlier daemon for instance.
// A descriptor that holds it until the process ends, or -errno.
int worker_claim(struct lifed *l, uint32_t id);
// The domain is seen to: call with it claimed.
void worker_done(struct lifed *l, uint32_t id);
