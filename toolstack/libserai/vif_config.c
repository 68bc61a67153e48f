// SPDX-License-Identifier: BSD-2-Clause
// The syntax of `vif`: comma-separated key=value pairs and flags.
#include "internal.h"
#include "net_internal.h"

#include "buf.h"
#include "suggest.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VIF_TEXT_MAX = 2048, RATE_USEC_DEFAULT = 50000, USEC_PER_SEC = 1000000 };

struct vif_parse {
    struct serai *s;
    struct serai_vif *vif;
    struct serai_error *err;
};

// `value` is NULL for a flag.
typedef int vif_key_fn(struct vif_parse *p, const char *key, const char *value);

static int vif_fail(struct vif_parse *p, const char *key, const char *value, const char *why)
{
    return err_set(p->err, -EINVAL, "%s: \"%.60s\" %s", key, value, why);
}

bool net_ifname_good(const char *name)
{
    static const char *const reserved[] = {".", "..", "all", "default"};
    size_t len = strlen(name);
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
        if (!strcmp(name, reserved[i]))
            return false;
    for (const char *c = name; *c; c++)
        if (*c <= ' ' || *c >= 0x7f || strchr("/:%,\"'\\", *c))
            return false;
    return len && len < SERAI_IFNAME_SIZE;
}

static int vif_ifname(struct vif_parse *p, const char *key, const char *value, char *out)
{
    if (!net_ifname_good(value))
        return vif_fail(p, key, value, "is no name of a network interface (1 to 15 characters)");
    memcpy(out, value, strlen(value) + 1);
    return 0;
}

static int key_mac(struct vif_parse *p, const char *key, const char *value)
{
    (void)key;
    p->vif->has_mac = true;
    return serai_mac_parse(value, p->vif->mac, p->err);
}

static int key_bridge(struct vif_parse *p, const char *key, const char *value)
{
    return vif_ifname(p, key, value, p->vif->bridge);
}

static int key_gatewaydev(struct vif_parse *p, const char *key, const char *value)
{
    if (*p->vif->gatewaydev)
        return err_set(p->err, -EINVAL, "%s: gatewaydev is given twice (netdev is its old name)",
                       key);
    return vif_ifname(p, key, value, p->vif->gatewaydev);
}

static int key_vifname(struct vif_parse *p, const char *key, const char *value)
{
    return vif_ifname(p, key, value, p->vif->ifname);
}

static int key_type(struct vif_parse *p, const char *key, const char *value)
{
    if (!strcmp(value, "ioemu"))
        return vif_fail(p, key, value, "(an emulated card) needs an HVM guest");
    return strcmp(value, "vif") ? vif_fail(p, key, value, "is none of vif, ioemu") : 0;
}

static int key_model(struct vif_parse *p, const char *key, const char *value)
{
    if (p->s)
        serai_note(p->s, SERAI_LOG_WARNING,
                   "vif: %s=%s has no effect: only HVM guests have emulated cards", key, value);
    return 0;
}

// Serai runs no scripts, but xl's own name its setups.
static int key_script(struct vif_parse *p, const char *key, const char *value)
{
    const char *slash = strrchr(value, '/'), *name = slash ? slash + 1 : value;
    if (!strcmp(name, "vif-bridge"))
        p->vif->setup = SERAI_NET_BRIDGE;
    else if (!strcmp(name, "vif-route"))
        p->vif->setup = SERAI_NET_ROUTE;
    else if (!strcmp(name, "vif-nat"))
        p->vif->setup = SERAI_NET_NAT;
    else
        return vif_fail(p, key, value,
                        "cannot be used: no scripts are run; the setups are vif-bridge, vif-route "
                        "and vif-nat");
    return 0;
}

