// SPDX-License-Identifier: BSD-2-Clause
// What an interface is to be like when network.conf, the other interfaces and the kernel's routes
// have been asked. Nothing is changed here.
#include "net_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool net_ip_inside(const struct serai_ip *ip, const struct serai_ip *network)
{
    if (ip->v6 != network->v6 || ip->prefix < network->prefix)
        return false;
    for (unsigned i = 0; i < network->prefix; i++)
        if ((ip->addr[i / 8] ^ network->addr[i / 8]) & (0x80 >> i % 8))
            return false;
    return true;
}

uint32_t net_ip4_get(const struct serai_ip *ip)
{
    return (uint32_t)ip->addr[0] << 24 | (uint32_t)ip->addr[1] << 16 | (uint32_t)ip->addr[2] << 8 |
           ip->addr[3];
}

struct serai_ip net_ip4_make(uint32_t bits)
{
    return (struct serai_ip){.prefix = 32,
                             .addr = {(uint8_t)(bits >> 24), (uint8_t)(bits >> 16),
                                      (uint8_t)(bits >> 8), (uint8_t)bits}};
}

enum { DOMAIN_UNKNOWN = UINT32_MAX }; // of a guest that is not made yet

static int in_use(struct net_attach *a, const char *key, const char *what,
                  const struct net_record *other)
{
    if (other->port.domain == a->r->port.domain)
        return err_set(a->err, -EEXIST, "%s: %s is given twice", key, what);
    return err_set(a->err, -EEXIST, "%s: %s is in use by domain %u", key, what, other->port.domain);
}

// ---- addresses -----------------------------------------------------------------------------

// Another interface that has the address (or a network around it), or NULL.
static const struct net_record *ip_user(const struct net_record *list, size_t count,
                                        const struct serai_ip *ip)
{
    for (size_t i = 0; i < count; i++) {
        const struct serai_vif *v = &list[i].port.vif;
        for (unsigned k = 0; k < v->nr_ips && v->setup != SERAI_NET_BRIDGE; k++)
            if (net_ip_inside(ip, &v->ips[k]) || net_ip_inside(&v->ips[k], ip))
                return &list[i];
    }
    return NULL;
}

// The first address of the subnet is the control domain's. A guest's follows from its MAC; when
// that is taken, the next free one.
static int nat_choose(struct net_attach *a, const struct net_record *list, size_t count)
{
    struct serai_vif *v = &a->r->port.vif;
    uint32_t base = net_ip4_get(&a->conf.nat_subnet),
             hosts = UINT32_MAX >> a->conf.nat_subnet.prefix;
    uint32_t usable = hosts - 2; // without network, gateway and broadcast; hosts is at least 15
    uint32_t hash = 0;
    for (int i = 0; i < 6; i++)
        hash = hash * 0x9e3779b1 + v->mac[i];
    for (uint32_t i = 0; i <= count; i++) {
        v->ips[0] = net_ip4_make(base + 2 + (hash % usable + i) % usable);
        if (i < usable && !ip_user(list, count, &v->ips[0])) {
            v->nr_ips = 1;
            return 0;
        }
    }
    return err_set(a->err, -ENOSPC, "nat_subnet: no address is free");
}

static int nat_check(struct net_attach *a)
{
    const struct serai_vif *v = &a->r->port.vif;
    char text[SERAI_IP_TEXT], net[SERAI_IP_TEXT];
    const struct serai_ip gateway = net_ip4_make(net_ip4_get(&a->conf.nat_subnet) + 1);
    for (unsigned i = 0; i < v->nr_ips; i++) {
        const struct serai_ip *ip = &v->ips[i];
        if (!ip->v6 && (!net_ip_inside(ip, &a->conf.nat_subnet) || net_ip_inside(&gateway, ip)))
            return err_set(a->err, -EINVAL, "ip: %s is not an address for guests of %s",
                           serai_ip_format(ip, text), serai_ip_format(&a->conf.nat_subnet, net));
    }
    return 0;
}

