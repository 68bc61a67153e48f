// SPDX-License-Identifier: BSD-2-Clause
#define __XEN_TOOLS__ 1
#include "x86/emulate/emulate_execute.h"

#include <xen/xen.h>

enum {
    SYSTEM_CR0_PE = 1 << 0,
    SYSTEM_CR0_LOW = 0xf, /* what LMSW loads: PE MP EM TS */
    SYSTEM_CR0_TS = 1 << 3,
};

/* 64-bit result in EDX:EAX, both halves zero-extended. */
static void system_set_pair(struct emulate_ctx *ctx, uint64_t value)
{
    ctx->regs->rax = (uint32_t)value;
    ctx->regs->rdx = value >> 32;
}

static uint64_t system_pair(const struct emulate_ctx *ctx)
{
    return (uint64_t)ctx->regs->edx << 32 | ctx->regs->eax;
}

static enum emulate_result system_in(const struct insn *insn, struct emulate_ctx *ctx)
{
    uint32_t value = 0;
    uint64_t port = 0;
    enum emulate_result rc = emulate_operand_read(insn, ctx, &insn->src, &port);

    if (rc == EMULATE_OK) {
        rc = ctx->ops->read_port ? ctx->ops->read_port(ctx, (uint16_t)port, insn->dst.bytes, &value)
                                 : EMULATE_UNHANDLED;
    }
    if (rc == EMULATE_OK) {
        emulate_reg_write(ctx, 0, insn->dst.bytes, value);
    }
    return rc;
}

static enum emulate_result system_out(const struct insn *insn, struct emulate_ctx *ctx)
{
    uint64_t port = 0;
    enum emulate_result rc = emulate_operand_read(insn, ctx, &insn->dst, &port);

    if (rc != EMULATE_OK || !ctx->ops->write_port) {
        return rc != EMULATE_OK ? rc : EMULATE_UNHANDLED;
    }
    return ctx->ops->write_port(ctx, (uint16_t)port, insn->src.bytes,
                                (uint32_t)emulate_reg_read(ctx, 0, insn->src.bytes));
}

static enum emulate_result system_cpuid(struct emulate_ctx *ctx)
{
    uint32_t out[4] = {0};
    enum emulate_result rc = EMULATE_UNHANDLED;

    if (ctx->ops->cpuid) {
        rc = ctx->ops->cpuid(ctx, ctx->regs->eax, ctx->regs->ecx, out);
    }
    if (rc == EMULATE_OK) {
        ctx->regs->rax = out[0];
        ctx->regs->rbx = out[1];
        ctx->regs->rcx = out[2];
        ctx->regs->rdx = out[3];
    }
    return rc;
}

/* RDMSR, RDPMC, XGETBV: a register named by ECX into EDX:EAX. */
static enum emulate_result system_read_indexed(struct emulate_ctx *ctx,
                                               enum emulate_result (*read)(struct emulate_ctx *,
                                                                           uint32_t, uint64_t *))
{
    uint64_t value = 0;
    enum emulate_result rc = read ? read(ctx, ctx->regs->ecx, &value) : EMULATE_UNHANDLED;

    if (rc == EMULATE_OK) {
        system_set_pair(ctx, value);
    }
    return rc;
}

/* WRMSR, XSETBV. */
static enum emulate_result system_write_indexed(struct emulate_ctx *ctx,
                                                enum emulate_result (*write)(struct emulate_ctx *,
                                                                             uint32_t, uint64_t))
{
    return write ? write(ctx, ctx->regs->ecx, system_pair(ctx)) : EMULATE_UNHANDLED;
}

static enum emulate_result system_rdtsc(const struct insn *insn, struct emulate_ctx *ctx)
{
    uint64_t tsc = 0;
    uint32_t aux = 0;
    enum emulate_result rc = EMULATE_OK;

    if (insn->op == INSN_RDTSCP) {
        rc = ctx->ops->read_tsc_aux ? ctx->ops->read_tsc_aux(ctx, &aux) : EMULATE_UNHANDLED;
    }
    if (rc == EMULATE_OK) {
        rc = ctx->ops->read_tsc ? ctx->ops->read_tsc(ctx, &tsc) : EMULATE_UNHANDLED;
    }
    if (rc == EMULATE_OK) {
        system_set_pair(ctx, tsc);
        if (insn->op == INSN_RDTSCP) {
            ctx->regs->rcx = aux;
        }
    }
    return rc;
}

