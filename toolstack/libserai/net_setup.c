// SPDX-License-Identifier: BSD-2-Clause
// The control domain's own side: its bridge, and a view of all of it.
#include "net_internal.h"

#include "file.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Marks bridges that may be removed again.
#define BRIDGE_ALIAS "made by serai"

enum { BRIDGE_MTU = 1500 };

static int bridge_make(struct netlink *n, const char *name, const struct net_conf *conf,
                       struct rtnl_link *out, struct serai_error *err)
{
    unsigned mtu = conf->bridge_mtu ? conf->bridge_mtu : BRIDGE_MTU;
    int ret = rtnl_link_add(n, name, "bridge");
    if (ret)
        return net_fail(n, err, ret, "cannot make bridge %s", name);
    ret = rtnl_link_get(n, name, out);
    if (!ret)
        ret = rtnl_link_alias(n, out->index, BRIDGE_ALIAS);
    // Set, though it is what it is: otherwise it would change with each port that comes and goes.
    if (!ret)
        ret = rtnl_link_mac(n, out->index, out->mac);
    if (!ret)
        ret = rtnl_link_mtu(n, out->index, mtu);
    if (!ret)
        ret = rtnl_link_up(n, out->index, true);
    if (!ret)
        ret = rtnl_link_get(n, name, out);
    if (!ret)
        return 0;
    net_fail(n, err, ret, "cannot set up bridge %s", name);
    if (out->index)
        rtnl_link_delete(n, out->index);
    return ret;
}

int net_bridge_find(struct serai *s, struct netlink *n, const struct net_conf *conf,
                    const char *name, struct rtnl_link *out, struct serai_error *err)
{
    int ret = rtnl_link_get(n, name, out);
    if (!ret && strcmp(out->kind, "bridge") != 0)
        return err_set(err, -EINVAL, "bridge: interface \"%s\" is no bridge", name);
    if (!ret || ret != -ENODEV)
        return ret ? net_fail(n, err, ret, "cannot look up bridge %s", name) : 0;
    if (!conf->bridge_create)
        return err_set(err, -ENOENT,
                       "bridge: there is no bridge \"%s\" (bridge_create = 1 in %s makes missing "
                       "ones)",
                       name, s->network_conf);
    out->index = 0;
    return 0;
}

int net_bridge_need(struct serai *s, struct netlink *n, const struct net_conf *conf,
                    const char *name, struct rtnl_link *out, bool *made, struct serai_error *err)
{
    *made = false;
    int ret = net_bridge_find(s, n, conf, name, out, err);
    if (ret || out->index)
        return ret;
    ret = bridge_make(n, name, conf, out, err);
    *made = !ret;
    return ret;
}

// ---- setup ---------------------------------------------------------------------------------

// An interface with addresses would stop answering as a port of a bridge.
static int port_check(struct netlink *n, const struct rtnl_link *port, struct serai_error *err)
{
    struct rtnl_address *list;
    size_t count;
    bool used = false;
    int ret = rtnl_address_list(n, &list, &count);
    if (ret)
        return net_fail(n, err, ret, "cannot list addresses");
    for (size_t i = 0; i < count; i++)
        used = used || (list[i].index == port->index && list[i].scope == RT_SCOPE_UNIVERSE);
    free(list);
    return used ? err_set(err, -EBUSY,
                          "bridge_ports: %s has addresses, which it would lose; give them to the "
                          "bridge in the system's own network configuration",
                          port->name)
                : 0;
}

static int setup_port(struct netlink *n, const char *name, const struct rtnl_link *bridge,
                      struct serai_error *err)
{
    struct rtnl_link port;
    int ret = rtnl_link_get(n, name, &port);
    if (ret == -ENODEV)
        return err_set(err, -ENOENT, "bridge_ports: there is no interface \"%s\"", name);
    if (ret)
        return net_fail(n, err, ret, "cannot look up %s", name);
    if (port.master == bridge->index)
        return 0;
    if (port.master)
        return err_set(err, -EBUSY, "bridge_ports: %s belongs to another interface", name);
    ret = port_check(n, &port, err);
    if (ret)
        return ret;
    ret = rtnl_link_master(n, port.index, bridge->index);
    if (!ret)
        ret = rtnl_link_up(n, port.index, true);
    return ret ? net_fail(n, err, ret, "cannot add %s to bridge %s", name, bridge->name) : 0;
}

