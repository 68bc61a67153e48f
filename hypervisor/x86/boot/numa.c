// SPDX-License-Identifier: BSD-2-Clause
// Nodes are numbered in the order of SRAT's proximity domains, whose numbers may have gaps.
#include "x86/boot/numa.h"
#include "core/cmdline.h"
#include "core/console.h"
#include "drivers/acpi.h"
#include "memory/nodes.h"
#include "x86/arch/page.h"

static uint32_t __initdata proximity_of[NODES_MAX]; // by node, ascending
static unsigned int __initdata nodes;               // 0: none is told

unsigned int __init numa_node(uint32_t proximity)
{
    unsigned int node = 0;
    while (node < nodes && proximity_of[node] != proximity)
        node++;
    return node < nodes ? node : 0;
}

static bool __init add_proximity(uint32_t proximity)
{
    unsigned int at = 0;
    while (at < nodes && proximity_of[at] < proximity)
        at++;
    if (at < nodes && proximity_of[at] == proximity)
        return true;
    if (nodes == NODES_MAX)
        return false;
    for (unsigned int i = nodes++; i > at; i--)
        proximity_of[i] = proximity_of[i - 1];
    proximity_of[at] = proximity;
    return true;
}

static bool __init find_nodes(void)
{
    for (unsigned int i = 0; i < acpi_info.memory_count; i++)
        if (!add_proximity(acpi_info.memory[i].proximity))
            return false;
    for (unsigned int i = 0; i < acpi_info.cpu_count; i++)
        if (!add_proximity(acpi_info.cpus[i].proximity))
            return false;
    return true;
}

static void __init sort_memory(void)
{
    struct acpi_memory *m = acpi_info.memory;
    for (unsigned int i = 1; i < acpi_info.memory_count; i++) {
        struct acpi_memory one = m[i];
        unsigned int k = i;
        for (; k && m[k - 1].start > one.start; k--)
            m[k] = m[k - 1];
        m[k] = one;
    }
}

static bool __init memory_overlaps(void)
{
    const struct acpi_memory *m = acpi_info.memory;
    for (unsigned int i = 1; i < acpi_info.memory_count; i++)
        if (m[i].start - m[i - 1].start < m[i - 1].size)
            return true;
    return false;
}

static void __init set_distances(void)
{
    for (unsigned int i = 0; i < nodes; i++)
        for (unsigned int k = 0; k < nodes; k++)
            if (proximity_of[i] < ACPI_MAX_PROXIMITY && proximity_of[k] < ACPI_MAX_PROXIMITY)
                nodes_set_distance(i, k, acpi_info.distance[proximity_of[i]][proximity_of[k]]);
}

void __init numa_init(void)
{
    if (!options.numa || !acpi_info.memory_count)
        return;
    sort_memory();
    if (acpi_info.memory_ignored || memory_overlaps() || !find_nodes()) {
        printk(LOG_WARN "NUMA: SRAT's memory overlaps, or it names more than can be kept: "
                        "all is taken as one node\n");
        nodes = 0;
        return;
    }
    for (unsigned int i = 0; i < acpi_info.memory_count; i++)
        nodes_add_memory(numa_node(acpi_info.memory[i].proximity),
                         PFN_UP(acpi_info.memory[i].start));
    set_distances();
    nodes_finish(nodes);
    printk("NUMA: %u nodes\n", nodes);
}
