// SPDX-License-Identifier: BSD-2-Clause
// What the files of the library share: the handle, error text, and hypercalls whose arguments
// go through memory that the hypervisor can reach.
//
// Threads: a handle is used by several at once. What changes in it (the connection to xenstore,
// mappings left behind) is under its lock; libxencall and libxenforeignmemory have their own. An
// operation (op.c) works with a handle of its own, which borrows strings and devices.
#pragma once

#include "serai.h"

#include <pthread.h>
#include <xencall.h>
#include <xenforeignmemory.h>

#include <xen/xen.h>
#include <xen/domctl.h>
#include <xen/sysctl.h>

enum { XC_PAGE_SIZE = 4096, XC_PAGE_SHIFT = 12 };

enum { LEFT_MAX = 8 };

struct serai {
    xencall_handle *call;
    xenforeignmemory_handle *memory;
    serai_log_fn *log;
    void *log_ctx;
    char *state_dir;
    char *domain_dir;
    char *building_dir;
    char *socket;
    char *network_conf;
    struct {
        void *at;
        size_t pages;
    } left[LEFT_MAX]; // mappings of a guest that are left to the end of the process
    unsigned nr_left;
    struct xsc *store;         // connection to xenstore, NULL until it is needed: see store.h
    bool store_missing;        // no daemon came when it was last waited for
    unsigned store_generation; // of the connection: its transactions end with it
    pthread_mutex_t lock;      // guards the three above, left and refs
    unsigned refs;             // whoever opened it, and operations that run
    struct serai *parent;      // of an operation's handle: whose strings and devices it uses
    int cancel_fd;             // readable when the work is to be given up; -1: never
};

// A handle for one operation, and its end. The parent lives at least as long.
struct serai *serai_child(struct serai *parent, int cancel_fd);
void serai_child_end(struct serai *s);
// Is what this handle does to be given up?
bool serai_cancelled(const struct serai *s);

// Fills *err (may be NULL) and returns `code`, a negative errno number.
int err_set(struct serai_error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
// The same with ": <text of errno>" added.
int err_sys(struct serai_error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
// Leaves a mapping of guest frames to serai_close, or to the end of the process.
void serai_leave_mapping(struct serai *s, void *at, size_t pages);
// Removes them now.
void serai_drop_mappings(struct serai *s);
void serai_note(struct serai *s, enum serai_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

// hypercall.c: each returns the hypervisor's answer (>= 0) or -errno, and copies the argument
// in and out. No text: the caller knows what it was doing.
int hc_domctl(struct serai *s, struct xen_domctl *op);
int hc_sysctl(struct serai *s, struct xen_sysctl *op);
long hc_memory(struct serai *s, unsigned cmd, void *arg, size_t size);
int hc_evtchn(struct serai *s, int cmd, void *arg, size_t size);
int hc_mmuext(struct serai *s, const struct mmuext_op *op, uint32_t domain);
int hc_version(struct serai *s, int cmd, void *arg, size_t size);
// Memory that the hypervisor can reach, page-aligned and zeroed; NULL without memory.
void *hc_alloc(struct serai *s, size_t size);
void hc_free(struct serai *s, void *p);
