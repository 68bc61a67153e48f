// SPDX-License-Identifier: BSD-2-Clause
// The machine-to-physical table: right, readable, not writable; the rest of the hypervisor's
// range is neither.
#include "lib/guest.h"

void guest_main(void)
{
    struct xen_machphys_mapping map = {0};
    static xen_pfn_t extents[64];
    struct xen_machphys_mfn_list list = {.max_extents = 64};
    unsigned long wrong = 0;
    struct trap t;
    uint64_t v;

    is(hc_memory_op(XENMEM_machphys_mapping, &map), 0, "machphys_mapping");
    is(map.v_start, MACH2PHYS_VIRT_START, "where it starts");
    ok(map.max_mfn >= (unsigned long)hc_memory_op(XENMEM_maximum_ram_page, NULL) - 1,
       "it covers all memory");
    set_xen_guest_handle(list.extent_start, extents);
    is(hc_memory_op(XENMEM_machphys_mfn_list, &list), 0, "machphys_mfn_list");
    ok(list.nr_extents >= 1 && extents[0], "it has a first extent");
    list.max_extents = 0;
    is(hc_memory_op(XENMEM_machphys_mfn_list, &list), 0, "machphys_mfn_list, no room");
    is(list.nr_extents, 0, "returns none");

    for (unsigned long pfn = 0; pfn < start_info->nr_pages; pfn++)
        wrong += M2P[pfn_to_mfn(pfn)] != pfn;
    tap(!wrong, "the inverse of the p2m list", "%lu entries differ", wrong);
    is(probe_write((volatile uint64_t *)&M2P[pfn_to_mfn(5)], 0, &t), 14, "writing it faults");
    is(t.cr2, &M2P[pfn_to_mfn(5)], "cr2");
    is(M2P[pfn_to_mfn(5)], 5, "it did not change");
    is(probe_read((void *)(HYPERVISOR_VIRT_END - 0x1000), &v, &t), 14, "the hypervisor's end");
    is(probe_read((void *)0xffff82d080000000, &v, &t), 14, "the middle of the hypervisor's range");
    is(probe_read((void *)0xffff830000000000, &v, &t), 14, "where a direct map might be");
    is(probe_read((void *)0xffff820000000000, &v, &t), 14, "where a frame table might be");
    CATCH(t, __asm__ volatile("mov (%0), %%rax" : : "r"(0x800000000000) : "rax"));
    is(t.vector, 13, "a non-canonical address gives #GP");
}
