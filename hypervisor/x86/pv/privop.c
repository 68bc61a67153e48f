// SPDX-License-Identifier: BSD-2-Clause
// Instructions that fault in ring 3 and that a PV guest's kernel may use all the same. The decoder
// and executor are x86/emulate's; this is the machine that they act on.
#include "lib/string.h"
#include "x86/arch/guest_access.h"
#include "x86/cpu/cpuid.h"
#include "x86/cpu/entry.h"
#include "x86/cpu/extable.h"
#include "x86/cpu/msr.h"
#include "x86/cpu/traps.h"
#include "x86/cpu/xstate.h"
#include "x86/emulate/emulate.h"
#include "x86/mm/paging.h"
#include "x86/pv/pv_internal.h"

#define CR4_CONTROLLED (CR4_TSD | CR4_DE | CR4_FSGSBASE | CR4_OSXSAVE) // the guest's to change
#define LAR_LONG       (1u << 21)
#define LAR_BIG        (1u << 22)
#define FORCED_BYTES   5
#define OPCODE_RDMSR   0x320f // little-endian
#define OPCODE_WRMSR   0x300f
#define MSR_INSN_BYTES 2

static struct vcpu *vcpu_of(struct emulate_ctx *ctx)
{
    return ctx->owner;
}

static enum emulate_result fault(struct emulate_ctx *ctx, uint64_t addr, uint32_t error_code)
{
    ctx->exception = (struct emulate_exception){
        .vector = TRAP_PF, .has_error_code = true, .error_code = error_code, .cr2 = addr};
    return EMULATE_EXCEPTION;
}

static enum emulate_result op_read(struct emulate_ctx *ctx, uint64_t addr, void *data,
                                   unsigned bytes)
{
    return guest_copy_from(data, (void *)addr, bytes) ? fault(ctx, addr, 0) : EMULATE_OK;
}

static enum emulate_result op_write(struct emulate_ctx *ctx, uint64_t addr, const void *data,
                                    unsigned bytes)
{
    return guest_copy_to((void *)addr, data, bytes) ? fault(ctx, addr, PF_WRITE) : EMULATE_OK;
}

static enum emulate_result op_segment_base(struct emulate_ctx *ctx, enum emulate_segment segment,
                                           uint64_t *base)
{
    *base = segment == EMULATE_FS   ? pv_read_fs_base(vcpu_of(ctx))
            : segment == EMULATE_GS ? pv_read_gs_base(vcpu_of(ctx))
                                    : 0; // flat, or a process's own doing
    return EMULATE_OK;
}

// ---- ports --------------------------------------------------------------------------------------

static enum emulate_result op_read_port(struct emulate_ctx *ctx, uint16_t port, unsigned bytes,
                                        uint32_t *value)
{
    if (!pv_port_allowed(vcpu_of(ctx), port, bytes))
        return emulate_raise(ctx, TRAP_GP, 0);
    *value = pv_port_read(vcpu_of(ctx), port, bytes);
    return EMULATE_OK;
}

static enum emulate_result op_write_port(struct emulate_ctx *ctx, uint16_t port, unsigned bytes,
                                         uint32_t value)
{
    if (!pv_port_allowed(vcpu_of(ctx), port, bytes))
        return emulate_raise(ctx, TRAP_GP, 0);
    pv_port_write(vcpu_of(ctx), port, bytes, value);
    return EMULATE_OK;
}

// ---- control and debug registers ----------------------------------------------------------------

static enum emulate_result op_read_cr(struct emulate_ctx *ctx, unsigned cr, uint64_t *value)
{
    struct vcpu *v = vcpu_of(ctx);

    switch (cr) {
    case 0:
        *value = v->arch.guest_cr0 | (v->arch.ts_set ? CR0_TS : 0);
        return EMULATE_OK;
    case 2:
        *value = v->info->arch.cr2;
        return EMULATE_OK;
    case 3:
        *value = v->arch.kernel_l4;
        return EMULATE_OK;
    case 4:
        *value = v->arch.guest_cr4;
        return EMULATE_OK;
    default:
        return EMULATE_UNHANDLED;
    }
}

