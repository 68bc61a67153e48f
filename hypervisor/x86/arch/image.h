// SPDX-License-Identifier: BSD-2-Clause
// The hypervisor image in memory: boundaries set by x86/serai.lds, all page aligned.
//
//   image_start    text            RX
//   text_end       (= init_start) init text, RX, given back after boot
//   init_text_end  init data       RW, given back after boot
//   init_end       (= rodata_start) constants, symbol table, per-CPU template: RO
//   rodata_end     (= ro_after_boot_start) RW during boot, then RO
//   ro_after_boot_end (= data_start) data and bss, RW
//   image_end
#pragma once

#include "lib/types.h"

#define IMAGE_PHYS 0x200000ul // where boot loaders put image_start

extern char image_start[], text_end[], init_start[], init_text_end[], init_end[], rodata_start[],
    rodata_end[], ro_after_boot_start[], ro_after_boot_end[], data_start[], bss_start[],
    image_end[];

extern char percpu_start[], percpu_end[]; // template of the per-CPU variables
extern char percpu_boot_cpu[];            // CPU 0's copy

extern char boot_stack[]; // STACK_SIZE bytes: the boot CPU's until it runs as idle vCPU
