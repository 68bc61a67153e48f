// SPDX-License-Identifier: BSD-2-Clause
#include "memory/nodes.h"

#include "lib/bug.h"

enum { EDGES_MAX = 256 };

unsigned int node_count __read_only_after_boot = 1;

// Frames [first, the next one's first) are near `node`; the first one's is 0.
static struct {
    uint64_t first;
    unsigned int node;
} edges[EDGES_MAX];
static unsigned int edge_count; // 0: all is node 0

static uint8_t distances[NODES_MAX][NODES_MAX]; // 0: not told
static uint8_t near[NODES_MAX][NODES_MAX];
static uint8_t cpu_nodes[MAX_CPUS];

void nodes_add_memory(unsigned int node, uint64_t first)
{
    ASSERT(node < NODES_MAX && (!edge_count || first > edges[edge_count - 1].first));
    if (edge_count && edges[edge_count - 1].node == node)
        return;
    if (edge_count == EDGES_MAX)
        return; // what is left counts as the last one's
    edges[edge_count].first = edge_count ? first : 0;
    edges[edge_count++].node = node;
}

void nodes_set_distance(unsigned int from, unsigned int to, uint8_t distance)
{
    distances[from][to] = distance;
}

void nodes_set_cpu(unsigned int cpu, unsigned int node)
{
    cpu_nodes[cpu] = node;
}

// Nodes in the order of their distance from `node`; equal ones from `node` on, so that not all
// turn to the same.
static void sort_near(unsigned int node)
{
    for (unsigned int i = 0; i < node_count; i++) {
        unsigned int other = (node + i) % node_count, k = i;

        for (; k && node_distance(node, near[node][k - 1]) > node_distance(node, other); k--)
            near[node][k] = near[node][k - 1];
        near[node][k] = other;
    }
}

void nodes_finish(unsigned int count)
{
    ASSERT(count && count <= NODES_MAX);
    node_count = count;
    for (unsigned int node = 0; node < count; node++)
        sort_near(node);
}

uint8_t node_distance(unsigned int from, unsigned int to)
{
    if (from == to)
        return NODE_DISTANCE_LOCAL;
    return distances[from][to] ?: NODE_DISTANCE_REMOTE;
}

unsigned int node_near(unsigned int node, unsigned int i)
{
    return near[node][i];
}

unsigned int node_of_cpu(unsigned int cpu)
{
    return cpu_nodes[cpu];
}

// The edge that mfn lies behind; edge_count is not 0.
static unsigned int edge_search(uint64_t mfn)
{
    unsigned int lo = 0, hi = edge_count;

    while (hi - lo > 1) {
        unsigned int mid = (lo + hi) / 2;
        if (edges[mid].first <= mfn)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

unsigned int node_search(uint64_t mfn)
{
    return edge_count ? edges[edge_search(mfn)].node : 0;
}

uint64_t node_run_end(uint64_t mfn)
{
    unsigned int next = edge_count ? edge_search(mfn) + 1 : 0;
    return next < edge_count ? edges[next].first : ~0ul;
}
