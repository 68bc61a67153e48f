// SPDX-License-Identifier: BSD-2-Clause
// /etc/serai/network.conf: what the control domain's network is like.
#include "net_internal.h"

#include "buf.h"
#include "cfg.h"
#include "file.h"

#include <errno.h>
#include <string.h>

enum { NET_CONF_SIZE_MAX = 65536, NET_TIMEOUT_SECONDS = 10, NET_SUBNET_BITS_MAX = 28 };

static const struct cfg_key net_keys[] = {
    {"setup", CFG_STRING, false},
    {"bridge", CFG_STRING, false},
    {"bridge_create", CFG_NUMBER | CFG_STRING, false},
    {"bridge_mtu", CFG_NUMBER | CFG_STRING, false},
    {"bridge_ports", CFG_STRING | CFG_LIST, false},
    {"bridge_address", CFG_STRING | CFG_LIST, false},
    {"gatewaydev", CFG_STRING, false},
    {"nat_subnet", CFG_STRING, false},
    {"isolated", CFG_NUMBER | CFG_STRING, false},
    {"guard", CFG_STRING, false},
    {"timeout", CFG_NUMBER | CFG_STRING, false},
};

// A string, or each string of a list, given to `take`, which says what is wrong with it or NULL.
typedef const char *conf_take_fn(struct net_conf *out, const char *text);

static int conf_each(const struct cfg *c, const char *key, struct net_conf *out, conf_take_fn *take,
                     struct cfg_error *err)
{
    const struct cfg_entry *e = cfg_find(c, key);
    if (!e)
        return 0;
    const struct cfg_value *list = e->value.type == CFG_LIST ? e->value.items : &e->value;
    size_t count = e->value.type == CFG_LIST ? e->value.count : 1;
    for (size_t i = 0; i < count; i++) {
        if (list[i].type != CFG_STRING)
            return cfg_fail(c, e, &list[i], err, "%s: must be a string", key);
        const char *fault = take(out, list[i].string);
        if (fault)
            return cfg_fail(c, e, &list[i], err, "%s: \"%.60s\" %s", key, list[i].string, fault);
    }
    return 0;
}

static const char not_a_name[] = "is no name of a network interface (1 to 15 characters)";

static const char *take_setup(struct net_conf *out, const char *text)
{
    for (int i = SERAI_NET_BRIDGE; i <= SERAI_NET_NAT; i++) {
        if (!strcmp(text, serai_net_setup_name((enum serai_net_setup)i))) {
            out->setup = (enum serai_net_setup)i;
            return NULL;
        }
    }
    return "is none of bridge, route, nat";
}

static const char *take_bridge(struct net_conf *out, const char *text)
{
    if (!net_ifname_good(text))
        return not_a_name;
    strcpy(out->bridge, text);
    return NULL;
}

static const char *take_gatewaydev(struct net_conf *out, const char *text)
{
    if (!net_ifname_good(text))
        return not_a_name;
    strcpy(out->gatewaydev, text);
    return NULL;
}

static const char *take_port(struct net_conf *out, const char *text)
{
    if (!net_ifname_good(text))
        return not_a_name;
    if (out->nr_bridge_ports == NET_PORTS_MAX)
        return "is one port too many";
    strcpy(out->bridge_ports[out->nr_bridge_ports++], text);
    return NULL;
}

static const char *take_address(struct net_conf *out, const char *text)
{
    if (out->nr_bridge_ips == NET_IPS_MAX)
        return "is one address too many";
    if (serai_ip_parse(text, &out->bridge_ips[out->nr_bridge_ips], NULL))
        return "is no address/prefix";
    out->nr_bridge_ips++;
    return NULL;
}

static const char *take_subnet(struct net_conf *out, const char *text)
{
    struct serai_ip ip;
    if (serai_ip_parse(text, &ip, NULL) || ip.v6 || ip.prefix < 8 ||
        ip.prefix > NET_SUBNET_BITS_MAX)
        return "is no IPv4 network with a prefix from /8 to /28";
    uint32_t bits = (uint32_t)ip.addr[0] << 24 | (uint32_t)ip.addr[1] << 16 |
                    (uint32_t)ip.addr[2] << 8 | ip.addr[3];
    if (bits << ip.prefix)
        return "has bits set behind its prefix";
    out->nat_subnet = ip;
    return NULL;
}

static const char *take_guard(struct net_conf *out, const char *text)
{
    return net_guard_parse(text, &out->guard) ? "is none of off, mac, ip" : NULL;
}

static int conf_read(const struct cfg *c, struct net_conf *out, struct cfg_error *err)
{
    static const struct {
        const char *key;
        conf_take_fn *take;
    } texts[] = {
        {"setup", take_setup},       {"bridge", take_bridge},     {"gatewaydev", take_gatewaydev},
        {"bridge_ports", take_port}, {"nat_subnet", take_subnet}, {"bridge_address", take_address},
        {"guard", take_guard},
    };
    int64_t create = 0, isolated = -1, timeout = NET_TIMEOUT_SECONDS, mtu = 0;
    int ret = cfg_check(c, net_keys, sizeof(net_keys) / sizeof(net_keys[0]), NULL, NULL, err);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]) && !ret; i++)
        ret = conf_each(c, texts[i].key, out, texts[i].take, err);
    if (!ret)
        ret = cfg_get_number(c, "bridge_create", 0, 1, &create, err);
    if (!ret)
        ret = cfg_get_number(c, "isolated", 0, 1, &isolated, err);
    if (!ret)
        ret = cfg_get_number(c, "timeout", 1, 600, &timeout, err);
    if (!ret)
        ret = cfg_get_number(c, "bridge_mtu", SERAI_VIF_MTU_MIN, SERAI_VIF_MTU_MAX, &mtu, err);
    out->bridge_create = create;
    out->isolated = (int)isolated;
    out->timeout_ms = (int)timeout * 1000;
    out->bridge_mtu = (unsigned)mtu;
    return ret;
}

int net_conf_load(struct serai *s, struct net_conf *out, struct serai_error *err)
{
    struct cfg_error where = {""};
    BUF_AUTO text = {0};
    *out = (struct net_conf){.setup = SERAI_NET_BRIDGE,
                             .bridge = "xenbr0",
                             .nat_subnet = {.prefix = 16, .addr = {10, 83}},
                             .isolated = -1,
                             .timeout_ms = NET_TIMEOUT_SECONDS * 1000};
    int ret = file_read(s->network_conf, NET_CONF_SIZE_MAX, &text);
    if (ret == -ENOENT)
        return 0;
    if (ret)
        return err_sys(err, ret, "cannot read %s", s->network_conf);
    struct cfg *c = cfg_new();
    ret = c ? cfg_parse(c, s->network_conf, text.data, text.len, &where) : -ENOMEM;
    if (!ret)
        ret = conf_read(c, out, &where);
    if (ret)
        err_set(err, ret, "%s", ret == -ENOMEM ? "out of memory" : where.text);
    cfg_free(c);
    return ret;
}
