// SPDX-License-Identifier: BSD-2-Clause
// memory_op: reservations down and up, queries, and what a PV guest is refused.
#include "lib/guest.h"

static domid_t self = DOMID_SELF;

static long reservation_as(unsigned int cmd, xen_pfn_t *list, unsigned long n, unsigned int order,
                           unsigned int mem_flags)
{
    struct xen_memory_reservation r = {
        .nr_extents = n, .extent_order = order, .mem_flags = mem_flags, .domid = DOMID_SELF};

    set_xen_guest_handle(r.extent_start, list);
    return hc_memory_op(cmd, &r);
}

static long reservation(unsigned int cmd, xen_pfn_t *list, unsigned long n, unsigned int order)
{
    return reservation_as(cmd, list, n, order, 0);
}

static long pages(void)
{
    return hc_memory_op(XENMEM_current_reservation, &self);
}

static void queries(void)
{
    struct xen_memory_map map = {.nr_entries = 64};
    static uint8_t e820[64 * 20];
    long rc;

    ok(pages() >= (long)start_info->nr_pages, "current_reservation");
    ok(hc_memory_op(XENMEM_maximum_reservation, &self) >= pages(), "maximum_reservation");
    ok(hc_memory_op(XENMEM_maximum_ram_page, NULL) > 0x1000, "maximum_ram_page");
    rc = hc_memory_op(XENMEM_maximum_gpfn, &self);
    tap_note("maximum_gpfn %ld", rc);
    ok(rc >= 0 || rc == -XEN_EINVAL || rc == -XEN_ENOSYS, "maximum_gpfn");
    set_xen_guest_handle(map.buffer, e820);
    rc = hc_memory_op(XENMEM_memory_map, &map);
    is_either(rc, 0, -XEN_ENOSYS, "memory_map");
    self = 0x7000;
    is_error(hc_memory_op(XENMEM_current_reservation, &self), "of a domain that does not exist");
    self = DOMID_SELF;
    is_error(hc_memory_op(XENMEM_current_reservation, NULL), "bad pointer");
    map.nr_entries = 64;
    rc = hc_memory_op(XENMEM_machine_memory_map, &map);
    if (start_info->flags & SIF_INITDOMAIN) {
        is(rc, 0, "machine_memory_map");
        ok(map.nr_entries > 2, "it has entries");
        map.nr_entries = 1;
        rc = hc_memory_op(XENMEM_machine_memory_map, &map);
        ok((rc == 0 && map.nr_entries == 1) || rc == -XEN_EINVAL, "with room for one");
    } else {
        is_error(rc, "machine_memory_map");
    }
}

static void down_and_up(void)
{
    unsigned long pfn = frame_take(), mfn = pfn_to_mfn(pfn);
    xen_pfn_t list[4] = {mfn};
    long before = pages();

    is(reservation(XENMEM_decrease_reservation, list, 1, 0), 1, "give a frame back");
    is(pages(), before - 1, "one less");
    is(reservation(XENMEM_decrease_reservation, list, 1, 0), 0, "not twice");
    is_error(map_page(SCRATCH_VA, make_pte(mfn, PTE_RW_DATA)), "and not mapped any more");
    list[0] = pfn;
    is(reservation(XENMEM_populate_physmap, list, 1, 0), 1, "get one for the same pfn");
    is(pages(), before, "as many as before");
    is(M2P[list[0]], pfn, "the machine-to-physical table knows");
    is(map_page(SCRATCH_VA, make_pte(list[0], PTE_RW_DATA)), 0, "it can be mapped");
    ok(!*(volatile uint64_t *)SCRATCH_VA && !((volatile uint64_t *)SCRATCH_VA)[511],
       "and is scrubbed");
    pfn_set_mfn(pfn, list[0]);
    is(pte_set(SCRATCH_VA, 0), 0, "unmap");
    is(reservation(XENMEM_decrease_reservation, list, 1, 0), 1, "give it back");
    list[0] = 0;
    is(reservation(XENMEM_increase_reservation, list, 1, 0), 1, "increase_reservation");
    is(map_page(SCRATCH_VA, make_pte(list[0], PTE_RW_DATA)), 0, "its frame can be mapped");
    is(pte_set(SCRATCH_VA, 0), 0, "unmap");
}

