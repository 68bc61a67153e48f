// SPDX-License-Identifier: BSD-2-Clause
// What a PV guest runs into, and how it is told.
#include "core/hypercall.h"
#include "lib/string.h"
#include "x86/arch/guest_access.h"
#include "x86/cpu/entry.h"
#include "x86/cpu/extable.h"
#include "x86/cpu/smap.h"
#include "x86/cpu/traps.h"
#include "x86/mm/paging.h"
#include "x86/pv/pv_internal.h"

#define SYSCALL_INSN_BYTES 2
#define INT_INSN_BYTES     2
#define INT_OPCODE         0xcd
#define GP_ERROR_IDT       2 // the error code names an interrupt vector

#define CALLBACK_FAILSAFE_WORDS 4
#define BOUNCE_WORDS            7

// ---- delivery ---------------------------------------------------------------------------------

// RFLAGS as the guest is shown them: IF is its event mask, IOPL its own when it wants to see it.
static uint64_t shown_rflags(const struct vcpu *v, bool masked)
{
    uint64_t rflags = v->arch.regs->rflags & ~(uint64_t)(RFLAGS_IF | RFLAGS_IOPL);

    if (!masked)
        rflags |= RFLAGS_IF;
    if (v->domain->vm_assist & (1ul << VMASST_TYPE_architectural_iopl))
        rflags |= (uint64_t)v->arch.iopl << 12;
    return rflags;
}

// One word of the frame; a fault goes to the label. (The formatter would split its operand.)
// clang-format off
#define PUT(address, value, fault)                                                                 \
    asm goto("1: movq %0, (%1)\n" ASM_EXTABLE(1b, %l2)                                             \
             :: "r"((uint64_t)(value)), "r"(address) : "memory" : fault)
// clang-format on

void pv_bounce(struct vcpu *v, unsigned long target, const uint64_t *extra, unsigned int extras,
               bool mask_events)
{
    struct cpu_user_regs *regs = v->arch.regs;
    bool masked = READ_ONCE(v->info->evtchn_upcall_mask) != 0;
    uint64_t cs = regs->cs | (uint64_t)masked << 32;
    unsigned long sp = regs->rsp;

    if (v->arch.in_kernel)
        cs &= ~3ul; // tells kernel from user
    else {
        sp = v->arch.kernel_sp;
        pv_toggle_mode(v);
    }
    uint64_t *w = (uint64_t *)((sp & ~15ul) - (BOUNCE_WORDS + extras) * sizeof(*w));
    sp = (unsigned long)w;
    if (unlikely(!guest_range_ok(w, (BOUNCE_WORDS + extras) * sizeof(*w))))
        goto no_room;
    stac();
    PUT(w++, regs->rcx, fault);
    PUT(w++, regs->r11, fault);
    for (unsigned int i = 0; i < extras; i++)
        PUT(w++, extra[i], fault);
    PUT(w, regs->rip, fault);
    PUT(w + 1, cs, fault);
    PUT(w + 2, shown_rflags(v, masked), fault);
    PUT(w + 3, regs->rsp, fault);
    PUT(w + 4, regs->ss, fault);
    clac();
    if (mask_events)
        WRITE_ONCE(v->info->evtchn_upcall_mask, 1);
    regs->rip = target;
    regs->cs = SEL_GUEST_CS64;
    regs->ss = SEL_GUEST_DS32;
    regs->rsp = sp;
    regs->rflags = (regs->rflags & RFLAGS_HANDLER) | RFLAGS_IF | RFLAGS_ALWAYS;
    return;

fault:
    clac();
no_room:
    domain_crash(v->domain, "no room for an exception frame at %#lx", sp);
}

void pv_inject_trap(unsigned int vector, uint32_t error_code)
{
    struct vcpu *v = current;
    const struct pv_trap *t = &v->arch.traps[vector];
    uint64_t extra = error_code;

    if (unlikely(!t->address)) {
        domain_crash(v->domain, "no handler for its trap %u (%s), error code %#x", vector,
                     trap_name(vector), error_code);
        return;
    }
    pv_bounce(v, t->address, &extra, trap_has_error_code(vector), TI_GET_IF(t));
}

void pv_inject_page_fault(unsigned long addr, uint32_t error_code)
{
    struct vcpu *v = current;

    error_code &= ~PF_USER;
    if (!v->arch.in_kernel)
        error_code |= PF_USER;
    v->arch.cr2 = addr;
    v->info->arch.cr2 = addr;
    if (unlikely(!v->arch.traps[TRAP_PF].address)) {
        domain_crash(v->domain, "page fault at %#lx, error code %#x, and no handler", addr,
                     error_code);
        return;
    }
    pv_inject_trap(TRAP_PF, error_code);
}

