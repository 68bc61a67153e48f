// SPDX-License-Identifier: BSD-2-Clause
// Making a domain: check everything that can be checked without one, reserve the name, make
// it, fill it, record it. Whatever fails, what was made is destroyed again.
#include "balancer.h"
#include "build_pv.h"
#include "devices.h"
#include "placement.h"
#include "state.h"
#include "store_domain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xen/event_channel.h>
#include <xen/memory.h>

enum { CREATE_PORTS = 1023, PAGES_PER_MB = 256 };

struct create {
    struct serai *s;
    struct serai_config config; // a shallow copy, with its UUID decided
    struct image image;
    uint32_t id;
    const struct serai_create *how;
    unsigned nr_nodes;
    bool store; // a xenstore is served
    uint32_t console_port, store_port;
    int room_fd; // holds the memory that others gave, until it is claimed; -1: nothing
};

static unsigned create_max_vcpus(const struct serai_config *c)
{
    return c->maxvcpus ? c->maxvcpus : c->vcpus;
}

static int create_uuid(struct create *m, struct serai_error *err)
{
    if (m->config.has_uuid)
        return 0;
    m->config.has_uuid = true;
    return serai_uuid_random(m->config.uuid, err);
}

// A UUID given in the configuration must not be in use.
static int create_uuid_check(struct create *m, struct serai_error *err)
{
    struct serai_domain *list;
    size_t count;
    int ret = serai_domain_list(m->s, &list, &count, err);
    for (size_t i = 0; !ret && i < count; i++)
        if (!memcmp(list[i].uuid, m->config.uuid, 16) && !(list[i].flags & SERAI_DOMAIN_DYING))
            ret = err_set(err, -EEXIST, "uuid: in use by domain %u (\"%s\")", list[i].id,
                          list[i].name);
    if (!ret || ret == -EEXIST)
        free(list);
    return ret;
}

// Takes name and UUID; *fd then holds them until the domain has its record.
static int create_reserve(struct create *m, int *fd, struct serai_error *err)
{
    int lock;
    int ret = state_lock(m->s, &lock, err);
    if (ret)
        return ret;
    ret = state_sweep(m->s, err);
    if (ret >= 0)
        ret = state_name_check(m->s, m->config.name, err);
    if (!ret)
        ret = create_uuid_check(m, err);
    if (!ret)
        ret = state_building_begin(m->s, m->config.name, m->config.uuid, fd, err);
    close(lock);
    return ret;
}

static int create_domain(struct create *m, struct serai_error *err)
{
    struct serai_host host;
    int ret = serai_host_get(m->s, &host, err);
    if (ret)
        return ret;
    if (!host.pv)
        return err_set(err, -EOPNOTSUPP, "this hypervisor does not run PV guests");
    m->nr_nodes = host.nr_nodes;
    // Other guests may have to give some first.
    ret = balancer_make_room(m->s, &host, m->config.uuid, m->config.memory_mb << 10, &m->room_fd,
                             err);
    if (ret)
        return ret;

    struct xen_domctl op = {.cmd = XEN_DOMCTL_createdomain};
    struct xen_domctl_createdomain *cd = &op.u.createdomain;
    memcpy(cd->handle, m->config.uuid, sizeof(cd->handle));
    cd->max_vcpus = create_max_vcpus(&m->config);
    cd->max_evtchn_port = CREATE_PORTS;
    cd->max_grant_frames = -1; // the hypervisor's defaults
    cd->max_maptrack_frames = -1;
    cd->grant_opts = XEN_DOMCTL_GRANT_version(host.grant_v2 ? 2 : 1);
    ret = hc_domctl(m->s, &op);
    if (ret < 0)
        return err_sys(err, ret, "the hypervisor refuses to make a domain");
    m->id = op.domain;
    return 0;
}

static void create_room_end(struct create *m)
{
    balancer_room_end(m->s, m->config.uuid, m->room_fd);
    m->room_fd = -1;
}

