// SPDX-License-Identifier: BSD-2-Clause
// What the boot loader told us, whatever its protocol, and the start order. All of it is gone after
// the control domain starts.
#pragma once

#include "lib/types.h"
#include "memory/boot_alloc.h"

#define BOOT_MAX_MODULES 8

struct boot_module {
    paddr_t start;
    uint64_t size;
    const char *cmdline; // without the file name; "" when none
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
    struct {
        paddr_t base;
        uint32_t width, height, pitch, bpp;
        uint8_t red_pos, green_pos, blue_pos, red_size, green_size, blue_size;
        bool present;
    } framebuffer;
};
extern struct boot_info boot_info;

// Find microcode in the modules (option ucode=) and load it on this CPU. After the page allocator.
void microcode_from_modules(void);

// Build the control domain from modules 0 (kernel) and 1 (initrd, optional); panics with one clear
// line when it cannot.
void dom0_build(void);