// Guests behind translation are told their subnet's prefix (ip=10.83.0.5/16); it is not theirs.
static void nat_strip(struct serai_vif *v)
{
    for (unsigned i = 0; i < v->nr_ips; i++)
        v->ips[i].prefix = (uint8_t)net_bits(&v->ips[i]);
}

// A guest must not be given what the control domain has itself.
static int plan_own_addresses(struct net_attach *a)
{
    const struct serai_vif *v = &a->r->port.vif;
    struct rtnl_address *list;
    size_t count;
    char text[SERAI_IP_TEXT];
    int ret = rtnl_address_list(a->n, &list, &count);
    if (ret)
        return net_fail(a->n, a->err, ret, "cannot list addresses");
    for (size_t i = 0; i < count && !ret; i++) {
        struct serai_ip own = {.v6 = list[i].family == AF_INET6};
        own.prefix = (uint8_t)net_bits(&own);
        memcpy(own.addr, list[i].addr, sizeof(own.addr));
        for (unsigned k = 0; k < v->nr_ips && !ret; k++)
            if (net_ip_inside(&own, &v->ips[k]))
                ret = err_set(a->err, -EEXIST, "ip: %s is the control domain's own",
                              serai_ip_format(&own, text));
    }
    free(list);
    return ret;
}

static int plan_addresses(struct net_attach *a, const struct net_record *list, size_t count)
{
    struct serai_vif *v = &a->r->port.vif;
    char text[SERAI_IP_TEXT];
    int ret = 0;
    if (v->setup == SERAI_NET_NAT) {
        nat_strip(v);
        ret = v->nr_ips ? nat_check(a) : nat_choose(a, list, count);
    } else if (v->setup == SERAI_NET_ROUTE && !v->nr_ips) {
        return err_set(a->err, -EINVAL, "ip: a routed interface needs its addresses (ip=...)");
    }
    for (unsigned i = 0; i < v->nr_ips && !ret && v->setup != SERAI_NET_BRIDGE; i++) {
        const struct net_record *other = ip_user(list, count, &v->ips[i]);
        if (other)
            ret = in_use(a, "ip", serai_ip_format(&v->ips[i], text), other);
    }
    if (!ret && v->setup != SERAI_NET_BRIDGE)
        ret = plan_own_addresses(a);
    return ret;
}

// ---- planning ------------------------------------------------------------------------------

static void plan_defaults(struct net_attach *a)
{
    struct serai_vif *v = &a->r->port.vif;
    if (v->setup == SERAI_NET_DEFAULT)
        v->setup = *v->bridge ? SERAI_NET_BRIDGE : a->conf.setup;
    if (v->setup == SERAI_NET_BRIDGE && !*v->bridge)
        strcpy(v->bridge, a->conf.bridge);
    if (v->setup == SERAI_NET_ROUTE && !*v->gatewaydev)
        strcpy(v->gatewaydev, a->conf.gatewaydev);
    if (v->setup != SERAI_NET_ROUTE)
        *v->gatewaydev = '\0';
    if (v->isolated < 0)
        v->isolated = a->conf.isolated;
    if (v->isolated < 0) // who wants guests to meet gives them a bridge
        v->isolated = v->setup != SERAI_NET_BRIDGE;
    // A routed guest's addresses are known, and nobody else should use them.
    if (v->guard == SERAI_GUARD_DEFAULT)
        v->guard = a->conf.guard;
    if (v->guard == SERAI_GUARD_DEFAULT)
        v->guard = v->setup == SERAI_NET_BRIDGE ? SERAI_GUARD_OFF : SERAI_GUARD_IP;
    if (v->guard == SERAI_GUARD_IP && v->setup == SERAI_NET_BRIDGE && !v->nr_ips)
        v->guard = SERAI_GUARD_MAC; // all that is known
}