static int create_limits(struct create *m, struct serai_error *err)
{
    const struct serai_config *c = &m->config;
    struct xen_domctl op = {.cmd = XEN_DOMCTL_max_vcpus, .domain = (domid_t)m->id};
    op.u.max_vcpus.max = create_max_vcpus(c);
    int ret = hc_domctl(m->s, &op);
    if (ret < 0)
        return err_sys(err, ret, "vcpus: cannot make %u virtual CPUs", create_max_vcpus(c));

    op = (struct xen_domctl){.cmd = XEN_DOMCTL_max_mem, .domain = (domid_t)m->id};
    op.u.max_mem.max_memkb = (c->maxmem_mb ? c->maxmem_mb : c->memory_mb) << 10;
    ret = hc_domctl(m->s, &op);
    if (ret < 0)
        return err_sys(err, ret, "cannot set the memory limit");

    // The claim makes sure that nobody takes the memory while it is being populated.
    struct xen_memory_reservation claim = {.nr_extents = c->memory_mb * PAGES_PER_MB,
                                           .domid = (domid_t)m->id};
    long claimed = hc_memory(m->s, XENMEM_claim_pages, &claim, sizeof(claim));
    if (claimed < 0 && claimed != -ENOSYS)
        return err_sys(err, (int)claimed, "memory: %llu MB cannot be claimed",
                       (unsigned long long)c->memory_mb);
    create_room_end(m);

    if (c->tsc == SERAI_TSC_DEFAULT)
        return 0;
    op = (struct xen_domctl){.cmd = XEN_DOMCTL_settscinfo, .domain = (domid_t)m->id};
    op.u.tsc_info.tsc_mode = c->tsc == SERAI_TSC_NATIVE ? 2 : 1;
    ret = hc_domctl(m->s, &op);
    return ret < 0 ? err_sys(err, ret, "tsc_mode: refused by the hypervisor") : 0;
}

// One map is for all vCPUs; of several, those without one stay free.
static const struct serai_cpumap *create_map(const struct serai_cpumap *maps, size_t count,
                                             unsigned vcpu)
{
    if (count == 1)
        return maps;
    return vcpu < count ? &maps[vcpu] : NULL;
}

static int create_pin(struct create *m, unsigned vcpu, struct serai_error *err)
{
    const struct serai_config *c = &m->config;
    const struct serai_cpumap *hard = create_map(c->cpus, c->cpus_count, vcpu);
    const struct serai_cpumap *soft = create_map(c->cpus_soft, c->cpus_soft_count, vcpu);
    char text[128];
    int ret = hard ? serai_vcpu_pin(m->s, m->id, vcpu, hard, NULL, err) : 0;
    if (!ret && soft) {
        ret = serai_vcpu_pin(m->s, m->id, vcpu, NULL, soft, err);
        hard = soft;
    }
    if (ret == -EINVAL)
        return err_set(err, ret, "%s: virtual CPU %u: none of the CPUs %s is there",
                       hard == soft ? "cpus_soft" : "cpus", vcpu,
                       serai_cpumap_format(hard, 0, text, sizeof(text)));
    return ret;
}

static int create_schedule(struct create *m, struct serai_error *err)
{
    const struct serai_config *c = &m->config;
    struct serai_sched sched = {c->cpu_weight, c->cap};
    int ret = 0;
    if (sched.weight != SERAI_SCHED_KEEP || sched.cap != SERAI_SCHED_KEEP)
        ret = serai_sched_set(m->s, m->id, &sched, err);
    // Whoever chooses CPUs knows better.
    if (!ret && m->nr_nodes > 1 && !c->cpus_count && !c->cpus_soft_count)
        placement_domain(m->s, m->id, create_max_vcpus(c), c->memory_mb << 20);
    for (unsigned v = 0; !ret && v < create_max_vcpus(c); v++)
        ret = create_pin(m, v, err);
    return ret;
}

static int create_port(struct create *m, const char *what, uint32_t *port, struct serai_error *err)
{
    struct evtchn_alloc_unbound op = {.dom = (domid_t)m->id, .remote_dom = DOMID_SELF};
    int ret = hc_evtchn(m->s, EVTCHNOP_alloc_unbound, &op, sizeof(op));
    if (ret < 0)
        return err_sys(err, ret, "cannot make the %s's event channel", what);
    *port = op.port;
    return 0;
}

static int create_ports(struct create *m, struct serai_error *err)
{
    int ret = create_port(m, "console", &m->console_port, err);
    return ret || !m->store ? ret : create_port(m, "xenstore", &m->store_port, err);
}

static int create_step(struct create *m, const char *step, unsigned percent,
                       struct serai_error *err)
{
    const struct serai_create *how = m->how;
    if (serai_cancelled(m->s) ||
        (how->progress && !how->progress(how->progress_ctx, step, percent)))
        return err_set(err, -ECANCELED, "cancelled");
    return 0;
}

// The building is most of it; devices come after.
static bool create_on_build(void *ctx, const char *step, unsigned percent)
{
    return !create_step(ctx, step, 5 + percent * 4 / 5, NULL);
}

