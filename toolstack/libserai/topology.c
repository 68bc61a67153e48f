// SPDX-License-Identifier: BSD-2-Clause
// How the machine is built: its CPUs, and its nodes with their memory.
#include "internal.h"

#include <errno.h>
#include <stdlib.h>

int serai_cpu_list(struct serai *s, struct serai_cpu **list, size_t *count, struct serai_error *err)
{
    xen_sysctl_cputopo_t *topo = hc_alloc(s, SERAI_CPUS_MAX * sizeof(*topo));
    struct serai_cpu *cpus = calloc(SERAI_CPUS_MAX, sizeof(*cpus));
    struct xen_sysctl op = {.cmd = XEN_SYSCTL_cputopoinfo};
    op.u.cputopoinfo.num_cpus = SERAI_CPUS_MAX;
    set_xen_guest_handle(op.u.cputopoinfo.cputopo, topo);
    int ret = topo && cpus ? hc_sysctl(s, &op) : -ENOMEM;
    size_t n = 0;
    for (unsigned i = 0; ret >= 0 && i < op.u.cputopoinfo.num_cpus && i < SERAI_CPUS_MAX; i++)
        if (topo[i].core != XEN_INVALID_CORE_ID)
            cpus[n++] = (struct serai_cpu){i, topo[i].core, topo[i].socket, topo[i].node};
    hc_free(s, topo);
    if (ret < 0) {
        free(cpus);
        err_sys(err, ret, "cannot read which CPUs there are");
        return ret;
    }
    *list = cpus;
    *count = n;
    return 0;
}

int serai_node_list(struct serai *s, struct serai_node **list, size_t *count,
                    struct serai_error *err)
{
    xen_sysctl_meminfo_t *memory = hc_alloc(s, SERAI_NODES_MAX * sizeof(*memory));
    uint32_t *distance = hc_alloc(s, SERAI_NODES_MAX * SERAI_NODES_MAX * sizeof(*distance));
    struct serai_node *nodes = calloc(SERAI_NODES_MAX, sizeof(*nodes));
    struct xen_sysctl op = {.cmd = XEN_SYSCTL_numainfo};
    op.u.numainfo.num_nodes = SERAI_NODES_MAX;
    set_xen_guest_handle(op.u.numainfo.meminfo, memory);
    set_xen_guest_handle(op.u.numainfo.distance, distance);
    int ret = memory && distance && nodes ? hc_sysctl(s, &op) : -ENOMEM;
    unsigned all = ret >= 0 ? op.u.numainfo.num_nodes : 0;
    size_t n = 0;
    for (unsigned i = 0; i < all && i < SERAI_NODES_MAX; i++) {
        if (memory[i].memsize == XEN_INVALID_MEM_SZ)
            continue;
        nodes[n] = (struct serai_node){
            .id = i, .total_bytes = memory[i].memsize, .free_bytes = memory[i].memfree};
        for (unsigned k = 0; k < all && k < SERAI_NODES_MAX; k++)
            nodes[n].distance[k] = distance[i * all + k];
        n++;
    }
    hc_free(s, memory);
    hc_free(s, distance);
    if (ret < 0) {
        free(nodes);
        err_sys(err, ret, "cannot read which nodes there are");
        return ret;
    }
    *list = nodes;
    *count = n;
    return 0;
}
