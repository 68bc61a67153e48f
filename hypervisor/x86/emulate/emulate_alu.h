// SPDX-License-Identifier: BSD-2-Clause
/* Integer arithmetic with flags, on operands of 1, 2, 4 or 8 bytes: pure functions. */
#pragma once

#include "x86/emulate/emulate.h"

enum {
    ALU_CF = 1 << 0,
    ALU_PF = 1 << 2,
    ALU_AF = 1 << 4,
    ALU_ZF = 1 << 6,
    ALU_SF = 1 << 7,
    ALU_OF = 1 << 11,
    ALU_FLAGS = ALU_CF | ALU_PF | ALU_AF | ALU_ZF | ALU_SF | ALU_OF,
};

/* value cut to, or sign-extended from, that many bytes. */
uint64_t emulate_alu_cut(uint64_t value, unsigned bytes);
uint64_t emulate_alu_extend(uint64_t value, unsigned bytes);

/*
 * dst OP src for the one- and two-operand instructions of enum emulate_op from INSN_ADD to
 * INSN_BTC (bit numbers already reduced by the caller, or not: they are taken modulo the size).
 * Updates *flags as the instruction does, and returns the new value of dst; CMP, TEST and BT
 * return dst as it was.
 */
uint64_t emulate_alu(enum emulate_op op, uint64_t dst, uint64_t src, unsigned bytes,
                     uint64_t *flags);