/* Control registers 0, 2, 3, 4 and 8 exist, and DR0 to DR7; the others are #UD. */
static bool system_register_exists(const struct insn *insn, unsigned n)
{
    if (insn->op == INSN_MOV_FROM_DR || insn->op == INSN_MOV_TO_DR) {
        return n < 8;
    }
    return n == 0 || n == 2 || n == 3 || n == 4 || (n == 8 && insn->mode == EMULATE_MODE_64);
}

static enum emulate_result system_mov_from(const struct insn *insn, struct emulate_ctx *ctx)
{
    enum emulate_result (*read)(struct emulate_ctx *, unsigned, uint64_t *) =
        insn->op == INSN_MOV_FROM_CR ? ctx->ops->read_cr : ctx->ops->read_dr;
    uint64_t value = 0;
    enum emulate_result rc = EMULATE_UNHANDLED;

    if (!system_register_exists(insn, insn->src.reg)) {
        return emulate_raise(ctx, EXECUTE_UD, -1);
    }
    if (read) {
        rc = read(ctx, insn->src.reg, &value);
    }
    if (rc == EMULATE_OK) {
        emulate_reg_write(ctx, insn->dst.reg, insn->dst.bytes, value);
    }
    return rc;
}

static enum emulate_result system_mov_to(const struct insn *insn, struct emulate_ctx *ctx)
{
    enum emulate_result (*write)(struct emulate_ctx *, unsigned, uint64_t) =
        insn->op == INSN_MOV_TO_CR ? ctx->ops->write_cr : ctx->ops->write_dr;

    if (!system_register_exists(insn, insn->dst.reg)) {
        return emulate_raise(ctx, EXECUTE_UD, -1);
    }
    return write ? write(ctx, insn->dst.reg, emulate_reg_read(ctx, insn->src.reg, insn->src.bytes))
                 : EMULATE_UNHANDLED;
}

/* SMSW, LMSW and CLTS are views of CR0. */
static enum emulate_result system_cr0(const struct insn *insn, struct emulate_ctx *ctx)
{
    uint64_t cr0 = 0, src = 0;
    enum emulate_result rc = EMULATE_UNHANDLED;

    if (ctx->ops->read_cr) {
        rc = ctx->ops->read_cr(ctx, 0, &cr0);
    }
    if (rc != EMULATE_OK) {
        return rc;
    }
    if (insn->op == INSN_SMSW) {
        return emulate_operand_write(insn, ctx, &insn->dst, cr0);
    }
    if (!ctx->ops->write_cr) {
        return EMULATE_UNHANDLED;
    }
    if (insn->op == INSN_CLTS) {
        return ctx->ops->write_cr(ctx, 0, cr0 & ~(uint64_t)SYSTEM_CR0_TS);
    }
    rc = emulate_operand_read(insn, ctx, &insn->src, &src);
    if (rc != EMULATE_OK) {
        return rc;
    }
    /* LMSW can set PE but not clear it. */
    src = (src & SYSTEM_CR0_LOW) | (cr0 & SYSTEM_CR0_PE);
    return ctx->ops->write_cr(ctx, 0, (cr0 & ~(uint64_t)SYSTEM_CR0_LOW) | src);
}

/* The address is not accessed, so it need not even be canonical. */
static enum emulate_result system_invlpg(const struct insn *insn, struct emulate_ctx *ctx)
{
    uint64_t addr = 0;
    enum emulate_result rc;

    if (!ctx->ops->invlpg) {
        return EMULATE_UNHANDLED;
    }
    rc = emulate_address(insn, ctx, &addr);
    if (rc == EMULATE_EXCEPTION) {
        return EMULATE_OK;
    }
    return rc != EMULATE_OK ? rc : ctx->ops->invlpg(ctx, addr);
}

enum emulate_result emulate_system(const struct insn *insn, struct emulate_ctx *ctx)
{
    const struct emulate_ops *ops = ctx->ops;

