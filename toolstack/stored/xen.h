// SPDX-License-Identifier: BSD-2-Clause
// The machine below: event channels, guests' pages, and which domains there are.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct xen;
struct xenstore_domain_interface;

enum xen_domain { XEN_DOMAIN_NONE, XEN_DOMAIN_RUNS, XEN_DOMAIN_SHUT_DOWN };

struct xen_hooks {
    void (*event)(void *arg, unsigned port);
    void (*domains_changed)(void *arg);
};

// NULL with a message in the log when there is no Xen interface below.
struct xen *xen_open(struct loop *l, const struct xen_hooks *hooks, void *arg);
void xen_close(struct xen *x);

// The page that the control domain's kernel set aside for itself, and its port. 0 or -errno.
int xen_map_control(struct xen *x, struct xenstore_domain_interface **page, uint32_t *port);
// A guest's page: by the grant that is reserved for it, otherwise by its frame number.
struct xenstore_domain_interface *xen_map_guest(struct xen *x, unsigned domid, uint64_t mfn);
void xen_unmap(struct xen *x, struct xenstore_domain_interface *page);

// Connects to a domain's port; our end, or -errno.
int xen_bind(struct xen *x, unsigned domid, uint32_t port);
void xen_unbind(struct xen *x, unsigned port);
void xen_notify(struct xen *x, unsigned port);

// Asks the hypervisor about all domains; xen_domain_state() then answers from that.
// 0 or -errno.
int xen_look(struct xen *x);
enum xen_domain xen_domain_state(const struct xen *x, unsigned domid);
