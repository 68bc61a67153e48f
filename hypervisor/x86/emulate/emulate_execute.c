// SPDX-License-Identifier: BSD-2-Clause
/*
 * The executor for instructions on registers and memory. System instructions and string forms are
 * in emulate_system.c and emulate_string.c.
 */
#define __XEN_TOOLS__ 1 /* for the full names of struct cpu_user_regs */
#include "x86/emulate/emulate_execute.h"

#include <xen/xen.h>

#include "x86/emulate/emulate_alu.h"

#define EXECUTE_SWAP_TRIES 16 /* rounds of compare-and-swap before the guest is run again */

static const uint16_t execute_reg_offset[16] = {
    offsetof(struct cpu_user_regs, rax), offsetof(struct cpu_user_regs, rcx),
    offsetof(struct cpu_user_regs, rdx), offsetof(struct cpu_user_regs, rbx),
    offsetof(struct cpu_user_regs, rsp), offsetof(struct cpu_user_regs, rbp),
    offsetof(struct cpu_user_regs, rsi), offsetof(struct cpu_user_regs, rdi),
    offsetof(struct cpu_user_regs, r8),  offsetof(struct cpu_user_regs, r9),
    offsetof(struct cpu_user_regs, r10), offsetof(struct cpu_user_regs, r11),
    offsetof(struct cpu_user_regs, r12), offsetof(struct cpu_user_regs, r13),
    offsetof(struct cpu_user_regs, r14), offsetof(struct cpu_user_regs, r15),
};

static uint64_t *execute_reg(struct emulate_ctx *ctx, unsigned reg)
{
    return (uint64_t *)((char *)ctx->regs + execute_reg_offset[reg & 15]);
}

uint64_t emulate_reg_read(struct emulate_ctx *ctx, unsigned reg, unsigned bytes)
{
    if (reg >= 16) {
        return *execute_reg(ctx, reg - 16) >> 8 & 0xff;
    }
    return emulate_alu_cut(*execute_reg(ctx, reg), bytes);
}

void emulate_reg_write(struct emulate_ctx *ctx, unsigned reg, unsigned bytes, uint64_t value)
{
    uint64_t *r = execute_reg(ctx, reg >= 16 ? reg - 16 : reg), mask;

    if (reg >= 16) {
        *r = (*r & ~0xff00ull) | (value & 0xff) << 8;
    } else if (bytes >= 4) {
        *r = emulate_alu_cut(value, bytes); /* 32-bit results clear the upper half */
    } else {
        mask = emulate_alu_cut(UINT64_MAX, bytes);
        *r = (*r & ~mask) | (value & mask);
    }
}

enum emulate_result emulate_raise(struct emulate_ctx *ctx, uint8_t vector, int64_t error_code)
{
    ctx->exception = (struct emulate_exception){
        .vector = vector,
        .has_error_code = error_code >= 0,
        .error_code = error_code >= 0 ? (uint32_t)error_code : 0,
    };
    return EMULATE_EXCEPTION;
}

enum emulate_result emulate_linear(const struct insn *insn, struct emulate_ctx *ctx,
                                   enum emulate_segment segment, uint64_t offset, uint64_t *linear)
{
    uint64_t base = 0;

    offset = emulate_alu_cut(offset, insn->addr_bytes);
    if (insn->mode != EMULATE_MODE_64 || segment >= EMULATE_FS) {
        enum emulate_result rc = EMULATE_UNHANDLED;

        if (ctx->ops->segment_base) {
            rc = ctx->ops->segment_base(ctx, segment, &base);
        }
        if (rc != EMULATE_OK) {
            return rc;
        }
    }
    *linear = base + offset;
    if (insn->mode != EMULATE_MODE_64) {
        *linear = (uint32_t)*linear;
    } else if ((int64_t)(*linear << 16) >> 16 != (int64_t)*linear) {
        return emulate_raise(ctx, segment == EMULATE_SS ? EXECUTE_SS : EXECUTE_GP, 0);
    }
    return EMULATE_OK;
}

