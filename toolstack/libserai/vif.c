// SPDX-License-Identifier: BSD-2-Clause
// Network interfaces of domains: the nodes that front and back read. What they are connected to
// is net.c's.
#include "devices.h"
#include "state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char vif_kind[] = "vif";

// The addresses that the guest is to have, with blanks between them.
static void vif_ip_node(struct store_tx *t, const char *dir, const struct serai_vif *v)
{
    char ip[SERAI_IP_TEXT], all[SERAI_IP_TEXT * SERAI_VIF_IPS_MAX] = "";
    for (unsigned i = 0; i < v->nr_ips && i < SERAI_VIF_IPS_MAX; i++) {
        size_t len = strlen(all);
        snprintf(all + len, sizeof(all) - len, "%s%s", i ? " " : "",
                 serai_ip_format(&v->ips[i], ip));
    }
    if (all[0])
        tx_write(t, dir, "ip", "%s", all);
}

static void vif_back_keys(struct store_tx *t, const char *dir, void *arg)
{
    const struct serai_vif *v = arg;
    char text[SERAI_MAC_TEXT], rate[64];
    tx_write(t, dir, "type", "vif");
    tx_write(t, dir, "script", "serai"); // the kernel's backend wants one; nothing runs it
    tx_write(t, dir, "handle", "%d", v->devid);
    tx_write(t, dir, "mac", "%s", serai_mac_format(v->mac, text));
    if (v->bridge[0])
        tx_write(t, dir, "bridge", "%s", v->bridge);
    if (v->ifname[0])
        tx_write(t, dir, "vifname", "%s", v->ifname);
    if (v->mtu)
        tx_write(t, dir, "mtu", "%u", v->mtu);
    if (!serai_vif_rate_node(v, rate, sizeof(rate)))
        tx_write(t, dir, "serai-rate", "%s", rate); // for people: see serai_net_port
    vif_ip_node(t, dir, v);
}

static void vif_front_keys(struct store_tx *t, const char *dir, void *arg)
{
    const struct serai_vif *v = arg;
    char text[SERAI_MAC_TEXT];
    tx_write(t, dir, "handle", "%d", v->devid);
    tx_write(t, dir, "mac", "%s", serai_mac_format(v->mac, text));
    if (v->mtu)
        tx_write(t, dir, "mtu", "%u", v->mtu);
    tx_write(t, dir, "trusted", "%d", !v->untrusted);
}

struct vif_connected {
    const struct device *d;
    const struct serai_net_port *port;
};

static void connected_nodes(struct store_tx *t, void *arg)
{
    const struct vif_connected *c = arg;
    const struct serai_vif *v = &c->port->vif;
    char dir[STORE_PATH_MAX], rate[64];
    if (c->port->rate_by_netback && !serai_vif_rate_node(v, rate, sizeof(rate)))
        tx_write(t, c->d->back, "rate", "%s", rate);
    if (v->bridge[0])
        tx_write(t, c->d->back, "bridge", "%s", v->bridge);
    if (v->mtu) {
        snprintf(dir, sizeof(dir), "/local/domain/%u/device/vif/%u", c->d->domain, c->d->id);
        tx_write(t, c->d->back, "mtu", "%u", v->mtu);
        tx_write(t, dir, "mtu", "%u", v->mtu);
    }
    vif_ip_node(t, c->d->back, v); // a setup may have chosen it
    tx_write(t, c->d->back, "vifname", "%s", c->port->device);
    tx_write(t, c->d->back, "hotplug-status", "connected");
}

static int vif_connect(struct serai *s, const struct device *d, const struct serai_vif *vif,
                       struct serai_error *err)
{
    struct serai_net_port port;
    int ret = device_wait_taken(s, d, err);
    if (!ret)
        ret = serai_net_attach(s, d->domain, vif, NULL, &port, err);
    if (ret)
        return ret;
    struct vif_connected c = {d, &port};
    ret = store_transaction(s, connected_nodes, &c, err);
    if (ret)
        serai_net_detach(s, d->domain, d->id, NULL);
    return ret;
}

int vif_add(struct serai *s, uint32_t domain, const struct serai_vif *vif, struct serai_error *err)
{
    struct device d;
    device_init(&d, domain, vif_kind, vif_kind, (uint32_t)vif->devid);
    int ret = device_add(s, &d, vif_back_keys, vif_front_keys, (void *)(uintptr_t)vif, err);
    if (ret)
        return ret;
    ret = vif_connect(s, &d, vif, err);
    if (ret) {
        device_vanish(s, &d);
        device_wait_gone(&d);
    }
    return ret;
}

static bool vif_mac(struct serai *s, const struct device *d, uint8_t mac[6])
{
    char *text = device_key(s, d, "mac");
    bool good = text && !serai_mac_parse(text, mac, NULL);
    free(text);
    return good;
}

