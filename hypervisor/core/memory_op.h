// SPDX-License-Identifier: BSD-2-Clause
// Shared by the files of HYPERVISOR_memory_op.
#pragma once

#include "core/domain.h"

// Largest extent order the caller may ask for.
unsigned int memory_op_max_order(void);
// XENMEM_exchange: 0 or -E, -ERESTART's continuation included; nr_exchanged is written back.
long memory_exchange(void *arg);
