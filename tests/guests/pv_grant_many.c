// SPDX-License-Identifier: BSD-2-Clause
// Many grant mappings: the map tracking table grows, batches report each status, and all of it
// comes back.
#include "lib/guest.h"

enum { N = 3000, BATCH = 250, PER_GRANT = 100, FIRST = 40 };

static volatile grant_entry_v1_t *table;
static gnttab_map_grant_ref_t maps[N];
static gnttab_unmap_grant_ref_t unmaps[N];
static uint64_t *page;
static domid_t self;

#define WINDOW (SCRATCH_VA + 0x200000)

static void set_up(void)
{
    static xen_pfn_t list[4];
    gnttab_setup_table_t s = {.dom = DOMID_SELF, .nr_frames = 1};

    set_xen_guest_handle(s.frame_list, list);
    is(hc_grant_table_op(GNTTABOP_setup_table, &s, 1), 0, "setup_table");
    is(map_page(SCRATCH_VA, make_pte(list[0], PTE_RW_DATA)), 0, "map it");
    table = (volatile grant_entry_v1_t *)SCRATCH_VA;
    for (unsigned int i = 0; i < N; i += 512)
        map_page(WINDOW + i * PAGE_SIZE, 0);
    map_page(WINDOW + N * PAGE_SIZE, 0);
}

static unsigned int map_all(void)
{
    unsigned int good = 0;

    for (unsigned int i = 0; i < N; i++)
        maps[i] = (gnttab_map_grant_ref_t){.host_addr = WINDOW + i * PAGE_SIZE,
                                           .flags = GNTMAP_host_map,
                                           .ref = FIRST + i / PER_GRANT,
                                           .dom = self};
    for (unsigned int i = 0; i < N; i += BATCH)
        hc_grant_table_op(GNTTABOP_map_grant_ref, &maps[i], BATCH);
    for (unsigned int i = 0; i < N; i++)
        good += maps[i].status == 0 && *(volatile uint64_t *)(WINDOW + i * PAGE_SIZE) == 0x600d;
    return good;
}

static unsigned int unmap_all(void)
{
    unsigned int good = 0;

    for (unsigned int i = 0; i < N; i++)
        unmaps[i] = (gnttab_unmap_grant_ref_t){.host_addr = WINDOW + i * PAGE_SIZE,
                                               .handle = maps[i].handle};
    for (unsigned int i = 0; i < N; i += BATCH)
        hc_grant_table_op(GNTTABOP_unmap_grant_ref, &unmaps[i], BATCH);
    for (unsigned int i = 0; i < N; i++)
        good += unmaps[i].status == 0;
    return good;
}

void guest_main(void)
{
    unsigned int distinct = 0;

    self = event_own_domid();
    page = page_alloc();
    page[0] = 0x600d;
    set_up();
    for (unsigned int i = FIRST; i <= FIRST + N / PER_GRANT; i++) {
        table[i].domid = self;
        table[i].frame = (uint32_t)va_to_mfn(page);
        barrier();
        table[i].flags = GTF_permit_access;
    }
    is(map_all(), N, "three thousand mappings of thirty grants");
    for (unsigned int i = 1; i < N; i++)
        distinct += maps[i].handle != maps[i - 1].handle;
    is(distinct, N - 1, "each with a handle of its own");
    is_error(page_set_ro(page) || mmuext(MMUEXT_PIN_L1_TABLE, va_to_mfn(page)) ? -1 : 0,
             "the page cannot change its type meanwhile");
    page_set_rw(page);
    is(unmap_all(), N, "three thousand unmapped");
    is(table[FIRST].flags, GTF_permit_access, "the first grant is free");
    is(table[FIRST + 29].flags, GTF_permit_access, "and the last");
    for (int round = 0; round < 3; round++) {
        is(map_all(), N, "again");
        is(unmap_all(), N, "and back");
    }
    page[0] = 0;
    page_set_ro(page);
    is(mmuext(MMUEXT_PIN_L1_TABLE, va_to_mfn(page)), 0, "the page can become a page table");
    is(mmuext(MMUEXT_UNPIN_TABLE, va_to_mfn(page)), 0, "and stop being one");
}
