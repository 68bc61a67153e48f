// SPDX-License-Identifier: BSD-2-Clause
// Shared by the files of HYPERVISOR_memory_op.
#pragma once

#include "core/domain.h"

// Largest extent order the caller may ask for.
unsigned int memory_op_max_order(void);
// The XENMEMF_* that a call gave: is all of it there to be had; and frames for d as they ask.
bool memory_op_flags_ok(uint32_t mem_flags);
struct frame *memory_op_alloc(struct domain *d, unsigned int order, uint32_t mem_flags);
// XENMEM_exchange: 0 or -E, -ERESTART's continuation included; nr_exchanged is written back.
long memory_exchange(void *arg);