void pv_set_cr4(struct vcpu *v, uint64_t value)
{
    uint64_t allowed = CR4_TSD | CR4_DE | (cpu_features.fsgsbase ? CR4_FSGSBASE : 0) |
                       (cpu_features.xsave ? CR4_OSXSAVE : 0);

    v->arch.guest_cr4 = (v->arch.guest_cr4 & ~(uint64_t)CR4_CONTROLLED) | (value & allowed);
    if (v != current)
        return;
    unsigned long flags = irq_save(), hw = read_cr4() & ~(unsigned long)(CR4_TSD | CR4_FSGSBASE);
    write_cr4(hw | (v->arch.guest_cr4 & (CR4_TSD | CR4_FSGSBASE)));
    irq_restore(flags);
}

static enum emulate_result op_write_cr(struct emulate_ctx *ctx, unsigned cr, uint64_t value)
{
    struct vcpu *v = vcpu_of(ctx);
    int rc;

    switch (cr) {
    case 0:
        if ((value ^ v->arch.guest_cr0) & ~(uint64_t)CR0_TS)
            guest_log(v->domain, "change of CR0 to %#lx ignored but for TS", value);
        pv_set_ts(v, value & CR0_TS);
        return EMULATE_OK;
    case 2:
        v->arch.cr2 = value;
        v->info->arch.cr2 = value;
        return EMULATE_OK;
    case 3:
        rc = pv_write_cr3(v, value);
        return rc == -ERESTART ? EMULATE_RETRY : rc ? EMULATE_UNHANDLED : EMULATE_OK;
    case 4:
        pv_set_cr4(v, value);
        return EMULATE_OK;
    default:
        return EMULATE_UNHANDLED;
    }
}

static enum emulate_result op_read_dr(struct emulate_ctx *ctx, unsigned dr, uint64_t *value)
{
    unsigned long out;

    if (pv_get_debugreg(vcpu_of(ctx), dr, &out))
        return EMULATE_UNHANDLED;
    *value = out;
    return EMULATE_OK;
}

static enum emulate_result op_write_dr(struct emulate_ctx *ctx, unsigned dr, uint64_t value)
{
    return pv_set_debugreg(vcpu_of(ctx), dr, value) ? EMULATE_UNHANDLED : EMULATE_OK;
}

// ---- everything else
// ------------------------------------------------------------------------------

static enum emulate_result op_read_msr(struct emulate_ctx *ctx, uint32_t msr, uint64_t *value)
{
    return pv_read_msr(vcpu_of(ctx), msr, value) ? emulate_raise(ctx, TRAP_GP, 0) : EMULATE_OK;
}

static enum emulate_result op_write_msr(struct emulate_ctx *ctx, uint32_t msr, uint64_t value)
{
    return pv_write_msr(vcpu_of(ctx), msr, value) ? emulate_raise(ctx, TRAP_GP, 0) : EMULATE_OK;
}

static enum emulate_result op_cpuid(struct emulate_ctx *ctx, uint32_t leaf, uint32_t subleaf,
                                    uint32_t out[4])
{
    pv_cpuid(vcpu_of(ctx), leaf, subleaf, out);
    return EMULATE_OK;
}

static enum emulate_result op_read_tsc(struct emulate_ctx *ctx, uint64_t *tsc)
{
    // Here because the guest has CR4.TSD, which is meant for its processes.
    if (!vcpu_of(ctx)->arch.in_kernel)
        return EMULATE_UNHANDLED;
    *tsc = rdtsc();
    return EMULATE_OK;
}

static enum emulate_result op_read_tsc_aux(struct emulate_ctx *ctx, uint32_t *aux)
{
    *aux = vcpu_of(ctx)->arch.tsc_aux;
    return EMULATE_OK;
}

static enum emulate_result op_read_xcr(struct emulate_ctx *ctx, uint32_t xcr, uint64_t *value)
{
    if (xcr || !cpu_features.xsave)
        return EMULATE_UNHANDLED;
    *value = vcpu_of(ctx)->arch.xcr0;
    return EMULATE_OK;
}

