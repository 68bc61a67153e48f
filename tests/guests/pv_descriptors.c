// SPDX-License-Identifier: BSD-2-Clause
// set_gdt, update_descriptor, what a descriptor may be; segments loaded from the result.
#include "lib/guest.h"

#define DATA3   0x00cff2000000ffffUL // data, level 3, 4 GiB
#define CODE32  0x00cffa000000ffffUL
#define CODE64  0x00affa000000ffffUL
#define TYPE(x) ((uint64_t)(x) << 40)

static struct trap t;
static uint64_t gdt[512] __attribute__((aligned(4096)));
static unsigned long gdt_mfn;

static long put(unsigned int index, uint64_t desc)
{
    return hc_update_descriptor((gdt_mfn << 12) + 8 * index, desc);
}

static int load_es(unsigned int selector)
{
    CATCH(t, __asm__ volatile("mov %0, %%es" : : "r"(selector)));
    __asm__ volatile("mov %0, %%es" : : "r"(0));
    return t.vector;
}

static void tables(void)
{
    unsigned long frames[2] = {gdt_mfn, gdt_mfn};
    unsigned long bad = 0x7ffffffff;

    is_error(hc_set_gdt(frames, 512), "a table that is mapped writable");
    page_set_ro(gdt);
    is(hc_set_gdt(frames, 512), 0, "one frame, 512 entries");
    is_error(page_set_rw(gdt), "it cannot become writable");
    is_error(mmuext(MMUEXT_PIN_L1_TABLE, gdt_mfn), "nor a page table");
    is(hc_set_gdt(frames, 1024), 0, "the same frame twice");
    is_error(hc_set_gdt(frames, FIRST_RESERVED_GDT_ENTRY + 1), "more than there are");
    is_error(hc_set_gdt(&bad, 512), "a frame out of range");
    is_error(hc_set_gdt((void *)0x1000, 512), "a bad pointer");
    is(hc_set_gdt(frames, 512), 0, "one frame again");
    is(hc_set_gdt(frames, 0), 0, "no table at all");
    is(page_set_rw(gdt), 0, "the frame is plain memory");
    is(page_set_ro(gdt), 0, "read-only");
    is(hc_set_gdt(frames, 512), 0, "set again");
}

static void accepted(void)
{
    is(put(3, DATA3), 0, "a flat data segment");
    is(load_es(3 << 3 | 3), -1, "can be loaded");
    is(gdt[3] & ~TYPE(1), DATA3, "and is in memory");
    is(put(4, CODE64), 0, "a 64-bit code segment");
    is(put(5, CODE32), 0, "a 32-bit code segment");
    is(put(6, 0x0040f2000000ffffUL), 0, "a small data segment");
    is(put(6, DATA3 & ~TYPE(0x80)), 0, "a segment that is not present");
    is(load_es(6 << 3 | 3), 11, "loading it gives #NP");
    is(t.regs.error, 6 << 3, "error code: the selector");
    is(put(6, 0), 0, "an empty descriptor");
    is(load_es(6 << 3 | 3), 13, "loading it gives #GP");
    is(put(7, 0x00cff6000000ffffUL), 0, "an expand-down data segment");
}

static void level_zero(void)
{
    long rc = put(8, DATA3 & ~TYPE(0x60));
    unsigned int dpl = gdt[8] >> 45 & 3;

    tap(rc < 0 || dpl == 3, "a level 0 segment is refused or raised to 3", "rc %ld level %u", rc,
        dpl);
    tap_note("level 0 data: rc %ld, level in memory %u", rc, dpl);
    put(8, 0);
}

static void refused(void)
{
    ok(put(9, 0x8000ec0000e03300UL) < 0 || !(gdt[9] & TYPE(0x60)),
       "a call gate is refused, or made unusable by level 0");
    put(9, 0);
    is_error(put(9, TYPE(0xee)), "an interrupt gate");
    is_error(put(9, TYPE(0xef)), "a trap gate");
    is_error(put(9, TYPE(0xe5)), "a task gate");
    is_error(put(9, TYPE(0xe9) | 0x67), "a task state segment");
    is_error(put(9, TYPE(0xe2) | 0xffff), "a local descriptor table");
    is_error(hc_update_descriptor((gdt_mfn << 12) + 4, DATA3), "an address that is not aligned");
    is_error(hc_update_descriptor(0x7fffffffff000, DATA3), "a frame out of range");
    is_error(hc_update_descriptor(pte_maddr(VIRT_BASE + 0x100000, 1), DATA3), "a page table");
    is(gdt[9], 0, "nothing was stored");
}

static void bad_table(void)
{
    static uint64_t other[512] __attribute__((aligned(4096)));
    unsigned long mfn = va_to_mfn(other);

    other[1] = TYPE(0xee);
    page_set_ro(other);
    is_error(hc_set_gdt(&mfn, 512), "a table with an interrupt gate in it");
    is(page_set_rw(other), 0, "and nothing stays referenced");
    is(load_es(3 << 3 | 3), -1, "the table before it still works");
    is(hc_update_descriptor(mfn << 12, DATA3), 0, "update_descriptor of a plain page");
    is(other[0] & ~TYPE(1), DATA3, "stores too");
}

static void code_segments(void)
{
    volatile int vector;

    CATCH(t, __asm__ volatile("push %0; lea 1f(%%rip), %%rax; push %%rax; lretq; 1: ud2"
                              :
                              : "r"((unsigned long)(4 << 3 | 3))
                              : "rax", "memory"));
    vector = t.vector;
    is(vector, 6, "run in our own code segment");
    is(t.regs.cs & 0xfffc, 4 << 3, "its selector is in the frame");
}

static void reserved_part(void)
{
    is(load_es(0xe02b), -1, "the hypervisor's flat data segment");
    is(load_es(0xe023), -1, "its 32-bit code segment can be read");
    is(load_es(0xe008), 13, "its own code segment cannot be loaded");
    is(load_es(0xe010), 13, "nor its data segment");
    is(load_es(0xf000), 13, "nor anything near the end");
    CATCH(t, __asm__ volatile("ltr %w0" : : "r"(0xe040)));
    is(t.vector, 13, "ltr");
    CATCH(t, __asm__ volatile("lgdt (%0)" : : "r"(gdt)));
    is(t.vector, 13, "lgdt");
    CATCH(t, __asm__ volatile("lidt (%0)" : : "r"(gdt)));
    is(t.vector, 13, "lidt");
    CATCH(t, __asm__ volatile("lldt %w0" : : "r"(0)));
    is(t.vector, 13, "lldt");
}

void guest_main(void)
{
    gdt_mfn = va_to_mfn(gdt);
    tables();
    accepted();
    level_zero();
    refused();
    bad_table();
    code_segments();
    reserved_part();
}