/* Register, scaled register, displacement: before the segment. */
static uint64_t execute_offset(const struct insn *insn, struct emulate_ctx *ctx)
{
    uint64_t offset = (uint64_t)insn->disp;

    if (insn->base >= 0) {
        offset += *execute_reg(ctx, (unsigned)insn->base);
    }
    if (insn->index >= 0) {
        offset += *execute_reg(ctx, (unsigned)insn->index) * insn->scale;
    }
    if (insn->rip_relative) {
        offset += ctx->regs->rip + insn->length;
    }
    return offset;
}

/* A bit number in a register may reach beyond the operand: it is a signed index into memory. */
static uint64_t execute_bit_offset(const struct insn *insn, struct emulate_ctx *ctx)
{
    unsigned bytes = insn->dst.bytes, log2_bits;
    int64_t bit;

    if (insn->op < INSN_BT || insn->op > INSN_BTC || insn->src.kind != OPERAND_REG) {
        return 0;
    }
    log2_bits = 3 + (unsigned)__builtin_ctz(bytes);
    bit = (int64_t)emulate_alu_extend(emulate_reg_read(ctx, insn->src.reg, bytes), bytes);
    return (uint64_t)(bit >> log2_bits) * bytes;
}

enum emulate_result emulate_address(const struct insn *insn, struct emulate_ctx *ctx,
                                    uint64_t *linear)
{
    return emulate_linear(insn, ctx, (enum emulate_segment)insn->segment,
                          execute_offset(insn, ctx) + execute_bit_offset(insn, ctx), linear);
}

enum emulate_result emulate_mem_read(struct emulate_ctx *ctx, uint64_t addr, unsigned bytes,
                                     uint64_t *value)
{
    *value = 0;
    return ctx->ops->read ? ctx->ops->read(ctx, addr, value, bytes) : EMULATE_UNHANDLED;
}

enum emulate_result emulate_mem_write(struct emulate_ctx *ctx, uint64_t addr, unsigned bytes,
                                      uint64_t value)
{
    return ctx->ops->write ? ctx->ops->write(ctx, addr, &value, bytes) : EMULATE_UNHANDLED;
}

enum emulate_result emulate_operand_read(const struct insn *insn, struct emulate_ctx *ctx,
                                         const struct emulate_operand *o, uint64_t *value)
{
    enum emulate_result rc;
    uint64_t addr;

    switch (o->kind) {
    case OPERAND_REG:
        *value = emulate_reg_read(ctx, o->reg, o->bytes);
        return EMULATE_OK;
    case OPERAND_MEM:
        rc = emulate_address(insn, ctx, &addr);
        return rc != EMULATE_OK ? rc : emulate_mem_read(ctx, addr, o->bytes, value);
    default:
        *value = emulate_alu_cut(o->value, o->bytes);
        return EMULATE_OK;
    }
}

enum emulate_result emulate_operand_write(const struct insn *insn, struct emulate_ctx *ctx,
                                          const struct emulate_operand *o, uint64_t value)
{
    enum emulate_result rc;
    uint64_t addr;

    if (o->kind == OPERAND_REG) {
        emulate_reg_write(ctx, o->reg, o->bytes, value);
        return EMULATE_OK;
    }
    rc = emulate_address(insn, ctx, &addr);
    return rc != EMULATE_OK ? rc : emulate_mem_write(ctx, addr, o->bytes, value);
}

/* What a read-modify-write instruction makes of dst and src. */
static uint64_t execute_combine(const struct insn *insn, uint64_t dst, uint64_t src,
                                uint64_t *flags)
{
    if (insn->op == INSN_XCHG) {
        return src;
    }
    return emulate_alu(insn->op == INSN_XADD ? INSN_ADD : (enum emulate_op)insn->op, dst, src,
                       insn->dst.bytes, flags);
}

/* Read-modify-write of memory through compare-and-swap, so that it is atomic with or without a
 * LOCK prefix. *old: what memory held. */
