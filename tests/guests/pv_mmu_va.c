// SPDX-License-Identifier: BSD-2-Clause
// update_va_mapping with each way to flush, and its errors.
#include "lib/guest.h"

static unsigned long frame_a, frame_b;
static volatile uint64_t *const scratch = (volatile uint64_t *)SCRATCH_VA;

static void flush_kinds(void)
{
    static uint64_t mask = 1;
    static const struct {
        unsigned long flags;
        const char *name;
    } kinds[] = {
        {UVMF_INVLPG | UVMF_LOCAL, "invlpg, local"},
        {UVMF_INVLPG | UVMF_ALL, "invlpg, all"},
        {UVMF_TLB_FLUSH | UVMF_LOCAL, "flush, local"},
        {UVMF_TLB_FLUSH | UVMF_ALL, "flush, all"},
    };

    for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
        hc_update_va_mapping(SCRATCH_VA, make_pte(frame_a, PTE_RW_DATA), UVMF_INVLPG);
        *scratch = 0xa0 + i;
        is(hc_update_va_mapping(SCRATCH_VA, make_pte(frame_b, PTE_RW_DATA), kinds[i].flags), 0,
           kinds[i].name);
        ok(*scratch != 0xa0 + i, "the new frame is seen");
        *scratch = 0;
    }
    is(hc_update_va_mapping(SCRATCH_VA, make_pte(frame_a, PTE_RW_DATA),
                            UVMF_INVLPG | UVMF_MULTI | (unsigned long)&mask),
       0, "invlpg with a vCPU mask");
    is(*scratch, 0xa3, "seen");
    is(hc_update_va_mapping(SCRATCH_VA, make_pte(frame_b, PTE_RW_DATA),
                            UVMF_TLB_FLUSH | UVMF_MULTI | (unsigned long)&mask),
       0, "flush with a vCPU mask");
    is(*scratch, 0, "seen");
    is(hc_update_va_mapping(SCRATCH_VA, make_pte(frame_a, PTE_RW_DATA), UVMF_NONE), 0,
       "no flush at all");
    mmuext(MMUEXT_TLB_FLUSH_LOCAL, 0);
    is(*scratch, 0xa3, "seen after a flush");
    is_error(hc_update_va_mapping(SCRATCH_VA, make_pte(frame_a, PTE_RW_DATA),
                                  UVMF_INVLPG | UVMF_MULTI | 0x1000),
             "a bad vCPU mask pointer");
}

static void access_rights(void)
{
    struct trap t;
    uint64_t v;

    pte_set(SCRATCH_VA, make_pte(frame_a, PTE_RO_DATA));
    is(probe_read(scratch, &v, &t), -1, "a read-only page can be read");
    is(probe_write(scratch, 1, &t), 14, "writing it faults");
    is(t.regs.error, 3, "error code: present, write, not user: the guest kernel asked");
    is(t.cr2, SCRATCH_VA, "cr2");
    pte_set(SCRATCH_VA, 0);
    is(probe_read(scratch, &v, &t), 14, "an unmapped page faults");
    is(t.regs.error & 3, 0, "error code: not present, read");
    pte_set(SCRATCH_VA, make_pte(frame_a, PTE_RW_DATA | PTE_NX));
    CATCH(t, ((void (*)(void))SCRATCH_VA)());
    is(t.vector, 14, "executing a no-execute page faults");
    is(t.regs.error & 0x11, 0x11, "error code: fetch, present");
    is(t.cr2, SCRATCH_VA, "cr2 of the fetch");
    pte_set(SCRATCH_VA, make_pte(frame_a, PTE_RW_DATA));
    *(volatile uint8_t *)SCRATCH_VA = 0xc3;
    CATCH(t, ((void (*)(void))SCRATCH_VA)());
    is(t.vector, -1, "executing an ordinary page works");
}

static void refusals(void)
{
    is(pte_set(SCRATCH_VA, 0), 0, "unmap");
    is_error(pte_set(HYPERVISOR_VIRT_START, 0), "an address of the hypervisor");
    is_error(pte_set(SCRATCH_VA + (1UL << 39), 0), "an address without page table");
    is_error(pte_set(0x800000000000, 0), "an address that is not canonical");
    is_error(pte_set(SCRATCH_VA, make_pte(0x7ffffffff, PTE_RW_DATA)), "a frame out of range");
    is_error(HC(__HYPERVISOR_update_va_mapping_otherdomain, SCRATCH_VA,
                make_pte(frame_a, PTE_RW_DATA), UVMF_INVLPG, 0x7000),
             "otherdomain: no such domain");
    ok(hc_update_va_mapping(SCRATCH_VA, 0, 3) <= 0, "both flush bits at once do no harm");
}

void guest_main(void)
{
    frame_a = pfn_to_mfn(frame_take());
    frame_b = pfn_to_mfn(frame_take());
    is(map_page(SCRATCH_VA, make_pte(frame_a, PTE_RW_DATA)), 0, "set up");
    flush_kinds();
    access_rights();
    refusals();
}