void pv_toggle_mode(struct vcpu *v)
{
    v->arch.in_kernel = !v->arch.in_kernel;
    v->arch.cr3 = v->arch.in_kernel || !v->arch.user_l4 ? v->arch.kernel_l4 : v->arch.user_l4;
    asm volatile("swapgs; mov %0, %%cr3" ::"r"(v->arch.cr3) : "memory");
}

void pv_deliver_event(struct vcpu *v)
{
    if (unlikely(!v->arch.event_rip)) {
        domain_crash(v->domain, "an event is pending and it has set no callback");
        // Crashed or not, the way out of the hypervisor must not come here again.
        WRITE_ONCE(v->info->evtchn_upcall_mask, 1);
        return;
    }
    pv_bounce(v, v->arch.event_rip, NULL, 0, true);
}

static void deliver_failsafe(struct vcpu *v, uint16_t ds, uint16_t es, uint16_t fs, uint16_t gs)
{
    const uint64_t extra[CALLBACK_FAILSAFE_WORDS] = {ds, es, fs, gs};

    if (!v->arch.failsafe_rip) {
        domain_crash(v->domain, "its segments or return address are bad: cs %#x ss %#x rip %#lx",
                     v->arch.regs->cs, v->arch.regs->ss, v->arch.regs->rip);
        return;
    }
    pv_bounce(v, v->arch.failsafe_rip, extra, CALLBACK_FAILSAFE_WORDS,
              v->arch.failsafe_masks_events);
}

void pv_deliver_pending(struct vcpu *v)
{
    uint8_t pending = __atomic_exchange_n(&v->arch.trap_pending, 0, __ATOMIC_SEQ_CST);

    // The guest compares the selectors of the frame with what is loaded: those that differ could
    // not be loaded again when it was switched in.
    if (pending & TRAP_PENDING_FAILSAFE)
        deliver_failsafe(v, v->arch.ds, v->arch.es, v->arch.fs, v->arch.gs);
    if (pending & TRAP_PENDING_NMI) {
        unsigned long target = v->arch.nmi_rip ? v->arch.nmi_rip : v->arch.traps[TRAP_NMI].address;
        if (target)
            pv_bounce(v, target, NULL, 0, true);
    }
}

void pv_on_debug_lost(struct cpu_user_regs *regs)
{
    domain_crash(current->domain, "a second debug exception came on top of its first");
}

void pv_on_iret_fault(struct cpu_user_regs *regs)
{
    struct vcpu *v = current;
    uint16_t ds, es, fs, gs;

    // A page of the LDT that is not there yet is no mistake.
    bool cs_came = pv_ldt_load(v, regs->cs), ss_came = pv_ldt_load(v, regs->ss);
    if (cs_came || ss_came)
        return;
    asm volatile("mov %%ds, %0; mov %%es, %1; mov %%fs, %2; mov %%gs, %3"
                 : "=r"(ds), "=r"(es), "=r"(fs), "=r"(gs));
    deliver_failsafe(v, ds, es, fs, gs);
}

// ---- entries by instruction ---------------------------------------------------------------------

// The result is for the guest's RAX; entry.S puts it there.
long pv_hypercall(const struct cpu_user_regs *regs)
{
    hypercall_fn_t *fn = hypercall_handler(ABI_PV64, regs->rax);

    barrier(); // arguments are loaded where they belong, not before and moved
    return fn(regs->rdi, regs->rsi, regs->rdx, regs->r10, regs->r8, regs->r9);
}

void pv_on_syscall(struct cpu_user_regs *regs)
{
    struct vcpu *v = current;

    if (!v->arch.syscall_rip) {
        regs->rip -= SYSCALL_INSN_BYTES;
        pv_inject_trap(TRAP_UD, 0);
        return;
    }
    pv_bounce(v, v->arch.syscall_rip, NULL, 0, v->arch.syscall_masks_events);
}

void pv_on_syscall32(struct cpu_user_regs *regs)
{
    struct vcpu *v = current;

    if (!v->arch.syscall32_rip || v->arch.in_kernel) {
        regs->rip -= SYSCALL_INSN_BYTES;
        pv_inject_trap(TRAP_UD, 0);
        return;
    }
    pv_bounce(v, v->arch.syscall32_rip, NULL, 0, v->arch.syscall32_masks_events);
}