static enum emulate_result execute_rmw_memory(const struct insn *insn, struct emulate_ctx *ctx,
                                              uint64_t src, uint64_t *old, uint64_t *flags)
{
    unsigned bytes = insn->dst.bytes;
    const uint64_t flags_before = *flags;
    uint64_t addr;
    enum emulate_result rc = emulate_address(insn, ctx, &addr);

    if (rc == EMULATE_OK) {
        rc = emulate_mem_read(ctx, addr, bytes, old);
    }
    if (rc == EMULATE_OK && !ctx->ops->cmpxchg) {
        if (insn->lock || insn->op == INSN_XCHG) {
            return EMULATE_UNHANDLED;
        }
        return emulate_mem_write(ctx, addr, bytes, execute_combine(insn, *old, src, flags));
    }
    for (unsigned i = 0; rc == EMULATE_OK && i < EXECUTE_SWAP_TRIES; i++) {
        bool swapped = false;
        uint64_t new;

        *flags = flags_before;
        new = execute_combine(insn, *old, src, flags);
        rc = ctx->ops->cmpxchg(ctx, addr, old, &new, bytes, &swapped);
        if (rc == EMULATE_OK && swapped) {
            return EMULATE_OK;
        }
    }
    return rc == EMULATE_OK ? EMULATE_RETRY : rc;
}

static bool execute_only_compares(const struct insn *insn)
{
    return insn->op == INSN_CMP || insn->op == INSN_TEST || insn->op == INSN_BT;
}

/* ADD and its like, INC, NOT, BTS, ..., XCHG and XADD. */
static enum emulate_result execute_arithmetic(const struct insn *insn, struct emulate_ctx *ctx)
{
    bool swaps = insn->op == INSN_XCHG || insn->op == INSN_XADD;
    uint64_t flags = ctx->regs->rflags, dst = 0, src = 0, result;
    enum emulate_result rc = EMULATE_OK;

    if (insn->src.kind != OPERAND_NONE) {
        rc = emulate_operand_read(insn, ctx, &insn->src, &src);
    }
    if (rc != EMULATE_OK) {
        return rc;
    }
    if (insn->dst.kind == OPERAND_MEM && !execute_only_compares(insn)) {
        rc = execute_rmw_memory(insn, ctx, src, &dst, &flags);
    } else {
        rc = emulate_operand_read(insn, ctx, &insn->dst, &dst);
        if (rc == EMULATE_OK) {
            result = execute_combine(insn, dst, src, &flags);
            if (!execute_only_compares(insn)) {
                if (swaps) {
                    emulate_reg_write(ctx, insn->src.reg, insn->src.bytes, dst);
                }
                emulate_reg_write(ctx, insn->dst.reg, insn->dst.bytes, result);
            }
        }
    }
    if (rc == EMULATE_OK) {
        if (swaps && insn->dst.kind == OPERAND_MEM) {
            emulate_reg_write(ctx, insn->src.reg, insn->src.bytes, dst);
        }
        ctx->regs->rflags = flags;
    }
    return rc;
}

static enum emulate_result execute_mov(const struct insn *insn, struct emulate_ctx *ctx)
{
    uint64_t value;
    enum emulate_result rc = emulate_operand_read(insn, ctx, &insn->src, &value);

    if (rc != EMULATE_OK) {
        return rc;
    }
    if (insn->op == INSN_MOVSX) {
        value = emulate_alu_extend(value, insn->src.bytes);
    }
    return emulate_operand_write(insn, ctx, &insn->dst, value);
}

static enum emulate_result execute_cmpxchg(const struct insn *insn, struct emulate_ctx *ctx)
{
    unsigned bytes = insn->dst.bytes;
    uint64_t expected = emulate_reg_read(ctx, 0, bytes), seen = expected, addr;
    uint64_t new = emulate_reg_read(ctx, insn->src.reg, bytes), flags = ctx->regs->rflags;
    bool swapped;

