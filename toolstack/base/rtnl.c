// SPDX-License-Identifier: BSD-2-Clause
#include "rtnl.h"

#include "buf.h"
#include "file.h"
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef IFLA_BRPORT_ISOLATED
#define IFLA_BRPORT_ISOLATED 33
#endif

// The attributes behind a message's fixed header, as a table by type.
static void attributes(const struct nlmsghdr *h, size_t header, struct nlattr **table, int max)
{
    memset(table, 0, sizeof(*table) * (size_t)(max + 1));
    if (nlmsg_valid_hdr(h, (int)header))
        nla_parse(table, max, nlmsg_attrdata(h, (int)header), nlmsg_attrlen(h, (int)header), NULL);
}

static uint32_t attr_u32(const struct nlattr *a)
{
    return a && nla_len(a) >= 4 ? nla_get_u32(a) : 0;
}

// ---- interfaces ----------------------------------------------------------------------------

static void link_port(struct rtnl_link *l, struct nlattr *data)
{
    struct nlattr *table[IFLA_BRPORT_MAX + 1];
    nla_parse_nested(table, IFLA_BRPORT_MAX, data, NULL);
    const struct nlattr *a = table[IFLA_BRPORT_ISOLATED];
    l->isolated = a && nla_len(a) >= 1 && nla_get_u8(a);
}

static void link_kind(struct rtnl_link *l, struct nlattr *info)
{
    struct nlattr *table[IFLA_INFO_MAX + 1];
    nla_parse_nested(table, IFLA_INFO_MAX, info, NULL);
    if (table[IFLA_INFO_KIND])
        nla_strlcpy(l->kind, table[IFLA_INFO_KIND], sizeof(l->kind));
    if (table[IFLA_INFO_SLAVE_KIND] && table[IFLA_INFO_SLAVE_DATA] &&
        !nla_strcmp(table[IFLA_INFO_SLAVE_KIND], "bridge"))
        link_port(l, table[IFLA_INFO_SLAVE_DATA]);
}

static void link_read(const struct nlmsghdr *h, struct rtnl_link *l)
{
    struct nlattr *table[IFLA_MAX + 1];
    const struct ifinfomsg *info = nlmsg_data(h);
    *l = (struct rtnl_link){0};
    attributes(h, sizeof(*info), table, IFLA_MAX);
    if (!nlmsg_valid_hdr(h, sizeof(*info)))
        return;
    l->index = (unsigned)info->ifi_index;
    l->up = info->ifi_flags & IFF_UP;
    l->mtu = attr_u32(table[IFLA_MTU]);
    l->master = attr_u32(table[IFLA_MASTER]);
    if (table[IFLA_IFNAME])
        nla_strlcpy(l->name, table[IFLA_IFNAME], sizeof(l->name));
    if (table[IFLA_IFALIAS])
        nla_strlcpy(l->alias, table[IFLA_IFALIAS], sizeof(l->alias));
    if (table[IFLA_ADDRESS] && nla_len(table[IFLA_ADDRESS]) == 6)
        memcpy(l->mac, nla_data(table[IFLA_ADDRESS]), 6);
    if (table[IFLA_LINKINFO])
        link_kind(l, table[IFLA_LINKINFO]);
    struct rtnl_link_stats64 stats = {0};
    if (table[IFLA_STATS64])
        nla_memcpy(&stats, table[IFLA_STATS64], sizeof(stats));
    l->rx_bytes = stats.rx_bytes;
    l->tx_bytes = stats.tx_bytes;
    l->rx_packets = stats.rx_packets;
    l->tx_packets = stats.tx_packets;
}

static void link_keep(void *arg, const struct nlmsghdr *h)
{
    if (h->nlmsg_type == RTM_NEWLINK)
        link_read(h, arg);
}

static int link_get(struct netlink *n, unsigned index, const char *name, struct rtnl_link *out)
{
    struct ifinfomsg info = {.ifi_index = (int)index};
    // Without NLM_F_ACK libnl would not know when the answer is complete.
    struct netlink_msg m = netlink_begin(RTM_GETLINK, NLM_F_ACK, &info, sizeof(info));
    if (name)
        netlink_put_string(&m, IFLA_IFNAME, name);
    *out = (struct rtnl_link){0};
    int ret = netlink_get(n, &m, link_keep, out);
    return !ret && !out->index ? -ENODEV : ret;
}

