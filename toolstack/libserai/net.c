// SPDX-License-Identifier: BSD-2-Clause
// Connecting the interface of a guest to the control domain's network, and undoing it.
//
// Attaching writes a record first and then makes changes; net_undo() takes back whatever the
// record says might have been done. It serves failures half-way, the orderly end, and interfaces
// whose kernel side vanished or whose maker died.
#include "net_internal.h"

#include "buf.h"
#include "file.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t backend_mac[6] = {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff};

int net_fail(struct netlink *n, struct serai_error *err, int code, const char *fmt, ...)
{
    char what[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    const char *why = netlink_text(n);
    if (*why)
        return err_set(err, code, "%s: %s (%s)", what, strerror(-code), why);
    return err_sys(err, code, "%s", what);
}

// ---- undoing -------------------------------------------------------------------------------

static void shaper_name(const struct net_record *r, char *name)
{
    snprintf(name, SERAI_IFNAME_SIZE, "ifb%u.%d", r->port.domain, r->port.vif.devid);
}

static void undo_proxies(struct netlink *n, const struct serai_vif *v)
{
    struct rtnl_link gateway;
    if (v->setup != SERAI_NET_ROUTE || rtnl_link_get(n, v->gatewaydev, &gateway))
        return;
    for (unsigned i = 0; i < v->nr_ips; i++)
        if (v->ips[i].prefix == net_bits(&v->ips[i]))
            rtnl_proxy_delete(n, gateway.index, net_family(&v->ips[i]), v->ips[i].addr);
}

static void undo_addresses(struct netlink *n, unsigned index)
{
    struct rtnl_address *list;
    size_t count;
    if (rtnl_address_list(n, &list, &count))
        return;
    for (size_t i = 0; i < count; i++)
        if (list[i].index == index && list[i].scope != RT_SCOPE_LINK)
            rtnl_address_delete(n, index, list[i].family, list[i].addr, list[i].prefix);
    free(list);
}

// What was changed on the interface itself. Taking it down removes the routes through it.
static void undo_link(struct netlink *n, const struct net_record *r, const struct rtnl_link *l)
{
    const struct serai_vif *v = &r->port.vif;
    rtnl_link_up(n, l->index, false);
    if (v->setup == SERAI_NET_BRIDGE) {
        if (l->master)
            rtnl_link_master(n, l->index, 0);
        rtnl_conf_set("ipv6", l->name, "disable_ipv6", 0);
    } else {
        undo_addresses(n, l->index);
        rtnl_conf_set("ipv4", l->name, "proxy_arp", 0);
    }
    if (r->old_mtu)
        rtnl_link_mtu(n, l->index, r->old_mtu);
    rtnl_link_mac(n, l->index, r->old_mac);
    rtnl_link_alias(n, l->index, "");
    if (strcmp(l->name, r->created) != 0)
        rtnl_link_rename(n, l->index, r->created);
}

static void net_undo(struct netlink *n, const struct net_record *r)
{
    char shaper[SERAI_IFNAME_SIZE];
    struct rtnl_link l;
    bool present = !rtnl_link_get_index(n, r->index, &l) &&
                   (!strcmp(l.name, r->port.device) || !strcmp(l.name, r->created));
    if (r->shaped) {
        shaper_name(r, shaper);
        rtnl_limit_delete(n, present ? l.index : 0, shaper);
    }
    if (present)
        undo_link(n, r, &l);
    undo_proxies(n, &r->port.vif);
    net_filter_detach(r);
}

// Takes everything back and forgets the record; the last one takes the common rules with it.
static void net_forget(struct serai *s, struct netlink *n, const struct net_record *r)
{
    struct net_record *list;
    size_t count;
    net_undo(n, r);
    net_record_remove(s, r);
    if (net_record_list(s, &list, &count, NULL))
        return;
    free(list);
    if (!count)
        net_filter_remove();
}

// ---- connecting ----------------------------------------------------------------------------

// Says what failed; that the interface has gone is the likely reason behind several errors.
static int link_fail(struct net_attach *a, int code, const char *what)
{
    struct rtnl_link l;
    const char *name = a->r->port.device;
    if (code == -ENODEV || rtnl_link_get_index(a->n, a->r->index, &l) == -ENODEV)
        return err_set(a->err, -ENODEV, "interface %s has vanished", name);
    return net_fail(a->n, a->err, code, "%s: cannot %s", name, what);
}

// Name, MTU and MAC; the interface is down.
static int link_prepare(struct net_attach *a, const struct rtnl_link *bridge)
{
    struct net_record *r = a->r;
    struct serai_vif *v = &r->port.vif;
    char alias[64];
    if (!v->mtu)
        v->mtu = bridge ? bridge->mtu : 1500;
    int ret = rtnl_link_up(a->n, r->index, false);
    if (!ret && strcmp(r->port.device, r->created) != 0) {
        ret = rtnl_link_rename(a->n, r->index, r->port.device);
        if (ret == -EEXIST)
            return err_set(a->err, ret, "vifname: there is an interface \"%s\" already",
                           r->port.device);
    }
    if (ret)
        return link_fail(a, ret, "rename it");
    ret = rtnl_link_mtu(a->n, r->index, v->mtu);
    if (ret)
        return link_fail(a, ret, "set its MTU");
    ret = rtnl_link_mac(a->n, r->index, backend_mac);
    if (ret)
        return link_fail(a, ret, "set its MAC");
    snprintf(alias, sizeof(alias), "domain %u interface %d", r->port.domain, v->devid);
    rtnl_link_alias(a->n, r->index, alias); // for people only
    return 0;
}

static int connect_bridge(struct net_attach *a)
{
    struct net_record *r = a->r;
    struct rtnl_link bridge;
    int ret =
        net_bridge_need(a->s, a->n, &a->conf, r->port.vif.bridge, &bridge, &a->bridge_made, a->err);
    if (!ret)
        ret = link_prepare(a, &bridge);
    if (ret)
        return ret;
    // The control domain's own IPv6 stays off the wire of guests.
    rtnl_conf_set("ipv6", r->port.device, "disable_ipv6", 1); // absent without IPv6
    ret = rtnl_link_master(a->n, r->index, bridge.index);
    if (!ret)
        ret = rtnl_port_isolate(a->n, r->index, r->port.vif.isolated);
    return ret ? link_fail(a, ret, "add it to the bridge") : 0;
}

static int forwarding_on(struct net_attach *a, bool v6)
{
    const char *family = v6 ? "ipv6" : "ipv4";
    int on = 0, ra = 0, ret = rtnl_conf_get(family, "all", "forwarding", &on);
    if (!ret && on)
        return 0;
    // A kernel that forwards ignores router advertisements, unless it is told not to.
    const char *gateway = a->r->port.vif.gatewaydev;
    if (v6 && *gateway && !rtnl_conf_get("ipv6", gateway, "accept_ra", &ra) && ra == 1)
        rtnl_conf_set("ipv6", gateway, "accept_ra", 2);
    if (!ret)
        ret = rtnl_conf_set(family, "all", "forwarding", 1);
    return ret ? err_sys(a->err, ret, "cannot switch on forwarding for %s", family) : 0;
}

// The address under which guests find the control domain: the gateway interface's, or the first
// one of the private network.
static int connect_gateway_address(struct net_attach *a)
{
    struct serai_ip ip = {0};
    struct rtnl_address *list;
    size_t count;
    int ret;
    if (a->r->port.vif.setup == SERAI_NET_NAT) {
        ip = net_ip4_make(net_ip4_get(&a->conf.nat_subnet) + 1);
    } else {
        ret = rtnl_address_list(a->n, &list, &count);
        if (ret)
            return net_fail(a->n, a->err, ret, "cannot list addresses");
        for (size_t i = 0; i < count && !ip.prefix; i++)
            if (list[i].index == a->gateway && list[i].family == AF_INET &&
                list[i].scope == RT_SCOPE_UNIVERSE) {
                memcpy(ip.addr, list[i].addr, 4);
                ip.prefix = 32;
            }
        free(list);
        if (!ip.prefix)
            return 0; // IPv6 alone, perhaps: guests use the link-local address
    }
    ret = rtnl_address_add(a->n, a->r->index, AF_INET, ip.addr, 32);
    return ret ? link_fail(a, ret, "give it the gateway's address") : 0;
}

static int connect_routes(struct net_attach *a)
{
    const struct net_record *r = a->r;
    const struct serai_vif *v = &r->port.vif;
    char text[SERAI_IP_TEXT];
    for (unsigned i = 0; i < v->nr_ips; i++) {
        const struct serai_ip *ip = &v->ips[i];
        int ret = rtnl_route_add(a->n, r->index, net_family(ip), ip->addr, ip->prefix);
        if (ret == -EEXIST)
            return err_set(a->err, ret, "ip: there is a route for %s already",
                           serai_ip_format(ip, text));
        if (ret)
            return link_fail(a, ret, "add a route");
        if (v->setup != SERAI_NET_ROUTE || ip->prefix != net_bits(ip))
            continue;
        if (ip->v6)
            rtnl_conf_set("ipv6", v->gatewaydev, "proxy_ndp", 1);
        ret = rtnl_proxy_add(a->n, a->gateway, net_family(ip), ip->addr);
        if (ret)
            return net_fail(a->n, a->err, ret, "%s: cannot answer for %s", v->gatewaydev,
                            serai_ip_format(ip, text));
    }
    return 0;
}

static int connect_routed(struct net_attach *a)
{
    const struct net_record *r = a->r;
    const struct serai_vif *v = &r->port.vif;
    int ret = link_prepare(a, NULL);
    for (unsigned i = 0; i < v->nr_ips && !ret; i++)
        ret = forwarding_on(a, v->ips[i].v6);
    if (ret)
        return ret;
    // Guests may think that the network around their address is on their wire.
    ret = rtnl_conf_set("ipv4", r->port.device, "proxy_arp", 1);
    if (ret)
        return link_fail(a, ret, "let it answer ARP");
    rtnl_conf_set("ipv6", r->port.device, "accept_ra", 0);
    rtnl_conf_set("ipv6", r->port.device, "accept_dad", 0);
    ret = connect_gateway_address(a);
    if (!ret && (ret = rtnl_link_up(a->n, r->index, true)))
        ret = link_fail(a, ret, "set it up");
    return ret ? ret : connect_routes(a);
}

static int connect_limit(struct net_attach *a)
{
    struct net_record *r = a->r;
    const struct serai_vif *v = &r->port.vif;
    char shaper[SERAI_IFNAME_SIZE];
    uint64_t burst;
    r->port.rate_by_netback = false;
    if (!v->rate_bytes)
        return 0;
    if (__builtin_mul_overflow(v->rate_bytes, (uint64_t)v->rate_usec, &burst))
        burst = UINT64_MAX;
    shaper_name(r, shaper);
    rtnl_limit_delete(a->n, r->index, shaper); // of a guest of that number that nobody detached
    int ret = rtnl_limit_add(a->n, r->index, shaper, v->rate_bytes, burst / 1000000);
    if (ret == -EOPNOTSUPP || ret == -ENOENT) {
        serai_note(a->s, SERAI_LOG_WARNING,
                   "%s: the kernel has no ifb, tbf or u32; its netback limits the rate by itself, "
                   "less exactly",
                   r->port.device);
        r->port.rate_by_netback = true;
        return 0;
    }
    return ret ? link_fail(a, ret, "limit its rate") : 0;
}

static int attach_connect(struct net_attach *a)
{
    struct net_record *r = a->r;
    r->shaped = r->port.vif.rate_bytes;
    int ret = net_record_write(a->s, r, a->err);
    if (!ret)
        ret = net_filter_attach(r, a->err); // before the first packet can come
    if (!ret)
        ret = r->port.vif.setup == SERAI_NET_BRIDGE ? connect_bridge(a) : connect_routed(a);
    if (!ret)
        ret = connect_limit(a);
    if (!ret && r->port.vif.setup == SERAI_NET_BRIDGE && (ret = rtnl_link_up(a->n, r->index, true)))
        ret = link_fail(a, ret, "set it up");
    r->done = !ret;
    if (!ret)
        ret = net_record_write(a->s, r, a->err); // with what was found out
    return ret;
}

// ---- the interface of the library ----------------------------------------------------------

static int attach_find(struct net_attach *a, const struct serai_vif *vif, const char *device)
{
    struct net_record *r = a->r;
    struct rtnl_link l;
    if (device)
        snprintf(r->created, sizeof(r->created), "%s", device);
    else
        snprintf(r->created, sizeof(r->created), "vif%u.%d", r->port.domain, vif->devid);
    int ret = rtnl_link_wait(a->n, r->created, a->conf.timeout_ms, &l);
    if (ret == -ETIMEDOUT)
        return err_set(a->err, -ENODEV,
                       "interface %s did not appear within %d s (is the module xen-netback "
                       "loaded?)",
                       r->created, a->conf.timeout_ms / 1000);
    if (ret)
        return net_fail(a->n, a->err, ret, "cannot wait for interface %s", r->created);
    r->port.vif = *vif;
    strcpy(r->port.device, *vif->ifname ? vif->ifname : r->created);
    r->index = l.index;
    r->old_mtu = l.mtu;
    memcpy(r->old_mac, l.mac, 6);
    return 0;
}

// An interface of that number that is attached is an error. One that was attached to a domain which
// is gone, or half-way by somebody who died, is taken back: whoever writes a record and lives
// holds the lock.
static int attach_clear(struct net_attach *a, unsigned devid)
{
    struct net_record old;
    struct rtnl_link l;
    uint32_t domain = a->r->port.domain;
    if (net_record_read(a->s, domain, devid, &old, NULL))
        return 0; // a damaged one will be written over
    if (old.done && !rtnl_link_get_index(a->n, old.index, &l) && !strcmp(l.name, old.port.device))
        return err_set(a->err, -EEXIST, "interface %u of domain %u is attached already", devid,
                       domain);
    net_forget(a->s, a->n, &old);
    return 0;
}

static int attach_clear_first(struct net_attach *a, unsigned devid)
{
    FD_AUTO lock = net_lock(a->s, a->err);
    return lock < 0 ? lock : attach_clear(a, devid);
}

static int attach_begin(struct net_attach *a, const struct serai_vif *vif)
{
    int ret = net_conf_load(a->s, &a->conf, a->err);
    if (ret)
        return ret;
    if (vif->devid < 0 || !vif->has_mac)
        return err_set(a->err, -EINVAL, "vif: has no devid or no MAC");
    ret = netlink_open(&a->n, NETLINK_ROUTE);
    return ret ? err_sys(a->err, ret, "cannot open a netlink socket") : 0;
}

static int attach_locked(struct net_attach *a, unsigned devid)
{
    FD_AUTO lock = net_lock(a->s, a->err);
    if (lock < 0)
        return lock;
    int ret = attach_clear(a, devid); // again: others may have been here meanwhile
    if (!ret)
        ret = net_plan(a);
    if (ret)
        return ret;
    ret = attach_connect(a);
    if (!ret)
        return 0;
    net_forget(a->s, a->n, a->r);
    struct rtnl_link bridge;
    if (a->bridge_made && !rtnl_link_get(a->n, a->r->port.vif.bridge, &bridge))
        rtnl_link_delete(a->n, bridge.index);
    return ret;
}

int serai_net_attach(struct serai *s, uint32_t domain, const struct serai_vif *vif,
                     const char *device, struct serai_net_port *out, struct serai_error *err)
{
    struct net_record r = {.port = {.domain = domain}};
    struct net_attach a = {.s = s, .r = &r, .err = err};
    int ret = attach_begin(&a, vif);
    if (!ret)
        ret = attach_clear_first(&a, (unsigned)vif->devid); // which may give the name back
    if (!ret)
        ret = attach_find(&a, vif, device); // not under the lock: it may take a while
    if (!ret)
        ret = attach_locked(&a, (unsigned)vif->devid);
    netlink_close(a.n);
    if (ret)
        return ret;
    r.port.present = r.port.up = true;
    if (out)
        *out = r.port;
    return 0;
}

// Which records are to be detached.
struct detach {
    uint32_t domain;
    int devid;                 // -1: all of the domain
    serai_net_alive_fn *alive; // not NULL: those of domains that do not live, instead
    void *ctx;
};

static bool detach_wanted(const struct detach *d, const struct net_record *r)
{
    if (d->alive)
        return !d->alive(d->ctx, r->port.domain);
    return r->port.domain == d->domain && (d->devid < 0 || r->port.vif.devid == d->devid);
}

static int detach_some(struct serai *s, const struct detach *d, struct serai_error *err)
{
    NETLINK_AUTO n = NULL;
    struct net_record *list;
    size_t count;
    FD_AUTO lock = net_lock(s, err);
    if (lock < 0)
        return lock;
    int ret = net_record_list(s, &list, &count, err);
    if (ret)
        return ret;
    for (size_t i = 0; i < count && !ret; i++) {
        if (!detach_wanted(d, &list[i]))
            continue;
        if (!n && (ret = netlink_open(&n, NETLINK_ROUTE)))
            ret = err_sys(err, ret, "cannot open a netlink socket");
        if (!ret)
            net_forget(s, n, &list[i]);
    }
    free(list);
    return ret;
}

int serai_net_detach(struct serai *s, uint32_t domain, unsigned devid, struct serai_error *err)
{
    const struct detach one = {.domain = domain, .devid = (int)devid};
    return devid > SERAI_VIF_DEVID_MAX ? 0 : detach_some(s, &one, err);
}

int serai_net_detach_all(struct serai *s, uint32_t domain, struct serai_error *err)
{
    const struct detach all = {.domain = domain, .devid = -1};
    return detach_some(s, &all, err);
}

int serai_net_sweep(struct serai *s, serai_net_alive_fn *alive, void *ctx, struct serai_error *err)
{
    const struct detach dead = {.alive = alive, .ctx = ctx};
    return detach_some(s, &dead, err);
}

// The interface is there and has a record: another limit for it.
static int set_rate(struct net_attach *a)
{
    struct net_record *r = a->r;
    const struct serai_vif *v = &r->port.vif;
    char shaper[SERAI_IFNAME_SIZE];
    uint64_t burst;
    int ret = -ENODEV;
    shaper_name(r, shaper);
    if (__builtin_mul_overflow(v->rate_bytes, (uint64_t)v->rate_usec, &burst))
        burst = UINT64_MAX;
    if (r->shaped && v->rate_bytes && !r->port.rate_by_netback)
        ret = rtnl_limit_change(a->n, shaper, v->rate_bytes, burst / 1000000);
    else if (!v->rate_bytes)
        rtnl_limit_delete(a->n, r->index, shaper);
    r->shaped = v->rate_bytes;
    // Written before something is made that somebody may have to take away.
    int written = net_record_write(a->s, r, a->err);
    if (written || !ret)
        return written;
    ret = connect_limit(a);
    return ret ? ret : net_record_write(a->s, r, a->err);
}

int serai_net_set_rate(struct serai *s, uint32_t domain, unsigned devid, uint64_t rate_bytes,
                       uint32_t rate_usec, struct serai_net_port *out, struct serai_error *err)
{
    NETLINK_AUTO n = NULL;
    struct net_record r;
    struct rtnl_link l;
    FD_AUTO lock = net_lock(s, err);
    if (lock < 0)
        return lock;
    int ret = net_record_read(s, domain, devid, &r, err);
    if (ret == -ENOENT)
        return err_set(err, ret, "domain %u has no interface %u that is attached", domain, devid);
    if (!ret && (ret = netlink_open(&n, NETLINK_ROUTE)))
        ret = err_sys(err, ret, "cannot open a netlink socket");
    if (ret)
        return ret;
    struct net_attach a = {.s = s, .n = n, .r = &r, .err = err};
    if (rtnl_link_get_index(n, r.index, &l))
        return link_fail(&a, -ENODEV, "limit its rate");
    r.port.vif.rate_bytes = rate_bytes;
    r.port.vif.rate_usec = rate_usec;
    ret = set_rate(&a);
    if (!ret && out)
        *out = r.port;
    return ret;
}
