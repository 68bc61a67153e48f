// SPDX-License-Identifier: BSD-2-Clause
// What the boot loader told us, whatever its protocol, and the start order. All of it is gone after
// the control domain starts.
#pragma once

#include "lib/types.h"

#define BOOT_MAX_MODULES 8
#define BOOT_MAX_RANGES  256

struct boot_module {
    paddr_t start;
    uint64_t size;
    const char *cmdline; // without the file name; "" when none
};

struct boot_range { // E820 types: 1 RAM, 2 reserved, 3 ACPI, 4 NVS, 5 bad
    paddr_t start;
    uint64_t size;
    uint32_t type;
};

struct boot_info {
    const char *loader;
    const char *cmdline; // the hypervisor's
    struct boot_module modules[BOOT_MAX_MODULES];
    unsigned int module_count;
    struct boot_range ranges[BOOT_MAX_RANGES]; // sorted, disjoint
    unsigned int range_count;
    paddr_t rsdp; // 0: search the BIOS areas
    bool efi;
    struct { paddr_t base; uint32_t width, height, pitch, bpp; uint8_t red_pos, green_pos, blue_pos,
             red_size, green_size, blue_size; bool present; } framebuffer;
};
extern struct boot_info boot_info;

// The machine's memory map as the control domain sees it (XENMEM_machine_memory_map), kept for ever.
extern struct boot_range machine_map[BOOT_MAX_RANGES];
extern unsigned int machine_map_count;

// Boot allocator (memory/boot_alloc.c): frames straight from the memory map, page-aligned, below
// the direct map's reach; never fails (panics). Until memory_init_late().
paddr_t boot_alloc(uint64_t bytes, uint64_t align);
// Reserve a range before anything is allocated (modules, image, trampoline).
void boot_reserve(paddr_t start, uint64_t size);

// Build the control domain from modules 0 (kernel) and 1 (initrd, optional); panics with one clear
// line when it cannot.
void dom0_build(void);
