// SPDX-License-Identifier: BSD-2-Clause
// The machine's memory map at boot.
#pragma once

#include "lib/types.h"

// Sort boot_info.ranges, resolve overlaps (RAM loses against everything else), fill machine_map.
void memory_map_init(void);
// Keep the image, the modules and low memory away from the boot allocator.
void memory_map_reserve(void);
// Low memory where secondary CPUs start, TRAMPOLINE_PAGES pages; 0: there is none.
#define TRAMPOLINE_PAGES 4
extern unsigned long trampoline_base;
