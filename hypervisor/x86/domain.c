// SPDX-License-Identifier: BSD-2-Clause
// The x86 part of domains and vCPUs (contract: x86/arch/domain.h). PV guests only, so far.
#include "core/console.h"
#include "core/domain.h"
#include "core/evtchn.h"
#include "core/rangeset.h"
#include "core/sched.h"
#include "lib/string.h"
#include "memory/heap.h"
#include "x86/arch/guest_access.h"
#include "x86/arch/time.h"
#include "x86/cpu/context.h"
#include "x86/cpu/cpuid.h"
#include "x86/cpu/entry.h"
#include "x86/cpu/msr.h"
#include "x86/cpu/pirq.h"
#include "x86/cpu/xstate.h"
#include "x86/mm/paging.h"
#include "x86/pv/cpu_policy.h"
#include "x86/pv/pv_internal.h"

#include <xen/domctl.h>

#define GUEST_STACK_WORDS 16
#define CR0_INITIAL       (CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE)
#define CR4_INITIAL       (CR4_PAE | CR4_MCE | CR4_DE | CR4_OSFXSR | CR4_OSXMMEXCPT)
#define VM_ASSIST_VALID                                                               \
    (1ul << VMASST_TYPE_writable_pagetables | 1ul << VMASST_TYPE_architectural_iopl | \
     1ul << VMASST_TYPE_runstate_update_flag | 1ul << VMASST_TYPE_m2p_strict)

// What vcpu.info points at when the guest has no page for it.
static vcpu_info_t no_info = {.evtchn_upcall_mask = 1};

// ---- domains ------------------------------------------------------------------------------------

int arch_domain_create(struct domain *d, uint32_t flags)
{
    int rc;

    if (flags & XEN_DOMCTL_CDF_hvm)
        return -EOPNOTSUPP;
    d->arch.pv = heap_new(struct pv_domain);
    d->arch.ioport_caps = rangeset_new("ioports");
    if (!d->arch.pv || !d->arch.ioport_caps)
        return -ENOMEM;
    rc = irq_domain_init(d);
    if (rc)
        return rc;
    rc = pv_perdomain_create(d);
    if (rc)
        return rc;
    arch_time_update_wallclock(d);
    // A vCPU starts with events masked.
    for (unsigned int i = 0; i < XEN_LEGACY_MAX_VCPUS; i++)
        d->shared_info->vcpu_info[i].evtchn_upcall_mask = 1;
    return 0;
}

void arch_domain_destroy(struct domain *d)
{
    irq_domain_destroy(d);
    pv_perdomain_destroy(d);
    rangeset_free(d->arch.ioport_caps);
    cpu_policy_destroy(d);
    heap_free(d->arch.pv);
    d->arch.ioport_caps = NULL;
    d->arch.pv = NULL;
}

static int vcpu_drop_tables(struct vcpu *v)
{
    pv_invalidate_ldt(v);
    v->arch.ldt_entries = 0;
    pv_destroy_gdt(v);
    return pv_vcpu_drop_roots(v);
}

int arch_domain_relinquish(struct domain *d)
{
    struct vcpu *v;

    irq_domain_relinquish(d);
    for_each_vcpu (d, v) {
        int rc = vcpu_drop_tables(v);
        if (rc)
            return rc;
    }
    return pv_mm_relinquish(d);
}

// ---- vCPUs --------------------------------------------------------------------------------------

static void init_registers(struct vcpu *v)
{
    v->arch.guest_cr0 = CR0_INITIAL;
    v->arch.guest_cr4 = CR4_INITIAL | (cpu_features.xsave ? CR4_OSXSAVE : 0);
    v->arch.in_kernel = 1;
}

int arch_vcpu_create(struct vcpu *v)
{
    if (!v->stack)
        v->stack = stack_alloc();
    if (!v->stack)
        return -ENOMEM;
    struct stack_info *info = (struct stack_info *)((char *)v->stack + STACK_SIZE) - 1;
    info->vcpu = v;
    v->arch.regs = (struct cpu_user_regs *)info - 1;
    if (v->is_idle)
        return 0;
    memset(v->arch.regs, 0, sizeof(*v->arch.regs));
    context_init_stack(v);
    v->arch.traps = heap_alloc_array(256, sizeof(*v->arch.traps));
    if (!v->arch.traps)
        return -ENOMEM;
    pv_descriptors_init(v);
    init_registers(v);
    return xstate_vcpu_init(v);
}