static enum emulate_result op_write_xcr(struct emulate_ctx *ctx, uint32_t xcr, uint64_t value)
{
    return xcr || xstate_set_xcr0(vcpu_of(ctx), value) ? EMULATE_UNHANDLED : EMULATE_OK;
}

// CLI and STI do nothing: the POPF that usually ends what CLI began does not trap in ring 3, and
// events would stay masked for good. A PV kernel masks them in its vcpu_info.
static enum emulate_result op_set_if(struct emulate_ctx *ctx, bool enable)
{
    return pv_iopl_allows(vcpu_of(ctx)) ? EMULATE_OK : EMULATE_UNHANDLED;
}

static enum emulate_result op_invlpg(struct emulate_ctx *ctx, uint64_t addr)
{
    tlb_invlpg(addr);
    return EMULATE_OK;
}

static enum emulate_result op_wbinvd(struct emulate_ctx *ctx, bool write_back)
{
    // Only who drives hardware can have a need for it; never without writing back.
    if (vcpu_of(ctx)->domain->is_control)
        asm volatile("wbinvd" ::: "memory");
    return EMULATE_OK;
}

static const struct emulate_ops ops = {
    .read = op_read,
    .write = op_write,
    .segment_base = op_segment_base,
    .read_port = op_read_port,
    .write_port = op_write_port,
    .read_cr = op_read_cr,
    .write_cr = op_write_cr,
    .read_dr = op_read_dr,
    .write_dr = op_write_dr,
    .read_msr = op_read_msr,
    .write_msr = op_write_msr,
    .cpuid = op_cpuid,
    .read_tsc = op_read_tsc,
    .read_tsc_aux = op_read_tsc_aux,
    .read_xcr = op_read_xcr,
    .write_xcr = op_write_xcr,
    .set_if = op_set_if,
    .invlpg = op_invlpg,
    .wbinvd = op_wbinvd,
};

// ---- the way in ---------------------------------------------------------------------------------

static enum emulate_mode mode_of(const struct cpu_user_regs *regs)
{
    unsigned int rights = 0;

    if (regs->cs == SEL_GUEST_CS64)
        return EMULATE_MODE_64;
    // Another vCPU may take the LDT's page away at any moment: the guest's business, not a fault.
    pv_ldt_load(current, regs->cs);
    asm volatile("1: lar %1, %0\n2:\n" ASM_EXTABLE(1b, 2b)
                 : "+r"(rights)
                 : "r"((unsigned int)regs->cs)
                 : "cc");
    if (rights & LAR_LONG)
        return EMULATE_MODE_64;
    return rights & LAR_BIG ? EMULATE_MODE_32 : EMULATE_MODE_16;
}

// Instruction bytes at RIP without touching the next page needlessly.
static size_t fetch(const struct cpu_user_regs *regs, uint8_t *bytes)
{
    size_t room = PAGE_SIZE - (regs->rip & ~PAGE_MASK);

    if (room >= EMULATE_MAX_INSN_BYTES)
        return guest_copy_from(bytes, (void *)regs->rip, EMULATE_MAX_INSN_BYTES)
                   ? 0
                   : EMULATE_MAX_INSN_BYTES;
    if (guest_copy_from(bytes, (void *)regs->rip, room))
        return 0;
    if (guest_copy_from(bytes + room, (void *)(regs->rip + room), EMULATE_MAX_INSN_BYTES - room))
        return room;
    return EMULATE_MAX_INSN_BYTES;
}

// What decides for itself who may do it.
static bool needs_no_privilege(uint8_t op)
{
    return op == INSN_IN || op == INSN_OUT || op == INSN_INS || op == INSN_OUTS || op == INSN_CLI ||
           op == INSN_STI || op == INSN_CPUID || op == INSN_RDTSC || op == INSN_RDTSCP ||
           op == INSN_XGETBV;
}

// Only what faults in ring 3: anything else got here by a change under our eyes.
static bool may_emulate(const struct vcpu *v, const struct insn *insn)
{
    if (needs_no_privilege(insn->op))
        return true;
    return insn->privileged && v->arch.in_kernel && insn->op != INSN_LMSW && insn->op != INSN_INVD;
}

