// SPDX-License-Identifier: BSD-2-Clause
// Device memory: the control domain maps it, except what the hypervisor keeps; others may not.
#include "lib/guest.h"

static uint64_t slot;

static long map(unsigned long mfn, uint64_t flags, unsigned int owner)
{
    mmu_update_t u = {.ptr = slot, .val = make_pte(mfn, flags)};
    long rc = hc_mmu_update(&u, 1, NULL, owner);

    mmuext(MMUEXT_INVLPG_LOCAL, SCRATCH_VA);
    return rc;
}

static void control_domain(void)
{
    volatile uint16_t *text = (volatile uint16_t *)SCRATCH_VA;
    long rc;

    is(map(0xb8, PTE_RW_DATA | PTE_PCD, DOMID_SELF), 0, "the text screen");
    (void)text[0];
    is(map(0xb8, PTE_RW_DATA, DOMID_IO), 0, "with DOMID_IO as owner");
    is_error(map(va_to_mfn((void *)start_info), PTE_RO_DATA, DOMID_IO), "DOMID_IO of plain memory");
    is(map(0xf0, PTE_RO_DATA, DOMID_SELF), 0, "the firmware's read-only memory");
    is_error(map(0xfee00, PTE_RW_DATA, DOMID_SELF), "the local APIC, writable");
    rc = map(0xfec00, PTE_RW_DATA, DOMID_SELF);
    if (!rc) {
        // Accepted then only as read-only in effect.
        struct trap t;

        ok(!(*pte_of(SCRATCH_VA, 1) & PTE_W) ||
               probe_write((volatile void *)SCRATCH_VA, 0, &t) == 14,
           "the IO-APIC, writable, is not");
    } else {
        ok(true, "the IO-APIC, writable, is refused");
    }
    is(map(0xfebf0, PTE_RW_DATA | PTE_PCD | PTE_PWT, DOMID_SELF), 0, "a hole for devices");
    is_error(map(1UL << 39, PTE_RW_DATA, DOMID_SELF), "an address beyond the processor's");
}

static void a_guest(void)
{
    is_error(map(0xb8, PTE_RW_DATA, DOMID_SELF), "the text screen");
    is_error(map(0xb8, PTE_RW_DATA, DOMID_IO), "with DOMID_IO as owner");
    is_error(map(0xfee00, PTE_RO_DATA, DOMID_SELF), "the local APIC");
    is_error(map(0xfebf0, PTE_RO_DATA, DOMID_SELF), "a hole for devices");
}

// Cache attributes are accepted for device memory; cached ones may be made uncached.
static void attributes(unsigned long mfn)
{
    static const uint64_t kinds[] = {0,       PTE_PWT,          PTE_PCD, PTE_PCD | PTE_PWT,
                                     PTE_PAT, PTE_PAT | PTE_PWT};

    for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
        is(map(mfn, PTE_RW_DATA | kinds[i], DOMID_SELF), 0, "a cache attribute");
        is_either(*pte_of(SCRATCH_VA, 1) & (PTE_PWT | PTE_PCD | PTE_PAT), kinds[i],
                  PTE_PCD | PTE_PWT, "is kept, or uncached");
    }
}

void guest_main(void)
{
    map_page(SCRATCH_VA, 0);
    slot = pte_maddr(SCRATCH_VA, 1);
    if (start_info->flags & SIF_INITDOMAIN) {
        control_domain();
        attributes(0xb8);
    } else {
        a_guest();
    }
    map(0, 0, DOMID_SELF);
}
