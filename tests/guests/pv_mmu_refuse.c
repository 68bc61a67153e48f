// SPDX-License-Identifier: BSD-2-Clause
// What a page table entry must not do: each is refused and leaves the entry as it was.
#include "lib/guest.h"

static uint64_t slot; // machine address of the PTE of SCRATCH_VA
static unsigned long frame;

static void refused(uint64_t maddr, uint64_t pte, const char *name)
{
    long rc = pte_write(maddr, pte);

    is_error(rc, name);
}

static void own_tables(void)
{
    static const char *const names[] = {"", "own L1", "own L2", "own L3", "own L4"};

    for (int l = 1; l <= 4; l++) {
        unsigned long mfn = pte_maddr(VIRT_BASE + 0x100000, l) >> PAGE_SHIFT;

        refused(slot, make_pte(mfn, PTE_RW_DATA), names[l]);
        is(pte_write(slot, make_pte(mfn, PTE_RO_DATA)), 0, "but read-only works");
        is(pte_write(slot, 0), 0, "and goes");
    }
}

static void foreign_frames(void)
{
    unsigned long last = (unsigned long)hc_memory_op(XENMEM_maximum_ram_page, NULL);
    unsigned int wrong = 0;

    refused(slot, make_pte(0xffffffffff, PTE_RW_DATA), "the highest frame number");
    refused(slot, make_pte(0x7ffffffff, PTE_RW_DATA), "a frame far out of range");
    if (!(start_info->flags & SIF_INITDOMAIN))
        refused(slot, make_pte(last + 0x100000, PTE_RW_DATA), "a frame behind the last");
    refused(slot, make_pte(*pte_of(HYPERVISOR_VIRT_START, 4) >> 12 & 0xffffffff, PTE_RW_DATA),
            "a page table of the hypervisor, writable");
    refused(slot, make_pte(*pte_of(HYPERVISOR_VIRT_START, 4) >> 12 & 0xffffffff, PTE_RO_DATA),
            "a page table of the hypervisor, readable");
    // RAM that is not ours: no frame below the last one may be mapped unless we own it (or it is
    // not RAM, for the control domain). Sampled.
    for (unsigned long m = 0x100; m < last; m += 1009) {
        bool mine = M2P[m] < start_info->nr_pages && pfn_to_mfn(M2P[m]) == m;

        if (!mine && m >= 0x2000 && M2P[m] != ~0UL)
            wrong += pte_write(slot, make_pte(m, PTE_RW_DATA)) == 0;
    }
    tap_note("%u sampled frames with a stranger's number could be mapped", wrong);
    pte_write(slot, 0);
}

static void reserved_bits(void)
{
    refused(slot, make_pte(frame, PTE_RW_DATA) | 1UL << 51, "an address bit beyond the machine");
    refused(slot + 4, make_pte(frame, PTE_RW_DATA), "an address that is not aligned");
    is(pte_write(frame << PAGE_SHIFT, 1UL << 51 | 1), 0, "a page that is no table takes anything");
    refused(0x7ffffffff000, 0, "an entry in a frame out of range");
    refused(frame << PAGE_SHIFT | 1UL << 63, 1, "a page of its own, with an address bit too many");
    refused(slot | 1UL << 52, 0, "its own page table, with an address bit too many");
}

static void superpages(void)
{
    uint64_t l2 = pte_maddr(SCRATCH_VA, 2), old = *pte_of(SCRATCH_VA, 2);
    uint64_t l3 = pte_maddr(SCRATCH_VA, 3);

    refused(l2, make_pte(frame & ~511UL, PTE_RW_DATA | PTE_PSE), "a 2 MiB page");
    refused(l2, make_pte(frame & ~511UL, PTE_RO_DATA | PTE_PSE), "a read-only 2 MiB page");
    refused(l3, make_pte(frame & ~0x3ffffUL, PTE_RW_DATA | PTE_PSE), "a 1 GiB page");
    is(*pte_of(SCRATCH_VA, 2), old, "the L2 entry is as it was");
}

static void wrong_levels(void)
{
    uint64_t l1mfn = pte_maddr(SCRATCH_VA, 1) >> PAGE_SHIFT;
    uint64_t l2 = pte_maddr(SCRATCH_VA, 2), l3 = pte_maddr(SCRATCH_VA, 3);
    uint64_t l4 = pte_maddr(SCRATCH_VA, 4);
    uint64_t old = *pte_of(SCRATCH_VA, 4);

    refused(l2, make_pte(va_to_mfn((void *)VIRT_BASE), PTE_TABLE),
            "an L2 entry to a writable page");
    refused(l3 + 8, make_pte(l1mfn, PTE_TABLE), "an L3 entry to an L1");
    refused(l4 + 8, make_pte(l1mfn, PTE_TABLE), "an L4 entry to an L1");
    refused(l3 + 8, make_pte(l4 >> 12, PTE_TABLE), "an L3 entry to an L4");
    refused(l4 + 8, make_pte(l4 >> 12, PTE_TABLE), "an L4 entry to itself, writable");
    refused((l4 & PAGE_MASK) + 256 * 8, 0, "the hypervisor's L4 entry, cleared");
    refused((l4 & PAGE_MASK) + 256 * 8, old, "the hypervisor's L4 entry, replaced");
    refused((l4 & PAGE_MASK) + 271 * 8, old, "the hypervisor's last L4 entry");
    is(*pte_of(SCRATCH_VA, 4), old, "the L4 entry is as it was");
}

static void linear_tables(void)
{
    uint64_t l4 = pte_maddr(SCRATCH_VA, 4) & PAGE_MASK;
    long rc = pte_write(l4 + 300 * 8, l4 | PTE_P | PTE_U | PTE_A);

    if (rc) {
        tap_skip("linear page table", "this hypervisor was built without");
        return;
    }
    is(*(volatile uint64_t *)(0xffff000000000000 | 300UL << 39 | 300UL << 30 | 300UL << 21 |
                              300UL << 12 | 300 * 8) &
           PTE_ADDR,
       l4, "a linear page table shows itself");
    is(pte_write(l4 + 300 * 8, 0), 0, "and goes");
}

void guest_main(void)
{
    frame = pfn_to_mfn(frame_take());
    is(map_page(SCRATCH_VA, make_pte(frame, PTE_RW_DATA)), 0, "set up");
    slot = pte_maddr(SCRATCH_VA, 1);
    pte_write(slot, 0);
    own_tables();
    foreign_frames();
    reserved_bits();
    superpages();
    wrong_levels();
    linear_tables();
}