static int key_ip(struct vif_parse *p, const char *key, const char *value)
{
    char copy[VIF_TEXT_MAX], *rest = copy;
    snprintf(copy, sizeof(copy), "%s", value);
    for (char *word; (word = strsep(&rest, " \t;"));) {
        struct serai_vif *v = p->vif;
        if (!*word)
            continue;
        if (v->nr_ips == SERAI_VIF_IPS_MAX)
            return err_set(p->err, -E2BIG, "%s: more than %d addresses", key, SERAI_VIF_IPS_MAX);
        int ret = serai_ip_parse(word, &v->ips[v->nr_ips], p->err);
        if (ret)
            return ret;
        for (unsigned i = 0; i < v->nr_ips; i++)
            if (!memcmp(&v->ips[i], &v->ips[v->nr_ips], sizeof(v->ips[0])))
                return vif_fail(p, key, word, "is given twice");
        v->nr_ips++;
    }
    return p->vif->nr_ips ? 0 : vif_fail(p, key, value, "has no address");
}

static int key_backend(struct vif_parse *p, const char *key, const char *value)
{
    if (strcmp(value, "0") != 0 && strcmp(value, "Domain-0") != 0)
        return vif_fail(p, key, value,
                        "cannot be used: only the control domain (0) serves networks");
    return 0;
}

static bool parse_number(const char *text, const char **end, uint64_t *out)
{
    char *stop;
    errno = 0;
    *out = strtoull(text, &stop, 10);
    *end = stop;
    return isdigit((unsigned char)*text) && !errno;
}

// "", "us", "ms" or "s" after a number; 0 when it is none of them.
static unsigned usec_unit(const char *text)
{
    static const struct {
        const char *name;
        unsigned usec;
    } units[] = {{"", 1}, {"us", 1}, {"ms", 1000}, {"s", USEC_PER_SEC}};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (!strcmp(text, units[i].name))
            return units[i].usec;
    return 0;
}

// RATE: digits, then G, M, K or nothing, then B or b, then "/s".
static bool rate_parse(const char *text, const char **end, uint64_t *bytes)
{
    uint64_t n, unit = 1;
    if (!parse_number(text, &text, &n))
        return false;
    switch (*text) {
    case 'G':
        unit *= 1000; // fall through
    case 'M':
        unit *= 1000; // fall through
    case 'K':
        unit *= 1000;
        text++;
    }
    if ((*text != 'b' && *text != 'B') || strncmp(text + 1, "/s", 2) != 0)
        return false;
    if (__builtin_mul_overflow(n, unit, bytes))
        return false;
    if (*text == 'b')
        *bytes /= 8;
    *end = text + 3;
    return true;
}

static int rate_fail(struct serai_error *err, const char *text, const char *why)
{
    return err_set(err, -EINVAL, "rate: \"%.60s\" %s", text, why);
}

int serai_rate_parse(const char *value, uint64_t *bytes, uint32_t *usec, struct serai_error *err)
{
    const char *text;
    uint64_t n = RATE_USEC_DEFAULT, burst;
    unsigned unit = 1;
    *bytes = 0;
    *usec = 0;
    if (!strcmp(value, "none") || !strcmp(value, "0"))
        return 0;
    if (!rate_parse(value, &text, bytes) || (*text && *text != '@'))
        return rate_fail(
            err, value, "is no rate like 10Mb/s, 250KB/s or 1MB/s@20ms (G, M, K; B bytes, b bits)");
    if (*text) {
        bool good = parse_number(text + 1, &text, &n);
        unit = usec_unit(text);
        if (!good || !unit || !n || n > UINT32_MAX / unit)
            return rate_fail(err, value, "has no interval like 50ms after @ (us, ms, s)");
    }
    *usec = (uint32_t)n * unit;
    if (__builtin_mul_overflow(*bytes, (uint64_t)*usec, &burst))
        return rate_fail(err, value, "is too much");
    if (burst < USEC_PER_SEC)
        return rate_fail(err, value, "is less than a byte in each interval");
    return 0;
}

static int key_rate(struct vif_parse *p, const char *key, const char *value)
{
    (void)key;
    return serai_rate_parse(value, &p->vif->rate_bytes, &p->vif->rate_usec, p->err);
}

int serai_vif_rate_node(const struct serai_vif *vif, char *text, size_t size)
{
    uint64_t burst;
    if (!vif->rate_bytes || !vif->rate_usec ||
        __builtin_mul_overflow(vif->rate_bytes, (uint64_t)vif->rate_usec, &burst))
        return -EINVAL;
    int n = snprintf(text, size, "%" PRIu64 ",%u", burst / USEC_PER_SEC, vif->rate_usec);
    return n < 0 || (size_t)n >= size ? -ENOSPC : 0;
}

