// SPDX-License-Identifier: BSD-2-Clause
// HYPERVISOR_sysctl: what the control domain asks about the machine as a whole.
#include "control/control.h"
#include "core/access.h"
#include "core/console.h"
#include "core/hypercall.h"
#include "core/keyhandler.h"
#include "core/sched.h"
#include "lib/string.h"
#include "memory/frame.h"
#include "memory/nodes.h"
#include "x86/arch/guest_access.h"
#include "x86/arch/time.h"

struct sysctl_row {
    const char *name;
    long (*fn)(struct xen_sysctl *op);
};

static long sysctl_readconsole(struct xen_sysctl *op)
{
    struct xen_sysctl_readconsole *r = &op->u.readconsole;
    char chunk[256];
    uint32_t index = r->index, done = 0;
    bool incremental = r->incremental;

    while (done < r->count) {
        size_t n = console_ring_read(chunk, MIN(r->count - done, (uint32_t)sizeof(chunk)),
                                     incremental, false, &index);
        if (n == 0)
            break;
        if (guest_copy_to(r->buffer.p + done, chunk, n))
            return -EFAULT;
        done += n;
        incremental = true;
    }
    if (r->clear)
        console_ring_read(NULL, 0, false, true, &index);
    r->index = index;
    r->count = done;
    return 0;
}

static long sysctl_physinfo(struct xen_sysctl *op)
{
    struct xen_sysctl_physinfo *p = &op->u.physinfo;

    *p = (struct xen_sysctl_physinfo){
        .nr_cpus = bitmap_weight(cpu_online_map, cpu_count),
        .max_cpu_id = cpu_count - 1,
        .nr_nodes = node_count,
        .max_node_id = node_count - 1,
        .cpu_khz = arch_tsc_khz(),
        .capabilities =
            XEN_SYSCTL_PHYSCAP_pv | XEN_SYSCTL_PHYSCAP_gnttab_v1 | XEN_SYSCTL_PHYSCAP_gnttab_v2,
        .total_pages = memory_total_pages(),
        .free_pages = memory_free_pages(),
        .outstanding_pages = memory_free_pages() - memory_unclaimed_pages(),
        .max_mfn = max_mfn - 1,
    };
    arch_physinfo(p);
    return 0;
}

static long sysctl_sched_id(struct xen_sysctl *op)
{
    op->u.sched_id.sched_id = XEN_SCHEDULER_CREDIT2;
    return 0;
}

static long sysctl_getdomaininfolist(struct xen_sysctl *op)
{
    struct xen_sysctl_getdomaininfolist *l = &op->u.getdomaininfolist;
    struct xen_domctl_getdomaininfo info;
    uint32_t n = 0, next = l->first_domain;

    while (n < l->max_domains && next < DOMID_FIRST_RESERVED) {
        struct domain *d = domain_get_next(next);
        if (!d)
            break;
        next = d->id + 1;
        domctl_domain_info(d, &info);
        domain_put(d);
        if (guest_handle_to(l->buffer, n, &info, 1))
            return -EFAULT;
        n++;
    }
    l->num_domains = n;
    return 0;
}

static long sysctl_debug_keys(struct xen_sysctl *op)
{
    for (uint32_t i = 0; i < MIN(op->u.debug_keys.nr_keys, 64u); i++) {
        char key;
        if (guest_copy_from(&key, op->u.debug_keys.keys.p + i, 1))
            return -EFAULT;
        keyhandler_run(key);
    }
    return 0;
}

static long sysctl_getcpuinfo(struct xen_sysctl *op)
{
    struct xen_sysctl_getcpuinfo *g = &op->u.getcpuinfo;
    uint32_t n = MIN(g->max_cpus, cpu_count);

    for (uint32_t cpu = 0; cpu < n; cpu++) {
        struct xen_sysctl_cpuinfo info = {
            .idletime = bit_test(cpu_online_map, cpu) ? sched_idle_time(cpu) : 0};
        if (guest_handle_to(g->info, cpu, &info, 1))
            return -EFAULT;
    }
    g->nr_cpus = n;
    return 0;
}

