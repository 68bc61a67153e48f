// SPDX-License-Identifier: BSD-2-Clause
// GNTTABOP_copy between frames and grants, and cache_flush.
#include "lib/guest.h"

static volatile grant_entry_v1_t *table;
static uint8_t *from, *to;
static domid_t self;

static void set_up(void)
{
    static xen_pfn_t list[1];
    gnttab_setup_table_t s = {.dom = DOMID_SELF, .nr_frames = 1};

    set_xen_guest_handle(s.frame_list, list);
    is(hc_grant_table_op(GNTTABOP_setup_table, &s, 1), 0, "setup_table");
    is(map_page(SCRATCH_VA, make_pte(list[0], PTE_RW_DATA)), 0, "map it");
    table = (volatile grant_entry_v1_t *)SCRATCH_VA;
    from = page_alloc();
    to = page_alloc();
    for (unsigned int i = 0; i < PAGE_SIZE; i++)
        from[i] = (uint8_t)(i * 7);
}

static void grant(grant_ref_t ref, void *what, unsigned int flags)
{
    table[ref].domid = self;
    table[ref].frame = (uint32_t)va_to_mfn(what);
    barrier();
    table[ref].flags = (uint16_t)flags;
}

static gnttab_copy_t by_frame(void)
{
    gnttab_copy_t c = {
        .source = {.domid = DOMID_SELF}, .dest = {.domid = DOMID_SELF}, .len = PAGE_SIZE};

    c.source.u.gmfn = va_to_mfn(from);
    c.dest.u.gmfn = va_to_mfn(to);
    return c;
}

static int copy(gnttab_copy_t *c)
{
    long rc = hc_grant_table_op(GNTTABOP_copy, c, 1);

    return rc ? (int)rc : c->status;
}

static void frames(void)
{
    gnttab_copy_t c = by_frame();

    is(copy(&c), 0, "copy a page");
    is(memcmp(from, to, PAGE_SIZE), 0, "all of it");
    memset(to, 0, PAGE_SIZE);
    c.source.offset = 100, c.dest.offset = 1000, c.len = 50;
    is(copy(&c), 0, "copy a part");
    ok(!memcmp(from + 100, to + 1000, 50) && !to[999] && !to[1050], "exactly that part");
    c.len = 0;
    is(copy(&c), 0, "copy nothing");
    c.source.offset = 4090, c.len = 7;
    is(copy(&c), GNTST_bad_copy_arg, "across the end of the source");
    c.source.offset = 0, c.dest.offset = 4090;
    is(copy(&c), GNTST_bad_copy_arg, "across the end of the destination");
    c = by_frame();
    c.source.u.gmfn = 0x7ffffffff;
    ok(copy(&c) < 0, "from a frame out of range");
    c = by_frame();
    c.dest.u.gmfn = pte_maddr(VIRT_BASE, 4) >> 12;
    ok(copy(&c) < 0, "onto a page table");
    c = by_frame();
    c.source.domid = 0x7000;
    ok(copy(&c) < 0, "from a domain that does not exist");
}

static void grants(void)
{
    gnttab_copy_t c = by_frame();

    memset(to, 0, PAGE_SIZE);
    grant(10, from, GTF_permit_access | GTF_readonly);
    grant(11, to, GTF_permit_access);
    c.flags = GNTCOPY_source_gref;
    c.source.u.ref = 10;
    c.source.domid = self;
    is(copy(&c), 0, "from a grant");
    is(memcmp(from, to, PAGE_SIZE), 0, "copied");
    memset(to, 0, PAGE_SIZE);
    c.flags = GNTCOPY_source_gref | GNTCOPY_dest_gref;
    c.dest.u.ref = 11;
    c.dest.domid = self;
    is(copy(&c), 0, "from a grant to a grant");
    is(memcmp(from, to, PAGE_SIZE), 0, "copied");
    ok(table[10].flags == (GTF_permit_access | GTF_readonly) &&
           table[11].flags == GTF_permit_access,
       "no flag stays");
    c.dest.u.ref = 10;
    c.source.u.ref = 11;
    ok(copy(&c) < 0, "to a read-only grant");
    c.dest.u.ref = 12;
    ok(copy(&c) < 0, "to an empty entry");
    c.dest.u.ref = 0xffffffff;
    is(copy(&c), GNTST_bad_gntref, "to a reference out of range");
}

static void batch(void)
{
    enum { N = 300 };
    static gnttab_copy_t c[N];
    unsigned int good = 0;

    memset(to, 0, PAGE_SIZE);
    for (unsigned int i = 0; i < N; i++) {
        c[i] = by_frame();
        c[i].source.offset = c[i].dest.offset = (uint16_t)(i * 8);
        c[i].len = 8;
        c[i].status = 99;
    }
    c[7].source.u.gmfn = 0x7ffffffff;
    is(hc_grant_table_op(GNTTABOP_copy, c, N), 0, "three hundred copies");
    for (unsigned int i = 0; i < N; i++)
        good += i == 7 ? c[i].status < 0 : c[i].status == 0;
    is(good, N, "each with its own status");
    ok(!memcmp(from, to, 56) && !memcmp(from + 64, to + 64, 300 * 8 - 64) && !to[56],
       "all but the bad one copied");
}

static void cache_flush(void)
{
    gnttab_cache_flush_t f = {.op = GNTTAB_CACHE_CLEAN, .length = 64};

    f.a.dev_bus_addr = va_to_mfn(from) << 12;
    is_either(hc_grant_table_op(GNTTABOP_cache_flush, &f, 1), 0, -XEN_EPERM,
              "cache_flush of own frame");
    f.op = GNTTAB_CACHE_CLEAN | GNTTAB_CACHE_SOURCE_GREF;
    f.a.ref = 0xffffffff;
    is_error(hc_grant_table_op(GNTTABOP_cache_flush, &f, 1), "of a reference out of range");
    f.op = GNTTAB_CACHE_CLEAN;
    f.a.dev_bus_addr = va_to_mfn(from) << 12;
    f.offset = 4000, f.length = 200;
    is_error(hc_grant_table_op(GNTTABOP_cache_flush, &f, 1), "across the end of the page");
}

void guest_main(void)
{
    self = event_own_domid();
    set_up();
    frames();
    grants();
    batch();
    cache_flush();
}
