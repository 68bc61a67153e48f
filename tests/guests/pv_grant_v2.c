// SPDX-License-Identifier: BSD-2-Clause
// Grant tables, version 2: switching, status frames, mapping, sub-page and transitive grants.
#include "lib/guest.h"

static volatile grant_entry_v2_t *table;
static volatile grant_status_t *status;
static uint64_t *page;
static domid_t self;

#define TABLE_VA  SCRATCH_VA
#define STATUS_VA (SCRATCH_VA + 0x20000)
#define WINDOW    (SCRATCH_VA + 0x30000)

static long set_version(uint32_t v)
{
    gnttab_set_version_t s = {.version = v};
    long rc = hc_grant_table_op(GNTTABOP_set_version, &s, 1);

    return rc ? rc : (long)s.version - (long)v;
}

static uint32_t get_version(void)
{
    gnttab_get_version_t v = {.dom = DOMID_SELF};

    hc_grant_table_op(GNTTABOP_get_version, &v, 1);
    return v.version;
}

static void set_up(void)
{
    static xen_pfn_t list[2];
    static uint64_t status_list[1];
    gnttab_setup_table_t s = {.dom = DOMID_SELF, .nr_frames = 2};
    gnttab_get_status_frames_t g = {.dom = DOMID_SELF, .nr_frames = 1};

    is(set_version(2), 0, "set version 2");
    is(get_version(), 2, "it is in effect");
    is_error(set_version(3), "no version 3");
    set_xen_guest_handle(s.frame_list, list);
    is(hc_grant_table_op(GNTTABOP_setup_table, &s, 1), 0, "setup_table");
    is(s.status, 0, "its status");
    for (unsigned int i = 0; i < 2; i++)
        is(map_page(TABLE_VA + i * PAGE_SIZE, make_pte(list[i], PTE_RW_DATA)), 0, "map a frame");
    set_xen_guest_handle(g.frame_list, status_list);
    is(hc_grant_table_op(GNTTABOP_get_status_frames, &g, 1), 0, "get_status_frames");
    is(g.status, 0, "its status");
    is(map_page(STATUS_VA, make_pte(status_list[0], PTE_RW_DATA)), 0, "map the status frame");
    g.nr_frames = 100000;
    hc_grant_table_op(GNTTABOP_get_status_frames, &g, 1);
    ok(g.status < 0, "more status frames than there are");
    table = (volatile grant_entry_v2_t *)TABLE_VA;
    status = (volatile grant_status_t *)STATUS_VA;
    map_page(WINDOW, 0);
}

static void grant(grant_ref_t ref, void *what, unsigned int flags)
{
    table[ref].full_page.hdr.domid = self;
    table[ref].full_page.frame = va_to_mfn(what);
    barrier();
    table[ref].full_page.hdr.flags = (uint16_t)flags;
}

static gnttab_map_grant_ref_t map(grant_ref_t ref, unsigned int flags)
{
    gnttab_map_grant_ref_t m = {.host_addr = WINDOW, .flags = flags, .ref = ref, .dom = self};
    long rc = hc_grant_table_op(GNTTABOP_map_grant_ref, &m, 1);

    if (rc)
        m.status = (int16_t)rc;
    return m;
}

static int unmap(grant_handle_t handle)
{
    gnttab_unmap_grant_ref_t u = {.host_addr = WINDOW, .handle = handle};

    hc_grant_table_op(GNTTABOP_unmap_grant_ref, &u, 1);
    return u.status;
}

static void mapping(void)
{
    gnttab_map_grant_ref_t m;

    page[0] = 0x77;
    grant(20, page, GTF_permit_access);
    m = map(20, GNTMAP_host_map);
    is(m.status, 0, "map a grant");
    is(*(volatile uint64_t *)WINDOW, 0x77, "its content");
    is(status[20], GTF_reading | GTF_writing, "status while mapped");
    is(table[20].hdr.flags, GTF_permit_access, "the entry itself is not written");
    is(unmap(m.handle), 0, "unmap");
    is(status[20], 0, "status afterwards");
    ok(map(21, GNTMAP_host_map).status < 0, "an empty entry");
    grant(22, page, GTF_permit_access | GTF_readonly);
    ok(map(22, GNTMAP_host_map).status < 0, "a read-only grant, writable");
    m = map(22, GNTMAP_host_map | GNTMAP_readonly);
    is(m.status, 0, "a read-only grant, read-only");
    is_error(set_version(1), "no change of version while mapped");
    is(unmap(m.handle), 0, "unmap");
}

static void sub_pages(void)
{
    gnttab_copy_t c = {
        .source = {.domid = self}, .dest = {.domid = DOMID_SELF}, .flags = GNTCOPY_source_gref};
    uint8_t *to = page_alloc();

    ((uint8_t *)page)[200] = 0x99;
    table[23].sub_page.hdr.domid = self;
    table[23].sub_page.page_off = 200;
    table[23].sub_page.length = 16;
    table[23].sub_page.frame = va_to_mfn(page);
    barrier();
    table[23].sub_page.hdr.flags = GTF_permit_access | GTF_sub_page;
    ok(map(23, GNTMAP_host_map).status < 0, "a sub-page grant cannot be mapped");
    c.source.u.ref = 23;
    c.dest.u.gmfn = va_to_mfn(to);
    c.source.offset = 200;
    c.len = 16;
    hc_grant_table_op(GNTTABOP_copy, &c, 1);
    is(c.status, 0, "but copied from");
    is(to[0], 0x99, "the bytes");
    c.len = 17;
    hc_grant_table_op(GNTTABOP_copy, &c, 1);
    ok(c.status < 0, "not beyond its range");
    c.len = 4;
    c.source.offset = 190;
    hc_grant_table_op(GNTTABOP_copy, &c, 1);
    ok(c.status < 0, "nor before it");
    page_free(to);
}

static void transitive(void)
{
    grant(24, page, GTF_permit_access);
    table[25].transitive.hdr.domid = self;
    table[25].transitive.trans_domid = self;
    table[25].transitive.gref = 24;
    barrier();
    table[25].transitive.hdr.flags = GTF_transitive;
    ok(map(25, GNTMAP_host_map).status < 0, "a transitive grant cannot be mapped");
}

static void back_to_one(void)
{
    for (unsigned int i = 8; i < 64; i++)
        table[i].hdr.flags = 0;
    for (unsigned int i = 0; i < 2; i++)
        pte_set(TABLE_VA + i * PAGE_SIZE, 0);
    pte_set(STATUS_VA, 0);
    is(set_version(1), 0, "set version 1");
    is(get_version(), 1, "it is in effect");
}

void guest_main(void)
{
    self = event_own_domid();
    page = page_alloc();
    set_up();
    mapping();
    sub_pages();
    transitive();
    back_to_one();
}
