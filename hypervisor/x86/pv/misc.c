// SPDX-License-Identifier: BSD-2-Clause
// Small PV hypercalls about registers, and what the hypercall ABI itself consists of.
#include "core/hypercall.h"
#include "lib/string.h"
#include "x86/arch/guest_access.h"
#include "x86/cpu/cpuid.h"
#include "x86/cpu/extable.h"
#include "x86/cpu/msr.h"
#include "x86/cpu/traps.h"
#include "x86/pv/pv_internal.h"

#define HYPERCALL_STUB_BYTES 32
#define SYSCALL_INSN_BYTES   2

// ---- segment bases ------------------------------------------------------------------------------
// The instructions exist only while the guest has CR4.FSGSBASE; the MSRs always do.

static bool has_fsgsbase(const struct vcpu *v)
{
    return v->arch.guest_cr4 & CR4_FSGSBASE;
}

void pv_write_fs_base(struct vcpu *v, unsigned long base)
{
    if (has_fsgsbase(v))
        asm volatile("wrfsbase %0" ::"r"(base));
    else
        wrmsr(MSR_FS_BASE, base);
}

void pv_write_gs_base(struct vcpu *v, unsigned long base)
{
    if (has_fsgsbase(v))
        asm volatile("wrgsbase %0" ::"r"(base));
    else
        wrmsr(MSR_GS_BASE, base);
}

void pv_write_other_gs_base(struct vcpu *v, unsigned long base)
{
    if (has_fsgsbase(v))
        asm volatile("swapgs; wrgsbase %0; swapgs" ::"r"(base));
    else
        wrmsr(MSR_KERNEL_GS_BASE, base);
}

unsigned long pv_read_fs_base(struct vcpu *v)
{
    unsigned long base;

    if (!has_fsgsbase(v))
        return rdmsr(MSR_FS_BASE);
    asm volatile("rdfsbase %0" : "=r"(base));
    return base;
}

unsigned long pv_read_gs_base(struct vcpu *v)
{
    unsigned long base;

    if (!has_fsgsbase(v))
        return rdmsr(MSR_GS_BASE);
    asm volatile("rdgsbase %0" : "=r"(base));
    return base;
}

unsigned long pv_read_other_gs_base(struct vcpu *v)
{
    unsigned long base;

    if (!has_fsgsbase(v))
        return rdmsr(MSR_KERNEL_GS_BASE);
    asm volatile("swapgs; rdgsbase %0; swapgs" : "=r"(base));
    return base;
}

// GS as its user mode sees it: selector, and the base of its descriptor.
static void load_user_gs_selector(unsigned int selector)
{
    asm volatile("swapgs\n"
                 "1: movl %k0, %%gs\n"
                 "2: swapgs\n"
                 ".pushsection .text.unlikely\n"
                 "3: xorl %k0, %k0\n"
                 "movl %k0, %%gs\n"
                 "jmp 2b\n"
                 ".popsection\n" ASM_EXTABLE(1b, 3b)
                 : "+r"(selector));
}

long hc_set_segment_base(unsigned long which, unsigned long base)
{
    struct vcpu *v = current;

    if (which != SEGBASE_GS_USER_SEL && !pv_canonical(base))
        return -EINVAL;
    switch (which) {
    case SEGBASE_FS:
        pv_write_fs_base(v, base);
        return 0;
    case SEGBASE_GS_USER:
        pv_write_other_gs_base(v, base);
        return 0;
    case SEGBASE_GS_KERNEL:
        pv_write_gs_base(v, base);
        return 0;
    case SEGBASE_GS_USER_SEL: {
        unsigned int selector = base & 0xffff;
        pv_ldt_load(v, selector);
        load_user_gs_selector(selector & ~3u ? selector | 3 : selector);
        return 0;
    }
    default:
        return -EINVAL;
    }
}

// ---- stack, FPU ---------------------------------------------------------------------------------

long hc_stack_switch(unsigned long ss, unsigned long sp)
{
    struct vcpu *v = current;

    v->arch.kernel_ss = ss | 3;
    v->arch.kernel_sp = sp;
    return 0;
}

void pv_set_ts(struct vcpu *v, bool set)
{
    v->arch.ts_set = set;
    if (!set)
        clts();
    else
        write_cr0(read_cr0() | CR0_TS);
}

long hc_fpu_taskswitch(unsigned long set)
{
    pv_set_ts(current, set);
    return 0;
}

// ---- debug registers ----------------------------------------------------------------------------

#define DR7_ENABLES    0x00fful
#define DR7_FIXED      0x0400ul
#define DR7_GENERAL    0x2000ul // detection of debug register accesses: not for guests
#define DR7_RESERVED   0xffffffff0000d800ul
#define DR7_RW_IO      2ul
#define DR7_RW(dr7, n) ((dr7) >> (16 + 4 * (n)) & 3)

