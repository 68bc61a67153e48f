// SPDX-License-Identifier: BSD-2-Clause
// Grant tables, version 1: set up, map and unmap own grants, permissions, errors.
#include "lib/guest.h"

static volatile grant_entry_v1_t *table;
static uint64_t *page;
static domid_t self;

static long setup(unsigned int frames)
{
    static xen_pfn_t list[8];
    gnttab_setup_table_t s = {.dom = DOMID_SELF, .nr_frames = frames};
    long rc;

    set_xen_guest_handle(s.frame_list, list);
    rc = hc_grant_table_op(GNTTABOP_setup_table, &s, 1);
    if (rc || s.status)
        return rc ? rc : s.status;
    for (unsigned int i = 0; i < frames; i++)
        rc = rc ? rc : map_page(SCRATCH_VA + i * PAGE_SIZE, make_pte(list[i], PTE_RW_DATA));
    table = (volatile grant_entry_v1_t *)SCRATCH_VA;
    return rc;
}

static void grant(grant_ref_t ref, void *what, unsigned int flags)
{
    table[ref].domid = self;
    table[ref].frame = (uint32_t)va_to_mfn(what);
    barrier();
    table[ref].flags = (uint16_t)flags;
}

static gnttab_map_grant_ref_t map(grant_ref_t ref, unsigned long va, unsigned int flags)
{
    gnttab_map_grant_ref_t m = {.host_addr = va, .flags = flags, .ref = ref, .dom = self};
    long rc = hc_grant_table_op(GNTTABOP_map_grant_ref, &m, 1);

    if (rc)
        m.status = (int16_t)rc;
    return m;
}

static int unmap(unsigned long va, grant_handle_t handle)
{
    gnttab_unmap_grant_ref_t u = {.host_addr = va, .handle = handle};
    long rc = hc_grant_table_op(GNTTABOP_unmap_grant_ref, &u, 1);

    return rc ? (int)rc : u.status;
}

// Maps go to the page behind the table's; its L1 exists.
#define WINDOW (SCRATCH_VA + 0x10000)

static void set_up(void)
{
    gnttab_query_size_t q = {.dom = DOMID_SELF};
    gnttab_get_version_t v = {.dom = DOMID_SELF};

    is(setup(1), 0, "setup_table, one frame");
    is(hc_grant_table_op(GNTTABOP_query_size, &q, 1), 0, "query_size");
    ok(q.status == 0 && q.nr_frames >= 1 && q.max_nr_frames >= 4, "its numbers");
    is(hc_grant_table_op(GNTTABOP_get_version, &v, 1), 0, "get_version");
    is(v.version, 1, "version 1");
    is(setup(4), 0, "setup_table, four frames");
    hc_grant_table_op(GNTTABOP_query_size, &q, 1);
    ok(q.nr_frames >= 4, "it grew");
    is_error(setup(q.max_nr_frames + 1), "more frames than allowed");
    table[100].flags = 0;
}

static void read_write(void)
{
    gnttab_map_grant_ref_t m;

    page[0] = 0x1234;
    grant(20, page, GTF_permit_access);
    m = map(20, WINDOW, GNTMAP_host_map);
    is(m.status, 0, "map a grant");
    is(*(volatile uint64_t *)WINDOW, 0x1234, "its content");
    *(volatile uint64_t *)WINDOW = 0x5678;
    is(page[0], 0x5678, "written through it");
    is(table[20].flags, GTF_permit_access | GTF_reading | GTF_writing, "flags while mapped");
    is(m.dev_bus_addr >> 12, va_to_mfn(page), "bus address");
    is(unmap(WINDOW, m.handle), 0, "unmap");
    is(table[20].flags, GTF_permit_access, "flags afterwards");
    is(*pte_of(WINDOW, 1) & PTE_P, 0, "the mapping is gone");
    ok(unmap(WINDOW, m.handle) < 0, "unmap it twice");
}

static void read_only(void)
{
    gnttab_map_grant_ref_t m, w;
    struct trap t;

    grant(21, page, GTF_permit_access | GTF_readonly);
    m = map(21, WINDOW, GNTMAP_host_map);
    ok(m.status < 0, "a read-only grant cannot be mapped writable");
    m = map(21, WINDOW, GNTMAP_host_map | GNTMAP_readonly);
    is(m.status, 0, "but read-only");
    is(probe_write((volatile void *)WINDOW, 1, &t), 14, "a write faults");
    is(table[21].flags, GTF_permit_access | GTF_readonly | GTF_reading, "flags while mapped");
    w = map(21, WINDOW + PAGE_SIZE, GNTMAP_host_map | GNTMAP_readonly);
    is(w.status, 0, "a second mapping");
    is(unmap(WINDOW, m.handle), 0, "unmap one");
    ok(table[21].flags & GTF_reading, "still in use");
    is(unmap(WINDOW + PAGE_SIZE, w.handle), 0, "unmap the other");
    ok(!(table[21].flags & GTF_reading), "no longer in use");
    grant(21, page, GTF_permit_access);
    m = map(21, WINDOW, GNTMAP_host_map | GNTMAP_readonly);
    is(m.status, 0, "a writable grant, read-only");
    is(probe_write((volatile void *)WINDOW, 1, &t), 14, "a write faults");
    is(unmap(WINDOW, m.handle), 0, "unmap");
}