int rtnl_link_get(struct netlink *n, const char *name, struct rtnl_link *out)
{
    return link_get(n, 0, name, out);
}

int rtnl_link_get_index(struct netlink *n, unsigned index, struct rtnl_link *out)
{
    return link_get(n, index, NULL, out);
}

static void list_add_link(void *arg, const struct nlmsghdr *h)
{
    struct rtnl_link l;
    struct buf *b = arg;
    if (h->nlmsg_type != RTM_NEWLINK)
        return;
    link_read(h, &l);
    for (size_t i = 0; i < b->len; i += sizeof(l))
        if (((struct rtnl_link *)(void *)(b->data + i))->index == l.index)
            return; // the list is being read again
    buf_add(b, &l, sizeof(l));
}

// Turns a buffer of entries into a list for the caller.
static int list_take(struct buf *b, int ret, void **list, size_t size, size_t *count)
{
    if (!ret && b->failed)
        ret = -ENOMEM;
    *count = b->len / size;
    if (!ret && !(*list = buf_take(b)))
        ret = -ENOMEM;
    buf_free(b);
    return ret;
}

int rtnl_link_list(struct netlink *n, struct rtnl_link **list, size_t *count)
{
    struct ifinfomsg info = {0};
    struct buf b = {0};
    struct netlink_msg m = netlink_begin(RTM_GETLINK, NLM_F_DUMP, &info, sizeof(info));
    void *out = NULL;
    int ret = netlink_get(n, &m, list_add_link, &b);
    ret = list_take(&b, ret, &out, sizeof(**list), count);
    *list = out;
    return ret;
}

int rtnl_link_wait(struct netlink *n, const char *name, int timeout_ms, struct rtnl_link *out)
{
    // Listening begins before looking, so that nothing is missed between the two.
    NETLINK_AUTO events = NULL;
    int ret = netlink_open(&events, NETLINK_ROUTE);
    if (!ret)
        ret = netlink_join(events, RTNLGRP_LINK);
    if (ret)
        return ret;
    uint64_t end = loop_now_ms() + (uint64_t)timeout_ms;
    for (;;) {
        ret = rtnl_link_get(n, name, out);
        uint64_t now = loop_now_ms();
        if (ret != -ENODEV)
            return ret;
        if (now >= end)
            return -ETIMEDOUT;
        ret = netlink_listen(events, (int)(end - now), NULL, NULL);
        if (ret < 0 && ret != -ENOBUFS)
            return ret;
    }
}

int rtnl_link_add(struct netlink *n, const char *name, const char *kind)
{
    struct ifinfomsg info = {0};
    struct netlink_msg m =
        netlink_begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, &info, sizeof(info));
    netlink_put_string(&m, IFLA_IFNAME, name);
    struct nlattr *link = netlink_nest(&m, IFLA_LINKINFO);
    netlink_put_string(&m, IFLA_INFO_KIND, kind);
    netlink_nest_end(&m, link);
    return netlink_do(n, &m);
}

static struct netlink_msg link_change(unsigned index, unsigned flags, unsigned mask)
{
    struct ifinfomsg info = {.ifi_index = (int)index, .ifi_flags = flags, .ifi_change = mask};
    return netlink_begin(RTM_NEWLINK, NLM_F_ACK, &info, sizeof(info));
}

int rtnl_link_delete(struct netlink *n, unsigned index)
{
    struct ifinfomsg info = {.ifi_index = (int)index};
    struct netlink_msg m = netlink_begin(RTM_DELLINK, NLM_F_ACK, &info, sizeof(info));
    return netlink_do(n, &m);
}

int rtnl_link_up(struct netlink *n, unsigned index, bool up)
{
    struct netlink_msg m = link_change(index, up ? IFF_UP : 0, IFF_UP);
    return netlink_do(n, &m);
}

int rtnl_link_mtu(struct netlink *n, unsigned index, unsigned mtu)
{
    struct netlink_msg m = link_change(index, 0, 0);
    netlink_put_u32(&m, IFLA_MTU, mtu);
    return netlink_do(n, &m);
}

int rtnl_link_mac(struct netlink *n, unsigned index, const uint8_t mac[6])
{
    struct netlink_msg m = link_change(index, 0, 0);
    netlink_put(&m, IFLA_ADDRESS, mac, 6);
    return netlink_do(n, &m);
}

