// SPDX-License-Identifier: BSD-2-Clause
// Virtual CPUs: state and affinity.
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int vcpu_affinity(struct serai *s, uint32_t domain, struct serai_vcpu *v)
{
    struct serai_cpumap *maps = hc_alloc(s, 2 * sizeof(*maps));
    if (!maps)
        return -ENOMEM;
    struct xen_domctl op = {.cmd = XEN_DOMCTL_getvcpuaffinity, .domain = (domid_t)domain};
    op.u.vcpuaffinity.vcpu = v->id;
    op.u.vcpuaffinity.flags = XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT;
    set_xen_guest_handle(op.u.vcpuaffinity.cpumap_hard.bitmap, maps[0].bits);
    op.u.vcpuaffinity.cpumap_hard.nr_bits = SERAI_CPUS_MAX;
    set_xen_guest_handle(op.u.vcpuaffinity.cpumap_soft.bitmap, maps[1].bits);
    op.u.vcpuaffinity.cpumap_soft.nr_bits = SERAI_CPUS_MAX;
    int ret = hc_domctl(s, &op);
    v->hard = maps[0];
    v->soft = maps[1];
    hc_free(s, maps);
    return ret;
}

int serai_vcpu_list(struct serai *s, uint32_t domain, struct serai_vcpu **list, size_t *count,
                    struct serai_error *err)
{
    struct serai_domain d;
    int ret = serai_domain_get(s, domain, &d, err);
    if (ret)
        return ret;
    struct serai_vcpu *v = calloc(d.max_vcpus ? d.max_vcpus : 1, sizeof(*v));
    if (!v)
        return err_set(err, -ENOMEM, "out of memory");
    size_t n = 0;
    for (unsigned id = 0; id < d.max_vcpus; id++) {
        struct xen_domctl op = {.cmd = XEN_DOMCTL_getvcpuinfo, .domain = (domid_t)domain};
        op.u.getvcpuinfo.vcpu = id;
        ret = hc_domctl(s, &op);
        if (ret == -ESRCH)
            continue; // ids may have gaps
        v[n] = (struct serai_vcpu){.id = id,
                                   .online = op.u.getvcpuinfo.online,
                                   .blocked = op.u.getvcpuinfo.blocked,
                                   .running = op.u.getvcpuinfo.running,
                                   .cpu = op.u.getvcpuinfo.cpu,
                                   .cpu_ns = op.u.getvcpuinfo.cpu_time};
        if (ret >= 0)
            ret = vcpu_affinity(s, domain, &v[n]);
        if (ret < 0) {
            free(v);
            return err_sys(err, ret, "cannot read virtual CPU %u of domain %u", id, domain);
        }
        n++;
    }
    *list = v;
    *count = n;
    return 0;
}

int serai_vcpu_pin(struct serai *s, uint32_t domain, unsigned vcpu, const struct serai_cpumap *hard,
                   const struct serai_cpumap *soft, struct serai_error *err)
{
    struct serai_cpumap *maps = hc_alloc(s, 2 * sizeof(*maps));
    if (!maps)
        return err_set(err, -ENOMEM, "out of memory");
    struct xen_domctl op = {.cmd = XEN_DOMCTL_setvcpuaffinity, .domain = (domid_t)domain};
    op.u.vcpuaffinity.vcpu = vcpu;
    if (hard) {
        maps[0] = *hard;
        op.u.vcpuaffinity.flags |= XEN_VCPUAFFINITY_HARD;
        set_xen_guest_handle(op.u.vcpuaffinity.cpumap_hard.bitmap, maps[0].bits);
        op.u.vcpuaffinity.cpumap_hard.nr_bits = SERAI_CPUS_MAX;
    }
    if (soft) {
        maps[1] = *soft;
        op.u.vcpuaffinity.flags |= XEN_VCPUAFFINITY_SOFT;
        set_xen_guest_handle(op.u.vcpuaffinity.cpumap_soft.bitmap, maps[1].bits);
        op.u.vcpuaffinity.cpumap_soft.nr_bits = SERAI_CPUS_MAX;
    }
    int ret = op.u.vcpuaffinity.flags ? hc_domctl(s, &op) : 0;
    hc_free(s, maps);
    if (ret == -EINVAL)
        return err_set(err, ret, "virtual CPU %u of domain %u: none of these CPUs is there", vcpu,
                       domain);
    return ret < 0 ? err_sys(err, ret, "cannot pin virtual CPU %u of domain %u", vcpu, domain) : 0;
}