static void contains_pte(void)
{
    gnttab_map_grant_ref_t m;
    gnttab_unmap_grant_ref_t u;

    grant(22, page, GTF_permit_access);
    m = map(22, pte_maddr(WINDOW, 1),
            GNTMAP_host_map | GNTMAP_contains_pte | GNTMAP_guest_avail_mask);
    is(m.status, 0, "map through the address of the entry");
    is(*(volatile uint64_t *)WINDOW, page[0], "its content");
    u = (gnttab_unmap_grant_ref_t){.host_addr = pte_maddr(WINDOW, 1), .handle = m.handle};
    hc_grant_table_op(GNTTABOP_unmap_grant_ref, &u, 1);
    is(u.status, 0, "unmap");
    m = map(22, WINDOW, GNTMAP_host_map | GNTMAP_application_map);
    is(m.status, 0, "an application mapping");
    is(unmap(WINDOW, m.handle), 0, "unmap");
}

static void errors(void)
{
    gnttab_map_grant_ref_t m;
    gnttab_unmap_grant_ref_t u = {.host_addr = WINDOW, .handle = 0xffffff};

    ok(map(23, WINDOW, GNTMAP_host_map).status < 0, "an empty entry");
    is(map(1000000, WINDOW, GNTMAP_host_map).status, GNTST_bad_gntref, "a reference out of range");
    grant(24, page, GTF_permit_access);
    ok(map(24, WINDOW, 0).status < 0, "a mapping of no kind");
    ok(map(24, 0x800000000000, GNTMAP_host_map).status < 0, "at a non-canonical address");
    ok(map(24, HYPERVISOR_VIRT_START, GNTMAP_host_map).status < 0, "in the hypervisor");
    ok(map(24, WINDOW + (1UL << 39), GNTMAP_host_map).status < 0, "where no table is");
    ok(map(24, WINDOW + 8, GNTMAP_host_map).status <= 0, "at an odd address");
    pte_set(WINDOW, 0);
    m = (gnttab_map_grant_ref_t){.host_addr = WINDOW, .flags = GNTMAP_host_map, .dom = 0x7000};
    hc_grant_table_op(GNTTABOP_map_grant_ref, &m, 1);
    is(m.status, GNTST_bad_domain, "of a domain that does not exist");
    table[25].domid = 0x7000;
    table[25].frame = (uint32_t)va_to_mfn(page);
    table[25].flags = GTF_permit_access;
    ok(map(25, WINDOW, GNTMAP_host_map).status < 0, "a grant for somebody else");
    grant(26, page, GTF_accept_transfer);
    ok(map(26, WINDOW, GNTMAP_host_map).status < 0, "a transfer entry");
    table[27].domid = self;
    table[27].frame = 0x7fffffff;
    table[27].flags = GTF_permit_access;
    ok(map(27, WINDOW, GNTMAP_host_map).status < 0, "a frame out of range");
    table[27].frame = (uint32_t)(pte_maddr(VIRT_BASE, 4) >> 12);
    ok(map(27, WINDOW, GNTMAP_host_map).status < 0, "a page table, writable");
    ok(table[27].flags == GTF_permit_access, "leaves no flag behind");
    hc_grant_table_op(GNTTABOP_unmap_grant_ref, &u, 1);
    is(u.status, GNTST_bad_handle, "unmap no handle");
    is_error(hc_grant_table_op(77, &u, 1), "unknown operation");
    is_error(hc_grant_table_op(GNTTABOP_map_grant_ref, (void *)0x1000, 1), "bad pointer");
    is_error(hc_grant_table_op(GNTTABOP_map_grant_ref, &u, 0x80000000), "absurd count");
    is(hc_grant_table_op(GNTTABOP_map_grant_ref, &u, 0), 0, "no operations");
}

static void swap(void)
{
    gnttab_swap_grant_ref_t s = {.ref_a = 30, .ref_b = 31};
    grant_entry_v1_t a, b;

    grant(30, page, GTF_permit_access);
    grant(31, page, GTF_permit_access | GTF_readonly);
    memcpy(&a, (void *)&table[30], sizeof(a));
    memcpy(&b, (void *)&table[31], sizeof(b));
    is(hc_grant_table_op(GNTTABOP_swap_grant_ref, &s, 1), 0, "swap_grant_ref");
    is(s.status, 0, "status");
    ok(!memcmp(&a, (void *)&table[31], sizeof(a)) && !memcmp(&b, (void *)&table[30], sizeof(b)),
       "swapped");
    s.ref_b = 1000000;
    hc_grant_table_op(GNTTABOP_swap_grant_ref, &s, 1);
    ok(s.status < 0, "with a reference out of range");
}

static void replace(void)
{
    gnttab_unmap_and_replace_t r;
    gnttab_map_grant_ref_t m;
    unsigned long other = pfn_to_mfn(frame_take());

    grant(32, page, GTF_permit_access);
    m = map(32, WINDOW, GNTMAP_host_map);
    pte_set(WINDOW + PAGE_SIZE, make_pte(other, PTE_RW_DATA));
    *(volatile uint64_t *)(WINDOW + PAGE_SIZE) = 0x0dd;
    r = (gnttab_unmap_and_replace_t){
        .host_addr = WINDOW, .new_addr = WINDOW + PAGE_SIZE, .handle = m.handle};
    is(hc_grant_table_op(GNTTABOP_unmap_and_replace, &r, 1), 0, "unmap_and_replace");
    is(r.status, 0, "status");
    is(*(volatile uint64_t *)WINDOW, 0x0dd, "the other page took the place");
    is(*pte_of(WINDOW + PAGE_SIZE, 1) & PTE_P, 0, "its own is empty");
    is(table[32].flags, GTF_permit_access, "the grant is free");
    pte_set(WINDOW, 0);
}

void guest_main(void)
{
    self = event_own_domid();
    page = page_alloc();
    set_up();
    map_page(WINDOW, 0);
    read_write();
    read_only();
    contains_pte();
    errors();
    swap();
    replace();
}
