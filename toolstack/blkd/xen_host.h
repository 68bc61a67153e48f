// SPDX-License-Identifier: BSD-2-Clause
// struct host over Debian's libxengnttab and libxenevtchn, and the store.
#pragma once

#include "host.h"
#include "store.h"

#include <xenevtchn.h>
#include <xengnttab.h>

struct xen_host {
    struct host host; // its ctx is this
    xengnttab_handle *grants;
    xenevtchn_handle *events;
    struct store *store; // set by the owner
};

// 0 or -errno, logged.
int xen_host_open(struct xen_host *x);
void xen_host_close(struct xen_host *x);