// The machine has node 0 at least, and not 200 of them.
static void from_nodes(void)
{
    static const struct {
        unsigned int flags;
        long got;
        const char *what;
    } tests[] = {
        {XENMEMF_exact_node(0), 1, "a frame of node 0"},
        {XENMEMF_exact_node(200), 0, "none of a node that is not there"},
        {XENMEMF_node(200), 1, "but one if any will do"},
        {XENMEMF_exact_node_request, 0, "none of exactly no node"},
        {XENMEMF_vnode | XENMEMF_node(0), 0, "no virtual nodes"},
        {XENMEMF_populate_on_demand, 0, "nothing on demand"},
    };

    for (unsigned int i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        xen_pfn_t list[1] = {pfn_to_mfn(frame_take())};
        is(reservation(XENMEM_decrease_reservation, list, 1, 0), 1, "give a frame back");
        is(reservation_as(XENMEM_increase_reservation, list, 1, 0, tests[i].flags), tests[i].got,
           tests[i].what);
    }
}

static void mapped_frame(void)
{
    xen_pfn_t list[1];
    unsigned long mfn = pfn_to_mfn(frame_take());
    long before = pages();

    map_page(SCRATCH_VA, make_pte(mfn, PTE_RW_DATA));
    *(volatile uint64_t *)SCRATCH_VA = 0x51;
    list[0] = mfn;
    is_either(reservation(XENMEM_decrease_reservation, list, 1, 0), 0, 1,
              "give back a frame that is mapped");
    is(*(volatile uint64_t *)SCRATCH_VA, 0x51, "the mapping holds it");
    pte_set(SCRATCH_VA, 0);
    ok(pages() == before || pages() == before - 1, "it goes with the mapping, or stays");
}

static void many(void)
{
    enum { N = 2000 };
    static xen_pfn_t list[N];
    static unsigned long pfns[N];
    long before = pages();

    for (unsigned int i = 0; i < N; i++) {
        pfns[i] = frame_take();
        list[i] = pfn_to_mfn(pfns[i]);
    }
    is(reservation(XENMEM_decrease_reservation, list, N, 0), N, "give back 2000");
    is(pages(), before - N, "2000 less");
    for (unsigned int i = 0; i < N; i++)
        list[i] = pfns[i];
    is(reservation(XENMEM_populate_physmap, list, N, 0), N, "populate 2000");
    for (unsigned int i = 0; i < N; i++)
        pfn_set_mfn(pfns[i], list[i]);
    is(pages(), before, "as many as before");
}

static void extents_of_pages(void)
{
    unsigned long pfn[8];
    xen_pfn_t list[8];
    long before = pages();

    for (int i = 0; i < 8; i++) {
        pfn[i] = frame_take();
        list[i] = pfn_to_mfn(pfn[i]);
    }
    reservation(XENMEM_decrease_reservation, list, 8, 0);
    list[0] = pfn[7] & ~7UL;
    is(reservation(XENMEM_populate_physmap, list, 1, 2), 1, "an extent of four pages");
    is(list[0] & 3, 0, "aligned");
    is(M2P[list[0] + 3], (pfn[7] & ~7UL) + 3, "with all its pages in the table");
    is(reservation(XENMEM_decrease_reservation, list, 1, 2), 1, "give the extent back");
    is(pages(), before - 8, "all counted");
}

static void errors(void)
{
    struct xen_memory_reservation r = {.nr_extents = 1, .domid = 0x7000};
    struct xen_add_to_physmap add = {.domid = DOMID_SELF, .space = XENMAPSPACE_shared_info};
    struct xen_remove_from_physmap rem = {.domid = DOMID_SELF, .gpfn = 5};
    xen_pfn_t list[1] = {0x7ffffffff};

    is(reservation(XENMEM_decrease_reservation, list, 1, 0), 0, "a frame out of range");
    is(reservation(XENMEM_decrease_reservation, (void *)0x1000, 1, 0), 0, "a bad list");
    is(reservation(XENMEM_populate_physmap, list, 0, 0), 0, "no extents");
    list[0] = 0x100;
    is(reservation(XENMEM_populate_physmap, list, 1, 40), 0, "an absurd order");
    ok(reservation(XENMEM_populate_physmap, list, ~0UL, 0) <= 0, "an absurd count");
    set_xen_guest_handle(r.extent_start, list);
    ok(hc_memory_op(XENMEM_decrease_reservation, &r) <= 0, "another domain");
    is_error(hc_memory_op(XENMEM_add_to_physmap, &add), "add_to_physmap is not for PV");
    is_error(hc_memory_op(XENMEM_remove_from_physmap, &rem), "remove_from_physmap is not for PV");
    is_error(hc_memory_op(62, NULL), "unknown operation");
    ok(hc_memory_op(XENMEM_decrease_reservation, NULL) <= 0, "null pointer");
}

void guest_main(void)
{
    queries();
    down_and_up();
    from_nodes();
    mapped_frame();
    many();
    extents_of_pages();
    errors();
}
