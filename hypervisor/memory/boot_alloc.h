// SPDX-License-Identifier: BSD-2-Clause
// The machine's memory map, and frames taken straight from it before the buddy allocator works.
#pragma once

#include "lib/types.h"

#define BOOT_MAX_RANGES 256
#define BOOT_RANGE_RAM  1

struct boot_range { // E820 types: 1 RAM, 2 reserved, 3 ACPI, 4 NVS, 5 bad
    paddr_t start;
    uint64_t size;
    uint32_t type;
};

// The machine's memory map as the control domain sees it (XENMEM_machine_memory_map), kept for
// ever: sorted, disjoint. Filled by x86/boot before the first boot_alloc().
extern struct boot_range machine_map[BOOT_MAX_RANGES];
extern unsigned int machine_map_count;

// `bytes` (rounded up to pages) of RAM below 4 GiB, aligned to `align` (at least a page), contents
// undefined. Never fails: panics. Until memory_init_late().
paddr_t boot_alloc(uint64_t bytes, uint64_t align);
// Keep a range out of all allocators (modules, image, trampoline). Any time before
// memory_init_late(); ranges may overlap and need not be RAM.
void boot_reserve(paddr_t start, uint64_t size);
// Give reserved RAM to the buddy allocator, once its user is done with it (modules, init sections).
// Whole pages only; after memory_init_late().
void boot_release(paddr_t start, uint64_t size);

// Number of reserved ranges, sorted and disjoint, and range i as frames [*first, *end).
unsigned int boot_reserved_count(void);
void boot_reserved_range(unsigned int i, uint64_t *first, uint64_t *end);