static int vif_number(struct vif_parse *p, const char *key, const char *value, uint64_t min,
                      uint64_t max, uint64_t *out)
{
    const char *end;
    if (!parse_number(value, &end, out) || *end || *out < min || *out > max)
        return err_set(p->err, -EINVAL, "%s: \"%.60s\" is no number from %" PRIu64 " to %" PRIu64,
                       key, value, min, max);
    return 0;
}

static int key_devid(struct vif_parse *p, const char *key, const char *value)
{
    uint64_t n = 0;
    int ret = vif_number(p, key, value, 0, SERAI_VIF_DEVID_MAX, &n);
    p->vif->devid = (int)n;
    return ret;
}

static int key_mtu(struct vif_parse *p, const char *key, const char *value)
{
    uint64_t n = 0;
    int ret = vif_number(p, key, value, SERAI_VIF_MTU_MIN, SERAI_VIF_MTU_MAX, &n);
    p->vif->mtu = (unsigned)n;
    return ret;
}

static int vif_bool(struct vif_parse *p, const char *key, const char *value, bool *out)
{
    static const char *const words[] = {"0", "no", "off", "false", "1", "yes", "on", "true"};
    for (size_t i = 0; i < 8; i++) {
        if (!value || !strcmp(value, words[i])) {
            *out = !value || i >= 4;
            return 0;
        }
    }
    return vif_fail(p, key, value, "is neither 0 nor 1");
}

static int key_trusted(struct vif_parse *p, const char *key, const char *value)
{
    bool yes;
    int ret = vif_bool(p, key, value, &yes);
    if (!ret)
        p->vif->untrusted = *key == 'u' ? yes : !yes;
    return ret;
}

static int key_isolated(struct vif_parse *p, const char *key, const char *value)
{
    bool yes;
    int ret = vif_bool(p, key, value, &yes);
    if (!ret)
        p->vif->isolated = yes;
    return ret;
}

int net_guard_parse(const char *word, enum serai_net_guard *out)
{
    for (int i = SERAI_GUARD_OFF; i <= SERAI_GUARD_IP; i++) {
        if (!strcmp(word, serai_net_guard_name((enum serai_net_guard)i))) {
            *out = (enum serai_net_guard)i;
            return 0;
        }
    }
    return -EINVAL;
}

const char *serai_net_guard_name(enum serai_net_guard guard)
{
    static const char *const names[] = {"default", "off", "mac", "ip"};
    return names[guard];
}

const char *serai_net_setup_name(enum serai_net_setup setup)
{
    static const char *const names[] = {"default", "bridge", "route", "nat"};
    return names[setup];
}

static int key_guard(struct vif_parse *p, const char *key, const char *value)
{
    return net_guard_parse(value, &p->vif->guard)
               ? vif_fail(p, key, value, "is none of off, mac, ip")
               : 0;
}

static int key_never(struct vif_parse *p, const char *key, const char *value)
{
    (void)value;
    return err_set(p->err, -EINVAL, "%s: known, but not supported", key);
}

static const struct vif_key {
    const char *name;
    vif_key_fn *fn;
    bool flag; // may stand without a value
} vif_keys[] = {
    {"mac", key_mac, false},
    {"bridge", key_bridge, false},
    {"gatewaydev", key_gatewaydev, false},
    {"netdev", key_gatewaydev, false},
    {"type", key_type, false},
    {"model", key_model, false},
    {"vifname", key_vifname, false},
    {"script", key_script, false},
    {"ip", key_ip, false},
    {"backend", key_backend, false},
    {"rate", key_rate, false},
    {"devid", key_devid, false},
    {"mtu", key_mtu, false},
    {"trusted", key_trusted, true},
    {"untrusted", key_trusted, true},
    {"isolated", key_isolated, true},
    {"guard", key_guard, false},
    {"accel", key_never, true},
    {"forwarddev", key_never, true}, // this and colo*: COLO, two machines in step
};

