// SPDX-License-Identifier: BSD-2-Clause
#include "emulate_host.h"

#include <string.h>

enum { HOST_PF = 14 };

static struct emulate_host *host_of(struct emulate_ctx *ctx)
{
    return ctx->owner;
}

static uint8_t *host_at(struct emulate_ctx *ctx, uint64_t addr, unsigned bytes, uint32_t error)
{
    struct emulate_host *h = host_of(ctx);

    h->accesses++;
    h->last_addr = addr;
    h->last_bytes = bytes;
    if (addr < h->base || addr - h->base > HOST_WINDOW - bytes) {
        emulate_raise(ctx, HOST_PF, error);
        ctx->exception.cr2 = addr;
        return NULL;
    }
    return h->memory + (addr - h->base);
}

static enum emulate_result host_read(struct emulate_ctx *ctx, uint64_t addr, void *data,
                                     unsigned bytes)
{
    uint8_t *p = host_at(ctx, addr, bytes, 4);

    if (!p) {
        return EMULATE_EXCEPTION;
    }
    memcpy(data, p, bytes);
    return EMULATE_OK;
}

static enum emulate_result host_write(struct emulate_ctx *ctx, uint64_t addr, const void *data,
                                      unsigned bytes)
{
    uint8_t *p = host_at(ctx, addr, bytes, 6);

    if (!p) {
        return EMULATE_EXCEPTION;
    }
    memcpy(p, data, bytes);
    return EMULATE_OK;
}

static enum emulate_result host_cmpxchg(struct emulate_ctx *ctx, uint64_t addr, void *old,
                                        const void *new, unsigned bytes, bool *swapped)
{
    struct emulate_host *h = host_of(ctx);
    uint8_t *p = host_at(ctx, addr, bytes, 6);

    if (!p) {
        return EMULATE_EXCEPTION;
    }
    if (h->swap_losses) {
        h->swap_losses--;
        p[0]++;
    }
    *swapped = memcmp(p, old, bytes) == 0;
    memcpy(*swapped ? (void *)p : old, *swapped ? new : p, bytes);
    return EMULATE_OK;
}

static enum emulate_result host_segment(struct emulate_ctx *ctx, enum emulate_segment segment,
                                        uint64_t *base)
{
    *base = host_of(ctx)->seg_base[segment];
    return EMULATE_OK;
}

static enum emulate_result host_read_port(struct emulate_ctx *ctx, uint16_t port, unsigned bytes,
                                          uint32_t *value)
{
    struct emulate_host *h = host_of(ctx);

    h->last_port = port;
    h->last_bytes = bytes;
    *value = (uint32_t)h->port_value++;
    return EMULATE_OK;
}

static enum emulate_result host_write_port(struct emulate_ctx *ctx, uint16_t port, unsigned bytes,
                                           uint32_t value)
{
    struct emulate_host *h = host_of(ctx);

    h->last_port = port;
    h->last_bytes = bytes;
    h->port_value = value;
    return EMULATE_OK;
}

static enum emulate_result host_read_cr(struct emulate_ctx *ctx, unsigned cr, uint64_t *value)
{
    *value = host_of(ctx)->cr[cr];
    return EMULATE_OK;
}

static enum emulate_result host_write_cr(struct emulate_ctx *ctx, unsigned cr, uint64_t value)
{
    host_of(ctx)->cr[cr] = value;
    return EMULATE_OK;
}

static enum emulate_result host_read_dr(struct emulate_ctx *ctx, unsigned dr, uint64_t *value)
{
    *value = host_of(ctx)->dr[dr];
    return EMULATE_OK;
}

static enum emulate_result host_write_dr(struct emulate_ctx *ctx, unsigned dr, uint64_t value)
{
    host_of(ctx)->dr[dr] = value;
    return EMULATE_OK;
}

static enum emulate_result host_read_msr(struct emulate_ctx *ctx, uint32_t msr, uint64_t *value)
{
    host_of(ctx)->last_msr = msr;
    *value = host_of(ctx)->msr_value;
    return EMULATE_OK;
}

