// SPDX-License-Identifier: BSD-2-Clause
// A hostile guest: random hypercalls with random arguments, random page table and descriptor
// writes, random instructions that trap. It may be killed; the hypervisor must go on.
// Command line: seed=N seconds=N trace (print each call before it is made).
#include "lib/guest.h"

static uint64_t state;
static uint8_t *buffer;  // argument structures live here
static uint64_t *victim; // a page whose type changes all the time
static unsigned long frames[16];
static bool trace;

// Looked up before the fuzz: it corrupts the machine-to-physical table that lookups go through.
static unsigned long own_tables[4], scratch_slots[4], hypervisor_table, buffer_mfn, victim_mfn;

static uint64_t rnd(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static uint64_t below(uint64_t n)
{
    return rnd() % n;
}

static bool one_in(uint64_t n)
{
    return below(n) == 0;
}

static unsigned long any_mfn(void)
{
    switch (below(8)) {
    case 0:
        return rnd() >> 12;
    case 1:
        return below(0x80000);
    case 2:
        return own_tables[below(4)];
    case 3:
        return victim_mfn;
    case 4:
        return hypervisor_table;
    case 5:
        return buffer_mfn;
    default:
        return frames[below(16)];
    }
}

static unsigned long any_va(void)
{
    switch (below(10)) {
    case 0:
        return rnd();
    case 1:
        return HYPERVISOR_VIRT_START + (rnd() & 0x7ffffffffff);
    case 2:
        return 0x800000000000 + (rnd() & 0xffff);
    case 3:
        return SCRATCH_VA + below(16) * PAGE_SIZE;
    case 4:
        return SCRATCH_VA + PAGE_SIZE - below(64);
    case 5:
        return 0;
    default:
        return (unsigned long)buffer + (below(64) << 3);
    }
}

static unsigned long any_value(void)
{
    static const unsigned long edge[] = {0,
                                         1,
                                         2,
                                         0x7f,
                                         0xff,
                                         0x7fff,
                                         0xffff,
                                         0x7fffffff,
                                         0x80000000,
                                         0xffffffff,
                                         0x7fffffffffffffff,
                                         0x8000000000000000,
                                         ~0UL,
                                         0x7ff0,
                                         0x7ff1,
                                         0x7ff2,
                                         0x7ff4,
                                         4096,
                                         512,
                                         65536};

    switch (below(6)) {
    case 0:
        return rnd();
    case 1:
        return edge[below(ARRAY_SIZE(edge))];
    case 2:
        return any_va();
    case 3:
        return any_mfn();
    default:
        return below(40);
    }
}

static void fill_buffer(void)
{
    uint64_t *words = (uint64_t *)buffer;

    for (unsigned int i = 0; i < 64; i++)
        words[i] = one_in(3) ? any_value() << 32 | (any_value() & 0xffffffff) : any_value();
    // Half of the structures begin with a domain number: make it a plausible one.
    if (one_in(2))
        *(uint16_t *)buffer = one_in(4) ? 0 : DOMID_SELF;
}

static uint64_t any_pte(void)
{
    uint64_t flags = rnd() & (one_in(8) ? ~PTE_ADDR : 0x8000000000000e7fUL);

    return make_pte(any_mfn() & 0xffffffffff, flags | (one_in(4) ? 0 : PTE_P | PTE_U));
}

// Calls that would end the experiment at once, by doing what they are for.
static bool excluded(unsigned int nr, unsigned long a, unsigned long b)
{
    uint32_t cmd = (uint32_t)a;

    if (nr == __HYPERVISOR_iret || nr == __HYPERVISOR_set_trap_table ||
        nr == __HYPERVISOR_set_callbacks || nr == __HYPERVISOR_callback_op ||
        nr == __HYPERVISOR_stack_switch || nr == __HYPERVISOR_kexec_op ||
        nr == __HYPERVISOR_multicall) // any_multicall() makes its own
        return true;
    if (nr == __HYPERVISOR_sched_op || nr == __HYPERVISOR_sched_op_compat)
        return cmd == SCHEDOP_shutdown || cmd == SCHEDOP_block || cmd == SCHEDOP_poll ||
               cmd == SCHEDOP_watchdog || cmd == SCHEDOP_remote_shutdown;
    if (nr == __HYPERVISOR_vcpu_op)
        return cmd == VCPUOP_down || cmd == VCPUOP_register_vcpu_info;
    if (nr == __HYPERVISOR_console_io)
        return true; // only noise
    if (nr == __HYPERVISOR_domctl || nr == __HYPERVISOR_platform_op || nr == __HYPERVISOR_sysctl ||
        nr == __HYPERVISOR_physdev_op || nr == __HYPERVISOR_physdev_op_compat ||
        nr == __HYPERVISOR_xenoprof_op)
        return start_info->flags & SIF_INITDOMAIN && !arg_present("privileged");
    (void)b;
    return false;
}

static void show(unsigned int nr, const unsigned long a[5])
{
    if (trace)
        print("# hc %u %lx %lx %lx %lx %lx\n", nr, a[0], a[1], a[2], a[3], a[4]);
}

static void any_hypercall(void)
{
    unsigned int nr = (unsigned int)(one_in(40) ? rnd() : below(56));
    unsigned long a[5];

    for (int i = 0; i < 5; i++)
        a[i] = any_value();
    if (one_in(2))
        a[0] = below(32); // a command
    if (one_in(2))
        a[1] = (unsigned long)buffer; // its argument
    if (nr == __HYPERVISOR_vcpu_op && one_in(2)) {
        a[1] = below(3);
        a[2] = (unsigned long)buffer;
    }
    if (excluded(nr, a[0], a[1]))
        return;
    fill_buffer();
    show(nr, a);
    hypercall5(nr, a[0], a[1], a[2], a[3], a[4]);
}

// A multicall whose entries are as random as the rest, without what is excluded.
static void any_multicall(void)
{
    static multicall_entry_t m[8];

    for (int i = 0; i < 8; i++) {
        m[i].op = below(56);
        for (int j = 0; j < 6; j++)
            m[i].args[j] = any_value();
        if (excluded((unsigned int)m[i].op, m[i].args[0], m[i].args[1]))
            m[i].op = __HYPERVISOR_xen_version;
    }
    fill_buffer();
    if (trace)
        print("# multicall\n");
    hc_multicall(m, (unsigned int)below(9));
}

static void mmu_updates(void)
{
    static mmu_update_t u[16];

    for (int i = 0; i < 16; i++) {
        u[i].ptr = one_in(2) ? scratch_slots[below(4)] : any_mfn() << 12;
        // Never our own code and stack: that is suicide, and it proves nothing.
        if ((u[i].ptr & PAGE_MASK) == (scratch_slots[3] & PAGE_MASK))
            u[i].ptr = (u[i].ptr & PAGE_MASK) + 8 * (4 + below(250));
        else if ((u[i].ptr & PAGE_MASK) != (scratch_slots[0] & PAGE_MASK))
            u[i].ptr = (victim_mfn << 12) + 8 * below(512);
        u[i].ptr |= below(4);
        u[i].val = any_pte();
    }
    if (trace)
        print("# mmu_update\n");
    hc_mmu_update(u, (unsigned int)below(17), NULL, one_in(8) ? (unsigned int)rnd() : DOMID_SELF);
}

static void mmuext_ops(void)
{
    mmuext_op_t op = {.cmd = (unsigned int)below(20)};

    op.arg1.mfn = one_in(2) ? victim_mfn : any_mfn();
    op.arg2.src_mfn = any_value();
    if (op.cmd == MMUEXT_NEW_BASEPTR)
        return;
    if (op.cmd == MMUEXT_CLEAR_PAGE || op.cmd == MMUEXT_COPY_PAGE)
        op.arg1.mfn = one_in(2) ? victim_mfn : frames[below(16)];
    if (trace)
        print("# mmuext %u %lx %lx\n", op.cmd, op.arg1.mfn, (unsigned long)op.arg2.src_mfn);
    hc_mmuext_op(&op, 1, NULL, one_in(8) ? (unsigned int)rnd() : DOMID_SELF);
}

static void descriptors(void)
{
    unsigned long list[16];

    if (trace)
        print("# descriptors\n");
    hc_update_descriptor((victim_mfn << 12) + 8 * below(512), rnd());
    for (int i = 0; i < 16; i++)
        list[i] = one_in(3) ? victim_mfn : any_mfn();
    hc_set_gdt(list, (unsigned int)below(9000));
    hc_set_gdt(list, 0);
}

static struct trap t;

static void instructions(void)
{
    static uint32_t msr; // static: CATCH may come back through it
    static uint64_t v;

    msr = one_in(2) ? 0xc0000080 + (uint32_t)below(0x120) : (uint32_t)rnd();
    v = any_value();
    if (trace)
        print("# instruction, msr %x value %lx\n", msr, v);
    switch (below(9)) {
    case 0:
        CATCH(t, __asm__ volatile("rdmsr" : : "c"(msr) : "rax", "rdx"));
        break;
    case 1:
        if (msr != 0xc0000100 && msr != 0xc0000101)
            CATCH(t, __asm__ volatile("wrmsr" : : "c"(msr), "a"(v), "d"(v >> 32)));
        break;
    case 2:
        CATCH(t, __asm__ volatile("mov %0, %%cr4" : : "r"(v)));
        break;
    case 3:
        CATCH(t, __asm__ volatile("inb %%dx, %%al" : : "d"(v) : "rax"));
        break;
    case 4:
        CATCH(t, __asm__ volatile("mov %0, %%dr7" : : "r"(v)));
        hc_set_debugreg(7, 0);
        break;
    case 5:
        CATCH(t, __asm__ volatile("mov %w0, %%es" : : "r"(v)));
        __asm__ volatile("mov %0, %%es" : : "r"(0));
        break;
    case 6:
        CATCH(t, __asm__ volatile("mov %0, (%1)" : : "r"(v), "r"(any_va()) : "memory"));
        break;
    case 7:
        CATCH(t, __asm__ volatile("mov (%0), %%rax" : : "r"(any_va()) : "rax", "memory"));
        break;
    default:
        CATCH(t, *(volatile uint64_t *)(SCRATCH_VA + below(16) * PAGE_SIZE) = any_pte());
    }
}

static void page_type_dance(void)
{
    if (trace)
        print("# dance\n");
    if (one_in(2)) {
        page_set_rw(victim);
        CATCH(t, for (int i = 0; i < 8; i++) victim[below(512)] = any_pte());
    } else {
        page_set_ro(victim);
        mmuext(MMUEXT_PIN_L1_TABLE + (unsigned int)below(4), victim_mfn);
    }
    if (one_in(4))
        mmuext(MMUEXT_UNPIN_TABLE, victim_mfn);
    pte_set(SCRATCH_VA + below(16) * PAGE_SIZE, any_pte());
}

static void one_step(void)
{
    switch (below(10)) {
    case 0:
        mmu_updates();
        break;
    case 1:
        mmuext_ops();
        break;
    case 2:
        descriptors();
        break;
    case 3:
        instructions();
        break;
    case 4:
        page_type_dance();
        break;
    case 5:
        any_multicall();
        break;
    default:
        any_hypercall();
    }
}

static void look_up(void)
{
    for (int l = 1; l <= 4; l++) {
        own_tables[l - 1] = pte_maddr(VIRT_BASE + 0x100000, l) >> PAGE_SHIFT;
        scratch_slots[l - 1] = pte_maddr(SCRATCH_VA, l);
    }
    hypervisor_table = *pte_of(HYPERVISOR_VIRT_START, 4) >> PAGE_SHIFT & 0xffffff;
}

// After a trap: have the own pages back, if they were lost.
static void repair(void)
{
    pte_set((unsigned long)buffer, make_pte(buffer_mfn, PTE_RW_DATA));
    if (pte_set((unsigned long)victim, make_pte(victim_mfn, PTE_RW_DATA)))
        pte_set((unsigned long)victim, make_pte(victim_mfn, PTE_RO_DATA));
}

void guest_main(void)
{
    static struct trap outer;
    static unsigned long n, traps;
    static uint64_t seed, end;

    seed = arg_number("seed", rdtsc() | 1);
    state = seed ? seed : 1;
    trace = arg_present("trace");
    print("# seed=%lu\n", seed);
    buffer = page_alloc();
    victim = page_alloc();
    buffer_mfn = va_to_mfn(buffer);
    victim_mfn = va_to_mfn(victim);
    for (int i = 0; i < 16; i++)
        frames[i] = pfn_to_mfn(frame_take());
    for (unsigned int i = 0; i < 16; i++)
        map_page(SCRATCH_VA + i * PAGE_SIZE, i & 1 ? make_pte(frames[i], PTE_RW_DATA) : 0);
    look_up();
    hc_vm_assist(VMASST_CMD_enable, VMASST_TYPE_writable_pagetables);
    end = clock_now() + arg_number("seconds", 3) * 1000 * MS;
    // Not by the clock alone: the fuzz may have moved what the clock reads from.
    while (clock_now() < end && n < 20000000) {
        CATCH(outer, one_step());
        if (outer.vector >= 0) {
            traps++;
            repair();
        }
        n++;
        if (n % 20000 == 0)
            print("# %lu steps\n", n);
    }
    print("# %lu steps, %lu unexpected traps\n", n, traps);
    ok(true, "the hypervisor lives");
}