void pv_on_sysenter(struct cpu_user_regs *regs)
{
    struct vcpu *v = current;

    regs->rflags &= ~(uint64_t)(RFLAGS_TF | RFLAGS_NT);
    if (!v->arch.sysenter_rip || v->arch.in_kernel) {
        pv_inject_trap(TRAP_GP, 0);
        return;
    }
    pv_bounce(v, v->arch.sysenter_rip, NULL, 0, v->arch.sysenter_masks_events);
}

// ---- exceptions ---------------------------------------------------------------------------------

// `int n`, refused by the IDT. The instruction says which n: emulated CPUs are known to put
// something else into the error code. False: it cannot be read, run it again.
static bool software_interrupt(struct vcpu *v, struct cpu_user_regs *regs)
{
    uint8_t insn[INT_INSN_BYTES];
    unsigned int vector = regs->error_code >> 3;

    if (guest_copy_from(insn, (void *)regs->rip, sizeof(insn)))
        return false;
    if (insn[0] == INT_OPCODE)
        vector = insn[1];
    const struct pv_trap *t = &v->arch.traps[vector & 255];
    if (!t->address || TI_GET_DPL(t) < (v->arch.in_kernel ? 1 : 3)) {
        pv_inject_trap(TRAP_GP, (vector << 3 | GP_ERROR_IDT) & 0xffff);
        return true;
    }
    regs->rip += INT_INSN_BYTES;
    pv_bounce(v, t->address, NULL, 0, TI_GET_IF(t));
    return true;
}

static void on_general_protection(struct vcpu *v, struct cpu_user_regs *regs)
{
    if ((regs->error_code & 7) == GP_ERROR_IDT) {
        software_interrupt(v, regs);
        return;
    }
    if (regs->error_code == 0 && pv_emulate_privileged(v, regs))
        return;
    pv_inject_trap(TRAP_GP, regs->error_code);
}

static void on_page_fault(struct vcpu *v, struct cpu_user_regs *regs, unsigned long addr)
{
    uint32_t code = regs->error_code;

    if (addr - HYPERVISOR_HOLE_START < HYPERVISOR_HOLE_END - HYPERVISOR_HOLE_START) {
        if (!(code & PF_USER) && pv_ldt_fault(addr, true))
            return;
    } else if (v->arch.in_kernel &&
               (code & (PF_PRESENT | PF_WRITE | PF_RESERVED)) == (PF_PRESENT | PF_WRITE) &&
               pv_ptwr_fault(v, addr, regs)) {
        return;
    }
    pv_inject_page_fault(addr, code);
}

static void on_debug(struct vcpu *v, unsigned long dr6)
{
    v->arch.dr[6] |= dr6 & ~DR6_DEFAULT;
    v->arch.dr[6] |= DR6_DEFAULT;
    pv_inject_trap(TRAP_DB, 0);
}

static void on_no_coprocessor(struct vcpu *v)
{
    if (!v->arch.ts_set) {
        clts();
        return;
    }
    // The ABI: the guest finds TS clear in its handler.
    pv_set_ts(v, false);
    pv_inject_trap(TRAP_NM, 0);
}

// INT3 and INTO come through open gates: the guest's own protection of them is looked at here.
static void on_open_gate(struct vcpu *v, unsigned int vector)
{
    const struct pv_trap *t = &v->arch.traps[vector];

    if (!v->arch.in_kernel && t->address && TI_GET_DPL(t) < 3) {
        v->arch.regs->rip -= 1;
        pv_inject_trap(TRAP_GP, vector << 3 | GP_ERROR_IDT);
        return;
    }
    pv_inject_trap(vector, 0);
}

void pv_on_exception(struct cpu_user_regs *regs)
{
    struct vcpu *v = current;
    unsigned int vector = regs->entry_vector;
    unsigned long addr = 0, dr6 = 0;

    // What another exception would overwrite is read before interrupts are let in.
    if (likely(vector == TRAP_PF)) {
        addr = read_cr2();
    } else if (vector == TRAP_DB) {
        asm volatile("mov %%dr6, %0" : "=r"(dr6));
        asm volatile("mov %0, %%dr6" ::"r"(DR6_DEFAULT));
    }
    irq_enable();
    switch (vector) {
    case TRAP_PF:
        on_page_fault(v, regs, addr);
        break;
    case TRAP_GP:
        on_general_protection(v, regs);
        break;
    case TRAP_UD:
        if (!pv_emulate_forced(v, regs))
            pv_inject_trap(TRAP_UD, 0);
        break;
    case TRAP_NM:
        on_no_coprocessor(v);
        break;
    case TRAP_DB:
        on_debug(v, dr6);
        break;
    case TRAP_BP:
    case TRAP_OF:
        on_open_gate(v, vector);
        break;
    default:
        pv_inject_trap(vector, regs->error_code);
        break;
    }
}
