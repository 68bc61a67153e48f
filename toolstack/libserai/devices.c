// SPDX-License-Identifier: BSD-2-Clause
#include "devices.h"

#include <errno.h>
#include <stdlib.h>

int devices_check(struct serai *s, const struct serai_config *c, struct serai_error *err)
{
    int ret = 0;
    if (!c->nr_disks && !c->nr_vifs)
        return 0;
    struct serai_error why;
    ret = store_connect(s, &why);
    if (ret)
        return err_set(err, ret, "%s: %s", c->nr_disks ? "disk" : "vif", why.text);
    for (size_t i = 0; i < c->nr_disks && !ret; i++) {
        ret = disk_check(&c->disks[i], err);
        for (size_t k = 0; k < i && !ret; k++)
            if (c->disks[k].devid == c->disks[i].devid)
                ret = err_set(err, -EEXIST, "disk: %s and %s are the same device", c->disks[k].vdev,
                              c->disks[i].vdev);
    }
    return ret;
}

static void remove_nodes(struct serai *s, uint32_t domain)
{
    struct device *list;
    size_t count;
    if (!store_served(s) || device_list(s, domain, NULL, &list, &count, NULL))
        return;
    for (size_t i = 0; i < count; i++)
        device_vanish(s, &list[i]);
    // All at once first: the backends let go side by side.
    for (size_t i = 0; i < count; i++)
        device_wait_gone(&list[i]);
    free(list);
}

void devices_remove(struct serai *s, uint32_t domain)
{
    remove_nodes(s, domain);
    serai_net_detach_all(s, domain, NULL);
}
