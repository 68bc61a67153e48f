// SPDX-License-Identifier: BSD-2-Clause
// Flushes reach other vCPUs: after a mapping changed, the other one sees the new frame at once,
// and frames that were given back or became page tables cannot be written through an old entry.
#include "lib/guest.h"

static volatile uint64_t *const window = (volatile uint64_t *)SCRATCH_VA;
static unsigned long frame[2];
static volatile unsigned int phase;
static volatile bool stop;
static volatile uint64_t seen;
static struct trap other_trap;

static void reader(void *arg)
{
    (void)arg;
    while (!stop) {
        if (phase & 1) {
            seen = *window;
            barrier();
            phase++;
        }
        cpu_relax();
    }
}

static uint64_t ask(void)
{
    phase++;
    while (phase & 1)
        cpu_relax();
    return seen;
}

static void change(unsigned int which, unsigned int how)
{
    static uint64_t both = 3;
    uint64_t pte = make_pte(frame[which], PTE_RW_DATA);
    mmuext_op_t op = {.cmd = MMUEXT_INVLPG_ALL};

    op.arg1.linear_addr = SCRATCH_VA;
    switch (how) {
    case 0:
        hc_update_va_mapping(SCRATCH_VA, pte, UVMF_INVLPG | UVMF_ALL);
        return;
    case 1:
        hc_update_va_mapping(SCRATCH_VA, pte, UVMF_TLB_FLUSH | UVMF_ALL);
        return;
    case 2:
        hc_update_va_mapping(SCRATCH_VA, pte, UVMF_INVLPG | UVMF_MULTI | (unsigned long)&both);
        return;
    case 3:
        hc_update_va_mapping(SCRATCH_VA, pte, UVMF_NONE);
        mmuext(MMUEXT_TLB_FLUSH_ALL, 0);
        return;
    case 4:
        pte_write(pte_maddr(SCRATCH_VA, 1), pte);
        hc_mmuext_op(&op, 1, NULL, DOMID_SELF);
        return;
    default:
        op.cmd = how == 5 ? MMUEXT_INVLPG_MULTI : MMUEXT_TLB_FLUSH_MULTI;
        op.arg2.vcpumask.p = &both;
        pte_write(pte_maddr(SCRATCH_VA, 1), pte);
        hc_mmuext_op(&op, 1, NULL, DOMID_SELF);
    }
}

static void new_frame_is_seen(void)
{
    static const char *const names[] = {"va_mapping, invlpg all",
                                        "va_mapping, flush all",
                                        "va_mapping, invlpg mask",
                                        "tlb_flush_all",
                                        "invlpg_all",
                                        "invlpg_multi",
                                        "tlb_flush_multi"};

    phase = 0;
    stop = false;
    smp_post(1, reader, NULL);
    for (unsigned int how = 0; how < ARRAY_SIZE(names); how++) {
        unsigned int wrong = 0;

        for (unsigned int i = 0; i < 20; i++) {
            change(i & 1, how);
            wrong += ask() != 0xf0 + (i & 1);
        }
        is(wrong, 0, names[how]);
    }
    stop = true;
    smp_wait(1);
}

static volatile unsigned long writes;

static void writer(void *arg)
{
    (void)arg;
    CATCH(other_trap, {
        while (!stop) {
            *window = 0xbad0000000000000 | writes;
            writes++;
        }
    });
}

// The other vCPU writes through a mapping all the time. The mapping is removed without asking for
// a flush, and the page turned into a table: the hypervisor must flush before the type changes.
static void pinned_means_fixed(void)
{
    uint64_t *page = page_alloc();
    unsigned long mfn = va_to_mfn(page);
    unsigned int bad = 0, pinned = 0;

    for (unsigned int i = 0; i < 50; i++) {
        page_set_rw(page);
        memset(page, 0, PAGE_SIZE);
        pte_set(SCRATCH_VA, make_pte(mfn, PTE_RW_DATA));
        other_trap.vector = -1;
        stop = false;
        writes = 0;
        smp_post(1, writer, NULL);
        while (writes < 100 && other_trap.vector < 0)
            cpu_relax();
        page_set_ro(page);
        hc_update_va_mapping(SCRATCH_VA, 0, UVMF_NONE);
        if (!mmuext(MMUEXT_PIN_L1_TABLE, mfn)) {
            uint64_t before = page[0];

            pinned++;
            clock_spin(MS / 10);
            bad += page[0] != before;
            mmuext(MMUEXT_UNPIN_TABLE, mfn);
        }
        stop = true;
        smp_wait(1);
    }
    tap_note("pinned %u times of 50", pinned);
    is(bad, 0, "a pinned table never changes by an old mapping");
    page_set_rw(page);
    page_free(page);
}

// A frame that was given back and comes again as a new one: nothing writes to it any more.
static void freed_means_gone(void)
{
    struct xen_memory_reservation r = {.nr_extents = 1, .domid = DOMID_SELF};
    volatile uint64_t *again = (volatile uint64_t *)(SCRATCH_VA + PAGE_SIZE);
    unsigned int dirty = 0, same = 0;
    xen_pfn_t list[1];

    set_xen_guest_handle(r.extent_start, list);
    for (unsigned int i = 0; i < 20; i++) {
        unsigned long pfn = frame_take(), mfn = pfn_to_mfn(pfn);

        pte_set(SCRATCH_VA, make_pte(mfn, PTE_RW_DATA));
        other_trap.vector = -1;
        stop = false;
        writes = 0;
        smp_post(1, writer, NULL);
        while (writes < 100)
            cpu_relax();
        hc_update_va_mapping(SCRATCH_VA, 0, UVMF_NONE);
        list[0] = mfn;
        hc_memory_op(XENMEM_decrease_reservation, &r);
        list[0] = pfn;
        hc_memory_op(XENMEM_populate_physmap, &r);
        same += list[0] == mfn;
        pte_set((unsigned long)again, make_pte(list[0], PTE_RW_DATA));
        *again = 0;
        clock_spin(MS / 10);
        dirty += *again != 0;
        stop = true;
        smp_wait(1);
    }
    tap_note("the same frame came back %u times of 20", same);
    is(dirty, 0, "a frame that comes back is not written through an old mapping");
}

void guest_main(void)
{
    if (smp_count() < 2 || smp_start(1)) {
        tap_skip("two vCPUs", "this domain has one");
        return;
    }
    for (unsigned int i = 0; i < 2; i++) {
        frame[i] = pfn_to_mfn(frame_take());
        map_page(SCRATCH_VA, make_pte(frame[i], PTE_RW_DATA));
        *window = 0xf0 + i;
    }
    new_frame_is_seen();
    pinned_means_fixed();
    freed_means_gone();
}