static void finish(struct vcpu *v, const struct cpu_user_regs *regs)
{
    if (unlikely(regs->rflags & RFLAGS_TF)) {
        v->arch.dr[6] |= DR6_STEP | DR6_DEFAULT;
        pv_inject_trap(TRAP_DB, 0);
    }
}

static bool emulate(struct vcpu *v, struct cpu_user_regs *regs, const uint8_t *bytes, size_t len)
{
    struct emulate_ctx ctx = {.regs = regs, .ops = &ops, .owner = v};
    struct insn insn;

    if (emulate_decode(&insn, bytes, len, mode_of(regs), &ctx.exception) != EMULATE_OK ||
        !may_emulate(v, &insn))
        return false;
    switch (emulate_execute(&insn, &ctx)) {
    case EMULATE_OK:
        finish(v, regs);
        return true;
    case EMULATE_RETRY:
        return true;
    case EMULATE_EXCEPTION:
        if (ctx.exception.vector == TRAP_PF)
            pv_inject_page_fault(ctx.exception.cr2, ctx.exception.error_code);
        else
            pv_inject_trap(ctx.exception.vector, ctx.exception.error_code);
        return true;
    default:
        return false;
    }
}

// RDMSR and WRMSR of a 64-bit kernel, without the decoder: Linux reads the other mode's GS base at
// each switch of processes.
static bool emulate_msr(struct vcpu *v, struct cpu_user_regs *regs)
{
    uint32_t insn;
    uint64_t value;
    int rc;

    if (!v->arch.in_kernel || regs->cs != SEL_GUEST_CS64 ||
        (regs->rip & ~PAGE_MASK) > PAGE_SIZE - sizeof(insn) ||
        guest_read32(&insn, (void *)regs->rip))
        return false;
    if ((insn & 0xffff) == OPCODE_RDMSR) {
        rc = pv_read_msr(v, regs->ecx, &value);
        if (!rc) {
            regs->rax = (uint32_t)value;
            regs->rdx = value >> 32;
        }
    } else if ((insn & 0xffff) == OPCODE_WRMSR) {
        rc = pv_write_msr(v, regs->ecx, regs->eax | (uint64_t)regs->edx << 32);
    } else {
        return false;
    }
    if (unlikely(rc)) {
        pv_inject_trap(TRAP_GP, 0);
        return true;
    }
    regs->rip += MSR_INSN_BYTES;
    regs->rflags &= ~(uint64_t)RFLAGS_RF;
    finish(v, regs);
    return true;
}

static __noinline bool emulate_decoded(struct vcpu *v, struct cpu_user_regs *regs)
{
    uint8_t bytes[EMULATE_MAX_INSN_BYTES];

    if (!guest_range_ok((void *)regs->rip, 1))
        return false; // the jump there is what faulted
    size_t len = fetch(regs, bytes);
    // Unreadable now: the guest runs into the reason by itself.
    return len == 0 || emulate(v, regs, bytes, len);
}

bool pv_emulate_privileged(struct vcpu *v, struct cpu_user_regs *regs)
{
    return emulate_msr(v, regs) || emulate_decoded(v, regs);
}

bool pv_emulate_forced(struct vcpu *v, struct cpu_user_regs *regs)
{
    static const uint8_t prefix[FORCED_BYTES] = {0x0f, 0x0b, 'x', 'e', 'n'};
    uint8_t bytes[FORCED_BYTES + 2];
    uint32_t out[4];

    if (guest_copy_from(bytes, (void *)regs->rip, sizeof(bytes)) ||
        memcmp(bytes, prefix, sizeof(prefix)) != 0 || bytes[5] != 0x0f || bytes[6] != 0xa2)
        return false;
    pv_cpuid(v, regs->eax, regs->ecx, out);
    regs->rax = out[0];
    regs->rbx = out[1];
    regs->rcx = out[2];
    regs->rdx = out[3];
    regs->rip += sizeof(bytes);
    regs->rflags &= ~(uint64_t)RFLAGS_RF;
    finish(v, regs);
    return true;
}