int rtnl_link_rename(struct netlink *n, unsigned index, const char *name)
{
    struct netlink_msg m = link_change(index, 0, 0);
    netlink_put_string(&m, IFLA_IFNAME, name);
    return netlink_do(n, &m);
}

int rtnl_link_alias(struct netlink *n, unsigned index, const char *alias)
{
    struct netlink_msg m = link_change(index, 0, 0);
    netlink_put(&m, IFLA_IFALIAS, alias, strlen(alias));
    return netlink_do(n, &m);
}

int rtnl_link_master(struct netlink *n, unsigned index, unsigned master)
{
    struct netlink_msg m = link_change(index, 0, 0);
    netlink_put_u32(&m, IFLA_MASTER, master);
    return netlink_do(n, &m);
}

int rtnl_port_isolate(struct netlink *n, unsigned index, bool isolated)
{
    struct netlink_msg m = link_change(index, 0, 0);
    struct nlattr *link = netlink_nest(&m, IFLA_LINKINFO);
    netlink_put_string(&m, IFLA_INFO_SLAVE_KIND, "bridge");
    struct nlattr *data = netlink_nest(&m, IFLA_INFO_SLAVE_DATA);
    netlink_put_u8(&m, IFLA_BRPORT_ISOLATED, isolated);
    netlink_nest_end(&m, data);
    netlink_nest_end(&m, link);
    return netlink_do(n, &m);
}

// ---- addresses -----------------------------------------------------------------------------

static size_t address_size(int family)
{
    return family == AF_INET6 ? 16 : 4;
}

static int address_change(struct netlink *n, uint16_t type, uint16_t flags, unsigned index,
                          int family, const void *addr, unsigned prefix)
{
    struct ifaddrmsg head = {.ifa_family = (uint8_t)family,
                             .ifa_prefixlen = (uint8_t)prefix,
                             .ifa_index = index,
                             .ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0};
    struct netlink_msg m = netlink_begin(type, flags | NLM_F_ACK, &head, sizeof(head));
    netlink_put(&m, IFA_LOCAL, addr, address_size(family));
    netlink_put(&m, IFA_ADDRESS, addr, address_size(family));
    return netlink_do(n, &m);
}

int rtnl_address_add(struct netlink *n, unsigned index, int family, const void *addr,
                     unsigned prefix)
{
    return address_change(n, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, family, addr, prefix);
}

int rtnl_address_delete(struct netlink *n, unsigned index, int family, const void *addr,
                        unsigned prefix)
{
    return address_change(n, RTM_DELADDR, 0, index, family, addr, prefix);
}

static void list_add_address(void *arg, const struct nlmsghdr *h)
{
    struct nlattr *table[IFA_MAX + 1];
    const struct ifaddrmsg *head = nlmsg_data(h);
    struct buf *b = arg;
    if (h->nlmsg_type != RTM_NEWADDR || !nlmsg_valid_hdr(h, sizeof(*head)))
        return;
    attributes(h, sizeof(*head), table, IFA_MAX);
    const struct nlattr *at = table[IFA_LOCAL] ? table[IFA_LOCAL] : table[IFA_ADDRESS];
    struct rtnl_address a = {.index = head->ifa_index,
                             .family = head->ifa_family,
                             .prefix = head->ifa_prefixlen,
                             .scope = head->ifa_scope};
    if (!at || (a.family != AF_INET && a.family != AF_INET6))
        return;
    nla_memcpy(a.addr, at, (int)address_size(a.family));
    for (size_t i = 0; i < b->len; i += sizeof(a)) {
        const struct rtnl_address *o = (const void *)(b->data + i);
        if (o->index == a.index && o->family == a.family && o->prefix == a.prefix &&
            !memcmp(o->addr, a.addr, sizeof(a.addr)))
            return; // the list is being read again
    }
    buf_add(b, &a, sizeof(a));
}

int rtnl_address_list(struct netlink *n, struct rtnl_address **list, size_t *count)
{
    struct ifaddrmsg head = {0};
    struct buf b = {0};
    struct netlink_msg m = netlink_begin(RTM_GETADDR, NLM_F_DUMP, &head, sizeof(head));
    void *out = NULL;
    int ret = netlink_get(n, &m, list_add_address, &b);
    ret = list_take(&b, ret, &out, sizeof(**list), count);
    *list = out;
    return ret;
}

