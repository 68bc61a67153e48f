// SPDX-License-Identifier: BSD-2-Clause
// What this guest shares with the control domain: pages by grant, and events to wait for.
#pragma once

#include "hypercall.h"

#define xen_mb()  __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define xen_rmb() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define xen_wmb() __atomic_thread_fence(__ATOMIC_RELEASE)

enum { CONTROL_DOMAIN = 0 };

void share_init(void);
// The control domain may read and write the page from now on: the grant's number.
grant_ref_t share_page(void *page);
// It may not any more. False while it still uses the page: that one must be left alone.
bool share_end(grant_ref_t ref);

// Ports whose events end share_wait(). They stay masked: nothing is interrupted.
void share_port_add(evtchn_port_t port);
void share_port_remove(evtchn_port_t port);
// Forget what is pending; before one looks at what it is about.
void share_events_clear(void);
// Sleep until an event or the given time.
void share_wait(uint64_t until);