    switch (insn->op) {
    case INSN_IN:
        return system_in(insn, ctx);
    case INSN_OUT:
        return system_out(insn, ctx);
    case INSN_CPUID:
        return system_cpuid(ctx);
    case INSN_RDMSR:
        return system_read_indexed(ctx, ops->read_msr);
    case INSN_WRMSR:
        return system_write_indexed(ctx, ops->write_msr);
    case INSN_RDTSC:
    case INSN_RDTSCP:
        return system_rdtsc(insn, ctx);
    case INSN_RDPMC:
        return system_read_indexed(ctx, ops->read_pmc);
    case INSN_XGETBV:
        return system_read_indexed(ctx, ops->read_xcr);
    case INSN_XSETBV:
        return system_write_indexed(ctx, ops->write_xcr);
    case INSN_MOV_FROM_CR:
    case INSN_MOV_FROM_DR:
        return system_mov_from(insn, ctx);
    case INSN_MOV_TO_CR:
    case INSN_MOV_TO_DR:
        return system_mov_to(insn, ctx);
    case INSN_CLTS:
    case INSN_LMSW:
    case INSN_SMSW:
        return system_cr0(insn, ctx);
    case INSN_HLT:
        return ops->hlt ? ops->hlt(ctx) : EMULATE_UNHANDLED;
    case INSN_INVLPG:
        return system_invlpg(insn, ctx);
    case INSN_INVD:
    case INSN_WBINVD:
        return ops->wbinvd ? ops->wbinvd(ctx, insn->op == INSN_WBINVD) : EMULATE_UNHANDLED;
    case INSN_CLI:
    case INSN_STI:
        return ops->set_if ? ops->set_if(ctx, insn->op == INSN_STI) : EMULATE_UNHANDLED;
    case INSN_CLAC:
    case INSN_STAC:
        return ops->set_ac ? ops->set_ac(ctx, insn->op == INSN_STAC) : EMULATE_UNHANDLED;
    default:
        return EMULATE_UNHANDLED;
    }
}

static const char *const system_names[] = {
    [INSN_INVALID] = "invalid",
    [INSN_MOV] = "mov",
    [INSN_MOVZX] = "movzx",
    [INSN_MOVSX] = "movsx",
    [INSN_XCHG] = "xchg",
    [INSN_XADD] = "xadd",
    [INSN_CMPXCHG] = "cmpxchg",
    [INSN_CMPXCHG_PAIR] = "cmpxchg8b/16b",
    [INSN_ADD] = "add",
    [INSN_OR] = "or",
    [INSN_ADC] = "adc",
    [INSN_SBB] = "sbb",
    [INSN_AND] = "and",
    [INSN_SUB] = "sub",
    [INSN_XOR] = "xor",
    [INSN_CMP] = "cmp",
    [INSN_TEST] = "test",
    [INSN_INC] = "inc",
    [INSN_DEC] = "dec",
    [INSN_NOT] = "not",
    [INSN_NEG] = "neg",
    [INSN_BT] = "bt",
    [INSN_BTS] = "bts",
    [INSN_BTR] = "btr",
    [INSN_BTC] = "btc",
    [INSN_STOS] = "stos",
    [INSN_LODS] = "lods",
    [INSN_MOVS] = "movs",
    [INSN_NOP] = "nop",
    [INSN_IN] = "in",
    [INSN_OUT] = "out",
    [INSN_INS] = "ins",
    [INSN_OUTS] = "outs",
    [INSN_CPUID] = "cpuid",
    [INSN_RDMSR] = "rdmsr",
    [INSN_WRMSR] = "wrmsr",
    [INSN_RDTSC] = "rdtsc",
    [INSN_RDTSCP] = "rdtscp",
    [INSN_RDPMC] = "rdpmc",
    [INSN_XGETBV] = "xgetbv",
    [INSN_XSETBV] = "xsetbv",
    [INSN_MOV_FROM_CR] = "mov from cr",
    [INSN_MOV_TO_CR] = "mov to cr",
    [INSN_MOV_FROM_DR] = "mov from dr",
    [INSN_MOV_TO_DR] = "mov to dr",
    [INSN_CLTS] = "clts",
    [INSN_LMSW] = "lmsw",
    [INSN_SMSW] = "smsw",
    [INSN_HLT] = "hlt",
    [INSN_INVLPG] = "invlpg",
    [INSN_INVD] = "invd",
    [INSN_WBINVD] = "wbinvd",
    [INSN_CLI] = "cli",
    [INSN_STI] = "sti",
    [INSN_CLAC] = "clac",
    [INSN_STAC] = "stac",
    [INSN_MONITOR] = "monitor",
    [INSN_MWAIT] = "mwait",
    [INSN_SWAPGS] = "swapgs",
};

const char *emulate_name(const struct insn *insn)
{
    return insn->op < sizeof(system_names) / sizeof(system_names[0]) ? system_names[insn->op]
                                                                     : "unknown";
}
