// SPDX-License-Identifier: BSD-2-Clause
// Network interfaces, addresses and routes of the kernel, by rtnetlink. Every `n` is a socket of
// NETLINK_ROUTE; all functions return 0 or the kernel's -errno. Addresses are given as family
// (AF_INET, AF_INET6), bytes in network order and prefix length in bits.
#pragma once

#include "netlink.h"

struct rtnl_link {
    unsigned index;
    char name[NETLINK_IFNAME_SIZE];
    char kind[16]; // "bridge", "veth", ... or ""
    char alias[64];
    bool up;
    unsigned mtu;
    unsigned master; // index of the bridge that it is a port of, or 0
    bool isolated;   // as a port of a bridge
    uint8_t mac[6];
    uint64_t rx_bytes, tx_bytes, rx_packets, tx_packets;
};

// -ENODEV when there is none of that name.
int rtnl_link_get(struct netlink *n, const char *name, struct rtnl_link *out);
// By index; -ENODEV.
int rtnl_link_get_index(struct netlink *n, unsigned index, struct rtnl_link *out);
// All; release *list with free().
int rtnl_link_list(struct netlink *n, struct rtnl_link **list, size_t *count);
// Waits until there is one of that name. -ETIMEDOUT.
int rtnl_link_wait(struct netlink *n, const char *name, int timeout_ms, struct rtnl_link *out);
// Makes an interface of the kind ("bridge", "ifb"), down. -EEXIST.
int rtnl_link_add(struct netlink *n, const char *name, const char *kind);
int rtnl_link_delete(struct netlink *n, unsigned index);
int rtnl_link_up(struct netlink *n, unsigned index, bool up);
int rtnl_link_mtu(struct netlink *n, unsigned index, unsigned mtu);
int rtnl_link_mac(struct netlink *n, unsigned index, const uint8_t mac[6]);
int rtnl_link_rename(struct netlink *n, unsigned index, const char *name); // must be down
int rtnl_link_alias(struct netlink *n, unsigned index, const char *alias); // free text
// Makes it a port of a bridge; `master` 0 releases it.
int rtnl_link_master(struct netlink *n, unsigned index, unsigned master);
// Isolated ports of a bridge reach only those that are not.
int rtnl_port_isolate(struct netlink *n, unsigned index, bool isolated);

struct rtnl_address {
    unsigned index;
    int family;
    uint8_t prefix, scope; // RT_SCOPE_*
    uint8_t addr[16];
};
int rtnl_address_add(struct netlink *n, unsigned index, int family, const void *addr,
                     unsigned prefix);
int rtnl_address_delete(struct netlink *n, unsigned index, int family, const void *addr,
                        unsigned prefix);
// All; release *list with free().
int rtnl_address_list(struct netlink *n, struct rtnl_address **list, size_t *count);

// Sends what is for these addresses out of the interface. -EEXIST when they have a route.
int rtnl_route_add(struct netlink *n, unsigned index, int family, const void *addr,
                   unsigned prefix);
int rtnl_route_delete(struct netlink *n, unsigned index, int family, const void *addr,
                      unsigned prefix);
// The interface of the default route. -ENETUNREACH when there is none.
int rtnl_route_default(struct netlink *n, int family, unsigned *index);
// Answers on the interface, to ARP or neighbour discovery, in the name of the address.
int rtnl_proxy_add(struct netlink *n, unsigned index, int family, const void *addr);
int rtnl_proxy_delete(struct netlink *n, unsigned index, int family, const void *addr);

// Limits what comes in from the interface `index` to `bytes` per second with bursts of `burst`
// bytes; what is more waits in the shaping interface `shaper`, which is made for it. -ENOENT or
// -EOPNOTSUPP when the kernel lacks a part.
int rtnl_limit_add(struct netlink *n, unsigned index, const char *shaper, uint64_t bytes,
                   uint64_t burst);
// Another limit for a shaper that exists; nothing is lost. -ENODEV when there is none.
int rtnl_limit_change(struct netlink *n, const char *shaper, uint64_t bytes, uint64_t burst);
// Works without the interface, too (index 0).
int rtnl_limit_delete(struct netlink *n, unsigned index, const char *shaper);

// Reads and writes net.FAMILY.conf.DEVICE.KEY ("ipv4", "ipv6").
int rtnl_conf_get(const char *family, const char *device, const char *key, int *value);
int rtnl_conf_set(const char *family, const char *device, const char *key, int value);
