// SPDX-License-Identifier: BSD-2-Clause
/* The opcode tables of the decoder: for each opcode that is ours, operation and form. */
#pragma once

#include "x86/emulate/emulate.h"

/* How an opcode names its operands. */
enum decode_form {
    FORM_ABSENT, /* not ours */
    FORM_PLAIN,  /* none */
    FORM_MR,     /* dst r/m, src reg */
    FORM_RM,     /* dst reg, src r/m */
    FORM_MI,     /* dst r/m, immediate of operand size (at most 4 bytes) */
    FORM_MI8,    /* dst r/m, byte immediate, sign-extended */
    FORM_M,      /* dst r/m */
    FORM_AI,     /* dst accumulator, immediate */
    FORM_O,      /* dst the register in the opcode */
    FORM_OI,     /* the same, with an immediate of full operand size */
    FORM_AO,     /* dst accumulator, src the register in the opcode */
    FORM_LOAD,   /* dst accumulator, src memory at an absolute offset */
    FORM_STORE,
    FORM_STRING, /* implicit SI, DI */
    FORM_IN_IMM, /* dst accumulator, src port */
    FORM_IN_DX,
    FORM_OUT_IMM, /* dst port, src accumulator */
    FORM_OUT_DX,
    FORM_CR_READ, /* dst r/m as a register, src control or debug register */
    FORM_CR_WRITE,
    FORM_HINT,     /* r/m, not accessed */
    FORM_GROUP1,   /* ModRM.reg selects; immediate of operand size */
    FORM_GROUP1_8, /* the same with a byte immediate */
    FORM_GROUP3,
    FORM_GROUP4,  /* INC, DEC */
    FORM_GROUP7,  /* 0F 01 */
    FORM_GROUP8,  /* BTx with a byte immediate */
    FORM_GROUP9,  /* CMPXCHG8B/16B */
    FORM_GROUP11, /* MOV immediate */
};

enum {
    ROW_BYTE = 1 << 0,  /* 8-bit operand */
    ROW_PRIV = 1 << 1,  /* needs CPL 0 */
    ROW_NOT64 = 1 << 2, /* #UD in 64-bit mode */
    ROW_MEM = 1 << 3,   /* r/m must be memory */
    ROW_SRC8 = 1 << 4,  /* the r/m source is a byte (MOVZX, MOVSX) */
    ROW_SRC16 = 1 << 5,
    ROW_ONLY64 = 1 << 6,
    ROW_NO_PREFIX = 1 << 7, /* 66, F2, F3 make it another instruction */
};

struct decode_row {
    uint8_t op, form, flags;
};

extern const struct decode_row emulate_opcodes_map0[256]; /* one byte */
extern const struct decode_row emulate_opcodes_map1[256]; /* behind 0F */
