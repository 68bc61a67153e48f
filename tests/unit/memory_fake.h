// SPDX-License-Identifier: BSD-2-Clause
/* What memory/ needs from others, for its tests: sparse mappings stand for a machine's RAM and
 * tables, one domain owns frames. */
#pragma once

#include "unit.h"

#include "core/domain.h"
#include "memory/boot_alloc.h"
#include "memory/frame.h"

extern struct domain dom; /* found by its id */
extern unsigned int flushes;

void machine_map_tables(uint64_t top);
void ram(uint64_t start, uint64_t end); /* ascending */
/* Takes the allocation's reference away. */
void drop_domain_frame(struct frame *f);
