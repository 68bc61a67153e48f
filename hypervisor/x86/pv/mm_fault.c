// SPDX-License-Identifier: BSD-2-Clause
// Guest kernels may write to their L1 tables with ordinary instructions: the write faults, is
// decoded, checked like a hypercall's and carried out. Writes of the control domain to I/O memory
// that it may only read are dropped.
#include "core/rangeset.h"
#include "lib/string.h"
#include "x86/arch/guest_access.h"
#include "x86/cpu/cpuid.h"
#include "x86/cpu/entry.h"
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
        rc = l1_cmpxchg(slot, now, (now & ~(mask << shift)) | (new &mask) << shift, p->v->domain);
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
    *base = segment == EMULATE_FS   ? rdmsr(MSR_FS_BASE)
            : segment == EMULATE_GS ? rdmsr(MSR_GS_BASE)
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

// ---- the usual instructions
// ---------------------------------------------------------------------- What kernels change their
// tables with, one operand in memory and no surprises: AND and OR with a byte (clear_bit, set_bit),
// BTR and BTS with a constant, XCHG, MOV from a register or constant. The fault's address is the
// operand's. Everything else is for the emulator.

enum {
    RFLAGS_CF = 1 << 0,
    RFLAGS_PF = 1 << 2,
    RFLAGS_AF = 1 << 4,
    RFLAGS_ZF = 1 << 6,
    RFLAGS_SF = 1 << 7,
    RFLAGS_OF = 1 << 11,
};

enum quick_op { QUICK_AND, QUICK_OR, QUICK_BTS, QUICK_BTR, QUICK_XCHG, QUICK_MOV };

struct quick {
    enum quick_op op;
    unsigned int length;
    uint64_t *reg;  // XCHG, MOV
    uint64_t value; // constant, bit mask
};

static uint64_t *quick_reg(struct cpu_user_regs *r, unsigned int n)
{
    uint64_t *const regs[16] = {&r->rax, &r->rcx, &r->rdx, &r->rbx, &r->rsp, &r->rbp,
                                &r->rsi, &r->rdi, &r->r8,  &r->r9,  &r->r10, &r->r11,
                                &r->r12, &r->r13, &r->r14, &r->r15};
    return regs[n];
}

static bool quick_decode(const uint8_t *b, struct cpu_user_regs *regs, struct quick *q)
{
    const uint8_t *start = b;
    uint8_t rex = 0, opcode;
    bool two;

    if (*b == 0xf0 || *b == 0x3e) // LOCK, or what Linux puts there on one CPU
        b++;
    if ((*b & 0xf0) == 0x40)
        rex = *b++;
    two = *b == 0x0f;
    b += two;
    opcode = *b++;
    uint8_t modrm = *b++, mod = modrm >> 6, op = modrm >> 3 & 7;
    if (mod == 3)
        return false;
    if ((modrm & 7) == 4) { // SIB
        if (mod == 0 && (*b & 7) == 5)
            b += 4;
        b++;
    } else if (mod == 0 && (modrm & 7) == 5) {
        b += 4;
    }
    b += mod == 1 ? 1 : mod == 2 ? 4 : 0;
    if (!two && opcode == 0x80 && (op == 4 || op == 1)) {
        q->op = op == 4 ? QUICK_AND : QUICK_OR;
        q->value = *b++;
    } else if (two && opcode == 0xba && (op == 5 || op == 6) && (rex & 8)) {
        q->op = op == 5 ? QUICK_BTS : QUICK_BTR;
        q->value = 1ull << (*b++ & 63);
    } else if (!two && (opcode == 0x87 || opcode == 0x89) && (rex & 8)) {
        q->op = opcode == 0x87 ? QUICK_XCHG : QUICK_MOV;
        q->reg = quick_reg(regs, op | (rex & 4) << 1);
    } else if (!two && opcode == 0xc7 && op == 0 && (rex & 8)) {
        q->op = QUICK_MOV;
        q->reg = NULL;
        q->value = (int64_t)(int32_t)load(b, 4);
        b += 4;
    } else {
        return false;
    }
    q->length = b - start;
    return q->length <= 16;
}