static int create_devices(struct create *m, struct serai_error *err)
{
    const struct serai_config *c = &m->config;
    int ret = create_step(m, "devices", 86, err);
    for (size_t i = 0; i < c->nr_disks && !ret; i++)
        ret = disk_add(m->s, m->id, &c->disks[i], err);
    for (size_t i = 0; i < c->nr_vifs && !ret; i++) {
        ret = create_step(m, "devices", 92, err);
        if (!ret)
            ret = vif_add(m->s, m->id, &c->vifs[i], err);
    }
    return ret ? ret : create_step(m, "devices", 98, err);
}

// From an empty domain to one with a record.
static int create_fill(struct create *m, const struct serai_create *how, struct serai_error *err)
{
    int ret = create_limits(m, err);
    if (!ret)
        ret = create_schedule(m, err);
    if (!ret)
        ret = create_ports(m, err);
    if (ret)
        return ret;
    struct build_pv build = {.s = m->s,
                             .config = &m->config,
                             .image = &m->image,
                             .domain = m->id,
                             .console_port = m->console_port,
                             .store_port = m->store_port,
                             .exiting = how->exiting,
                             .progress = create_on_build,
                             .progress_ctx = m};
    ret = build_pv(&build, err);
    if (ret)
        return ret;
    if (m->store) {
        struct store_domain nodes = {.config = &m->config,
                                     .domain = m->id,
                                     .store_port = m->store_port,
                                     .store_mfn = build.store_mfn,
                                     .console_port = m->console_port,
                                     .console_mfn = build.console.mfn};
        ret = store_domain_add(m->s, &nodes, err);
        if (!ret)
            ret = create_devices(m, err);
        if (ret)
            return ret;
    }
    struct state_record record = {.config = &m->config, .console = build.console};
    ret = state_record_write(m->s, m->id, &record, err);
    if (!ret && how->start)
        ret = serai_domain_unpause(m->s, m->id, err);
    return ret;
}

// The interfaces get their numbers and addresses in a copy. Whether xenstore is served is decided
// once, so that a guest has all of it or nothing.
static int create_prepare(struct create *m, struct serai_error *err)
{
    struct serai_config *c = &m->config;
    const struct serai_vif *vifs = c->vifs;
    c->vifs = NULL;
    int ret = devices_check(m->s, c, err);
    if (ret)
        return ret;
    m->store = store_served(m->s);
    if (!m->store && c->maxvcpus > c->vcpus)
        serai_note(m->s, SERAI_LOG_WARNING,
                   "maxvcpus: without xenstore the guest starts all %u virtual CPUs", c->maxvcpus);
    if (!c->nr_vifs)
        return 0;
    c->vifs = malloc(c->nr_vifs * sizeof(*c->vifs));
    if (!c->vifs)
        return err_set(err, -ENOMEM, "out of memory");
    memcpy(c->vifs, vifs, c->nr_vifs * sizeof(*c->vifs));
    ret = vif_complete(m->s, c->uuid, c->vifs, c->nr_vifs, err);
    return ret ? ret : serai_net_check(m->s, c->vifs, c->nr_vifs, err);
}

int serai_domain_create(struct serai *s, const struct serai_config *c,
                        const struct serai_create *how, uint32_t *id, struct serai_error *err)
{
    static const struct serai_create paused;
    struct create m = {.s = s, .config = *c, .how = how ? how : &paused, .room_fd = -1};
    int fd = -1;
    if (how && how->start && how->exiting)
        return err_set(err, -EINVAL, "a guest cannot be started while it is mapped");
    int ret = config_validate(c, err);
    if (!ret)
        ret = create_uuid(&m, err);
    if (ret)
        return ret;

    // The name first: taking it is quick, unpacking the kernel is not.
    ret = create_reserve(&m, &fd, err);
    if (ret)
        return ret;
    ret = create_prepare(&m, err);
    if (!ret)
        ret = create_step(&m, "kernel", 0, err);
    if (!ret)
        ret = image_open(&m.image, &m.config, err);
    if (ret)
        goto out_release;
    ret = build_pv_check(&m.config, &m.image, err);
    if (!ret)
        ret = create_domain(&m, err);
    if (ret)
        goto out_image;
    ret = create_fill(&m, m.how, err);
    if (ret) {
        serai_drop_mappings(s); // or the domain could not go
        serai_domain_destroy(s, m.id, NULL);
    } else {
        *id = m.id;
    }

out_image:
    create_room_end(&m);
    image_close(&m.image, how && how->exiting);
out_release:
    free(m.config.vifs);
    state_building_end(s, m.config.uuid, fd);
    return ret;
}
