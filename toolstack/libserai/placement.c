// SPDX-License-Identifier: BSD-2-Clause
#include "placement.h"

#include <string.h>

enum { NODES_MAX = 64, CPUS_MAX = SERAI_CPUS_MAX };
#define NO_MEMORY (~(uint64_t)0) // of a node: it has none

int placement_choose(const uint64_t *free_bytes, const bool *has_cpus, unsigned nodes,
                     uint64_t bytes)
{
    int best = -1;
    for (unsigned i = 0; i < nodes; i++)
        if (has_cpus[i] && free_bytes[i] != NO_MEMORY && free_bytes[i] >= bytes &&
            (best < 0 || free_bytes[i] > free_bytes[best]))
            best = (int)i;
    return best;
}

// How many nodes there are; what is free in each. 0 when that is not to be known.
static unsigned placement_nodes(struct serai *s, uint64_t free_bytes[NODES_MAX])
{
    xen_sysctl_meminfo_t *info = hc_alloc(s, NODES_MAX * sizeof(*info));
    if (!info)
        return 0;
    struct xen_sysctl op = {.cmd = XEN_SYSCTL_numainfo};
    op.u.numainfo.num_nodes = NODES_MAX;
    set_xen_guest_handle(op.u.numainfo.meminfo, info);
    unsigned nodes = hc_sysctl(s, &op) < 0 ? 0 : op.u.numainfo.num_nodes;
    if (nodes > NODES_MAX)
        nodes = NODES_MAX;
    for (unsigned i = 0; i < nodes; i++)
        free_bytes[i] = info[i].memfree;
    hc_free(s, info);
    return nodes;
}

// The CPUs of each node. False when that is not to be known.
static bool placement_cpus(struct serai *s, struct serai_cpumap *maps, bool *has_cpus,
                           unsigned nodes)
{
    xen_sysctl_cputopo_t *topo = hc_alloc(s, CPUS_MAX * sizeof(*topo));
    if (!topo)
        return false;
    struct xen_sysctl op = {.cmd = XEN_SYSCTL_cputopoinfo};
    op.u.cputopoinfo.num_cpus = CPUS_MAX;
    set_xen_guest_handle(op.u.cputopoinfo.cputopo, topo);
    bool good = hc_sysctl(s, &op) >= 0;
    for (unsigned i = 0; good && i < op.u.cputopoinfo.num_cpus && i < CPUS_MAX; i++) {
        unsigned node = topo[i].node; // of a CPU that is not there: no number of one
        if (node < nodes) {
            maps[node].bits[i / 8] |= (uint8_t)(1u << i % 8);
            has_cpus[node] = true;
        }
    }
    hc_free(s, topo);
    return good;
}

static int placement_apply(struct serai *s, uint32_t domain, unsigned vcpus, unsigned node,
                           const struct serai_cpumap *cpus)
{
    uint64_t *bits = hc_alloc(s, sizeof(*bits));
    if (!bits)
        return -1;
    *bits = (uint64_t)1 << node;
    struct xen_domctl op = {.cmd = XEN_DOMCTL_setnodeaffinity, .domain = (domid_t)domain};
    set_xen_guest_handle(op.u.nodeaffinity.nodemap.bitmap, (uint8_t *)bits);
    op.u.nodeaffinity.nodemap.nr_bits = NODES_MAX;
    int ret = hc_domctl(s, &op);
    hc_free(s, bits);
    for (unsigned v = 0; ret >= 0 && v < vcpus; v++)
        ret = serai_vcpu_pin(s, domain, v, NULL, cpus, NULL);
    return ret;
}

void placement_domain(struct serai *s, uint32_t domain, unsigned vcpus, uint64_t bytes)
{
    uint64_t free_bytes[NODES_MAX];
    bool has_cpus[NODES_MAX] = {0};
    unsigned nodes = placement_nodes(s, free_bytes);
    if (nodes < 2)
        return;
    struct serai_cpumap *maps = hc_alloc(s, NODES_MAX * sizeof(*maps));
    if (!maps)
        return;
    int node = placement_cpus(s, maps, has_cpus, nodes)
                   ? placement_choose(free_bytes, has_cpus, nodes, bytes)
                   : -1;
    if (node < 0)
        serai_note(s, SERAI_LOG_INFO, "domain %u fits into no node: its memory is anywhere",
                   domain);
    else if (placement_apply(s, domain, vcpus, (unsigned)node, &maps[node]) < 0)
        serai_note(s, SERAI_LOG_INFO, "domain %u cannot be placed on node %d", domain, node);
    else
        serai_note(s, SERAI_LOG_DEBUG, "domain %u is placed on node %d", domain, node);
    hc_free(s, maps);
}