// ---- routes --------------------------------------------------------------------------------

static int route_change(struct netlink *n, uint16_t type, uint16_t flags, unsigned index,
                        int family, const void *addr, unsigned prefix)
{
    struct rtmsg head = {.rtm_family = (uint8_t)family,
                         .rtm_dst_len = (uint8_t)prefix,
                         .rtm_table = RT_TABLE_MAIN,
                         .rtm_protocol = RTPROT_STATIC,
                         .rtm_scope = family == AF_INET6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
                         .rtm_type = RTN_UNICAST};
    struct netlink_msg m = netlink_begin(type, flags | NLM_F_ACK, &head, sizeof(head));
    netlink_put(&m, RTA_DST, addr, address_size(family));
    netlink_put_u32(&m, RTA_OIF, index);
    return netlink_do(n, &m);
}

int rtnl_route_add(struct netlink *n, unsigned index, int family, const void *addr, unsigned prefix)
{
    return route_change(n, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, index, family, addr, prefix);
}

int rtnl_route_delete(struct netlink *n, unsigned index, int family, const void *addr,
                      unsigned prefix)
{
    return route_change(n, RTM_DELROUTE, 0, index, family, addr, prefix);
}

static void route_keep_default(void *arg, const struct nlmsghdr *h)
{
    struct nlattr *table[RTA_MAX + 1];
    const struct rtmsg *head = nlmsg_data(h);
    unsigned *index = arg;
    if (h->nlmsg_type != RTM_NEWROUTE || !nlmsg_valid_hdr(h, sizeof(*head)))
        return;
    attributes(h, sizeof(*head), table, RTA_MAX);
    // The kernel lists the one it prefers first.
    if (!*index && !head->rtm_dst_len && head->rtm_type == RTN_UNICAST &&
        head->rtm_table == RT_TABLE_MAIN)
        *index = attr_u32(table[RTA_OIF]);
}

int rtnl_route_default(struct netlink *n, int family, unsigned *index)
{
    struct rtmsg head = {.rtm_family = (uint8_t)family};
    struct netlink_msg m = netlink_begin(RTM_GETROUTE, NLM_F_DUMP, &head, sizeof(head));
    *index = 0;
    int ret = netlink_get(n, &m, route_keep_default, index);
    return !ret && !*index ? -ENETUNREACH : ret;
}

static int proxy_change(struct netlink *n, uint16_t type, uint16_t flags, unsigned index,
                        int family, const void *addr)
{
    struct ndmsg head = {.ndm_family = (uint8_t)family,
                         .ndm_ifindex = (int)index,
                         .ndm_state = NUD_PERMANENT,
                         .ndm_flags = NTF_PROXY};
    struct netlink_msg m = netlink_begin(type, flags | NLM_F_ACK, &head, sizeof(head));
    netlink_put(&m, NDA_DST, addr, address_size(family));
    return netlink_do(n, &m);
}

int rtnl_proxy_add(struct netlink *n, unsigned index, int family, const void *addr)
{
    return proxy_change(n, RTM_NEWNEIGH, NLM_F_CREATE, index, family, addr);
}

int rtnl_proxy_delete(struct netlink *n, unsigned index, int family, const void *addr)
{
    return proxy_change(n, RTM_DELNEIGH, 0, index, family, addr);
}

// ---- sysctl --------------------------------------------------------------------------------

static int conf_path(const char *family, const char *device, const char *key, char *path,
                     size_t size)
{
    int len = snprintf(path, size, "/proc/sys/net/%s/conf/%s/%s", family, device, key);
    return len < 0 || (size_t)len >= size ? -ENAMETOOLONG : 0;
}

int rtnl_conf_get(const char *family, const char *device, const char *key, int *value)
{
    char path[128];
    BUF_AUTO text = {0};
    int ret = conf_path(family, device, key, path, sizeof(path));
    if (!ret)
        ret = file_read(path, 64, &text);
    if (!ret)
        *value = (int)strtol(text.data, NULL, 10);
    return ret;
}

int rtnl_conf_set(const char *family, const char *device, const char *key, int value)
{
    char path[128], text[16];
    int ret = conf_path(family, device, key, path, sizeof(path));
    if (ret)
        return ret;
    FD_AUTO fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int len = snprintf(text, sizeof(text), "%d\n", value);
    return file_write_all(fd, text, (size_t)len);
}
