// SPDX-License-Identifier: BSD-2-Clause
// Type and reference counts are exact: pages go data -> table -> data many times, and every
// use holds exactly as long as it lasts.
#include "lib/guest.h"

static unsigned long data;

static void back_and_forth(void)
{
    static const char *const names[] = {"", "L1", "L2", "L3", "L4"};
    uint64_t *page = page_alloc();
    unsigned long mfn = va_to_mfn(page);

    for (unsigned int level = 1; level <= 4; level++) {
        long bad = 0;

        for (unsigned int i = 0; i < 50 && !bad; i++) {
            memset(page, 0, PAGE_SIZE);
            if (level == 1)
                page[i] = make_pte(data, PTE_RW_DATA);
            bad = page_set_ro(page);
            bad = bad ? bad : mmuext(MMUEXT_PIN_L1_TABLE + level - 1, mfn);
            bad = bad ? bad : mmuext(MMUEXT_UNPIN_TABLE, mfn);
            bad = bad ? bad : page_set_rw(page);
        }
        is(bad, 0, names[level]);
    }
    page_free(page);
}

static void two_references(void)
{
    uint64_t *l1 = table_alloc(), *l2 = table_alloc(), *l3 = page_alloc();
    unsigned long m1 = va_to_mfn(l1), m2 = va_to_mfn(l2);

    is(mmuext(MMUEXT_PIN_L2_TABLE, m2), 0, "pin an L2");
    is(pte_write(m2 << 12, make_pte(m1, PTE_TABLE)), 0, "hang an L1 below it");
    is(pte_write((m2 << 12) + 8, make_pte(m1, PTE_TABLE)), 0, "and once more");
    is_error(page_set_rw(l1), "the L1 is in use twice");
    is(pte_write(m2 << 12, 0), 0, "drop one");
    is_error(page_set_rw(l1), "the L1 is in use once");
    is(pte_write((m2 << 12) + 8, 0), 0, "drop the other");
    is(page_set_rw(l1), 0, "the L1 is free");
    is(page_set_ro(l1), 0, "read-only");
    is(pte_write((m2 << 12) + 16, make_pte(m1, PTE_TABLE)), 0, "hang it up again");
    is(mmuext(MMUEXT_UNPIN_TABLE, m2), 0, "unpin the L2");
    is(page_set_rw(l1), 0, "that freed the L1 too");
    is(page_set_rw(l2), 0, "and the L2");
    page_free(l1);
    page_free(l2);
    page_free(l3);
}

static void writable_count(void)
{
    uint64_t *page = page_alloc();
    unsigned long mfn = va_to_mfn(page);

    is(map_page(SCRATCH_VA, make_pte(mfn, PTE_RW_DATA)), 0, "a second writable mapping");
    page_set_ro(page);
    is_error(mmuext(MMUEXT_PIN_L1_TABLE, mfn), "still writable through it: no pin");
    is(pte_set(SCRATCH_VA, make_pte(mfn, PTE_RO_DATA)), 0, "make it read-only");
    is(mmuext(MMUEXT_PIN_L1_TABLE, mfn), 0, "now it can be pinned");
    is_error(pte_set(SCRATCH_VA, make_pte(mfn, PTE_RW_DATA)), "and not be mapped writable");
    is(pte_set(SCRATCH_VA, 0), 0, "drop the mapping");
    is(mmuext(MMUEXT_UNPIN_TABLE, mfn), 0, "unpin");
    is(page_set_rw(page), 0, "writable");
    page_free(page);
}

// An L1 whose entries are bad is refused as a whole, and nothing stays referenced.
static void failed_validation(void)
{
    uint64_t *l1 = page_alloc(), *victim = page_alloc();
    unsigned long mfn = va_to_mfn(l1);

    l1[0] = make_pte(va_to_mfn(victim), PTE_RW_DATA);
    l1[1] = make_pte(0x7ffffffff, PTE_RW_DATA);
    page_set_ro(l1);
    is_error(mmuext(MMUEXT_PIN_L1_TABLE, mfn), "an L1 with one bad entry");
    page_set_rw(l1);
    page_set_ro(victim);
    is(mmuext(MMUEXT_PIN_L1_TABLE, va_to_mfn(victim)), 0, "its other page was let go");
    is(mmuext(MMUEXT_UNPIN_TABLE, va_to_mfn(victim)), 0, "unpin");
    page_set_rw(victim);
    l1[1] = make_pte(mfn, PTE_RW_DATA);
    page_set_ro(l1);
    is_error(mmuext(MMUEXT_PIN_L1_TABLE, mfn), "an L1 that maps itself writable");
    page_set_rw(l1);
    l1[1] = make_pte(mfn, PTE_RO_DATA);
    page_set_ro(l1);
    is(mmuext(MMUEXT_PIN_L1_TABLE, mfn), 0, "an L1 that maps itself read-only");
    is(mmuext(MMUEXT_UNPIN_TABLE, mfn), 0, "unpin");
    is(page_set_rw(l1), 0, "writable");
    page_free(l1);
    page_free(victim);
}

// Unmapping a table while its pages are mapped elsewhere changes only the counts it held.
static void share_an_l1(void)
{
    uint64_t *l1 = page_alloc();
    uint64_t l2slot = pte_maddr(SCRATCH_VA, 2);

    l1[0] = make_pte(data, PTE_RW_DATA);
    page_set_ro(l1);
    is(pte_write(l2slot + 8, make_pte(va_to_mfn(l1), PTE_TABLE)), 0, "an L1 at +2M");
    is(pte_write(l2slot + 16, make_pte(va_to_mfn(l1), PTE_TABLE)), 0, "the same at +4M");
    *(volatile uint64_t *)(SCRATCH_VA + 0x200000) = 0x99;
    is(*(volatile uint64_t *)(SCRATCH_VA + 0x400000), 0x99, "both show the page");
    is(pte_set(SCRATCH_VA + 0x200000, 0), 0, "unmap through one");
    mmuext(MMUEXT_TLB_FLUSH_LOCAL, 0);
    is(*pte_of(SCRATCH_VA + 0x400000, 1), 0, "gone through the other");
    is(pte_write(l2slot + 8, 0), 0, "drop one");
    is(pte_write(l2slot + 16, 0), 0, "drop both");
    is(page_set_rw(l1), 0, "the L1 is free");
    page_free(l1);
}

void guest_main(void)
{
    data = pfn_to_mfn(frame_take());
    map_page(SCRATCH_VA, 0);
    back_and_forth();
    two_references();
    writable_count();
    failed_validation();
    share_an_l1();
}