// The addresses of all guests' interfaces. Release *macs with free().
static int vif_taken(struct serai *s, uint8_t (**macs)[6], size_t *count, struct serai_error *err)
{
    static const char *const keys[DEVICE_KEYS_MAX] = {"mac"};
    struct device_entry *list;
    size_t n;
    *count = 0;
    int ret = device_list_all(s, vif_kind, keys, &list, &n, err);
    if (ret)
        return ret;
    *macs = malloc((n + 1) * sizeof(**macs));
    for (size_t i = 0; *macs && i < n; i++)
        if (list[i].key[0] && !serai_mac_parse(list[i].key[0], (*macs)[*count], NULL))
            ++*count;
    device_entries_free(list, n);
    return *macs ? 0 : err_set(err, -ENOMEM, "out of memory");
}

int vif_complete(struct serai *s, const uint8_t uuid[16], struct serai_vif *list, size_t count,
                 struct serai_error *err)
{
    uint8_t(*macs)[6];
    size_t nr_macs;
    if (!count)
        return 0;
    int ret = vif_taken(s, &macs, &nr_macs, err);
    if (ret)
        return ret;
    ret = serai_vif_complete(list, count, uuid, (const uint8_t(*)[6])macs, nr_macs, err);
    free(macs);
    return ret;
}

struct vif_change {
    const struct serai_vif *add;
    unsigned devid; // to remove
};

static int vif_change(struct serai_config *c, void *arg)
{
    const struct vif_change *change = arg;
    if (change->add) {
        struct serai_vif *more = realloc(c->vifs, (c->nr_vifs + 1) * sizeof(*more));
        if (!more)
            return -ENOMEM;
        c->vifs = more;
        more[c->nr_vifs++] = *change->add;
        return 0;
    }
    for (size_t i = 0; i < c->nr_vifs; i++)
        if (c->vifs[i].devid == (int)change->devid) {
            memmove(&c->vifs[i], &c->vifs[i + 1], (c->nr_vifs - i - 1) * sizeof(*c->vifs));
            c->nr_vifs--;
            break;
        }
    return 0;
}

// Number and address of a new interface, beside those the domain has.
static int vif_choose(struct serai *s, const struct serai_domain *dom, struct serai_vif *vif,
                      struct serai_error *err)
{
    struct device *list;
    size_t count;
    bool used = true;
    int ret = device_list(s, dom->id, vif_kind, &list, &count, err);
    if (ret)
        return ret;
    for (int id = 0; vif->devid < 0 && used; id++) {
        used = false;
        for (size_t i = 0; i < count; i++)
            used |= (int)list[i].id == id;
        if (!used)
            vif->devid = id;
    }
    free(list);
    return vif_complete(s, dom->uuid, vif, 1, err);
}

int serai_vif_attach(struct serai *s, uint32_t domain, const struct serai_vif *vif, unsigned *devid,
                     struct serai_error *err)
{
    struct serai_vif copy = *vif;
    struct vif_change change = {.add = &copy};
    struct serai_domain d;
    int ret = serai_domain_get(s, domain, &d, err);
    if (!ret)
        ret = store_connect(s, err);
    if (!ret)
        ret = vif_choose(s, &d, &copy, err);
    if (!ret)
        ret = serai_net_check(s, &copy, 1, err);
    if (!ret)
        ret = vif_add(s, domain, &copy, err);
    if (ret)
        return ret;
    if (devid)
        *devid = (unsigned)copy.devid;
    return state_change(s, domain, vif_change, &change, err);
}

int serai_vif_detach(struct serai *s, uint32_t domain, unsigned devid, bool force,
                     struct serai_error *err)
{
    struct vif_change change = {.devid = devid};
    struct device *list;
    size_t count, i = 0;
    int ret = device_list(s, domain, vif_kind, &list, &count, err);
    if (ret)
        return ret;
    while (i < count && list[i].id != devid)
        i++;
    if (i < count)
        ret = device_remove(s, &list[i], force, err);
    else
        ret = err_set(err, -ENOENT, "domain %u has no network interface %u", domain, devid);
    free(list);
    if (!ret)
        ret = serai_net_detach(s, domain, devid, err);
    return ret ? ret : state_change(s, domain, vif_change, &change, err);
}

static void vif_status(struct serai *s, const struct device *d, struct serai_vif_status *out)
{
    char *bridge = device_key(s, d, "bridge"), *name = device_key(s, d, "vifname");
    *out = (struct serai_vif_status){.devid = d->id};
    vif_mac(s, d, out->mac);
    snprintf(out->bridge, sizeof(out->bridge), "%.15s", bridge ? bridge : "");
    if (name && *name)
        snprintf(out->device, sizeof(out->device), "%.15s", name);
    else
        snprintf(out->device, sizeof(out->device), "vif%u.%u", d->domain % 100000, d->id % 1000);
    snprintf(out->backend_path, sizeof(out->backend_path), "%.255s", d->back);
    device_states(s, d, &out->frontend_state, &out->backend_state);
    free(bridge);
    free(name);
}

int serai_vif_list(struct serai *s, uint32_t domain, struct serai_vif_status **list, size_t *count,
                   struct serai_error *err)
{
    struct device *devices;
    int ret = device_list(s, domain, vif_kind, &devices, count, err);
    if (ret)
        return ret;
    *list = calloc(*count + 1, sizeof(**list));
    for (size_t i = 0; *list && i < *count; i++)
        vif_status(s, &devices[i], &(*list)[i]);
    free(devices);
    return *list ? 0 : err_set(err, -ENOMEM, "out of memory");
}
