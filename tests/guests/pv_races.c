// SPDX-License-Identifier: BSD-2-Clause
// Two vCPUs of one guest against each other where the hypervisor keeps references for both:
// descriptor pages, grant handles, the queues of event channels, vcpu_info. Each part ends with a
// look at whether all references came back: a page that is writable again has no other use.
#include "lib/guest.h"

#define DATA3   0x00cff2000000ffffUL
#define CODE3   0x00affb000000ffffUL
#define ROUND   (1500 * 1000000UL)
#define WINDOW2 (SCRATCH_VA + 0x40000)

static uint64_t ldt[512] __attribute__((aligned(4096)));
static volatile bool stop;
static domid_t self;

static long set_ldt(unsigned long va, unsigned int entries)
{
    mmuext_op_t op = {.cmd = MMUEXT_SET_LDT};

    op.arg1.linear_addr = va;
    op.arg2.nr_ents = entries;
    return hc_mmuext_op(&op, 1, NULL, DOMID_SELF);
}

// ---- the LDT ------------------------------------------------------------------------------------

// IRET into code of the LDT is the first to look at its page, which was writable until now.
static void iret_takes_page(void)
{
    uint64_t ss, frame[6];
    unsigned int cs = 0, rights = 0;

    ldt[2] = CODE3;
    page_set_ro(ldt);
    is(set_ldt((unsigned long)ldt, 512), 0, "set an LDT");
    __asm__ volatile("mov %%ss, %0" : "=r"(ss));
    __asm__ volatile("lea 1f(%%rip), %%rax\n"
                     "mov %%rax, 8(%[f])\n"
                     "mov %%rsp, 32(%[f])\n"
                     "movq $0, (%[f])\n"
                     "movq %[sel], 16(%[f])\n"
                     "movq $2, 24(%[f])\n"
                     "movq %[ss], 40(%[f])\n"
                     "pushq 40(%[f])\n pushq 32(%[f])\n pushq 24(%[f])\n pushq 16(%[f])\n"
                     "pushq 8(%[f])\n pushq $0\n pushq %%rcx\n pushq %%r11\n pushq %%rax\n"
                     "mov $23, %%eax\n syscall\n"
                     "1: mov %%cs, %[cs]\n"
                     // An instruction that is emulated needs to know the mode of this segment.
                     "mov %%cr0, %%rax\n"
                     "mov %%eax, %[rights]\n"
                     "pushq $0xe033\n lea 2f(%%rip), %%rax\n pushq %%rax\n lretq\n"
                     "2:\n"
                     : [cs] "=&r"(cs), [rights] "=&r"(rights)
                     : [f] "r"(frame), [sel] "i"(2 << 3 | 4), [ss] "r"(ss)
                     : "rax", "rcx", "r11", "memory");
    is(cs, 2 << 3 | 7, "iret to a code segment in it");
    ok(rights & 1, "which can read CR0");
    set_ldt(0, 0);
    is(page_set_rw(ldt), 0, "its page is plain memory again");
}

static void ldt_user(void *arg)
{
    struct trap t;

    while (!stop) {
        set_ldt((unsigned long)ldt, 512);
        CATCH(t, __asm__ volatile("mov %0, %%es" : : "r"(3 << 3 | 7)));
        __asm__ volatile("mov %0, %%es" : : "r"(0));
        set_ldt(0, 0);
    }
}

static void ldt_race(void)
{
    uint64_t end = clock_now() + ROUND, pte = make_pte(va_to_mfn(ldt), PTE_RO_DATA);

    ldt[3] = DATA3;
    page_set_ro(ldt);
    stop = false;
    smp_post(1, ldt_user, NULL);
    // Taking away a read-only mapping of a descriptor page invalidates LDTs everywhere.
    while (clock_now() < end) {
        map_page(WINDOW2, pte);
        map_page(WINDOW2, 0);
    }
    stop = true;
    smp_wait(1);
    is(page_set_rw(ldt), 0, "LDT against unmapping: the page is plain memory again");
}

// ---- grants -------------------------------------------------------------------------------------

static volatile grant_entry_v1_t *table;
static uint64_t *page;

static void bad_unmapper(void *arg)
{
    while (!stop)
        for (grant_handle_t h = 0; h < 4; h++) {
            gnttab_unmap_grant_ref_t u = {.host_addr = WINDOW2 + PAGE_SIZE, .handle = h};
            hc_grant_table_op(GNTTABOP_unmap_grant_ref, &u, 1);
        }
}

static gnttab_map_grant_ref_t map(unsigned int flags)
{
    gnttab_map_grant_ref_t m = {
        .host_addr = WINDOW2, .flags = GNTMAP_host_map | flags, .ref = 20, .dom = self};

    hc_grant_table_op(GNTTABOP_map_grant_ref, &m, 1);
    return m;
}

static int unmap(unsigned long va, grant_handle_t handle)
{
    gnttab_unmap_grant_ref_t u = {.host_addr = va, .handle = handle};

    hc_grant_table_op(GNTTABOP_unmap_grant_ref, &u, 1);
    return u.status;
}

