// SPDX-License-Identifier: BSD-2-Clause
// NUMA nodes: which memory is near which CPUs. A machine that tells nothing of that, or on which it
// is not wanted, is one node. Everything is fixed before the frame table is made and read freely.
#pragma once

#include "lib/types.h"
#include "x86/arch/cpu.h"

enum { NODES_MAX = 64, NODE_DISTANCE_LOCAL = 10, NODE_DISTANCE_REMOTE = 20 };

extern unsigned int node_count; // nodes 0 to node_count - 1; at least 1

// ---- at boot, before frame_table_init() --------------------------------------------------------
// Frames from `first` on, up to the next such call's, are near `node`. Ascending.
void nodes_add_memory(unsigned int node, uint64_t first);
// Relative costs, ACPI's: 10 is local.
void nodes_set_distance(unsigned int from, unsigned int to, uint8_t distance);
// The CPU is near that node. Any time before it comes up.
void nodes_set_cpu(unsigned int cpu, unsigned int node);
// All is told: nodes 0 to count - 1.
void nodes_finish(unsigned int count);

// A bit for each node.
static inline uint64_t nodes_all(void)
{
    return ~0ul >> (NODES_MAX - node_count);
}

// ---- from then on
// --------------------------------------------------------------------------------
uint8_t node_distance(unsigned int from, unsigned int to);
// The i-th nearest node, `node` itself being the 0th.
unsigned int node_near(unsigned int node, unsigned int i);
unsigned int node_of_cpu(unsigned int cpu);
// A search. node_run_end: the first frame beyond mfn that is another node's; ~0: there is none.
unsigned int node_search(uint64_t mfn);
uint64_t node_run_end(uint64_t mfn);
