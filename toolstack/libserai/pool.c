// SPDX-License-Identifier: BSD-2-Clause
// CPU pools: sets of CPUs with a scheduler of their own. Their names are in xenstore, where other
// toolstacks look for them as well.
#include "store.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POOL_TRIES = 100 };

static int pool_op(struct serai *s, struct xen_sysctl_cpupool_op *op, struct serai_cpumap *cpus)
{
    struct serai_cpumap *map = hc_alloc(s, sizeof(*map));
    if (!map)
        return -ENOMEM;
    struct xen_sysctl sysctl = {.cmd = XEN_SYSCTL_cpupool_op, .u.cpupool_op = *op};
    set_xen_guest_handle(sysctl.u.cpupool_op.cpumap.bitmap, map->bits);
    sysctl.u.cpupool_op.cpumap.nr_bits = SERAI_CPUS_MAX;
    int ret = hc_sysctl(s, &sysctl);
    *op = sysctl.u.cpupool_op;
    if (cpus)
        *cpus = *map;
    hc_free(s, map);
    return ret < 0 ? ret : 0;
}

static void pool_name(struct serai *s, struct serai_pool *p)
{
    char *name = store_served(s) ? store_read(s, "/local/pool/%u/name", p->id) : NULL;
    if (name && *name)
        snprintf(p->name, sizeof(p->name), "%s", name);
    else
        snprintf(p->name, sizeof(p->name), "Pool-%u", p->id);
    for (char *c = p->name; *c; c++)
        if (!isprint((unsigned char)*c))
            *c = '?';
    free(name);
}

int serai_pool_list(struct serai *s, struct serai_pool **list, size_t *count,
                    struct serai_error *err)
{
    struct serai_pool *all = NULL;
    size_t n = 0;
    for (uint32_t next = 0;;) {
        struct xen_sysctl_cpupool_op op = {.op = XEN_SYSCTL_CPUPOOL_OP_INFO, .cpupool_id = next};
        struct serai_pool *more = realloc(all, (n + 1) * sizeof(*more));
        if (!more) {
            free(all);
            return err_set(err, -ENOMEM, "out of memory");
        }
        all = more;
        memset(&all[n], 0, sizeof(all[n]));
        int ret = pool_op(s, &op, &all[n].cpus);
        if (ret == -ENOENT || ret == -ESRCH)
            break;
        if (ret) {
            free(all);
            return err_sys(err, ret, "cannot list the CPU pools");
        }
        all[n].id = op.cpupool_id;
        all[n].domains = op.n_dom;
        snprintf(all[n].scheduler, sizeof(all[n].scheduler), "%s",
                 op.sched_id == XEN_SCHEDULER_CREDIT2  ? "credit2"
                 : op.sched_id == XEN_SCHEDULER_CREDIT ? "credit"
                                                       : "other");
        pool_name(s, &all[n++]);
        next = op.cpupool_id + 1;
    }
    *list = all;
    *count = n;
    return 0;
}

int serai_pool_find(struct serai *s, const char *name, struct serai_pool *out,
                    struct serai_error *err)
{
    struct serai_pool *list = NULL;
    size_t count = 0;
    char *end;
    unsigned long id = strtoul(name, &end, 10);
    bool number = isdigit((unsigned char)*name) && !*end, found = false;
    int ret = serai_pool_list(s, &list, &count, err);
    if (ret)
        return ret;
    for (size_t i = 0; i < count && !found; i++) {
        found = number ? list[i].id == id : !strcmp(list[i].name, name);
        if (found)
            *out = list[i];
    }
    free(list);
    return found ? 0 : err_set(err, -ESRCH, "there is no CPU pool \"%s\"", name);
}

static int pool_name_check(struct serai *s, const char *name, struct serai_error *err)
{
    struct serai_pool other;
    size_t len = strlen(name);
    if (!len || len > SERAI_NAME_MAX || isdigit((unsigned char)*name))
        return err_set(err, -EINVAL,
                       "a pool's name has 1 to %d characters and begins with none of "
                       "0 to 9",
                       SERAI_NAME_MAX);
    for (const char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("-_.+", *c))
            return err_set(err, -EINVAL, "a pool's name cannot contain \"%c\"", *c);
    if (!serai_pool_find(s, name, &other, NULL))
        return err_set(err, -EEXIST, "there is a CPU pool \"%s\" already", name);
    return 0;
}