static long sysctl_availheap(struct xen_sysctl *op)
{
    struct xen_sysctl_availheap *a = &op->u.availheap;
    bool one = a->node >= 0;

    if (one && (unsigned int)a->node >= node_count)
        return -EINVAL;
    // Free memory is not counted by address width.
    a->avail_bytes = (one ? memory_node_free_pages(a->node) : memory_free_pages()) << PAGE_SHIFT;
    return 0;
}

static long sysctl_scheduler_op(struct xen_sysctl *op)
{
    return sched_sysctl(&op->u.scheduler_op);
}

static long sysctl_cputopoinfo(struct xen_sysctl *op)
{
    struct xen_sysctl_cputopoinfo *t = &op->u.cputopoinfo;

    if (!t->cputopo.p) {
        t->num_cpus = cpu_count;
        return 0;
    }
    uint32_t n = MIN(t->num_cpus, cpu_count);
    for (uint32_t cpu = 0; cpu < n; cpu++) {
        struct cpu_topology at = arch_cpu_topology(cpu);
        struct xen_sysctl_cputopo topo = {
            .core = at.core, .socket = at.socket, .node = node_of_cpu(cpu)};
        if (!bit_test(cpu_online_map, cpu))
            topo = (struct xen_sysctl_cputopo){XEN_INVALID_CORE_ID, XEN_INVALID_SOCKET_ID,
                                               XEN_INVALID_NODE_ID};
        if (guest_handle_to(t->cputopo, cpu, &topo, 1))
            return -EFAULT;
    }
    t->num_cpus = cpu_count;
    return 0;
}

static int node_distances_out(const struct xen_sysctl_numainfo *n, uint32_t from, uint32_t known)
{
    for (uint32_t to = 0; to < known; to++) {
        uint32_t distance = node_distance(from, to);
        uint64_t at = (uint64_t)from * node_count + to;
        if (at < (uint64_t)n->num_nodes * n->num_nodes &&
            guest_handle_to(n->distance, at, &distance, 1))
            return -EFAULT;
    }
    return 0;
}

static long sysctl_numainfo(struct xen_sysctl *op)
{
    struct xen_sysctl_numainfo *n = &op->u.numainfo;
    uint32_t known = MIN(n->num_nodes, node_count);

    for (uint32_t node = 0; node < known; node++) {
        struct xen_sysctl_meminfo mem = {.memsize = memory_node_pages(node) << PAGE_SHIFT,
                                         .memfree = memory_node_free_pages(node) << PAGE_SHIFT};
        if (n->meminfo.p && guest_handle_to(n->meminfo, node, &mem, 1))
            return -EFAULT;
        if (n->distance.p && node_distances_out(n, node, known))
            return -EFAULT;
    }
    n->num_nodes = node_count;
    return 0;
}

#define ROW(op, handler) [XEN_SYSCTL_##op] = {.name = #op, .fn = handler}

static const struct sysctl_row sysctl_ops[] = {
    ROW(readconsole, sysctl_readconsole), ROW(physinfo, sysctl_physinfo),
    ROW(sched_id, sysctl_sched_id),       ROW(getdomaininfolist, sysctl_getdomaininfolist),
    ROW(debug_keys, sysctl_debug_keys),   ROW(getcpuinfo, sysctl_getcpuinfo),
    ROW(availheap, sysctl_availheap),     ROW(cputopoinfo, sysctl_cputopoinfo),
    ROW(numainfo, sysctl_numainfo),       ROW(scheduler_op, sysctl_scheduler_op),
    ROW(cpupool_op, control_cpupool),
};

long hc_sysctl(unsigned long arg)
{
    struct xen_sysctl op;
    bool copy_back = true;
    long rc;

    if (guest_copy_from(&op, (void *)arg, sizeof(op)))
        return -EFAULT;
    if (op.interface_version != XEN_SYSCTL_INTERFACE_VERSION)
        return -EACCES;
    rc = access_check(current->domain, ACCESS_HOST_INFO, NULL);
    if (rc)
        return rc;
    const struct sysctl_row *row = NULL;
    if (op.cmd < ARRAY_SIZE(sysctl_ops))
        row = &sysctl_ops[index_nospec(op.cmd, ARRAY_SIZE(sysctl_ops))];
    rc = row && row->fn ? row->fn(&op) : arch_sysctl(&op, &copy_back);
    if (rc == 0 && copy_back && guest_copy_to((void *)arg, &op, sizeof(op)))
        return -EFAULT;
    return rc;
}
