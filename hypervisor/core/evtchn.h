// SPDX-License-Identifier: BSD-2-Clause
// Event channels, 2-level and FIFO. Per-domain table of ports grown in pages; one lock per
// bucket-sized group is enough, sends take no domain-wide lock.
#pragma once

#include "core/domain.h"

int __must_check evtchn_domain_init(struct domain *d);
// Highest port the domain may use (createdomain's max_evtchn_port; negative: the ABI's limit).
void evtchn_domain_set_limit(struct domain *d, int32_t max_port);
int __must_check evtchn_vcpu_init(struct vcpu *v);
void evtchn_vcpu_destroy(struct vcpu *v);
// Close everything (other ends become unbound); preemptible: 0 or -ERESTART.
int __must_check evtchn_domain_relinquish(struct domain *d);
void evtchn_domain_destroy(struct domain *d);
unsigned int evtchn_domain_ports_in_use(const struct domain *d);

// Raise a VIRQ on one vCPU / on vCPU 0's binding of a global VIRQ (VIRQ_DOM_EXC, CONSOLE, ...).
// Any context, interrupts on or off.
void evtchn_send_vcpu_virq(struct vcpu *v, uint32_t virq);
void evtchn_send_global_virq(uint32_t virq); // to the domain that handles it, else dom0
// DOMCTL_set_virq_handler: d handles a global VIRQ from now on (it returns to dom0 with d's end).
int __must_check evtchn_set_virq_handler(struct domain *d, uint32_t virq);
// A bound physical IRQ fired.
void evtchn_send_pirq(struct domain *d, uint32_t pirq);
// Send on a local port, as EVTCHNOP_send does. 0 or -E.
int __must_check evtchn_send(struct domain *d, evtchn_port_t port);
// Hypervisor-side consumer on an interdomain port (Xen-bound channel).
int __must_check evtchn_alloc_xen(struct domain *d, unsigned int vcpu, domid_t remote,
                                  void (*notify)(struct vcpu *v, evtchn_port_t port),
                                  evtchn_port_t *out);

// Allocate an unbound port of d for `remote` (domctl, dom0 construction use it).
int __must_check evtchn_alloc_unbound(struct domain *d, domid_t remote, evtchn_port_t *out);
// Any of these ports pending? For SCHEDOP_poll.
bool evtchn_port_pending(struct domain *d, evtchn_port_t port);
bool evtchn_port_valid(struct domain *d, evtchn_port_t port);
// SCHEDOP_poll: current's domain has a vCPU that waits for ports (v->poll_port: which; POLL_ANY).
#define POLL_ANY (~0u)
void evtchn_poll_begin(struct vcpu *v, evtchn_port_t port);
void evtchn_poll_end(struct vcpu *v);
// FIFO/2-level as set by EVTCHNOP_init_control; called on v's vcpu_info move: keep masks right.
void evtchn_vcpu_info_moved(struct vcpu *v);

// PIRQ binding is the IRQ code's: called with no locks by EVTCHNOP_bind_pirq / close.
int __must_check arch_pirq_bind(struct vcpu *v, uint32_t pirq, bool share);
void arch_pirq_unbind(struct domain *d, uint32_t pirq);
// The guest unmasked / asked for EOI of the port's pirq.
void arch_pirq_unmask(struct domain *d, uint32_t pirq);
