// SPDX-License-Identifier: BSD-2-Clause
// Event channels through the 2-level interface. event_upcall() acknowledges whatever is pending
// and unmasked for this vCPU and counts it; a guest looks at the counts.
#pragma once

#include "hypercall.h"

extern volatile unsigned int event_count[EVTCHN_2L_NR_CHANNELS];
extern volatile unsigned int event_upcalls; // times the callback was entered, any vCPU
extern volatile unsigned int event_last_vcpu[EVTCHN_2L_NR_CHANNELS];

// What the event callback does; the FIFO test installs its own. NULL: the 2-level scan.
extern void (*event_scan)(void);

void event_upcall(void);

void event_port_mask(evtchn_port_t port);
void event_port_clear_mask(evtchn_port_t port); // plain bit clear, no hypercall
bool event_port_pending(evtchn_port_t port);
void event_port_clear_pending(evtchn_port_t port);

// The vCPU-wide mask: enable delivers whatever became pending before.
void event_disable(void);
void event_enable(void);
bool event_enabled(void);

// Shorthands that return the port or a negative error.
long event_bind_virq(unsigned int virq, unsigned int vcpu);
long event_bind_ipi(unsigned int vcpu);
long event_alloc_unbound(domid_t dom, domid_t remote);
long event_bind_interdomain(domid_t remote, evtchn_port_t port);
long event_send(evtchn_port_t port);
long event_close(evtchn_port_t port);
long event_unmask(evtchn_port_t port);

// This domain's number: a channel to oneself tells it.
domid_t event_own_domid(void);
