// SPDX-License-Identifier: BSD-2-Clause
// Changing the rate of a guest's network interface while it runs.
#include "device.h"
#include "state.h"

#include <errno.h>

struct rate_change {
    const struct device *d;
    unsigned devid;
    uint64_t bytes;
    uint32_t usec;
    bool by_netback;
};

static void rate_nodes(struct store_tx *t, void *arg)
{
    const struct rate_change *c = arg;
    const struct serai_vif v = {.rate_bytes = c->bytes, .rate_usec = c->usec};
    char text[64];
    bool limited = !serai_vif_rate_node(&v, text, sizeof(text));
    // "rate" is what the kernel's backend obeys, "serai-rate" is for people.
    if (limited && c->by_netback)
        tx_write(t, c->d->back, "rate", "%s", text);
    else
        tx_remove(t, c->d->back, "rate");
    if (limited)
        tx_write(t, c->d->back, "serai-rate", "%s", text);
    else
        tx_remove(t, c->d->back, "serai-rate");
}

static int rate_config(struct serai_config *c, void *arg)
{
    const struct rate_change *change = arg;
    for (size_t i = 0; i < c->nr_vifs; i++) {
        if (c->vifs[i].devid != (int)change->devid)
            continue;
        c->vifs[i].rate_bytes = change->bytes;
        c->vifs[i].rate_usec = change->usec;
    }
    return 0;
}

int serai_vif_set_rate(struct serai *s, uint32_t domain, unsigned devid, uint64_t rate_bytes,
                       uint32_t rate_usec, struct serai_error *err)
{
    struct serai_net_port port;
    struct device d;
    int ret = store_connect(s, err);
    if (!ret)
        ret = serai_net_set_rate(s, domain, devid, rate_bytes, rate_usec, &port, err);
    if (ret)
        return ret;
    device_init(&d, domain, "vif", "vif", devid);
    struct rate_change change = {.d = &d,
                                 .devid = devid,
                                 .bytes = rate_bytes,
                                 .usec = rate_usec,
                                 .by_netback = port.rate_by_netback};
    ret = store_transaction(s, rate_nodes, &change, err);
    return ret ? ret : state_change(s, domain, rate_config, &change, err);
}
