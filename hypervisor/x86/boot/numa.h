// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "lib/types.h"

// The machine's nodes, from SRAT and SLIT. After acpi_init(), before frame_table_init().
void numa_init(void);
// The node of a proximity domain of SRAT.
unsigned int numa_node(uint32_t proximity);
