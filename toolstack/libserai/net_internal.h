// SPDX-License-Identifier: BSD-2-Clause
// What the files about networks share: network.conf, the record of an attached interface, the
// packet filter.
#pragma once

#include "internal.h"

#include "netlink.h"
#include "rtnl.h"

#include <sys/socket.h>

enum { NET_PORTS_MAX = 16, NET_IPS_MAX = 8 };

bool net_ifname_good(const char *name);
// -EINVAL when it is none of off, mac, ip.
int net_guard_parse(const char *word, enum serai_net_guard *out);

static inline int net_family(const struct serai_ip *ip)
{
    return ip->v6 ? AF_INET6 : AF_INET;
}
static inline unsigned net_bits(const struct serai_ip *ip)
{
    return ip->v6 ? 128 : 32;
}
// Whether `ip` (all of it, when it is a network) lies inside `network`.
bool net_ip_inside(const struct serai_ip *ip, const struct serai_ip *network);

// ---- network.conf (net_conf.c) -------------------------------------------------------------

struct net_conf {
    enum serai_net_setup setup;
    char bridge[SERAI_IFNAME_SIZE];
    bool bridge_create;
    unsigned bridge_mtu; // 0: 1500
    char bridge_ports[NET_PORTS_MAX][SERAI_IFNAME_SIZE];
    unsigned nr_bridge_ports;
    struct serai_ip bridge_ips[NET_IPS_MAX];
    unsigned nr_bridge_ips;
    char gatewaydev[SERAI_IFNAME_SIZE];
    struct serai_ip nat_subnet;
    int isolated;               // -1: not given
    enum serai_net_guard guard; // SERAI_GUARD_DEFAULT: not given
    int timeout_ms;
};
// Defaults when the file does not exist.
int net_conf_load(struct serai *s, struct net_conf *out, struct serai_error *err);

// ---- records (net_record.c) ----------------------------------------------------------------

// One file STATE_DIR/net/DOMAIN.DEVID each. It is written before anything is changed and removed
// after everything is undone, so that whoever comes later can finish the work of the dead.
struct net_record {
    struct serai_net_port port;
    char created[SERAI_IFNAME_SIZE]; // the name under which the kernel made it
    unsigned index;
    unsigned old_mtu;
    uint8_t old_mac[6];
    bool shaped;
    bool done; // attaching came to its end
};
// Serialises all work on networks: a descriptor to close, or -errno.
int net_lock(struct serai *s, struct serai_error *err);
int net_record_write(struct serai *s, const struct net_record *r, struct serai_error *err);
// -ENOENT, without a text, when there is none.
int net_record_read(struct serai *s, uint32_t domain, unsigned devid, struct net_record *out,
                    struct serai_error *err);
void net_record_remove(struct serai *s, const struct net_record *r);
// All, by domain and devid; unreadable ones are told to the log and left out. free() *list.
int net_record_list(struct serai *s, struct net_record **list, size_t *count,
                    struct serai_error *err);

// ---- planning (net_plan.c) ------------------------------------------------------------------

// All that attaching needs to know.
struct net_attach {
    struct serai *s;
    struct netlink *n;
    struct net_conf conf;
    struct net_record *r;
    struct serai_error *err;
    bool bridge_made;
    unsigned gateway; // index of gatewaydev
};

// Fills in all defaults of a->r->port.vif, chooses or checks addresses. -EEXIST, -ENOENT, -EINVAL,
// ... with a text.
int net_plan(struct net_attach *a);
// An IPv4 address as a number, and back.
uint32_t net_ip4_get(const struct serai_ip *ip);
struct serai_ip net_ip4_make(uint32_t bits);

// ---- packet filter (net_filter.c) ----------------------------------------------------------

// Rules for one interface, from its record: address checks, isolation, translation.
int net_filter_attach(const struct net_record *r, struct serai_error *err);
// Nothing happens when there are none.
void net_filter_detach(const struct net_record *r);
// Removes everything Serai has in the packet filter.
void net_filter_remove(void);

// ---- bridges (net_setup.c) -----------------------------------------------------------------

// Finds the bridge. out->index is 0 when there is none and network.conf says that one may be made.
int net_bridge_find(struct serai *s, struct netlink *n, const struct net_conf *conf,
                    const char *name, struct rtnl_link *out, struct serai_error *err);
// Finds the bridge, or makes it when network.conf says that it may; *made tells.
int net_bridge_need(struct serai *s, struct netlink *n, const struct net_conf *conf,
                    const char *name, struct rtnl_link *out, bool *made, struct serai_error *err);
// err_set with the kernel's words, if it said any.
int net_fail(struct netlink *n, struct serai_error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