static void grant_setup(void)
{
    static xen_pfn_t frame;
    gnttab_setup_table_t s = {.dom = DOMID_SELF, .nr_frames = 1};

    set_xen_guest_handle(s.frame_list, &frame);
    hc_grant_table_op(GNTTABOP_setup_table, &s, 1);
    map_page(SCRATCH_VA, make_pte(frame, PTE_RW_DATA));
    map_page(WINDOW2, 0);
    map_page(WINDOW2 + PAGE_SIZE, 0);
    table = (volatile grant_entry_v1_t *)SCRATCH_VA;
    page = page_alloc();
    table[20].domid = self;
    table[20].frame = (uint32_t)va_to_mfn(page);
    table[20].flags = GTF_permit_access;
}

static void grant_needs_its_entry(void)
{
    gnttab_map_grant_ref_t m = map(0);

    is(m.status, 0, "map a grant");
    ok(unmap(WINDOW2 + PAGE_SIZE, m.handle) < 0, "unmapping it elsewhere is refused");
    ok(table[20].flags & GTF_writing, "and it counts as used");
    is(unmap(WINDOW2, m.handle), 0, "unmap");
    is(table[20].flags, GTF_permit_access, "no longer used");
}

static void grant_race(void)
{
    uint64_t end = clock_now() + ROUND;
    unsigned int failed = 0;

    stop = false;
    smp_post(1, bad_unmapper, NULL);
    for (unsigned int i = 0; clock_now() < end; i++) {
        gnttab_map_grant_ref_t m = map(i & 1 ? GNTMAP_readonly : 0);

        // The other vCPU may hold the handle for a moment.
        for (unsigned int n = 0; !m.status && unmap(WINDOW2, m.handle) && n < 100000; n++)
            failed += n == 99999;
    }
    stop = true;
    smp_wait(1);
    is(failed, 0, "grants against false unmaps: each could be unmapped");
    is(table[20].flags, GTF_permit_access, "no use is left");
    is(page_set_ro(page), 0, "the page has lost its last writable use");
    mmuext_op_t pin = {.cmd = MMUEXT_PIN_L1_TABLE, .arg1.mfn = va_to_mfn(page)};
    is(hc_mmuext_op(&pin, 1, NULL, DOMID_SELF), 0, "it can be a page table");
    pin.cmd = MMUEXT_UNPIN_TABLE;
    is(hc_mmuext_op(&pin, 1, NULL, DOMID_SELF), 0, "and cease to be one");
    is(page_set_rw(page), 0, "and is writable again");
}

// Exchanging entries takes two locks of the table that a change of version takes too.
static void swapper(void *arg)
{
    for (unsigned int i = 0; !stop; i++) {
        gnttab_swap_grant_ref_t s = {.ref_a = 100, .ref_b = 101 + i % 400};
        hc_grant_table_op(GNTTABOP_swap_grant_ref, &s, 1);
    }
}

static void version_race(void)
{
    uint64_t end = clock_now() + ROUND;

    stop = false;
    smp_post(1, swapper, NULL);
    for (unsigned int i = 0; clock_now() < end; i++) {
        gnttab_set_version_t v = {.version = 1 + (i & 1)};
        hc_grant_table_op(GNTTABOP_set_version, &v, 1);
    }
    stop = true;
    smp_wait(1);
    ok(true, "swapping entries against changes of version");
}

// ---- frames -------------------------------------------------------------------------------------

static void toucher(void *arg)
{
    uint64_t pte = *(uint64_t *)arg;

    while (!stop) {
        hc_update_va_mapping(WINDOW2, pte, UVMF_INVLPG);
        hc_update_va_mapping(WINDOW2, 0, UVMF_INVLPG);
    }
}

static void exchange_race(void)
{
    uint64_t *p = page_alloc(), end = clock_now() + ROUND, pte;
    unsigned long mfn = va_to_mfn(p);

    pte = make_pte(mfn, PTE_RW_DATA);
    map_page((unsigned long)p, 0);
    stop = false;
    smp_post(1, toucher, &pte);
    while (clock_now() < end) {
        // No machine has so many frames below 4 KiB: each try takes the frame and gives it back.
        xen_pfn_t in = mfn, out = 0;
        struct xen_memory_exchange x = {.in = {.nr_extents = 1, .domid = DOMID_SELF},
                                        .out = {.nr_extents = 1, .domid = DOMID_SELF}};
        set_xen_guest_handle(x.in.extent_start, &in);
        set_xen_guest_handle(x.out.extent_start, &out);
        x.out.mem_flags = XENMEMF_address_bits(13);
        hc_memory_op(XENMEM_exchange, &x);
    }
    stop = true;
    smp_wait(1);
    map_page(WINDOW2, 0);
    is(map_page((unsigned long)p, pte), 0,
       "exchanging a frame against mapping it: it is still ours");
}

void guest_main(void)
{
    self = event_own_domid();
    iret_takes_page();
    grant_setup();
    grant_needs_its_entry();
    if (smp_count() < 2 || smp_start(1)) {
        tap_note("one vCPU: no races");
        return;
    }
    ldt_race();
    grant_race();
    version_race();
    exchange_race();
}
