// SPDX-License-Identifier: BSD-2-Clause
// Segment bases: set_segment_base, the FS and GS base MSRs, kernel and user GS across modes.
#include "lib/guest.h"

static struct trap t;
static uint64_t cell_a[2] = {0xaaaa, 0xa1}, cell_b[2] = {0xbbbb, 0xb1}, cell_c[2] = {0xcccc, 0xc1};
static uint8_t stack[1024] __attribute__((aligned(16)));

enum { MSR_FS_BASE = 0xc0000100, MSR_GS_BASE, MSR_GS_SHADOW };

static uint64_t fs_word(void)
{
    uint64_t v;

    __asm__ volatile("mov %%fs:0, %0" : "=r"(v));
    return v;
}

static uint64_t gs_word(void)
{
    uint64_t v;

    __asm__ volatile("mov %%gs:0, %0" : "=r"(v));
    return v;
}

static uint64_t rdmsr(uint32_t msr)
{
    uint32_t lo, hi;

    __asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
    return (uint64_t)hi << 32 | lo;
}

static void wrmsr(uint32_t msr, uint64_t v)
{
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}

static void by_hypercall(void)
{
    is(hc_set_segment_base(SEGBASE_FS, (unsigned long)cell_a), 0, "set the FS base");
    is(fs_word(), 0xaaaa, "FS");
    is(hc_set_segment_base(SEGBASE_GS_KERNEL, (unsigned long)cell_b), 0, "set the kernel GS base");
    is(gs_word(), 0xbbbb, "GS");
    is(hc_set_segment_base(SEGBASE_GS_USER, (unsigned long)cell_c), 0, "set the user GS base");
    is(gs_word(), 0xbbbb, "the kernel's GS is as before");
    is_error(hc_set_segment_base(SEGBASE_FS, 0x800000000000), "FS, not canonical");
    is_error(hc_set_segment_base(SEGBASE_GS_KERNEL, 0x800000000000), "kernel GS, not canonical");
    is_error(hc_set_segment_base(SEGBASE_GS_USER, 0x800000000000), "user GS, not canonical");
    is_error(hc_set_segment_base(9, 0), "no such segment");
    is(hc_set_segment_base(SEGBASE_GS_USER_SEL, 0), 0, "null user GS selector");
    is(hc_set_segment_base(SEGBASE_GS_USER, (unsigned long)cell_c), 0, "user GS base again");
}

static void by_msr(void)
{
    is(rdmsr(MSR_FS_BASE), cell_a, "rdmsr FS base");
    is(rdmsr(MSR_GS_BASE), cell_b, "rdmsr GS base: the kernel's");
    is(rdmsr(MSR_GS_SHADOW), cell_c, "rdmsr shadow GS base: the user's");
    wrmsr(MSR_FS_BASE, (uint64_t)cell_c);
    is(fs_word(), 0xcccc, "wrmsr FS base");
    wrmsr(MSR_GS_BASE, (uint64_t)cell_a);
    is(gs_word(), 0xaaaa, "wrmsr GS base");
    wrmsr(MSR_GS_SHADOW, (uint64_t)cell_b);
    is(rdmsr(MSR_GS_SHADOW), cell_b, "wrmsr shadow GS base");
    CATCH(t, wrmsr(MSR_FS_BASE, 0x800000000000));
    is(t.vector, 13, "wrmsr of a non-canonical base gives #GP");
    CATCH(t, wrmsr(MSR_GS_BASE, 0x800000000000));
    is(t.vector, 13, "and for GS");
    hc_sched_op(SCHEDOP_yield, NULL);
    is(fs_word(), 0xcccc, "FS survives a yield");
    is(gs_word(), 0xaaaa, "GS survives a yield");
}

static void swapgs(void)
{
    CATCH(t, __asm__ volatile("swapgs"));
    is(t.vector, 13, "swapgs is not for guests");
}

void user_gs(void);
__asm__(".globl user_gs\nuser_gs: mov %gs:0, %rax\n mov %fs:0, %rbx\n syscall");

static void in_user_mode(void)
{
    uint64_t *root = table_alloc();

    mmuext(MMUEXT_PIN_L4_TABLE, va_to_mfn(root));
    pte_write((va_to_mfn(root) << 12) + 511 * 8, *pte_of(VIRT_BASE, 4));
    mmuext(MMUEXT_NEW_USER_BASEPTR, va_to_mfn(root));
    for (int i = 0; i < 3; i++) {
        CATCH(t, user_enter((uint64_t)user_gs, (uint64_t)stack + sizeof(stack), 0, 0x202));
        is(t.vector, VEC_SYSCALL, "user mode");
        is(t.regs.rax, 0xbbbb, "GS in user mode is the user's");
        is(t.regs.rbx, 0xcccc, "FS is shared");
        is(gs_word(), 0xaaaa, "GS back in the kernel is the kernel's");
    }
}

void guest_main(void)
{
    by_hypercall();
    by_msr();
    swapgs();
    in_user_mode();
}
