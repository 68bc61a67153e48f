// SPDX-License-Identifier: BSD-2-Clause
// A hostile guest: random hypercalls with random arguments, random page table and descriptor
// writes, random instructions that trap, on two vCPUs at once over the same pages. It may be
// killed; the hypervisor must go on.
// Command line: seed=N seconds=N cpus=1|2 trace (print each call before it is made) privileged
// (the control domain's own calls too).
#include "lib/guest.h"
#include "lib/random.h"

enum { VICTIMS = 4, FRAMES = 16 };

// What each vCPU has for itself.
struct fuzzer {
    uint64_t state;  // of the random numbers
    uint8_t *buffer; // argument structures live here
    unsigned long buffer_mfn;
    struct trap trap, outer;
    uint32_t msr; // of this step: not a local, because CATCH comes back
    uint64_t value;
    multicall_entry_t calls[8];
    mmu_update_t updates[16];
    unsigned long steps, traps;
};

static struct fuzzer fuzzers[2];
static unsigned long frames[FRAMES];
static bool trace;
static volatile uint64_t end;

// Pages whose type changes all the time.
static uint64_t *victims[VICTIMS];
static unsigned long victim_mfns[VICTIMS];

// Looked up before the fuzz: it corrupts the machine-to-physical table that lookups go through.
static unsigned long own_tables[4], scratch_slots[4], hypervisor_table;

static volatile grant_entry_v1_t *grants;
static domid_t own_domid;

static struct fuzzer *me(void)
{
    return &fuzzers[this_vcpu()->id];
}

static uint64_t rnd(void)
{
    return random_next(&me()->state);
}

static uint64_t below(uint64_t n)
{
    return rnd() % n;
}

static bool one_in(uint64_t n)
{
    return below(n) == 0;
}

static unsigned long victim_mfn(void)
{
    return victim_mfns[below(VICTIMS)];
}

// Frames of this program itself: mapping one by chance and writing there proves nothing.
static uint8_t image_frames[0x80000 / 8];

static bool is_image(unsigned long mfn)
{
    return mfn < 0x80000 && image_frames[mfn / 8] >> (mfn % 8) & 1;
}

static void note_image(void)
{
    for (unsigned long pfn = 0; pfn < va_to_pfn((void *)start_info->pt_base) + 64; pfn++) {
        unsigned long mfn = pfn_to_mfn(pfn);

        if (mfn < 0x80000)
            image_frames[mfn / 8] |= (uint8_t)(1 << mfn % 8);
    }
}

static unsigned long low_mfn(void)
{
    unsigned long mfn;

    do
        mfn = below(0x80000);
    while (is_image(mfn));
    return mfn;
}

