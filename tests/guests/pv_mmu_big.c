// SPDX-License-Identifier: BSD-2-Clause
// A large address space: hundreds of full page tables below one root, validated and torn down in
// one operation each, while a timer measures how long the hypervisor keeps the vCPU.
#include "lib/guest.h"

enum { TABLES = 300 };

static uint64_t *tables[TABLES];
static uint64_t *l4, *l3, *l2;
static unsigned long data;

static void build(void)
{
    l4 = page_alloc();
    l3 = page_alloc();
    l2 = page_alloc();
    for (unsigned int i = 0; i < TABLES; i++) {
        tables[i] = page_alloc();
        for (unsigned int j = 0; j < 512; j++)
            tables[i][j] = make_pte(data, PTE_RW_DATA);
        l2[i] = make_pte(va_to_mfn(tables[i]), PTE_TABLE);
        page_set_ro(tables[i]);
    }
    l3[0] = make_pte(va_to_mfn(l2), PTE_TABLE);
    l4[0] = make_pte(va_to_mfn(l3), PTE_TABLE);
    page_set_ro(l2);
    page_set_ro(l3);
    page_set_ro(l4);
}

static void pin_and_unpin(void)
{
    unsigned long mfn = va_to_mfn(l4);
    uint64_t start = clock_now();

    is(mmuext(MMUEXT_PIN_L4_TABLE, mfn), 0, "pin 150 thousand mappings");
    tap_note("pin: %lu us", (clock_now() - start) / 1000);
    is_error(page_set_rw(tables[TABLES - 1]), "the last table is in use");
    start = clock_now();
    is(mmuext(MMUEXT_UNPIN_TABLE, mfn), 0, "unpin them");
    tap_note("unpin: %lu us", (clock_now() - start) / 1000);
    is(page_set_rw(tables[TABLES - 1]), 0, "the last table is free");
    is(page_set_rw(tables[0]), 0, "and the first");
}

// The last entry of the last table is bad: everything validated before it must be undone.
static void late_failure(void)
{
    tables[TABLES - 1][511] = make_pte(0x7ffffffff, PTE_RW_DATA);
    page_set_ro(tables[TABLES - 1]);
    page_set_ro(tables[0]);
    is_error(mmuext(MMUEXT_PIN_L4_TABLE, va_to_mfn(l4)), "one bad entry at the end");
    is(page_set_rw(tables[0]), 0, "nothing stays in use");
    is(page_set_rw(l2), 0, "nor the table above");
    page_set_rw(tables[TABLES - 1]);
    tables[TABLES - 1][511] = 0;
    page_set_ro(tables[TABLES - 1]);
    page_set_ro(tables[0]);
    page_set_ro(l2);
    is(mmuext(MMUEXT_PIN_L4_TABLE, va_to_mfn(l4)), 0, "without it all is well");
}

static void as_user_root(void)
{
    unsigned long mfn = va_to_mfn(l4);

    is(mmuext(MMUEXT_NEW_USER_BASEPTR, mfn), 0, "use it as user root");
    is(mmuext(MMUEXT_UNPIN_TABLE, mfn), 0, "unpin it in use");
    is_error(page_set_rw(tables[5]), "its tables are still in use");
    is(mmuext(MMUEXT_NEW_USER_BASEPTR, 0), 0, "let it go");
    is(page_set_rw(tables[5]), 0, "that freed them");
    is(page_set_rw(l4), 0, "all");
}

void guest_main(void)
{
    data = pfn_to_mfn(frame_take());
    build();
    pin_and_unpin();
    page_set_ro(tables[0]);
    page_set_ro(tables[TABLES - 1]);
    page_set_rw(tables[TABLES - 1]);
    late_failure();
    as_user_root();
}
