// SPDX-License-Identifier: BSD-2-Clause
#define __XEN_TOOLS__ 1
#include "x86/emulate/emulate_execute.h"

#include <xen/xen.h>

#include "x86/emulate/emulate_alu.h"

enum {
    STRING_RCX = 1,
    STRING_RSI = 6,
    STRING_RDI = 7,
    STRING_REPEAT_DEFAULT = 1024,
};

static enum emulate_result string_source(const struct insn *insn, struct emulate_ctx *ctx,
                                         uint64_t *addr)
{
    return emulate_linear(insn, ctx, (enum emulate_segment)insn->segment,
                          emulate_reg_read(ctx, STRING_RSI, insn->addr_bytes), addr);
}

static enum emulate_result string_dest(const struct insn *insn, struct emulate_ctx *ctx,
                                       uint64_t *addr)
{
    return emulate_linear(insn, ctx, EMULATE_ES,
                          emulate_reg_read(ctx, STRING_RDI, insn->addr_bytes), addr);
}

static enum emulate_result string_in(const struct insn *insn, struct emulate_ctx *ctx,
                                     uint64_t dest)
{
    unsigned bytes = insn->dst.bytes;
    uint64_t probe;
    uint32_t value = 0;
    enum emulate_result rc;

    if (!ctx->ops->read_port) {
        return EMULATE_UNHANDLED;
    }
    /* A missing page must show before the device gives up its data. */
    rc = emulate_mem_read(ctx, dest, bytes, &probe);
    if (rc == EMULATE_OK) {
        rc = ctx->ops->read_port(ctx, (uint16_t)ctx->regs->rdx, bytes, &value);
    }
    return rc != EMULATE_OK ? rc : emulate_mem_write(ctx, dest, bytes, value);
}

static enum emulate_result string_out(const struct insn *insn, struct emulate_ctx *ctx,
                                      uint64_t source)
{
    uint64_t value;
    enum emulate_result rc;

    if (!ctx->ops->write_port) {
        return EMULATE_UNHANDLED;
    }
    rc = emulate_mem_read(ctx, source, insn->dst.bytes, &value);
    if (rc != EMULATE_OK) {
        return rc;
    }
    return ctx->ops->write_port(ctx, (uint16_t)ctx->regs->rdx, insn->dst.bytes, (uint32_t)value);
}

static bool string_has_source(const struct insn *insn)
{
    return insn->op == INSN_MOVS || insn->op == INSN_LODS || insn->op == INSN_OUTS;
}

static bool string_has_dest(const struct insn *insn)
{
    return insn->op == INSN_MOVS || insn->op == INSN_STOS || insn->op == INSN_INS;
}

/* One element, without moving the pointers. */
static enum emulate_result string_element(const struct insn *insn, struct emulate_ctx *ctx)
{
    unsigned bytes = insn->dst.bytes;
    uint64_t source = 0, dest = 0, value = 0;
    enum emulate_result rc = EMULATE_OK;

    if (string_has_source(insn)) {
        rc = string_source(insn, ctx, &source);
    }
    if (rc == EMULATE_OK && string_has_dest(insn)) {
        rc = string_dest(insn, ctx, &dest);
    }
    if (rc != EMULATE_OK) {
        return rc;
    }
    switch (insn->op) {
    case INSN_INS:
        return string_in(insn, ctx, dest);
    case INSN_OUTS:
        return string_out(insn, ctx, source);
    case INSN_STOS:
        return emulate_mem_write(ctx, dest, bytes, emulate_reg_read(ctx, 0, bytes));
    case INSN_LODS:
        rc = emulate_mem_read(ctx, source, bytes, &value);
        if (rc == EMULATE_OK) {
            emulate_reg_write(ctx, 0, bytes, value);
        }
        return rc;
    default:
        rc = emulate_mem_read(ctx, source, bytes, &value);
        return rc != EMULATE_OK ? rc : emulate_mem_write(ctx, dest, bytes, value);
    }
}

static void string_move(const struct insn *insn, struct emulate_ctx *ctx, unsigned reg)
{
    unsigned size = insn->addr_bytes;
    uint64_t step = insn->dst.bytes;

    if (ctx->regs->rflags & EXECUTE_DF_FLAG) {
        step = 0 - step;
    }
    emulate_reg_write(ctx, reg, size, emulate_reg_read(ctx, reg, size) + step);
}

static enum emulate_result string_step(const struct insn *insn, struct emulate_ctx *ctx)
{
    enum emulate_result rc = string_element(insn, ctx);

    if (rc != EMULATE_OK) {
        return rc;
    }
    if (string_has_source(insn)) {
        string_move(insn, ctx, STRING_RSI);
    }
    if (string_has_dest(insn)) {
        string_move(insn, ctx, STRING_RDI);
    }
    return EMULATE_OK;
}

enum emulate_result emulate_string(const struct insn *insn, struct emulate_ctx *ctx)
{
    unsigned max = ctx->repeat_max ? ctx->repeat_max : STRING_REPEAT_DEFAULT;
    unsigned size = insn->addr_bytes;
    uint64_t left;

    if (!insn->rep && !insn->repne) {
        return string_step(insn, ctx);
    }
    while ((left = emulate_reg_read(ctx, STRING_RCX, size)) != 0) {
        enum emulate_result rc;

        if (max-- == 0) {
            return EMULATE_RETRY;
        }
        rc = string_step(insn, ctx);
        if (rc != EMULATE_OK) {
            return rc;
        }
        emulate_reg_write(ctx, STRING_RCX, size, left - 1);
    }
    return EMULATE_OK;
}