static enum emulate_result host_write_msr(struct emulate_ctx *ctx, uint32_t msr, uint64_t value)
{
    host_of(ctx)->last_msr = msr;
    host_of(ctx)->msr_value = value;
    return EMULATE_OK;
}

static enum emulate_result host_cpuid(struct emulate_ctx *ctx, uint32_t leaf, uint32_t subleaf,
                                      uint32_t out[4])
{
    out[0] = leaf + 1;
    out[1] = subleaf + 2;
    out[2] = 3;
    out[3] = 0xffffffff;
    return EMULATE_OK;
}

static enum emulate_result host_read_tsc(struct emulate_ctx *ctx, uint64_t *tsc)
{
    *tsc = host_of(ctx)->tsc;
    return EMULATE_OK;
}

static enum emulate_result host_read_tsc_aux(struct emulate_ctx *ctx, uint32_t *aux)
{
    *aux = host_of(ctx)->tsc_aux;
    return EMULATE_OK;
}

static enum emulate_result host_read_pmc(struct emulate_ctx *ctx, uint32_t counter, uint64_t *value)
{
    *value = host_of(ctx)->pmc + counter;
    return EMULATE_OK;
}

static enum emulate_result host_read_xcr(struct emulate_ctx *ctx, uint32_t xcr, uint64_t *value)
{
    if (xcr != 0) {
        return emulate_raise(ctx, 13, 0);
    }
    *value = host_of(ctx)->xcr0;
    return EMULATE_OK;
}

static enum emulate_result host_write_xcr(struct emulate_ctx *ctx, uint32_t xcr, uint64_t value)
{
    if (xcr != 0) {
        return emulate_raise(ctx, 13, 0);
    }
    host_of(ctx)->xcr0 = value;
    return EMULATE_OK;
}

static enum emulate_result host_set_if(struct emulate_ctx *ctx, bool enable)
{
    host_of(ctx)->if_flag = enable;
    return EMULATE_OK;
}

static enum emulate_result host_set_ac(struct emulate_ctx *ctx, bool enable)
{
    host_of(ctx)->ac_flag = enable;
    return EMULATE_OK;
}

static enum emulate_result host_invlpg(struct emulate_ctx *ctx, uint64_t addr)
{
    host_of(ctx)->last_addr = addr;
    return EMULATE_OK;
}

static enum emulate_result host_wbinvd(struct emulate_ctx *ctx, bool write_back)
{
    host_of(ctx)->wrote_back = write_back;
    return EMULATE_OK;
}

static enum emulate_result host_hlt(struct emulate_ctx *ctx)
{
    host_of(ctx)->halted = true;
    return EMULATE_OK;
}

static const struct emulate_ops host_ops = {
    .read = host_read,
    .write = host_write,
    .cmpxchg = host_cmpxchg,
    .segment_base = host_segment,
    .read_port = host_read_port,
    .write_port = host_write_port,
    .read_cr = host_read_cr,
    .write_cr = host_write_cr,
    .read_dr = host_read_dr,
    .write_dr = host_write_dr,
    .read_msr = host_read_msr,
    .write_msr = host_write_msr,
    .cpuid = host_cpuid,
    .read_tsc = host_read_tsc,
    .read_tsc_aux = host_read_tsc_aux,
    .read_pmc = host_read_pmc,
    .read_xcr = host_read_xcr,
    .write_xcr = host_write_xcr,
    .set_if = host_set_if,
    .set_ac = host_set_ac,
    .invlpg = host_invlpg,
    .wbinvd = host_wbinvd,
    .hlt = host_hlt,
};

void emulate_host_init(struct emulate_host *h, uint64_t base)
{
    memset(h, 0, sizeof(*h));
    h->base = base;
    h->ctx.regs = &h->regs;
    h->ctx.ops = &host_ops;
    h->ctx.owner = h;
}

enum emulate_result emulate_host_run(struct emulate_host *h, enum emulate_mode mode,
                                     const uint8_t *bytes, size_t len)
{
    enum emulate_result rc = emulate_decode(&h->insn, bytes, len, mode, &h->ctx.exception);

    return rc == EMULATE_OK ? emulate_execute(&h->insn, &h->ctx) : rc;
}