enum { VIF_KEYS = sizeof(vif_keys) / sizeof(vif_keys[0]) };

static int vif_unknown(struct vif_parse *p, const char *key)
{
    struct suggest hint = {.word = key};
    if (!strncmp(key, "colo", 4))
        return key_never(p, key, NULL);
    for (size_t i = 0; i < VIF_KEYS; i++)
        suggest_offer(&hint, vif_keys[i].name);
    return err_set(p->err, -EINVAL, "vif: unknown key \"%.60s\"%s%s%s", key,
                   hint.best ? "; did you mean \"" : "", hint.best ? hint.best : "",
                   hint.best ? "\"?" : "");
}

static char *trim(char *text)
{
    text += strspn(text, " \t\r\n");
    for (char *end = text + strlen(text); end > text && strchr(" \t\r\n", end[-1]);)
        *--end = '\0';
    return text;
}

// One pair or flag. `seen` has a bit for each key that came before.
static int vif_token(struct vif_parse *p, char *token, uint32_t *seen)
{
    char *equals = strchr(token, '='), *value = NULL;
    if (equals) {
        *equals = '\0';
        value = trim(equals + 1);
    }
    char *key = trim(token);
    for (size_t i = 0; i < VIF_KEYS; i++) {
        const struct vif_key *k = &vif_keys[i];
        if (strcmp(k->name, key) != 0)
            continue;
        if (*seen & 1u << i)
            return err_set(p->err, -EINVAL, "%s: given twice", key);
        *seen |= 1u << i;
        if (!k->flag && (!value || !*value))
            return err_set(p->err, -EINVAL, "%s: has no value", key);
        return k->fn(p, key, value);
    }
    return vif_unknown(p, key);
}

// What the keys say together.
static int vif_check(const struct serai_vif *v, uint32_t seen, struct serai_error *err)
{
    uint32_t trust = 0;
    for (size_t i = 0; i < VIF_KEYS; i++)
        if (vif_keys[i].fn == key_trusted && seen & 1u << i)
            trust++;
    if (trust > 1)
        return err_set(err, -EINVAL, "vif: trusted and untrusted exclude each other");
    if (*v->bridge && (v->setup == SERAI_NET_ROUTE || v->setup == SERAI_NET_NAT))
        return err_set(err, -EINVAL, "bridge: not together with script=vif-%s",
                       serai_net_setup_name(v->setup));
    if (*v->gatewaydev && (v->setup == SERAI_NET_BRIDGE || *v->bridge))
        return err_set(err, -EINVAL, "gatewaydev: not together with a bridge");
    if (v->guard == SERAI_GUARD_IP && !v->nr_ips && v->setup != SERAI_NET_NAT)
        return err_set(err, -EINVAL, "guard: ip needs the addresses (ip=...)");
    return 0;
}

int serai_vif_parse(struct serai *s, const char *text, struct serai_vif *out,
                    struct serai_error *err)
{
    struct vif_parse p = {s, out, err};
    char copy[VIF_TEXT_MAX], *rest = copy;
    uint32_t seen = 0;
    *out = (struct serai_vif){.devid = -1, .isolated = -1};
    if (strlen(text) >= sizeof(copy))
        return err_set(err, -E2BIG, "vif: longer than %zu characters", sizeof(copy) - 1);
    memcpy(copy, text, strlen(text) + 1);
    for (char *token; (token = strsep(&rest, ","));) {
        token = trim(token);
        int ret = *token ? vif_token(&p, token, &seen) : 0;
        if (ret)
            return ret;
    }
    return vif_check(out, seen, err);
}

static void vif_format_ips(const struct serai_vif *vif, struct buf *b)
{
    char text[SERAI_IP_TEXT];
    for (unsigned i = 0; i < vif->nr_ips; i++)
        buf_printf(b, "%s%s", i ? " " : ",ip=", serai_ip_format(&vif->ips[i], text));
}

