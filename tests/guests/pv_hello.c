// SPDX-License-Identifier: BSD-2-Clause
// The smallest guest: it starts, sees a sane start-of-day page and powers off.
#include "lib/guest.h"

void guest_main(void)
{
    extern const char hypercall_page[];
    const start_info_t *si = start_info;
    long version;

    print("Hello from a PV guest: %s, %lu pages\n", si->magic, si->nr_pages);
    print("# command line: %s\n", (const char *)si->cmd_line);
    ok(!strncmp(si->magic, "xen-3.", 6), "start_info magic");
    ok(si->nr_pages > 256, "start_info has memory");
    ok(((unsigned long)si & ~PAGE_MASK) == 0, "start_info is page aligned");
    ok(si->shared_info && (si->shared_info & ~PAGE_MASK) == 0, "shared_info address");
    ok(si->pt_base > VIRT_BASE && si->nr_pt_frames >= 4, "bootstrap page tables");
    ok(si->mfn_list > VIRT_BASE, "p2m list is mapped");
    __asm__ volatile("call *%[stub]"
                     : "=a"(version)
                     : [stub] "r"(hypercall_page + 32 * __HYPERVISOR_xen_version),
                       "D"(XENVER_version), "S"(0)
                     : "memory");
    is(version, 0x40011, "xen_version through the hypercall page");
    is(hc_xen_version(XENVER_version, NULL), 0x40011, "xen_version by syscall");
}