static unsigned long any_mfn(void)
{
    switch (below(8)) {
    case 0:
        return rnd() >> 12;
    case 1:
        return low_mfn();
    case 2:
        return own_tables[below(4)];
    case 3:
        return victim_mfn();
    case 4:
        return hypervisor_table;
    case 5:
        return me()->buffer_mfn;
    default:
        return frames[below(FRAMES)];
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
        return (unsigned long)me()->buffer + (below(64) << 3);
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
    uint64_t *words = (uint64_t *)me()->buffer;

    for (unsigned int i = 0; i < 64; i++)
        words[i] = one_in(3) ? any_value() << 32 | (any_value() & 0xffffffff) : any_value();
    // Half of the structures begin with a domain number: make it a plausible one.
    if (one_in(2))
        *(uint16_t *)me()->buffer = one_in(4) ? 0 : DOMID_SELF;
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
        a[1] = (unsigned long)me()->buffer; // its argument
    if (nr == __HYPERVISOR_vcpu_op && one_in(2)) {
        a[1] = below(3);
        a[2] = (unsigned long)me()->buffer;
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
    multicall_entry_t *m = me()->calls;

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
    mmu_update_t *u = me()->updates;

    for (int i = 0; i < 16; i++) {
        u[i].ptr = one_in(2) ? scratch_slots[below(4)] : any_mfn() << 12;
        // Never our own code and stack: that is suicide, and it proves nothing.
        if ((u[i].ptr & PAGE_MASK) == (scratch_slots[3] & PAGE_MASK))
            u[i].ptr = (u[i].ptr & PAGE_MASK) + 8 * (4 + below(250));
        else if ((u[i].ptr & PAGE_MASK) != (scratch_slots[0] & PAGE_MASK))
            u[i].ptr = (victim_mfn() << 12) + 8 * below(512);
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

    op.arg1.mfn = one_in(2) ? victim_mfn() : any_mfn();
    op.arg2.src_mfn = any_value();
    if (op.cmd == MMUEXT_NEW_BASEPTR)
        return;
    if (op.cmd == MMUEXT_CLEAR_PAGE || op.cmd == MMUEXT_COPY_PAGE)
        op.arg1.mfn = one_in(2) ? victim_mfn() : frames[below(FRAMES)];
    if (trace)
        print("# mmuext %u %lx %lx\n", op.cmd, op.arg1.mfn, (unsigned long)op.arg2.src_mfn);
    hc_mmuext_op(&op, 1, NULL, one_in(8) ? (unsigned int)rnd() : DOMID_SELF);
}

static void descriptors(void)
{
    unsigned long list[16];

    if (trace)
        print("# descriptors\n");
    hc_update_descriptor((victim_mfn() << 12) + 8 * below(512), rnd());
    for (int i = 0; i < 16; i++)
        list[i] = one_in(3) ? victim_mfn() : any_mfn();
    hc_set_gdt(list, (unsigned int)below(9000));
    hc_set_gdt(list, 0);
}

static void instructions(void)
{
    struct fuzzer *f = me();

    f->msr = one_in(2) ? 0xc0000080 + (uint32_t)below(0x120) : (uint32_t)rnd();
    f->value = any_value();
    if (trace)
        print("# instruction, msr %x value %lx\n", f->msr, f->value);
    switch (below(9)) {
    case 0:
        CATCH(me()->trap, __asm__ volatile("rdmsr" : : "c"(f->msr) : "rax", "rdx"));
        break;
    case 1:
        if (f->msr != 0xc0000100 && f->msr != 0xc0000101)
            CATCH(me()->trap, __asm__ volatile("wrmsr"
                                               :
                                               : "c"(f->msr), "a"(f->value), "d"(f->value >> 32)));
        break;
    case 2:
        CATCH(me()->trap, __asm__ volatile("mov %0, %%cr4" : : "r"(f->value)));
        break;
    case 3:
        CATCH(me()->trap, __asm__ volatile("inb %%dx, %%al" : : "d"(f->value) : "rax"));
        break;
    case 4:
        CATCH(me()->trap, __asm__ volatile("mov %0, %%dr7" : : "r"(f->value)));
        hc_set_debugreg(7, 0);
        break;
    case 5:
        CATCH(me()->trap, __asm__ volatile("mov %w0, %%es" : : "r"(f->value)));
        __asm__ volatile("mov %0, %%es" : : "r"(0));
        break;
    case 6:
        CATCH(me()->trap, __asm__ volatile("mov %0, (%1)"
                                           :
                                           : "r"(f->value), "r"(any_va())
                                           : "memory"));
        break;
    case 7:
        CATCH(me()->trap, __asm__ volatile("mov (%0), %%rax" : : "r"(any_va()) : "rax", "memory"));
        break;
    default:
        CATCH(me()->trap, *(volatile uint64_t *)(SCRATCH_VA + below(16) * PAGE_SIZE) = any_pte());
    }
}

static void page_type_dance(void)
{
    unsigned int i = (unsigned int)below(VICTIMS);

    if (trace)
        print("# dance\n");
    if (one_in(2)) {
        page_set_rw(victims[i]);
        CATCH(me()->trap, for (int n = 0; n < 8; n++) victims[i][below(512)] = any_pte());
    } else {
        page_set_ro(victims[i]);
        mmuext(MMUEXT_PIN_L1_TABLE + (unsigned int)below(4), victim_mfns[i]);
    }
    if (one_in(4))
        mmuext(MMUEXT_UNPIN_TABLE, victim_mfns[i]);
    pte_set(SCRATCH_VA + below(16) * PAGE_SIZE, any_pte());
}

static void grant_steps(void)
{
    gnttab_map_grant_ref_t m = {.host_addr = SCRATCH_VA + below(16) * PAGE_SIZE,
                                .flags = (uint32_t)below(32),
                                .ref = (grant_ref_t)below(24),
                                .dom = own_domid};
    gnttab_unmap_grant_ref_t u = {.host_addr = m.host_addr, .handle = (grant_handle_t)below(16)};
    gnttab_copy_t c = {.flags = (uint16_t)below(4), .len = (uint16_t)below(4200)};
    grant_ref_t ref = (grant_ref_t)(8 + below(16));

    if (trace)
        print("# grant\n");
    CATCH(me()->trap, {
        grants[ref].frame = (uint32_t)any_mfn();
        grants[ref].domid = m.dom;
        grants[ref].flags = (uint16_t)(rnd() & 0x1ff);
    });
    hc_grant_table_op(GNTTABOP_map_grant_ref, &m, 1);
    if (one_in(2))
        u.handle = m.handle;
    hc_grant_table_op(one_in(3) ? GNTTABOP_unmap_and_replace : GNTTABOP_unmap_grant_ref, &u, 1);
    c.source.u.ref = c.dest.u.ref = ref;
    if (!(c.flags & GNTCOPY_dest_gref))
        c.dest.u.gmfn = frames[below(FRAMES)];
    c.source.domid = c.dest.domid = m.dom;
    hc_grant_table_op(GNTTABOP_copy, &c, 1);
}

static void event_steps(void)
{
    long p = one_in(2) ? event_bind_ipi((unsigned int)below(2))
                       : event_alloc_unbound(DOMID_SELF, DOMID_SELF);

    if (trace)
        print("# event\n");
    if (one_in(3))
        event_bind_interdomain(DOMID_SELF, (evtchn_port_t)below(64));
    event_send((evtchn_port_t)below(64));
    event_unmask((evtchn_port_t)below(64));
    if (p > 0 && one_in(2))
        event_close((evtchn_port_t)p);
    event_close((evtchn_port_t)(8 + below(64)));
}

static void one_step(void)
{
    static void (*const steps[])(void) = {
        mmu_updates, mmuext_ops,  descriptors,   instructions,  page_type_dance, any_multicall,
        grant_steps, event_steps, any_hypercall, any_hypercall, any_hypercall};

    steps[below(ARRAY_SIZE(steps))]();
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
    struct fuzzer *f = me();

    pte_set((unsigned long)f->buffer, make_pte(f->buffer_mfn, PTE_RW_DATA));
    for (unsigned int i = 0; i < VICTIMS; i++)
        if (pte_set((unsigned long)victims[i], make_pte(victim_mfns[i], PTE_RW_DATA)))
            pte_set((unsigned long)victims[i], make_pte(victim_mfns[i], PTE_RO_DATA));
}

static bool ignore(struct regs *r)
{
    (void)r;
    return true;
}

static void run(void *arg)
{
    struct fuzzer *f = me();

    (void)arg;
    // Not by the clock alone: the fuzz may have moved what the clock reads from.
    while (clock_now() < end && f->steps < 20000000) {
        CATCH(f->outer, one_step());
        if (f->outer.vector >= 0) {
            f->traps++;
            repair();
        }
        if (++f->steps % 20000 == 0)
            print("# %lu steps on vCPU %u\n", f->steps, this_vcpu()->id);
    }
}

static void set_up_grants(void)
{
    static xen_pfn_t list[1];
    gnttab_setup_table_t s = {.dom = DOMID_SELF, .nr_frames = 1};

    set_xen_guest_handle(s.frame_list, list);
    hc_grant_table_op(GNTTABOP_setup_table, &s, 1);
    map_page(SCRATCH_VA + 0x40000, make_pte(list[0], PTE_RW_DATA));
    grants = (volatile grant_entry_v1_t *)(SCRATCH_VA + 0x40000);
    own_domid = event_own_domid();
}

static void set_up(uint64_t seed)
{
    for (unsigned int i = 0; i < 2; i++) {
        fuzzers[i].state = seed + i ? seed + i : 1;
        fuzzers[i].buffer = page_alloc();
        fuzzers[i].buffer_mfn = va_to_mfn(fuzzers[i].buffer);
    }
    for (unsigned int i = 0; i < VICTIMS; i++) {
        victims[i] = page_alloc();
        victim_mfns[i] = va_to_mfn(victims[i]);
    }
    for (unsigned int i = 0; i < FRAMES; i++)
        frames[i] = pfn_to_mfn(frame_take());
    for (unsigned int i = 0; i < FRAMES; i++)
        map_page(SCRATCH_VA + i * PAGE_SIZE, i & 1 ? make_pte(frames[i], PTE_RW_DATA) : 0);
    note_image();
    trap_hook(2, ignore); // it may send itself NMIs
    trap_hook(VEC_NMI, ignore);
    set_up_grants();
    look_up();
    hc_vm_assist(VMASST_CMD_enable, VMASST_TYPE_writable_pagetables);
}

void guest_main(void)
{
    uint64_t seed = arg_number("seed", rdtsc() | 1);
    bool two;

    trace = arg_present("trace");
    print("# seed=%lu\n", seed);
    set_up(seed);
    two = arg_number("cpus", 1) > 1 && smp_count() > 1 && !smp_start(1);
    end = clock_now() + arg_number("seconds", 3) * 1000 * MS;
    if (two)
        smp_post(1, run, NULL);
    run(NULL);
    for (uint64_t late = clock_now() + 1000 * MS; two && clock_now() < late;)
        hc_sched_op(SCHEDOP_yield, NULL);
    for (unsigned int i = 0; i < 2; i++)
        print("# vCPU %u: %lu steps, %lu unexpected traps\n", i, fuzzers[i].steps,
              fuzzers[i].traps);
    ok(true, "the hypervisor lives");
}
