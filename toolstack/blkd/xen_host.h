// SPDX-License-Identifier: BSD-2-Clause
// struct host over Debian's libxengnttab and libxenevtchn, and the store.
#pragma once

#include "host.h"
#include "store.h"

#include <xenevtchn.h>
#include <xengnttab.h>
#include <xentoollog.h>

struct xen_host {
    struct host host; // its ctx is this
    // A guest's grants fail as often as the guest likes: the library says nothing about it.
    xentoollog_logger_stdiostream *quiet;
    xengnttab_handle *grants;
    xenevtchn_handle *events;
    struct store *store; // set by the owner
};

// 0 or -errno, logged.
int xen_host_open(struct xen_host *x);
void xen_host_close(struct xen_host *x);