static int setup_bridge(struct serai *s, struct netlink *n, struct net_conf *conf,
                        struct serai_error *err)
{
    struct rtnl_link bridge;
    char text[SERAI_IP_TEXT];
    bool made;
    conf->bridge_create = true; // this is the order to do so
    int ret = net_bridge_need(s, n, conf, conf->bridge, &bridge, &made, err);
    for (unsigned i = 0; i < conf->nr_bridge_ports && !ret; i++)
        ret = setup_port(n, conf->bridge_ports[i], &bridge, err);
    for (unsigned i = 0; i < conf->nr_bridge_ips && !ret; i++) {
        const struct serai_ip *ip = &conf->bridge_ips[i];
        ret = rtnl_address_add(n, bridge.index, net_family(ip), ip->addr, ip->prefix);
        if (ret == -EEXIST)
            ret = 0;
        if (ret)
            net_fail(n, err, ret, "cannot give %s to bridge %s", serai_ip_format(ip, text),
                     conf->bridge);
    }
    if (ret && made)
        rtnl_link_delete(n, bridge.index);
    return ret;
}

// The host's configuration, the lock (to be closed) and a socket: the lock, or an error.
static int setup_begin(struct serai *s, struct net_conf *conf, struct netlink **n,
                       struct serai_error *err)
{
    int ret = net_conf_load(s, conf, err);
    if (ret)
        return ret;
    int lock = net_lock(s, err);
    if (lock < 0)
        return lock;
    ret = netlink_open(n, NETLINK_ROUTE);
    if (!ret)
        return lock;
    close(lock);
    return err_sys(err, ret, "cannot open a netlink socket");
}

int serai_net_setup(struct serai *s, struct serai_error *err)
{
    NETLINK_AUTO n = NULL;
    struct net_conf conf;
    int ret;
    FD_AUTO lock = setup_begin(s, &conf, &n, err);
    if (lock < 0)
        return lock;
    if (conf.setup == SERAI_NET_BRIDGE)
        return setup_bridge(s, n, &conf, err);
    if (*conf.gatewaydev) {
        struct rtnl_link l;
        ret = rtnl_link_get(n, conf.gatewaydev, &l);
        if (ret)
            return err_set(err, -ENOENT, "gatewaydev: there is no interface \"%s\"",
                           conf.gatewaydev);
    }
    ret = rtnl_conf_set("ipv4", "all", "forwarding", 1);
    return ret ? err_sys(err, ret, "cannot switch on forwarding") : 0;
}

int serai_net_unsetup(struct serai *s, struct serai_error *err)
{
    NETLINK_AUTO n = NULL;
    struct net_conf conf;
    struct rtnl_link bridge;
    struct net_record *list;
    size_t count, users = 0;
    FD_AUTO lock = setup_begin(s, &conf, &n, err);
    if (lock < 0)
        return lock;
    int ret = rtnl_link_get(n, conf.bridge, &bridge);
    if (ret)
        return ret == -ENODEV ? 0 : net_fail(n, err, ret, "cannot look up %s", conf.bridge);
    if (strcmp(bridge.kind, "bridge") != 0 || strcmp(bridge.alias, BRIDGE_ALIAS) != 0)
        return err_set(err, -EPERM, "bridge %s was not made by Serai", conf.bridge);
    ret = net_record_list(s, &list, &count, err);
    if (ret)
        return ret;
    for (size_t i = 0; i < count; i++)
        users += !strcmp(list[i].port.vif.bridge, conf.bridge);
    free(list);
    if (users)
        return err_set(err, -EBUSY, "bridge %s is in use: interfaces of guests on it: %zu",
                       conf.bridge, users);
    ret = rtnl_link_delete(n, bridge.index);
    return ret ? net_fail(n, err, ret, "cannot remove bridge %s", conf.bridge) : 0;
}

// ---- what there is -------------------------------------------------------------------------

static const struct rtnl_link *link_of(const struct rtnl_link *links, size_t count,
                                       const struct net_record *r)
{
    for (size_t i = 0; i < count; i++)
        if (links[i].index == r->index && !strcmp(links[i].name, r->port.device))
            return &links[i];
    return NULL;
}

