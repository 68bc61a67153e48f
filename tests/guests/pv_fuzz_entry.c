// SPDX-License-Identifier: BSD-2-Clause
// Hostile user mode: random return frames, selectors, flags and code, so that the ways in and out
// of the hypervisor meet every combination. Each step must end in a trap, a system call or the
// timer; the guest kernel itself stays sane.
// Command line: seed=N seconds=N trace debug (debug registers too)
#include "lib/guest.h"
#include "lib/random.h"

#define CODE_VA  0x400000UL
#define DATA_VA  0x401000UL
#define STACK_VA 0x402000UL

static uint64_t state;
static struct trap t;
static uint8_t *code;
static uint64_t gdt[512] __attribute__((aligned(4096)));
static uint64_t ldt[512] __attribute__((aligned(4096)));
static unsigned long traps[VEC_COUNT];
static bool trace, debug;

static uint64_t rnd(void)
{
    return random_next(&state);
}

static uint64_t below(uint64_t n)
{
    return rnd() % n;
}

// ---- code -------------------------------------------------------------------------------------

// Instructions worth meeting; each is its length and its bytes.
static const uint8_t shapes[][12] = {
    {2, 0x0f, 0x05},                                           // syscall
    {2, 0x0f, 0x34},                                           // sysenter
    {2, 0xcd, 0x80},                                           // int 0x80
    {2, 0xcd, 0x01},                                           // int 1
    {2, 0xcd, 0x02},                                           // int 2
    {2, 0xcd, 0x08},                                           // int 8
    {2, 0xcd, 0xff},                                           // int 0xff
    {1, 0xcc},                                                 // int3
    {1, 0xce},                                                 // into
    {2, 0x0f, 0x0b},                                           // ud2
    {7, 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2},             // forced cpuid
    {6, 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x90},                   // forced nop
    {1, 0xf4},                                                 // hlt
    {1, 0xfa},                                                 // cli
    {1, 0xfb},                                                 // sti
    {1, 0xcf},                                                 // iret
    {2, 0x48, 0xcf},                                           // iretq
    {1, 0xcb},                                                 // lret
    {2, 0x48, 0xcb},                                           // lretq
    {9, 0x9c, 0x81, 0x0c, 0x24, 0x00, 0x01, 0x00, 0x00, 0x9d}, // set TF
    {9, 0x9c, 0x81, 0x0c, 0x24, 0x00, 0x40, 0x04, 0x00, 0x9d}, // set NT, AC
    {2, 0x8e, 0xd0},                                           // mov ss, ax
    {2, 0x8e, 0xd8},                                           // mov ds, ax
    {2, 0x8e, 0xc0},                                           // mov es, ax
    {2, 0x8e, 0xe0},                                           // mov fs, ax
    {2, 0x8e, 0xe8},                                           // mov gs, ax
    {4, 0x8e, 0xd0, 0x0f, 0x05},                               // mov ss, ax; syscall
    {3, 0x8e, 0xd0, 0xcc},                                     // mov ss, ax; int3
    {4, 0x8e, 0xd0, 0xcd, 0x80},                               // mov ss, ax; int 0x80
    {2, 0x0f, 0xa2},                                           // cpuid
    {2, 0x0f, 0x31},                                           // rdtsc
    {2, 0x0f, 0x32},                                           // rdmsr
    {2, 0x0f, 0x30},                                           // wrmsr
    {3, 0x0f, 0x01, 0xf8},                                     // swapgs
    {3, 0x0f, 0x01, 0xd9},                                     // vmmcall
    {3, 0x0f, 0x01, 0xd0},                                     // xgetbv
    {3, 0x0f, 0x01, 0xd1},                                     // xsetbv
    {2, 0x0f, 0x06},                                           // clts
    {1, 0xec},                                                 // in al, dx
    {1, 0x6e},                                                 // outsb
    {2, 0xf3, 0x6c},                                           // rep insb
    {3, 0x0f, 0xae, 0x0f},                                     // fxrstor [rdi]
    {3, 0x0f, 0xae, 0x2f},                                     // xrstor [rdi]
    {3, 0x0f, 0xae, 0x27},                                     // xsave [rdi]
    {3, 0x0f, 0xae, 0x17},                                     // ldmxcsr [rdi]
    {2, 0xdb, 0xe3},                                           // fninit
    {5, 0xf3, 0x48, 0x0f, 0xae, 0xd0},                         // wrfsbase rax
    {5, 0xf3, 0x48, 0x0f, 0xae, 0xd8},                         // wrgsbase rax
    {3, 0x0f, 0x00, 0xd8},                                     // ltr ax
    {3, 0x0f, 0x00, 0xd0},                                     // lldt ax
    {3, 0x0f, 0x01, 0x1f},                                     // lidt [rdi]
    {3, 0x0f, 0x22, 0xd8},                                     // mov cr3, rax
    {3, 0x0f, 0x23, 0xf8},                                     // mov dr7, rax
    {2, 0xff, 0xe0},                                           // jmp rax
    {2, 0xff, 0x2f},                                           // far jmp [rdi]
    {2, 0xff, 0x1f},                                           // far call [rdi]
    {3, 0x48, 0xff, 0x2f},                                     // far jmp [rdi], 64-bit
    {2, 0xf7, 0xf3},                                           // div ebx
    {1, 0x9b},                                                 // fwait
};

