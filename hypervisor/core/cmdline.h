// SPDX-License-Identifier: BSD-2-Clause
// Hypervisor command line options. One table in core/cmdline.c names every option with its parser;
// an unknown or malformed one is named in the log and ignored.
#pragma once

#include "lib/types.h"

// Filled by cmdline_parse; defaults apply where an option is absent.
enum timestamps { TIMESTAMPS_NONE, TIMESTAMPS_DATE, TIMESTAMPS_BOOT, TIMESTAMPS_RAW };
// Where to look for microcode: modules behind the initrd, all behind the kernel, one, none.
enum ucode { UCODE_BEHIND_INITRD, UCODE_SCAN, UCODE_MODULE, UCODE_OFF };

struct options {
    char console[64];        // console=com1,vga
    char com1[48], com2[48]; // com1=115200,8n1,0x3f8,4
    char conswitch[4];       // switch character, then "x": input stays with the hypervisor
    uint64_t dom0_mem;       // bytes; 0: all but a reserve
    uint64_t dom0_mem_min;
    uint64_t dom0_mem_max;
    uint32_t dom0_max_vcpus; // 0: all CPUs
    bool dom0_vcpus_pin;
    int loglvl, guest_loglvl; // highest level shown: -1 none, 0 errors .. 3 all
    bool noreboot;            // halt after a panic
    bool smap, smep, xsave, x2apic, nosmp, tsc_deadline;
    int console_timestamps; // enum timestamps
    uint32_t maxcpus;       // 0: all
    bool bootscrub, numa;
    uint64_t mem_limit; // mem=; 0: none
    uint64_t conring_size;
    char reboot[16];      // reboot=acpi|kbd|pci|triple
    int ucode;            // enum ucode
    int32_t ucode_module; // UCODE_MODULE: its number; negative: from the end
};
extern struct options options;
extern char cmdline_text[1024]; // the line as given, cut at the end

extern char cmdline_text[1024]; // the line as given, cut to fit (XENVER_commandline)

void cmdline_parse(const char *line);