static int list_ports(struct serai *s, const struct rtnl_link *links, size_t nr_links,
                      struct serai_net_port **out, size_t *count, struct serai_error *err)
{
    struct net_record *records;
    int ret = net_record_list(s, &records, count, err);
    if (ret)
        return ret;
    *out = calloc(*count + 1, sizeof(**out));
    for (size_t i = 0; i < *count && *out; i++) {
        struct serai_net_port *p = &(*out)[i];
        const struct rtnl_link *l = link_of(links, nr_links, &records[i]);
        *p = records[i].port;
        if (!l)
            continue;
        // What the control domain receives is what the guest has sent.
        p->present = true;
        p->up = l->up;
        p->sent_bytes = l->rx_bytes;
        p->sent_packets = l->rx_packets;
        p->received_bytes = l->tx_bytes;
        p->received_packets = l->tx_packets;
    }
    free(records);
    return *out ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int list_links(struct netlink **n, struct rtnl_link **links, size_t *count,
                      struct serai_error *err)
{
    int ret = netlink_open(n, NETLINK_ROUTE);
    if (ret)
        return err_sys(err, ret, "cannot open a netlink socket");
    ret = rtnl_link_list(*n, links, count);
    return ret ? net_fail(*n, err, ret, "cannot list interfaces") : 0;
}

int serai_net_list(struct serai *s, struct serai_net_port **list, size_t *count,
                   struct serai_error *err)
{
    NETLINK_AUTO n = NULL;
    struct rtnl_link *links = NULL;
    size_t nr_links = 0;
    int ret = list_links(&n, &links, &nr_links, err);
    if (ret)
        return ret;
    ret = list_ports(s, links, nr_links, list, count, err);
    free(links);
    return ret;
}

struct world {
    struct rtnl_link *links;
    struct rtnl_address *addresses;
    size_t nr_links, nr_addresses;
};

static int bridge_fill(struct serai_bridge *b, const struct rtnl_link *l, const struct world *w)
{
    *b = (struct serai_bridge){.up = l->up,
                               .made_here = !strcmp(l->alias, BRIDGE_ALIAS),
                               .mtu = l->mtu,
                               .ips = calloc(w->nr_addresses + 1, sizeof(*b->ips)),
                               .ports = calloc(w->nr_links + 1, sizeof(*b->ports))};
    strcpy(b->name, l->name);
    memcpy(b->mac, l->mac, 6);
    if (!b->ips || !b->ports)
        return -ENOMEM;
    for (size_t i = 0; i < w->nr_addresses; i++) {
        const struct rtnl_address *a = &w->addresses[i];
        if (a->index != l->index || a->scope == RT_SCOPE_LINK)
            continue;
        struct serai_ip *ip = &b->ips[b->nr_ips++];
        *ip = (struct serai_ip){.v6 = a->family == AF_INET6, .prefix = a->prefix};
        memcpy(ip->addr, a->addr, sizeof(ip->addr));
    }
    for (size_t i = 0; i < w->nr_links; i++) {
        const struct rtnl_link *port = &w->links[i];
        if (port->master != l->index)
            continue;
        struct serai_bridge_port *p = &b->ports[b->nr_ports++];
        strcpy(p->name, port->name);
        p->up = port->up;
        p->isolated = port->isolated;
    }
    return 0;
}

static int status_fill(struct serai *s, struct serai_net_status *st, const struct world *w,
                       struct serai_error *err)
{
    st->bridges = calloc(w->nr_links + 1, sizeof(*st->bridges));
    int ret = st->bridges ? 0 : -ENOMEM;
    for (size_t i = 0; i < w->nr_links && !ret; i++)
        if (!strcmp(w->links[i].kind, "bridge"))
            ret = bridge_fill(&st->bridges[st->nr_bridges++], &w->links[i], w);
    if (ret)
        return err_set(err, ret, "out of memory");
    return list_ports(s, w->links, w->nr_links, &st->ports, &st->nr_ports, err);
}

int serai_net_status(struct serai *s, struct serai_net_status **out, struct serai_error *err)
{
    NETLINK_AUTO n = NULL;
    struct world w = {0};
    struct serai_net_status *st = calloc(1, sizeof(*st));
    if (!st)
        return err_set(err, -ENOMEM, "out of memory");
    int ret = list_links(&n, &w.links, &w.nr_links, err);
    if (!ret && (ret = rtnl_address_list(n, &w.addresses, &w.nr_addresses)))
        net_fail(n, err, ret, "cannot list addresses");
    if (!ret)
        ret = status_fill(s, st, &w, err);
    free(w.links);
    free(w.addresses);
    if (ret)
        serai_net_status_free(st);
    else
        *out = st;
    return ret;
}

void serai_net_status_free(struct serai_net_status *st)
{
    if (!st)
        return;
    for (size_t i = 0; i < st->nr_bridges; i++) {
        free(st->bridges[i].ips);
        free(st->bridges[i].ports);
    }
    free(st->bridges);
    free(st->ports);
    free(st);
}