void arch_vcpu_destroy(struct vcpu *v)
{
    xstate_vcpu_destroy(v);
    heap_free(v->arch.traps);
    v->arch.traps = NULL;
    if (v->stack)
        stack_free(v->stack);
    v->stack = NULL;
}

// Everything that VCPUOP_initialise or a new context replaces.
void arch_vcpu_reset(struct vcpu *v)
{
    // No preemption here: the roots of one vCPU are few, their tables stay pinned or in use.
    while (vcpu_drop_tables(v) == -ERESTART)
        ;
    memset(v->arch.traps, 0, 256 * sizeof(*v->arch.traps));
    v->arch.event_rip = v->arch.failsafe_rip = v->arch.nmi_rip = 0;
    v->arch.syscall_rip = v->arch.syscall32_rip = v->arch.sysenter_rip = 0;
    v->arch.trap_pending = 0;
    v->arch.ts_set = 0;
    v->arch.debug_active = 0;
    memset(v->arch.dr, 0, sizeof(v->arch.dr));
    init_registers(v);
    xstate_reset(v);
    v->initialised = false;
}

// ---- contexts -----------------------------------------------------------------------------------

static bool context_addresses_ok(const struct vcpu_guest_context *c)
{
    for (unsigned int i = 0; i < 256; i++)
        if (!pv_canonical(c->trap_ctxt[i].address))
            return false;
    return pv_canonical(c->user_regs.rip) && pv_canonical(c->event_callback_eip) &&
           pv_canonical(c->failsafe_callback_eip) && pv_canonical(c->syscall_callback_eip) &&
           pv_canonical(c->fs_base) && pv_canonical(c->gs_base_kernel) &&
           pv_canonical(c->gs_base_user);
}

static void set_frame(struct vcpu *v, const struct cpu_user_regs *from)
{
    struct cpu_user_regs *regs = v->arch.regs;

    *regs = *from;
    regs->cs |= 3;
    regs->ss |= 3;
    regs->rflags = (regs->rflags & RFLAGS_GUEST) | RFLAGS_IF | RFLAGS_ALWAYS;
    regs->entry_vector = 0;
    regs->error_code = 0;
    v->arch.ds = from->ds;
    v->arch.es = from->es;
    v->arch.fs = from->fs;
    v->arch.gs = from->gs;
}

static void set_callbacks(struct vcpu *v, const struct vcpu_guest_context *c)
{
    for (unsigned int i = 0; i < 256; i++)
        v->arch.traps[i] = (struct pv_trap){
            .address = c->trap_ctxt[i].address,
            .cs = c->trap_ctxt[i].cs,
            .flags = c->trap_ctxt[i].flags,
        };
    v->arch.event_rip = c->event_callback_eip;
    v->arch.failsafe_rip = c->failsafe_callback_eip;
    v->arch.syscall_rip = c->syscall_callback_eip;
    v->arch.failsafe_masks_events = !!(c->flags & VGCF_failsafe_disables_events);
    v->arch.syscall_masks_events = !!(c->flags & VGCF_syscall_disables_events);
}

static int set_debug(struct vcpu *v, const struct vcpu_guest_context *c)
{
    int rc = 0;

    for (unsigned int i = 0; i < 8 && !rc; i++)
        if (i != 4 && i != 5)
            rc = pv_set_debugreg(v, i, i == 7 ? c->debugreg[i] & 0xffff27ff : c->debugreg[i]);
    return rc;
}

static int set_tables(struct vcpu *v, const struct vcpu_guest_context *c)
{
    int rc = pv_set_gdt(v, c->gdt_frames, MIN(c->gdt_ents, 65536ul));

    if (rc)
        return rc;
    rc = pv_set_ldt(v, c->ldt_base, MIN(c->ldt_ents, 65536ul));
    if (rc)
        return rc;
    return pv_vcpu_set_roots(v, MFN(xen_cr3_to_pfn(c->ctrlreg[3])),
                             MFN(xen_cr3_to_pfn(c->ctrlreg[1])));
}