int serai_pool_rename(struct serai *s, uint32_t id, const char *name, struct serai_error *err)
{
    int ret = pool_name_check(s, name, err);
    if (!ret)
        ret = store_connect(s, err);
    if (ret)
        return ret;
    ret = store_write(s, name, "/local/pool/%u/name", id);
    return ret ? err_sys(err, ret, "cannot name CPU pool %u", id) : 0;
}

// One CPU; the hypervisor may ask to be asked again.
static int pool_cpu(struct serai *s, uint32_t id, unsigned cpu, bool add, struct serai_error *err)
{
    int ret;
    for (unsigned tries = 0; tries < POOL_TRIES; tries++) {
        struct xen_sysctl_cpupool_op op = {.op = add ? XEN_SYSCTL_CPUPOOL_OP_ADDCPU
                                                     : XEN_SYSCTL_CPUPOOL_OP_RMCPU,
                                           .cpupool_id = id,
                                           .cpu = cpu};
        ret = pool_op(s, &op, NULL);
        if (ret != -EAGAIN)
            break;
    }
    if (ret == -ENODEV || ret == -EBUSY)
        return err_set(err, ret,
                       add ? "CPU %u is not free: take it out of its pool first"
                           : "CPU %u: a pool with guests keeps at least one",
                       cpu);
    return ret ? err_sys(err, ret, "cannot %s CPU %u %s pool %u", add ? "add" : "remove", cpu,
                         add ? "to" : "from", id)
               : 0;
}

int serai_pool_change(struct serai *s, uint32_t id, const struct serai_cpumap *cpus, bool add,
                      struct serai_error *err)
{
    struct serai_host host;
    int ret = serai_host_get(s, &host, err);
    for (unsigned cpu = 0; !ret && cpu < SERAI_CPUS_MAX; cpu++) {
        if (!serai_cpumap_has(cpus, cpu))
            continue;
        if (cpu > host.max_cpu_id)
            return err_set(err, -EINVAL, "there is no CPU %u", cpu);
        ret = pool_cpu(s, id, cpu, add, err);
    }
    return ret;
}

int serai_pool_create(struct serai *s, const char *name, const struct serai_cpumap *cpus,
                      uint32_t *id, struct serai_error *err)
{
    struct serai_host host;
    int ret = pool_name_check(s, name, err);
    if (!ret)
        ret = serai_host_get(s, &host, err);
    if (ret)
        return ret;
    struct xen_sysctl_cpupool_op op = {.op = XEN_SYSCTL_CPUPOOL_OP_CREATE,
                                       .cpupool_id = XEN_SYSCTL_CPUPOOL_PAR_ANY,
                                       .sched_id = !strcmp(host.scheduler, "credit")
                                                       ? XEN_SCHEDULER_CREDIT
                                                       : XEN_SCHEDULER_CREDIT2};
    ret = pool_op(s, &op, NULL);
    if (ret)
        return err_sys(err, ret, "cannot make a CPU pool");
    *id = op.cpupool_id;
    ret = serai_pool_rename(s, *id, name, err);
    if (!ret && cpus)
        ret = serai_pool_change(s, *id, cpus, true, err);
    if (ret)
        serai_pool_destroy(s, *id, NULL);
    return ret;
}

int serai_pool_destroy(struct serai *s, uint32_t id, struct serai_error *err)
{
    struct serai_pool p = {0};
    char text[16];
    if (!id)
        return err_set(err, -EPERM, "pool 0 cannot be destroyed");
    snprintf(text, sizeof(text), "%u", id);
    int ret = serai_pool_find(s, text, &p, err);
    if (!ret && p.domains)
        ret = err_set(err, -EBUSY, "%u guests are in CPU pool \"%s\"", p.domains, p.name);
    if (!ret)
        ret = serai_pool_change(s, id, &p.cpus, false, err);
    if (ret)
        return ret;
    struct xen_sysctl_cpupool_op op = {.op = XEN_SYSCTL_CPUPOOL_OP_DESTROY, .cpupool_id = id};
    ret = pool_op(s, &op, NULL);
    if (ret)
        return err_sys(err, ret, "cannot destroy CPU pool %u", id);
    if (store_served(s))
        store_remove(s, "/local/pool/%u", id);
    return 0;
}

int serai_pool_move(struct serai *s, uint32_t domain, uint32_t id, struct serai_error *err)
{
    struct xen_sysctl_cpupool_op op = {
        .op = XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN, .cpupool_id = id, .domid = domain};
    int ret = pool_op(s, &op, NULL);
    return ret ? err_sys(err, ret, "cannot move domain %u to CPU pool %u", domain, id) : 0;
}