char *serai_vif_format(const struct serai_vif *vif)
{
    char mac[SERAI_MAC_TEXT];
    BUF_AUTO b = {0};
    if (vif->has_mac)
        buf_printf(&b, ",mac=%s", serai_mac_format(vif->mac, mac));
    if (vif->devid >= 0)
        buf_printf(&b, ",devid=%d", vif->devid);
    if (vif->setup != SERAI_NET_DEFAULT)
        buf_printf(&b, ",script=vif-%s", serai_net_setup_name(vif->setup));
    if (*vif->bridge)
        buf_printf(&b, ",bridge=%s", vif->bridge);
    if (*vif->gatewaydev)
        buf_printf(&b, ",gatewaydev=%s", vif->gatewaydev);
    if (*vif->ifname)
        buf_printf(&b, ",vifname=%s", vif->ifname);
    vif_format_ips(vif, &b);
    if (vif->rate_bytes)
        buf_printf(&b, ",rate=%" PRIu64 "B/s@%uus", vif->rate_bytes, vif->rate_usec);
    if (vif->mtu)
        buf_printf(&b, ",mtu=%u", vif->mtu);
    if (vif->untrusted)
        buf_puts(&b, ",untrusted");
    if (vif->isolated >= 0)
        buf_printf(&b, ",isolated=%d", vif->isolated);
    if (vif->guard != SERAI_GUARD_DEFAULT)
        buf_printf(&b, ",guard=%s", serai_net_guard_name(vif->guard));
    if (b.failed)
        return NULL;
    return strdup(b.len ? b.data + 1 : ""); // without the first comma
}

static bool mac_in(const uint8_t mac[6], const uint8_t (*taken)[6], size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!memcmp(mac, taken[i], 6))
            return true;
    return false;
}

// Another interface of the list that has the same; `count` entries are looked at.
static bool mac_in_list(const struct serai_vif *list, size_t count, const struct serai_vif *vif)
{
    for (size_t i = 0; i < count; i++)
        if (&list[i] != vif && list[i].has_mac && !memcmp(list[i].mac, vif->mac, 6))
            return true;
    return false;
}

static bool devid_in_list(const struct serai_vif *list, size_t count, const struct serai_vif *vif,
                          int devid)
{
    for (size_t i = 0; i < count; i++)
        if (&list[i] != vif && list[i].devid == devid)
            return true;
    return false;
}

static int complete_devids(struct serai_vif *list, size_t count, struct serai_error *err)
{
    int next = 0;
    for (size_t i = 0; i < count; i++)
        if (list[i].devid >= 0 && devid_in_list(list, i, &list[i], list[i].devid))
            return err_set(err, -EEXIST, "vif: devid %d is given twice", list[i].devid);
    for (size_t i = 0; i < count; i++) {
        if (list[i].devid >= 0)
            continue;
        while (devid_in_list(list, count, &list[i], next))
            next++;
        if (next > SERAI_VIF_DEVID_MAX)
            return err_set(err, -E2BIG, "vif: too many interfaces");
        list[i].devid = next;
    }
    return 0;
}

int serai_vif_complete(struct serai_vif *list, size_t count, const uint8_t uuid[16],
                       const uint8_t (*taken)[6], size_t nr_taken, struct serai_error *err)
{
    char text[SERAI_MAC_TEXT];
    int ret = complete_devids(list, count, err);
    for (size_t i = 0; i < count && !ret; i++) {
        struct serai_vif *v = &list[i];
        if (!v->has_mac)
            continue;
        if (mac_in_list(list, i, v))
            ret = err_set(err, -EEXIST, "mac: %s is given twice", serai_mac_format(v->mac, text));
        else if (mac_in(v->mac, taken, nr_taken))
            ret = err_set(err, -EEXIST, "mac: %s is in use by another guest",
                          serai_mac_format(v->mac, text));
    }
    for (size_t i = 0; i < count && !ret; i++) {
        struct serai_vif *v = &list[i];
        for (unsigned salt = 0; !v->has_mac; salt++) {
            serai_mac_derive(uuid, (unsigned)v->devid, salt, v->mac);
            v->has_mac = !mac_in(v->mac, taken, nr_taken) && !mac_in_list(list, count, v);
        }
    }
    return ret;
}