int arch_vcpu_set_context(struct vcpu *v, const struct vcpu_guest_context *c)
{
    int rc;

    if (!context_addresses_ok(c))
        return -EINVAL;
    // What can fail comes first.
    rc = set_debug(v, c);
    if (rc)
        return rc;
    v->arch.in_kernel = !!(c->flags & VGCF_in_kernel);
    rc = set_tables(v, c);
    if (rc)
        return rc;
    set_frame(v, &c->user_regs);
    set_callbacks(v, c);
    v->arch.fs_base = c->fs_base;
    v->arch.gs_base_kernel = c->gs_base_kernel;
    v->arch.gs_base_user = c->gs_base_user;
    v->arch.kernel_ss = c->kernel_ss | 3;
    v->arch.kernel_sp = c->kernel_sp;
    v->arch.iopl = c->user_regs.rflags >> 12 & 3;
    pv_set_cr4(v, c->ctrlreg[4] | v->arch.guest_cr4);
    // XCR0 stays: a suspended guest is resumed by giving its vCPU the context it has, but for RAX.
    xstate_set_legacy(v, c->flags & VGCF_I387_VALID ? &c->fpu_ctxt : NULL);
    if (v->id == 0)
        v->domain->vm_assist = c->vm_assist & VM_ASSIST_VALID;
    pv_update_cr3(v);
    v->initialised = true;
    return 0;
}

static void get_callbacks(const struct vcpu *v, struct vcpu_guest_context *c)
{
    for (unsigned int i = 0; i < 256; i++) {
        c->trap_ctxt[i].vector = i;
        c->trap_ctxt[i].address = v->arch.traps[i].address;
        c->trap_ctxt[i].cs = v->arch.traps[i].cs;
        c->trap_ctxt[i].flags = v->arch.traps[i].flags;
    }
    c->event_callback_eip = v->arch.event_rip;
    c->failsafe_callback_eip = v->arch.failsafe_rip;
    c->syscall_callback_eip = v->arch.syscall_rip;
    c->flags |= v->arch.failsafe_masks_events ? VGCF_failsafe_disables_events : 0;
    c->flags |= v->arch.syscall_masks_events ? VGCF_syscall_disables_events : 0;
}

void arch_vcpu_get_context(struct vcpu *v, struct vcpu_guest_context *c)
{
    memset(c, 0, sizeof(*c));
    xstate_get_legacy(v, &c->fpu_ctxt);
    c->flags = VGCF_I387_VALID | (v->arch.in_kernel ? VGCF_in_kernel : 0) |
               (v->pause_flags & VPF_DOWN ? 0 : VGCF_online);
    c->user_regs = *v->arch.regs;
    c->user_regs.entry_vector = c->user_regs.error_code = 0;
    c->user_regs.ds = v->arch.ds;
    c->user_regs.es = v->arch.es;
    c->user_regs.fs = v->arch.fs;
    c->user_regs.gs = v->arch.gs;
    c->user_regs.saved_upcall_mask = v->info->evtchn_upcall_mask;
    c->user_regs.rflags |= (uint64_t)v->arch.iopl << 12;
    get_callbacks(v, c);
    c->ldt_base = v->arch.ldt_base;
    c->ldt_ents = v->arch.ldt_entries;
    for (unsigned int i = 0; i * 512 < v->arch.gdt_entries; i++)
        c->gdt_frames[i] = v->arch.gdt_frames[i].v;
    c->gdt_ents = v->arch.gdt_entries;
    c->kernel_ss = v->arch.kernel_ss;
    c->kernel_sp = v->arch.kernel_sp;
    c->ctrlreg[0] = v->arch.guest_cr0;
    c->ctrlreg[1] = v->arch.user_l4;
    c->ctrlreg[2] = v->arch.cr2;
    c->ctrlreg[3] = v->arch.kernel_l4;
    c->ctrlreg[4] = v->arch.guest_cr4;
    memcpy(c->debugreg, v->arch.dr, sizeof(c->debugreg));
    c->vm_assist = v->domain->vm_assist;
    c->fs_base = v->arch.fs_base;
    c->gs_base_kernel = v->arch.gs_base_kernel;
    c->gs_base_user = v->arch.gs_base_user;
}

// ---- events -------------------------------------------------------------------------------------

