// SPDX-License-Identifier: BSD-2-Clause
// Machines of several NUMA nodes: a guest gets its memory from one, and runs there if it can.
#pragma once

#include "internal.h"

// Of nodes with so many free bytes each, and CPUs or none, the one for a guest that needs `bytes`:
// the one with most left. -1 when it fits into none.
int placement_choose(const uint64_t *free_bytes, const bool *has_cpus, unsigned nodes,
                     uint64_t bytes);
// Places a domain that has no memory yet, with so many vCPUs: sets its node affinity, and the soft
// affinity of its vCPUs. A hint: where that is not to be had it stays anywhere.
void placement_domain(struct serai *s, uint32_t domain, unsigned vcpus, uint64_t bytes);