static void load_debugregs(const struct vcpu *v)
{
    asm volatile("mov %0, %%db0" ::"r"(v->arch.dr[0]));
    asm volatile("mov %0, %%db1" ::"r"(v->arch.dr[1]));
    asm volatile("mov %0, %%db2" ::"r"(v->arch.dr[2]));
    asm volatile("mov %0, %%db3" ::"r"(v->arch.dr[3]));
    asm volatile("mov %0, %%db6" ::"r"(DR6_DEFAULT));
    asm volatile("mov %0, %%db7" ::"r"(v->arch.debug_active));
}

void pv_debug_switch_in(const struct vcpu *v)
{
    if (unlikely(v->arch.debug_active))
        load_debugregs(v);
}

void pv_debug_switch_out(const struct vcpu *v)
{
    if (unlikely(v->arch.debug_active))
        asm volatile("mov %0, %%db7" ::"r"(DR7_FIXED));
}

static int check_dr7(unsigned long value)
{
    if (value & (DR7_RESERVED | DR7_GENERAL))
        return -EPERM;
    for (unsigned int n = 0; n < 4; n++)
        if ((value & (3ul << (2 * n))) && DR7_RW(value, n) == DR7_RW_IO)
            return -EPERM;
    return 0;
}

int pv_set_debugreg(struct vcpu *v, unsigned int reg, unsigned long value)
{
    int rc;

    switch (reg) {
    case 0 ... 3:
        if (!pv_canonical(value) || !guest_range_ok((void *)value, 1))
            return -EPERM;
        v->arch.dr[reg] = value;
        break;
    case 6:
        v->arch.dr[6] = (value & 0xe00ful) | DR6_DEFAULT;
        return 0;
    case 7:
        rc = check_dr7(value);
        if (rc)
            return rc;
        v->arch.dr[7] = value | DR7_FIXED;
        v->arch.debug_active = value & DR7_ENABLES ? v->arch.dr[7] : 0;
        break;
    default:
        return -EINVAL;
    }
    if (v != current)
        return 0;
    if (v->arch.debug_active)
        load_debugregs(v);
    else
        asm volatile("mov %0, %%db7" ::"r"(DR7_FIXED));
    return 0;
}

int pv_get_debugreg(struct vcpu *v, unsigned int reg, unsigned long *value)
{
    if (reg > 7 || reg == 4 || reg == 5)
        return -EINVAL;
    *value = v->arch.dr[reg];
    if (reg == 6)
        *value |= DR6_DEFAULT;
    else if (reg == 7)
        *value |= DR7_FIXED;
    return 0;
}

long hc_set_debugreg(unsigned long reg, unsigned long value)
{
    return pv_set_debugreg(current, reg > 7 ? 8 : reg, value);
}

long hc_get_debugreg(unsigned long reg)
{
    unsigned long value;
    int rc = pv_get_debugreg(current, reg > 7 ? 8 : reg, &value);

    return rc ? rc : (long)value;
}

// ---- the hypercall ABI --------------------------------------------------------------------------

void pv_hypercall_page_init(void *page)
{
    // push %rcx; push %r11; mov $nr, %eax; syscall; pop %r11; pop %rcx; ret
    static const uint8_t call[] = {0x51, 0x41, 0x53, 0xb8, 0,    0,    0,
                                   0,    0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3};
    // push %rcx; push %r11; push %rax; mov $23, %eax; syscall: the head of struct iret_context
    static const uint8_t iret[] = {0x51, 0x41, 0x53, 0x50, 0xb8, __HYPERVISOR_iret,
                                   0,    0,    0,    0x0f, 0x05};
    uint8_t *p = page;

    memset(p, 0xcc, PAGE_SIZE);
    for (unsigned int nr = 0; nr < PAGE_SIZE / HYPERCALL_STUB_BYTES; nr++) {
        uint8_t *stub = p + nr * HYPERCALL_STUB_BYTES;
        if (nr == __HYPERVISOR_iret) {
            memcpy(stub, iret, sizeof(iret));
            continue;
        }
        memcpy(stub, call, sizeof(call));
        stub[4] = nr;
    }
}

long arch_hypercall_continue(unsigned long nr, unsigned int nargs, const unsigned long *args)
{
    struct cpu_user_regs *r = current->arch.regs;
    uint64_t *const where[] = {&r->rdi, &r->rsi, &r->rdx, &r->r10, &r->r8, &r->r9};

    for (unsigned int i = 0; i < nargs && i < ARRAY_SIZE(where); i++)
        *where[i] = args[i];
    r->rip -= SYSCALL_INSN_BYTES;
    return nr;
}

int arch_copy_to_guest_kernel(void *gva, const void *src, size_t size)
{
    struct vcpu *v = current;

    if (v->arch.in_kernel)
        return guest_copy_to(gva, src, size);
    pv_toggle_mode(v);
    int rc = guest_copy_to(gva, src, size);
    pv_toggle_mode(v);
    return rc;
}
