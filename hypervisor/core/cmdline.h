// SPDX-License-Identifier: BSD-2-Clause
// Hypervisor command line options. One table in core/cmdline.c names every option with its parser;
// an unknown or malformed one is named in the log and ignored.
#pragma once

#include "lib/types.h"

// Filled by cmdline_parse; defaults apply where an option is absent.
struct options {
    char console[64];       // console=com1,vga
    char com1[32], com2[32]; // com1=115200,8n1
    uint64_t dom0_mem;       // bytes; 0: all but a reserve
    uint64_t dom0_mem_max;
    uint32_t dom0_max_vcpus; // 0: all CPUs
    bool dom0_vcpus_pin;
    int loglvl, guest_loglvl; // highest level shown on the console
    bool noreboot;            // halt after a panic
    bool smap, smep, xsave, x2apic, nmi_watchdog;
    bool console_timestamps_raw;
    int console_timestamps;  // 0 none, 1 date, 2 boot seconds, 3 raw TSC
    uint32_t maxcpus;
    bool nosmp;
    bool bootscrub;
    bool ept, npt;
    uint64_t mem_limit; // mem=
    uint64_t reserve;   // left to the hypervisor when dom0_mem is absent
    char kexec_unused[1];
    bool sync_console;
    bool noapic_x2;
    bool cpuidle;
    bool spec_ctrl;
    uint64_t conring_size;
};
extern struct options options;

void cmdline_parse(const char *line);
