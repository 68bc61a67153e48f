// SPDX-License-Identifier: BSD-2-Clause
// Mappings of physical memory that drivers read at boot (firmware tables).
#pragma once

#include "lib/types.h"

// [pa, pa+size), cacheable and read-only. NULL: no address space or memory left.
const void *boot_map(paddr_t pa, size_t size);
void boot_unmap(const void *p, size_t size);