// Interfaces on one bridge with the same MAC would steal each other's packets.
static int plan_mac(struct net_attach *a, const struct net_record *list, size_t count)
{
    const struct serai_vif *v = &a->r->port.vif;
    char text[SERAI_MAC_TEXT];
    for (size_t i = 0; i < count; i++) {
        const struct serai_vif *o = &list[i].port.vif;
        if (v->setup == o->setup && !memcmp(v->mac, o->mac, 6) && !strcmp(v->bridge, o->bridge))
            return in_use(a, "mac", serai_mac_format(v->mac, text), &list[i]);
    }
    return 0;
}

static int plan_gateway(struct net_attach *a)
{
    struct serai_vif *v = &a->r->port.vif;
    struct rtnl_link l;
    unsigned index;
    if (v->setup != SERAI_NET_ROUTE)
        return 0;
    int ret;
    if (*v->gatewaydev) {
        ret = rtnl_link_get(a->n, v->gatewaydev, &l);
        if (ret == -ENODEV)
            return err_set(a->err, -ENOENT, "gatewaydev: there is no interface \"%s\"",
                           v->gatewaydev);
    } else {
        ret = rtnl_route_default(a->n, net_family(&v->ips[0]), &index);
        if (ret == -ENETUNREACH)
            return err_set(a->err, ret, "gatewaydev: not given, and there is no default route");
        if (!ret)
            ret = rtnl_link_get_index(a->n, index, &l);
    }
    if (ret)
        return net_fail(a->n, a->err, ret, "cannot look up the gateway's interface");
    strcpy(v->gatewaydev, l.name);
    a->gateway = l.index;
    return 0;
}

static int plan(struct net_attach *a, const struct net_record *list, size_t count)
{
    plan_defaults(a);
    int ret = plan_addresses(a, list, count);
    if (!ret)
        ret = plan_mac(a, list, count);
    return ret ? ret : plan_gateway(a);
}

int net_plan(struct net_attach *a)
{
    struct net_record *list;
    size_t count;
    int ret = net_record_list(a->s, &list, &count, a->err);
    if (ret)
        return ret;
    ret = plan(a, list, count);
    free(list);
    return ret;
}

// ---- asking beforehand ---------------------------------------------------------------------

static int check_links(struct net_attach *a)
{
    const struct serai_vif *v = &a->r->port.vif;
    struct rtnl_link l;
    if (*v->ifname && !rtnl_link_get(a->n, v->ifname, &l))
        return err_set(a->err, -EEXIST, "vifname: there is an interface \"%s\" already", v->ifname);
    if (v->setup != SERAI_NET_BRIDGE)
        return 0;
    return net_bridge_find(a->s, a->n, &a->conf, v->bridge, &l, a->err);
}

// Each is planned behind those before it, as if they were attached.
static int check_all(struct net_attach *a, const struct serai_vif *vifs, size_t nr_vifs)
{
    struct net_record *list;
    size_t count;
    int ret = net_record_list(a->s, &list, &count, a->err);
    if (ret)
        return ret;
    struct net_record *all = realloc(list, (count + nr_vifs) * sizeof(*all));
    if (!all) {
        free(list);
        return err_set(a->err, -ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < nr_vifs && !ret; i++) {
        a->r = &all[count];
        *a->r = (struct net_record){.port = {.domain = DOMAIN_UNKNOWN, .vif = vifs[i]}};
        ret = plan(a, all, count++);
        if (!ret)
            ret = check_links(a);
    }
    free(all);
    return ret;
}

int serai_net_check(struct serai *s, const struct serai_vif *list, size_t count,
                    struct serai_error *err)
{
    NETLINK_AUTO n = NULL;
    struct net_attach a = {.s = s, .err = err};
    if (!count)
        return 0;
    int ret = net_conf_load(s, &a.conf, err);
    if (ret)
        return ret;
    ret = netlink_open(&n, NETLINK_ROUTE);
    if (ret)
        return err_sys(err, ret, "cannot open a netlink socket");
    a.n = n;
    return check_all(&a, list, count);
}