static void fill_code(void)
{
    unsigned int at = 0;

    while (at < 200) {
        const uint8_t *s = shapes[below(ARRAY_SIZE(shapes))];

        if (below(6) == 0) {
            code[at] = (uint8_t)rnd();
            at += code[at] != 0xf1; // int1 kills QEMU 7.2
            continue;
        }
        if (below(4) == 0) { // mov eax, some selector or word
            code[at++] = 0xb8;
            *(uint32_t *)(code + at) =
                (uint32_t)(below(2) ? below(64) * 8 + below(8) : rnd() & ~0xf0f0f0f0UL);
            at += 4;
        }
        memcpy(code + at, s + 1, s[0]);
        at += s[0];
    }
    // At the end: leave.
    memcpy(code + at, "\x0f\x05\x0f\x0b", 4);
}

// ---- descriptors --------------------------------------------------------------------------------

static uint64_t any_descriptor(void)
{
    static const uint64_t good[] = {
        0x00cff2000000ffff, 0x00cffa000000ffff, 0x00affa000000ffff, 0x008ffa000000ffff,
        0x00cff6000000ffff, 0x00cf72000000ffff, 0x00cffe000000ffff, 0x00affe000000ffff,
        0x0040f20000000fff, 0x00cff0000000ffff, 0x00cff8000000ffff, 0x0000000000000000,
        0x00eff2000000ffff, 0x40cff2400000ffff, 0x00affb000000ffff,
    };

    return below(4) ? good[below(ARRAY_SIZE(good))] : rnd();
}

static void change_descriptors(void)
{
    mmuext_op_t op = {.cmd = MMUEXT_SET_LDT};

    for (int i = 0; i < 4; i++) {
        hc_update_descriptor((va_to_mfn(gdt) << 12) + 8 * below(64), any_descriptor());
        hc_update_descriptor((va_to_mfn(ldt) << 12) + 8 * below(64), any_descriptor());
    }
    if (below(8))
        return;
    op.arg1.linear_addr = (unsigned long)ldt;
    op.arg2.nr_ents = (unsigned int)below(513);
    hc_mmuext_op(&op, 1, NULL, DOMID_SELF);
}

static uint64_t any_selector(uint64_t flat)
{
    switch (below(6)) {
    case 0:
        return below(64) * 8 + below(8);
    case 1:
        return rnd() & 0xffff;
    case 2:
        return 0xe000 + below(16) * 8 + below(4);
    default:
        return flat;
    }
}

// ---- one step -----------------------------------------------------------------------------------

static uint64_t any_address(uint64_t good)
{
    switch (below(12)) {
    case 0:
        return 0x7ffffffffff0 + below(32);
    case 1:
        return 0x800000000000 + rnd() % 4096;
    case 2:
        return HYPERVISOR_VIRT_START + rnd() % (1UL << 43);
    case 3:
        return rnd();
    case 4:
        return good + PAGE_SIZE - below(16);
    default:
        return good;
    }
}

static void any_debug_registers(void)
{
    hc_set_debugreg(0, CODE_VA + below(200));
    hc_set_debugreg(1, below(2) ? DATA_VA : STACK_VA + 2048 - 8 * below(4));
    hc_set_debugreg(7, below(3) ? 0 : rnd() & 0xffff00ff);
}

