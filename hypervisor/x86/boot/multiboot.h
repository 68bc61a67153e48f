// SPDX-License-Identifier: BSD-2-Clause
// Numbers and layouts of the Multiboot 1 and 2 specifications, as far as we read them.
// The first part is also for assembly.
#pragma once

#define MB1_HEADER_MAGIC 0x1badb002
#define MB1_LOADER_MAGIC 0x2badb002
#define MB1_FLAG_ALIGN   1 // header: modules start on page boundaries
#define MB1_FLAG_MEMINFO 2

#define MB2_HEADER_MAGIC      0xe85250d6
#define MB2_LOADER_MAGIC      0x36d76289
#define MB2_HTAG_INFO_REQUEST 1
#define MB2_HTAG_FRAMEBUFFER  5
#define MB2_HTAG_MODULE_ALIGN 6
#define MB2_HTAG_OPTIONAL     1

#define MB2_TAG_END         0
#define MB2_TAG_CMDLINE     1
#define MB2_TAG_LOADER      2
#define MB2_TAG_MODULE      3
#define MB2_TAG_MMAP        6
#define MB2_TAG_FRAMEBUFFER 8
#define MB2_TAG_EFI32       11
#define MB2_TAG_EFI64       12
#define MB2_TAG_ACPI_OLD    14
#define MB2_TAG_ACPI_NEW    15
#define MB2_TAG_EFI_MMAP    17

#ifndef __ASSEMBLY__
#include "lib/types.h"

struct mb1_info {
    uint32_t flags;
    uint32_t mem_lower, mem_upper;
    uint32_t boot_device;
    uint32_t cmdline;
    uint32_t mods_count, mods_addr;
    uint32_t syms[4];
    uint32_t mmap_length, mmap_addr;
    uint32_t drives_length, drives_addr;
    uint32_t config_table;
    uint32_t boot_loader_name;
};
#define MB1_INFO_MEMORY  (1 << 0)
#define MB1_INFO_CMDLINE (1 << 2)
#define MB1_INFO_MODS    (1 << 3)
#define MB1_INFO_MMAP    (1 << 6)
#define MB1_INFO_LOADER  (1 << 9)

struct mb1_module {
    uint32_t start, end, string, reserved;
};

struct mb1_mmap {
    uint32_t size; // of what follows
    uint64_t addr, len;
    uint32_t type;
} __packed;

struct mb2_info {
    uint32_t total_size, reserved;
};
struct mb2_tag {
    uint32_t type, size;
};

struct mb2_module {
    struct mb2_tag tag;
    uint32_t start, end;
    char string[];
};
struct mb2_mmap_entry {
    uint64_t addr, len;
    uint32_t type, reserved;
};
struct mb2_mmap {
    struct mb2_tag tag;
    uint32_t entry_size, entry_version;
};
struct mb2_framebuffer {
    struct mb2_tag tag;
    uint64_t addr;
    uint32_t pitch, width, height;
    uint8_t bpp, type, reserved[2]; // type 1: RGB
    uint8_t red_pos, red_size, green_pos, green_size, blue_pos, blue_size;
} __packed;
struct mb2_efi64 {
    struct mb2_tag tag;
    uint64_t system_table;
};
// UEFI specification 2.9, 4.3; what we do not use is left out by name.
struct efi_header {
    uint64_t signature;
    uint32_t revision, size, crc, reserved;
};
struct efi_system_table {
    struct efi_header header;
    uint64_t vendor;
    uint32_t vendor_revision, pad;
    uint64_t consoles[6];
    uint64_t runtime, boot;
    uint64_t config_count, config_table;
};
_Static_assert(sizeof(struct efi_system_table) == 120, "UEFI system table");
#define EFI_SYSTEM_TABLE_SIGNATURE 0x5453595320494249ull

// Copy what the loader left at physical address `info` into boot_info: command lines, modules and
// the memory map (not yet sorted). Stops with a panic when there is nothing usable.
void multiboot_parse(uint32_t magic, uint32_t info);
#endif
