// SPDX-License-Identifier: BSD-2-Clause
/* What the executor's files share; not for others. */
#pragma once

#include "x86/emulate/emulate.h"

enum {
    EXECUTE_UD = 6,
    EXECUTE_SS = 12,
    EXECUTE_GP = 13,
    EXECUTE_DF_FLAG = 1 << 10,
    EXECUTE_RF = 1 << 16,
};

/* Registers by number, 16..19 for AH CH DH BH. 4-byte writes clear the upper half. */
uint64_t emulate_reg_read(struct emulate_ctx *ctx, unsigned reg, unsigned bytes);
void emulate_reg_write(struct emulate_ctx *ctx, unsigned reg, unsigned bytes, uint64_t value);

/* Segment base plus offset cut to the address size; #GP or #SS when not canonical. */
enum emulate_result emulate_linear(const struct insn *insn, struct emulate_ctx *ctx,
                                   enum emulate_segment segment, uint64_t offset, uint64_t *linear);

/* Memory of up to 8 bytes through the callbacks. */
enum emulate_result emulate_mem_read(struct emulate_ctx *ctx, uint64_t addr, unsigned bytes,
                                     uint64_t *value);
enum emulate_result emulate_mem_write(struct emulate_ctx *ctx, uint64_t addr, unsigned bytes,
                                      uint64_t value);

/* An operand of whatever kind. */
enum emulate_result emulate_operand_read(const struct insn *insn, struct emulate_ctx *ctx,
                                         const struct emulate_operand *o, uint64_t *value);
enum emulate_result emulate_operand_write(const struct insn *insn, struct emulate_ctx *ctx,
                                          const struct emulate_operand *o, uint64_t value);

/* STOS, LODS, MOVS, INS, OUTS, with and without REP. */
enum emulate_result emulate_string(const struct insn *insn, struct emulate_ctx *ctx);

/* Ports and everything privileged. */
enum emulate_result emulate_system(const struct insn *insn, struct emulate_ctx *ctx);