static void step(void)
{
    static uint64_t frame[6];
    uint32_t mode32 = below(3) == 0;

    fill_code();
    if (below(4) == 0)
        change_descriptors();
    // Only when asked for: QEMU takes a hit and a single step for two exceptions, and dies itself
    // of a breakpoint in a segment with a base.
    if (debug && below(16) == 0)
        any_debug_registers();
    if (below(32) == 0)
        hc_fpu_taskswitch(1);
    frame[0] = below(4) ? 0 : VGCF_in_syscall;
    frame[1] = below(6) ? CODE_VA : any_address(CODE_VA);
    frame[2] = any_selector(mode32 ? FLAT_USER_CS32 : FLAT_USER_CS64) | 3; // 3: user mode
    frame[3] = below(2) ? 0x202 : (rnd() & 0x3fffff) | 0x200;
    frame[4] = below(4) ? STACK_VA + 2048 : any_address(STACK_VA);
    frame[5] = any_selector(FLAT_USER_SS64);
    if (trace)
        print("# flags %lx rip %lx cs %lx rflags %lx rsp %lx ss %lx\n", frame[0], frame[1],
              frame[2], frame[3], frame[4], frame[5]);
    hc_set_timer_op(clock_now() + 3 * MS);
    CATCH(t, {
        __asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%fs" : : "r"(0));
        iret_frame(frame);
    });
    traps[t.vector]++;
}

// A selector that went stale leads here at any time: to be taken as it comes.
static bool on_failsafe(struct regs *r)
{
    if ((r->cs & 3) == 0 && !this_vcpu()->armed)
        return true;
    trap_abort(r);
    return true;
}

static bool on_event(struct regs *r)
{
    event_upcall();
    if ((r->cs & 3) == 3)
        trap_abort(r);
    return true;
}

static void set_up(void)
{
    uint64_t *l4 = table_alloc(), *l3 = table_alloc(), *l2 = table_alloc(), *l1 = table_alloc();
    unsigned long mfn = va_to_mfn(gdt);
    evtchn_port_t timer = (evtchn_port_t)event_bind_virq(VIRQ_TIMER, 0);

    code = page_alloc();
    mmuext(MMUEXT_PIN_L4_TABLE, va_to_mfn(l4));
    pte_write(va_to_mfn(l4) << 12, make_pte(va_to_mfn(l3), PTE_TABLE));
    pte_write(va_to_mfn(l3) << 12, make_pte(va_to_mfn(l2), PTE_TABLE));
    pte_write((va_to_mfn(l2) << 12) + 2 * 8, make_pte(va_to_mfn(l1), PTE_TABLE));
    pte_write(va_to_mfn(l1) << 12, make_pte(va_to_mfn(code), PTE_RW_DATA));
    for (unsigned int i = 1; i < 3; i++)
        pte_write((va_to_mfn(l1) << 12) + 8 * i, make_pte(pfn_to_mfn(frame_take()), PTE_RW_DATA));
    is(mmuext(MMUEXT_NEW_USER_BASEPTR, va_to_mfn(l4)), 0, "a user root");
    page_set_ro(gdt);
    page_set_ro(ldt);
    is(hc_set_gdt(&mfn, 512), 0, "a descriptor table");
    hc_vcpu_op(VCPUOP_stop_periodic_timer, 0, NULL);
    event_port_clear_mask(timer);
    trap_hook(VEC_EVENT, on_event);
    trap_hook(VEC_FAILSAFE, on_failsafe);
    event_enable();
}

void guest_main(void)
{
    static uint64_t seed, end;
    static unsigned long n;

    seed = arg_number("seed", rdtsc() | 1);
    state = seed ? seed : 1;
    trace = arg_present("trace");
    debug = arg_present("debug");
    print("# seed=%lu\n", seed);
    set_up();
    for (end = clock_now() + arg_number("seconds", 3) * 1000 * MS; clock_now() < end; n++)
        step();
    hc_set_debugreg(7, 0);
    hc_set_timer_op(0);
    print("# %lu steps:", n);
    for (unsigned int i = 0; i < VEC_COUNT; i++)
        if (traps[i])
            print(" %u:%lu", i, traps[i]);
    print("\n");
    ok(true, "the hypervisor lives");
}