bool arch_vcpu_event_pending(const struct vcpu *v)
{
    return READ_ONCE(v->info->evtchn_upcall_pending) && !READ_ONCE(v->info->evtchn_upcall_mask);
}

void arch_vcpu_kick(struct vcpu *v)
{
    // Current looks on its way out anyway.
    if (v != current && READ_ONCE(v->is_running))
        arch_cpu_kick(v->cpu);
}

void arch_vcpu_send_nmi(struct vcpu *v)
{
    __atomic_or_fetch(&v->arch.trap_pending, TRAP_PENDING_NMI, __ATOMIC_SEQ_CST);
    vcpu_unblock(v);
    arch_vcpu_kick(v);
}

// ---- vcpu_info ----------------------------------------------------------------------------------

int arch_vcpu_map_info(struct vcpu *v, gfn_t gfn, unsigned int offset)
{
    mfn_t mfn = MFN(gfn.v);

    if (offset > PAGE_SIZE - sizeof(vcpu_info_t) || offset % 8)
        return -EINVAL;
    // Another vCPU's may only move while nobody uses it.
    if (!mfn_eq(v->info_mfn, INVALID_MFN) ||
        (v != current && !(READ_ONCE(v->pause_flags) & VPF_DOWN)))
        return -EINVAL;
    if (!frame_get(mfn, v->domain))
        return -EINVAL;
    struct frame *f = mfn_to_frame(mfn);
    if (!frame_get_type_simple(f, FRAME_TYPE_WRITABLE)) {
        frame_put(f);
        return -EINVAL;
    }
    vcpu_info_t *to = (vcpu_info_t *)((char *)mfn_to_virt(mfn) + offset);
    *to = *v->info;
    WRITE_ONCE(v->info, to);
    v->info_mfn = mfn;
    // A sender may still be writing to the old place; what it says is in the shared bitmap.
    smp_mb();
    evtchn_vcpu_info_moved(v);
    return 0;
}

void arch_vcpu_unmap_info(struct vcpu *v)
{
    if (mfn_eq(v->info_mfn, INVALID_MFN))
        return;
    struct frame *f = mfn_to_frame(v->info_mfn);
    WRITE_ONCE(v->info, &no_info);
    v->info_mfn = INVALID_MFN;
    frame_put_type_simple(f);
    frame_put(f);
}

// ---- looking at one -----------------------------------------------------------------------------

void arch_vcpu_dump(struct vcpu *v)
{
    const struct cpu_user_regs *r = v->arch.regs;

    if (v->is_idle)
        return;
    printk(LOG_INFO "d%uv%u: rip %04x:%016lx rsp %04x:%016lx rflags %lx, guest %s\n", v->domain->id,
           v->id, r->cs, r->rip, r->ss, r->rsp, r->rflags, v->arch.in_kernel ? "kernel" : "user");
    printk(LOG_INFO "  rax %016lx rbx %016lx rcx %016lx rdx %016lx\n", r->rax, r->rbx, r->rcx,
           r->rdx);
    printk(LOG_INFO "  rsi %016lx rdi %016lx rbp %016lx r8  %016lx\n", r->rsi, r->rdi, r->rbp,
           r->r8);
    printk(LOG_INFO "  r9  %016lx r10 %016lx r11 %016lx r12 %016lx\n", r->r9, r->r10, r->r11,
           r->r12);
    printk(LOG_INFO "  r13 %016lx r14 %016lx r15 %016lx cr3 %016lx\n", r->r13, r->r14, r->r15,
           v->arch.cr3);
    printk(LOG_INFO "  cr2 %016lx, events %s%s\n", v->arch.cr2,
           v->info->evtchn_upcall_mask ? "masked" : "unmasked",
           v->info->evtchn_upcall_pending ? ", pending" : "");
    if (v != current || !irq_enabled())
        return;
    uint64_t words[GUEST_STACK_WORDS];
    if (guest_copy_from(words, (void *)r->rsp, sizeof(words)))
        return;
    for (unsigned int i = 0; i < GUEST_STACK_WORDS; i += 4)
        printk(LOG_INFO "  rsp+%02x: %016lx %016lx %016lx %016lx\n", i * 8, words[i], words[i + 1],
               words[i + 2], words[i + 3]);
}
