// SPDX-License-Identifier: BSD-2-Clause
// The LDT: set through mmuext, its pages taken when first used, dropped when it changes.
#include "lib/guest.h"

#define DATA3 0x00cff2000000ffffUL

static struct trap t;
static uint64_t ldt[1024] __attribute__((aligned(4096)));

static long set_ldt(unsigned long va, unsigned int entries)
{
    mmuext_op_t op = {.cmd = MMUEXT_SET_LDT};

    op.arg1.linear_addr = va;
    op.arg2.nr_ents = entries;
    return hc_mmuext_op(&op, 1, NULL, DOMID_SELF);
}

static int load_es(unsigned int index)
{
    CATCH(t, __asm__ volatile("mov %0, %%es" : : "r"(index << 3 | 7)));
    __asm__ volatile("mov %0, %%es" : : "r"(0));
    return t.vector;
}

void guest_main(void)
{
    is(load_es(3), 13, "without LDT a selector gives #GP");
    ldt[3] = DATA3;
    ldt[600] = DATA3;
    ldt[5] = 0xeeUL << 40;
    is(set_ldt((unsigned long)ldt, 1024), 0, "set an LDT of two pages");
    is(load_es(3), 14, "its page is writable: the hypervisor cannot take it");
    is(t.cr2, (unsigned long)ldt + 3 * 8, "cr2 is the address in the guest's own LDT");
    page_set_ro(&ldt[0]);
    is(load_es(3), 14, "an interrupt gate in it: still not");
    page_set_rw(&ldt[0]);
    ldt[5] = 0;
    page_set_ro(&ldt[0]);
    is(load_es(3), -1, "a clean page is taken at the first use");
    is_error(page_set_rw(&ldt[0]), "it cannot become writable now");
    is(load_es(600), 14, "the second page is still writable");
    page_set_ro(&ldt[512]);
    is(load_es(600), -1, "and works when it is not");
    is(load_es(7), 13, "an empty entry gives #GP");
    is(hc_update_descriptor((va_to_mfn(ldt) << 12) + 7 * 8, DATA3), 0, "update_descriptor");
    is(load_es(7), -1, "the new entry works");
    is(set_ldt((unsigned long)ldt, 512), 0, "a shorter LDT");
    is(load_es(600), 13, "beyond its end");
    is(load_es(3), -1, "within it");
    is(set_ldt(0, 0), 0, "no LDT");
    is(load_es(3), 13, "a selector gives #GP again");
    is(page_set_rw(&ldt[0]), 0, "its pages are plain memory");
    is(page_set_rw(&ldt[512]), 0, "both");
    is_error(set_ldt((unsigned long)ldt + 8, 512), "an LDT that is not aligned");
    is_error(set_ldt((unsigned long)ldt, 8193), "more entries than there can be");
    is_error(set_ldt(HYPERVISOR_VIRT_START, 512), "an LDT in the hypervisor");
    is(set_ldt(SCRATCH_VA, 512), 0, "an LDT that is not mapped");
    is(load_es(3), 14, "faults");
    is(t.cr2, SCRATCH_VA + 3 * 8, "with its address");
    set_ldt(0, 0);
}
