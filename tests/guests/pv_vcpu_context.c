// SPDX-License-Identifier: BSD-2-Clause
// What vcpu_op(initialise) puts into a vCPU: registers, descriptor table, segment bases, trap
// table, callbacks, debug and FPU state.
#include "lib/guest.h"

#define DATA3  0x00cff2000000ffffUL
#define CODE64 0x00affa000000ffffUL

static vcpu_guest_context_t ctx;
static uint64_t gdt[512] __attribute__((aligned(4096)));
static uint64_t cell_fs = 0xf5f5, cell_gs = 0x6565, cell_user = 0x0505;

static volatile struct {
    uint64_t regs[16], rflags, fs, gs, user_gs, dr0, dr7;
    uint64_t cs, ss, ds, mxcsr, mask, ticks;
} seen;
static volatile unsigned int ready;

void context_entry(void);
void context_main(void);

// Stores the general registers as they come, then goes on in C.
__asm__(".globl context_entry\n"
        "context_entry:\n"
        "mov %rax, seen_regs; mov %rbx, seen_regs+8; mov %rcx, seen_regs+16\n"
        "mov %rdx, seen_regs+24; mov %rsi, seen_regs+32; mov %rdi, seen_regs+40\n"
        "mov %rbp, seen_regs+48; mov %r8, seen_regs+64; mov %r9, seen_regs+72\n"
        "mov %r10, seen_regs+80; mov %r11, seen_regs+88; mov %r12, seen_regs+96\n"
        "mov %r13, seen_regs+104; mov %r14, seen_regs+112; mov %r15, seen_regs+120\n"
        "call context_main\n ud2\n"
        ".local seen_regs\n .comm seen_regs, 128, 8\n");

static uint64_t rdmsr(uint32_t msr)
{
    uint32_t lo, hi;

    __asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
    return (uint64_t)hi << 32 | lo;
}

void context_main(void)
{
    static struct trap t;
    uint64_t v;
    uint32_t mxcsr = 0;

    seen.mask = this_vcpu()->info->evtchn_upcall_mask;
    __asm__ volatile("mov %%cs, %0" : "=r"(v));
    seen.cs = v;
    __asm__ volatile("mov %%ss, %0" : "=r"(v));
    seen.ss = v;
    __asm__ volatile("mov %%ds, %0" : "=r"(v));
    seen.ds = v;
    __asm__ volatile("mov %%fs:0, %0" : "=r"(v));
    seen.fs = v;
    __asm__ volatile("mov %%gs:0, %0" : "=r"(v));
    seen.gs = v;
    seen.user_gs = rdmsr(0xc0000102);
    seen.dr0 = hc_get_debugreg(0);
    __asm__ volatile("stmxcsr %0" : "+m"(mxcsr));
    seen.mxcsr = mxcsr;
    CATCH(t, __asm__ volatile("ud2"));
    seen.ticks = (uint64_t)t.vector;
    ready = 1;
    for (;;)
        hc_sched_op(SCHEDOP_yield, NULL);
}

static void prepare(void)
{
    struct cpu_user_regs *u = &ctx.user_regs;

    smp_context(1, &ctx);
    ctx.gdt_frames[0] = va_to_mfn(gdt);
    ctx.gdt_ents = 512;
    u->rip = (unsigned long)context_entry;
    u->cs = 3 << 3 | 3;
    u->ss = 2 << 3 | 3;
    u->ds = 2 << 3 | 3;
    u->rax = 0xa1, u->rbx = 0xb1, u->rcx = 0xc1, u->rdx = 0xd1, u->rsi = 0x51, u->rdi = 0xd2;
    u->rbp = 0xb2, u->r8 = 8, u->r9 = 9, u->r10 = 10, u->r11 = 11, u->r12 = 12, u->r13 = 13;
    u->r14 = 14, u->r15 = 15;
    ctx.fs_base = (unsigned long)&cell_fs;
    ctx.gs_base_kernel = (unsigned long)&cell_gs;
    ctx.gs_base_user = (unsigned long)&cell_user;
    ctx.debugreg[0] = 0x4000;
    ctx.debugreg[6] = 0xffff0ff0;
    ctx.debugreg[7] = 0x400;
    ctx.kernel_ss = FLAT_KERNEL_SS;
}

static void compare(void)
{
    extern const uint64_t seen_regs_view[] __asm__("seen_regs");
    static const uint64_t want[] = {0xa1, 0xb1, 0xc1, 0xd1, 0x51, 0xd2, 0xb2, 0,
                                    8,    9,    10,   11,   12,   13,   14,   15};
    unsigned int wrong = 0;

    for (unsigned int i = 0; i < 16; i++)
        wrong += seen_regs_view[i] != want[i];
    is(wrong, 0, "general registers");
    is(seen.cs & 0xfffc, 3 << 3, "code selector");
    is(seen.ss & 0xfffc, 2 << 3, "stack selector");
    is(seen.ds & 0xfffc, 2 << 3, "data selector");
    is(seen.fs, 0xf5f5, "FS base");
    is(seen.gs, 0x6565, "kernel GS base");
    is(seen.user_gs, &cell_user, "user GS base");
    is(seen.dr0, 0x4000, "debug register 0");
    is(seen.mxcsr, 0x1f80, "FPU state is the initial one");
    is(seen.mask, 1, "events are masked");
    is(seen.ticks, 6, "the trap table works");
}

static void bad_contexts(void)
{
    prepare();
    ctx.user_regs.rip = 0x800000000000;
    is_error(hc_vcpu_op(VCPUOP_initialise, 1, &ctx), "a rip that is not canonical");
    prepare();
    ctx.fs_base = 0x800000000000;
    is_error(hc_vcpu_op(VCPUOP_initialise, 1, &ctx), "an FS base that is not canonical");
    prepare();
    ctx.gdt_ents = 9000;
    is_error(hc_vcpu_op(VCPUOP_initialise, 1, &ctx), "too many descriptors");
    prepare();
    ctx.ctrlreg[3] = 0;
    is_error(hc_vcpu_op(VCPUOP_initialise, 1, &ctx), "no root at all");
    prepare();
    ctx.ctrlreg[3] = xen_pfn_to_cr3(va_to_mfn(gdt));
    is_error(hc_vcpu_op(VCPUOP_initialise, 1, &ctx), "a root that is a descriptor table");
}

void guest_main(void)
{
    uint64_t end;

    if (smp_count() < 2) {
        tap_skip("two vCPUs", "this domain has one");
        return;
    }
    shared_info->vcpu_info[1].evtchn_upcall_mask = 1;
    gdt[2] = DATA3;
    gdt[3] = CODE64;
    page_set_ro(gdt);
    bad_contexts();
    prepare();
    is(hc_vcpu_op(VCPUOP_initialise, 1, &ctx), 0, "initialise");
    is_error(page_set_rw(gdt), "its descriptor table is held");
    is(hc_vcpu_op(VCPUOP_up, 1, NULL), 0, "up");
    for (end = clock_now() + 3000 * MS; !ready && clock_now() < end;)
        hc_sched_op(SCHEDOP_yield, NULL);
    ok(ready, "it runs");
    compare();
}
