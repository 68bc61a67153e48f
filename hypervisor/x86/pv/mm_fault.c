// SPDX-License-Identifier: BSD-2-Clause
// Guest kernels may write to their L1 tables with ordinary instructions: the write faults, is
// decoded, checked like a hypercall's and carried out. Writes of the control domain to I/O memory
// that it may only read are dropped.
#include "core/rangeset.h"
#include "lib/string.h"
#include "x86/arch/guest_access.h"
#include "x86/cpu/cpuid.h"
#include "x86/cpu/msr.h"
#include "x86/emulate/emulate.h"
#include "x86/pv/mm_update.h"
#include "x86/pv/pv.h"

struct ptwr {
    struct vcpu *v;
    struct frame *table; // NULL: read-only I/O memory
    unsigned long page;  // its address in the guest
};

static enum emulate_result ptwr_read(struct emulate_ctx *ctx, uint64_t addr, void *data,
                                     unsigned bytes)
{
    return guest_copy_from(data, (void *)addr, bytes) ? EMULATE_UNHANDLED : EMULATE_OK;
}

// One aligned word of the table is concerned: its shift in bits, or -1.
static int word_shift(const struct ptwr *p, uint64_t addr, unsigned bytes)
{
    unsigned int at = addr & 7;
    return (addr & PAGE_MASK) == p->page && bytes <= 8 && at + bytes <= 8 ? (int)at * 8 : -1;
}

static uint64_t bytes_mask(unsigned bytes)
{
    return bytes == 8 ? ~0ull : (1ull << (bytes * 8)) - 1;
}

static uint64_t load(const void *data, unsigned bytes)
{
    uint64_t x = 0;
    memcpy(&x, data, bytes);
    return x;
}

// Replace the bytes of a PTE, if they are *old (NULL: whatever they are).
static enum emulate_result ptwr_replace(struct ptwr *p, uint64_t addr, uint64_t *old, uint64_t new,
                                        unsigned bytes, bool *swapped)
{
    int shift = word_shift(p, addr, bytes), rc;
    uint64_t mask = bytes_mask(bytes);

    if (shift < 0)
        return EMULATE_UNHANDLED;
    if (!p->table)
        return EMULATE_OK;
    if (!table_lock(p->table, FRAME_TYPE_L1))
        return EMULATE_RETRY;
    uint64_t *slot = (uint64_t *)((char *)frame_to_virt(p->table) + (addr & (PAGE_SIZE - 8)));
    do {
        uint64_t now = READ_ONCE(*slot);
        if (old && ((now >> shift) & mask) != *old) {
            *old = (now >> shift) & mask;
            *swapped = false;
            rc = 0;
            break;
        }
        rc = l1_cmpxchg(slot, now, (now & ~(mask << shift)) | (new & mask) << shift, p->v->domain);
    } while (rc == -EAGAIN);
    table_unlock(p->table);
    return rc ? EMULATE_UNHANDLED : EMULATE_OK;
}

static enum emulate_result ptwr_write(struct emulate_ctx *ctx, uint64_t addr, const void *data,
                                      unsigned bytes)
{
    bool swapped;
    return bytes > 8 ? EMULATE_UNHANDLED
                     : ptwr_replace(ctx->owner, addr, NULL, load(data, bytes), bytes, &swapped);
}

static enum emulate_result ptwr_cmpxchg(struct emulate_ctx *ctx, uint64_t addr, void *old,
                                        const void *new, unsigned bytes, bool *swapped)
{
    if (bytes > 8)
        return EMULATE_UNHANDLED;
    uint64_t seen = load(old, bytes);
    *swapped = true;
    enum emulate_result r = ptwr_replace(ctx->owner, addr, &seen, load(new, bytes), bytes, swapped);
    if (r == EMULATE_OK && !*swapped)
        memcpy(old, &seen, bytes);
    return r;
}

static enum emulate_result ptwr_segment_base(struct emulate_ctx *ctx, enum emulate_segment segment,
                                             uint64_t *base)
{
    *base = segment == EMULATE_FS ? rdmsr(MSR_FS_BASE) : segment == EMULATE_GS ? rdmsr(MSR_GS_BASE)
                                                                               : 0;
    return EMULATE_OK;
}

static const struct emulate_ops ptwr_ops = {
    .read = ptwr_read,
    .write = ptwr_write,
    .cmpxchg = ptwr_cmpxchg,
    .segment_base = ptwr_segment_base,
};

static bool fetch(unsigned long rip, uint8_t *buf, size_t *len)
{
    size_t in_page = PAGE_SIZE - (rip & (PAGE_SIZE - 1));

    *len = EMULATE_MAX_INSN_BYTES;
    if (!guest_copy_from(buf, (void *)rip, *len))
        return true;
    *len = MIN(in_page, *len); // the next page may be absent
    return !guest_copy_from(buf, (void *)rip, *len);
}

static bool emulate(struct ptwr *p, struct cpu_user_regs *regs)
{
    struct emulate_ctx ctx = {.regs = regs, .ops = &ptwr_ops, .owner = p, .repeat_max = 64};
    uint8_t bytes[EMULATE_MAX_INSN_BYTES + 1];
    struct insn insn;
    size_t len;

    if (!fetch(regs->rip, bytes, &len) ||
        emulate_decode(&insn, bytes, len, EMULATE_MODE_64, &ctx.exception) != EMULATE_OK ||
        insn.privileged || !emulate_writes_memory(&insn))
        return false;
    enum emulate_result r = emulate_execute(&insn, &ctx);
    return r == EMULATE_OK || r == EMULATE_RETRY;
}

bool pv_ptwr_fault(struct vcpu *v, unsigned long addr, struct cpu_user_regs *regs)
{
    struct ptwr p = {.v = v, .page = addr & PAGE_MASK};
    uint64_t pte = pv_guest_pte(v, addr);
    mfn_t mfn = pte_mfn(pte);

    if (!(pte & PTE_P) || (pte & PTE_RW))
        return false;
    if (!mfn_valid(mfn)) {
        if (!mmio_read_only || !rangeset_contains(mmio_read_only, mfn.v, mfn.v))
            return false;
        return emulate(&p, regs);
    }
    if (!(v->domain->vm_assist & (1ul << VMASST_TYPE_writable_pagetables)))
        return false;
    // A reference, so that the table stays one while the instruction is looked at.
    if (!frame_get(mfn, v->domain))
        return false;
    p.table = mfn_to_frame(mfn);
    uint32_t type = READ_ONCE(p.table->type);
    bool ok = (type & FRAME_TYPE_MASK) == FRAME_TYPE_L1 && (type & FRAME_TYPE_COUNT_MASK) &&
              emulate(&p, regs);
    frame_put(p.table);
    return ok;
}