    if (insn->dst.kind == OPERAND_MEM) {
        enum emulate_result rc = emulate_address(insn, ctx, &addr);

        if (rc == EMULATE_OK) {
            rc = ctx->ops->cmpxchg ? ctx->ops->cmpxchg(ctx, addr, &seen, &new, bytes, &swapped)
                                   : EMULATE_UNHANDLED;
        }
        if (rc != EMULATE_OK) {
            return rc;
        }
        seen = emulate_alu_cut(seen, bytes);
    } else {
        seen = emulate_reg_read(ctx, insn->dst.reg, bytes);
        if (seen == expected) {
            emulate_reg_write(ctx, insn->dst.reg, bytes, new);
        }
    }
    emulate_alu(INSN_CMP, expected, seen, bytes, &flags);
    ctx->regs->rflags = flags;
    if (seen != expected) {
        emulate_reg_write(ctx, 0, bytes, seen);
    }
    return EMULATE_OK;
}

/* CMPXCHG8B and CMPXCHG16B: EDX:EAX against memory, ECX:EBX to be stored. */
static enum emulate_result execute_cmpxchg_pair(const struct insn *insn, struct emulate_ctx *ctx)
{
    unsigned half = insn->dst.bytes / 2;
    uint64_t old[2] = {emulate_reg_read(ctx, 0, half), emulate_reg_read(ctx, 2, half)};
    uint64_t new[2] = {emulate_reg_read(ctx, 3, half), emulate_reg_read(ctx, 1, half)};
    bool swapped = false;
    uint64_t addr;
    enum emulate_result rc = emulate_address(insn, ctx, &addr);

    if (rc != EMULATE_OK) {
        return rc;
    }
    if (half == 8 && (addr & 15)) {
        return emulate_raise(ctx, EXECUTE_GP, 0);
    }
    if (half == 4) {
        old[0] |= old[1] << 32;
        new[0] |= new[1] << 32;
    }
    rc = ctx->ops->cmpxchg ? ctx->ops->cmpxchg(ctx, addr, old, new, 2 * half, &swapped)
                           : EMULATE_UNHANDLED;
    if (rc != EMULATE_OK) {
        return rc;
    }
    if (half == 4) {
        old[1] = old[0] >> 32;
    }
    if (!swapped) {
        emulate_reg_write(ctx, 0, half, old[0]);
        emulate_reg_write(ctx, 2, half, old[1]);
    }
    ctx->regs->rflags = (ctx->regs->rflags & ~(uint64_t)ALU_ZF) | (swapped ? ALU_ZF : 0);
    return EMULATE_OK;
}

static enum emulate_result execute_any(const struct insn *insn, struct emulate_ctx *ctx)
{
    if (insn->op >= INSN_CPUID) {
        return emulate_system(insn, ctx);
    }
    switch (insn->op) {
    case INSN_MOV:
    case INSN_MOVZX:
    case INSN_MOVSX:
        return execute_mov(insn, ctx);
    case INSN_CMPXCHG:
        return execute_cmpxchg(insn, ctx);
    case INSN_CMPXCHG_PAIR:
        return execute_cmpxchg_pair(insn, ctx);
    case INSN_NOP:
        return EMULATE_OK;
    case INSN_STOS:
    case INSN_LODS:
    case INSN_MOVS:
    case INSN_INS:
    case INSN_OUTS:
        return emulate_string(insn, ctx);
    default:
        break;
    }
    if (insn->op == INSN_XCHG || insn->op == INSN_XADD ||
        (insn->op >= INSN_ADD && insn->op <= INSN_BTC)) {
        return execute_arithmetic(insn, ctx);
    }
    return emulate_system(insn, ctx);
}

enum emulate_result emulate_execute(const struct insn *insn, struct emulate_ctx *ctx)
{
    enum emulate_result rc = execute_any(insn, ctx);

    if (rc == EMULATE_OK) {
        uint64_t next = ctx->regs->rip + insn->length;

        ctx->regs->rip = insn->mode == EMULATE_MODE_64 ? next : (uint32_t)next;
        ctx->regs->rflags &= ~(uint64_t)EXECUTE_RF;
    }
    return rc;
}

bool emulate_writes_memory(const struct insn *insn)
{
    if (insn->op == INSN_STOS || insn->op == INSN_MOVS || insn->op == INSN_INS) {
        return true;
    }
    return insn->dst.kind == OPERAND_MEM && !execute_only_compares(insn) && insn->op != INSN_NOP &&
           insn->op != INSN_INVLPG;
}
