// SPDX-License-Identifier: BSD-2-Clause
/*
 * A machine for the emulator's tests: a window of memory at a chosen address, and one value per
 * special register, all recorded.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define __XEN_TOOLS__ 1 /* full names in struct cpu_user_regs */
#include <xen/xen.h>

#include "x86/emulate/emulate.h"

#define HOST_WINDOW 8192

struct emulate_host {
    struct emulate_ctx ctx;
    struct cpu_user_regs regs;
    uint64_t base; /* address of the window */
    uint8_t memory[HOST_WINDOW];
    uint64_t seg_base[6];
    uint64_t cr[16], dr[8], xcr0, tsc, pmc;
    uint64_t msr_value, port_value;
    uint32_t last_msr, tsc_aux;
    uint16_t last_port;
    unsigned last_bytes, accesses;
    uint64_t last_addr;
    bool if_flag, ac_flag, halted, wrote_back;
    unsigned swap_losses; /* cmpxchg pretends that many times that another CPU was first */
    struct insn insn;
};

/* Everything zero but for the callbacks and the window's address. */
void emulate_host_init(struct emulate_host *h, uint64_t base);

/* Decodes (asserting that this works) and executes. */
enum emulate_result emulate_host_run(struct emulate_host *h, enum emulate_mode mode,
                                     const uint8_t *bytes, size_t len);