static void quick_logic_flags(struct cpu_user_regs *regs, uint8_t result)
{
    regs->rflags &=
        ~(uint64_t)(RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF);
    if (!__builtin_parity(result))
        regs->rflags |= RFLAGS_PF;
    if (!result)
        regs->rflags |= RFLAGS_ZF;
    if (result & 0x80)
        regs->rflags |= RFLAGS_SF;
}

// The entry after the instruction, when it is `now` before.
static uint64_t quick_result(const struct quick *q, uint64_t now, unsigned int shift)
{
    switch (q->op) {
    case QUICK_AND:
        return now & ~((~q->value & 0xff) << shift);
    case QUICK_OR:
        return now | q->value << shift;
    case QUICK_BTS:
        return now | q->value;
    case QUICK_BTR:
        return now & ~q->value;
    default:
        return q->reg ? *q->reg : q->value;
    }
}

static bool quick_emulate(struct vcpu *v, uint64_t pte_maddr, unsigned int byte,
                          struct cpu_user_regs *regs)
{
    uint8_t bytes[16];
    struct quick q = {0};
    struct frame *table;
    uint64_t now, new;
    int rc;

    if (guest_copy_from(bytes, (void *)regs->rip, sizeof(bytes)) ||
        !quick_decode(bytes, regs, &q) || (q.op > QUICK_OR && byte))
        return false;
    uint64_t *slot = l1_slot_lock_maddr(v->domain, pte_maddr, &table);
    if (!slot)
        return false;
    do {
        now = READ_ONCE(*slot);
        new = quick_result(&q, now, byte * 8);
        rc = l1_cmpxchg(slot, now, new, v->domain);
    } while (rc == -EAGAIN);
    table_unlock(table);
    if (rc)
        return false;
    if (q.op <= QUICK_OR)
        quick_logic_flags(regs, new >> (byte * 8));
    else if (q.op <= QUICK_BTR)
        regs->rflags = (regs->rflags & ~(uint64_t)RFLAGS_CF) | (now & q.value ? RFLAGS_CF : 0);
    else if (q.op == QUICK_XCHG)
        *q.reg = now;
    regs->rip += q.length;
    regs->rflags &= ~(uint64_t)RFLAGS_RF;
    return true;
}

bool pv_ptwr_fault(struct vcpu *v, unsigned long addr, struct cpu_user_regs *regs)
{
    uint64_t pte = pv_guest_pte(v, addr), mfn = pte_mfn(pte).v;
    struct ptwr p = {.v = v, .page = addr & PAGE_MASK};

    if ((pte & (PTE_P | PTE_RW)) != PTE_P)
        return false;
    if (pte & PTE_GUEST_IO) {
        if (!mmio_read_only || !rangeset_contains(mmio_read_only, mfn, mfn))
            return false;
        return emulate(&p, regs);
    }
    if (!(v->domain->vm_assist & (1ul << VMASST_TYPE_writable_pagetables)))
        return false;
    // In two steps: the quick one needs no reference, since it has the table's lock.
    p.table = mfn_to_frame(MFN(mfn));
    if (mfn >= max_mfn || !frame_owner_probe(p.table, v->domain->id) ||
        (READ_ONCE(p.table->type) & (FRAME_TYPE_MASK | FRAME_VALIDATED)) !=
            (FRAME_TYPE_L1 | FRAME_VALIDATED))
        return false;
    if (likely(quick_emulate(v, mfn << PAGE_SHIFT | (addr & (PAGE_SIZE - 8)), addr & 7, regs)))
        return true;
    if (!frame_get(MFN(mfn), v->domain))
        return false;
    bool ok = emulate(&p, regs);
    frame_put(p.table);
    return ok;
}
