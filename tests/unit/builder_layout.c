// SPDX-License-Identifier: BSD-2-Clause
/* Lays out guests and then reads their page tables as a processor would. */
#include "unit.h"

#define __XEN_TOOLS__ 1
#include <xen/elfnote.h>
#include <xen/xen.h>

#include "builder/pv_layout.h"
#include "kernel_image.h"

#define MFN_XOR 0x155000ull /* some scrambling, so that pfns and mfns cannot be mixed up */

struct guest {
    struct kernel_image file;
    struct elf_image elf;
    struct notes notes;
    struct pv_layout lay;
    uint8_t *memory;
    unsigned mapped;
    uint64_t refuse_pfn; /* mapping this one fails */
};

static uint64_t guest_mfn(void *ctx, uint64_t pfn)
{
    return pfn ^ MFN_XOR;
}

static void *guest_map(void *ctx, uint64_t pfn)
{
    struct guest *g = ctx;

    assert_true(pfn < g->lay.nr_pages);
    if (pfn == g->refuse_pfn) {
        return NULL;
    }
    assert_true(++g->mapped <= 6);
    return g->memory + pfn * 4096;
}

static void guest_unmap(void *ctx, uint64_t pfn, void *page)
{
    struct guest *g = ctx;

    assert_ptr_equal(page, g->memory + pfn * 4096);
    g->mapped--;
}

static struct pv_layout_ops ops_of(struct guest *g)
{
    return (struct pv_layout_ops){g, guest_mfn, guest_map, guest_unmap};
}

static void guest_open(struct guest *g, unsigned nr_notes)
{
    struct builder_error err;

    *g = (struct guest){.refuse_pfn = UINT64_MAX};
    g->file = kernel_image_make(kernel_notes_stock, nr_notes, NULL);
    assert_int_equal(elf_open(&g->elf, (struct builder_blob){g->file.data, g->file.len}, &err), 0);
    assert_int_equal(notes_read(&g->elf, &g->notes, &err), 0);
}

static void guest_plan(struct guest *g, uint64_t nr_pages, uint64_t initrd, bool control)
{
    const struct pv_layout_request req = {nr_pages, initrd, control};
    struct builder_error err = {"", 0};

    if (pv_layout_plan(&g->lay, &g->elf, &g->notes, &req, &err) != 0) {
        fail_msg("%s %#lx", err.what, (unsigned long)err.where);
    }
    g->memory = malloc(nr_pages * 4096);
    memset(g->memory, 0xa5, nr_pages * 4096);
}

static void guest_close(struct guest *g)
{
    assert_int_equal(g->mapped, 0);
    free(g->memory);
    free(g->file.data);
}

/* The L1 entry that maps va, or 0. */
static uint64_t walk(struct guest *g, uint64_t va)
{
    uint64_t pfn = g->lay.tables.pfn, entry = 0;

    for (unsigned level = 4; level >= 1; level--) {
        const uint64_t *table = (uint64_t *)(g->memory + pfn * 4096);

        assert_int_equal(pv_layout_table_level(&g->lay, pfn), level);
        entry = table[va >> (12 + 9 * (level - 1)) & 511];
        if (!(entry & 1)) {
            return 0;
        }
        assert_true(entry & 4);
        pfn = (entry >> 12) ^ MFN_XOR;
        assert_true(pfn < g->lay.nr_pages);
    }
    return entry;
}

static void check_region(struct guest *g)
{
    uint64_t pages = (g->lay.v_end - g->lay.v_start) >> 12;

    for (uint64_t i = 0; i < pages; i++) {
        uint64_t entry = walk(g, g->lay.v_start + (i << 12));

        assert_int_equal((entry >> 12) ^ MFN_XOR, i);
        assert_int_equal(!!(entry & 2), pv_layout_table_level(&g->lay, i) == 0);
    }
    assert_int_equal(walk(g, g->lay.v_end), 0);
    assert_int_equal(walk(g, g->lay.v_start - 4096), 0);
}

static void check_p2m(struct guest *g)
{
    for (uint64_t pfn = 0; pfn < g->lay.nr_pages; pfn++) {
        uint64_t entry = walk(g, g->lay.p2m.va + pfn * 8);
        const uint64_t *page = (uint64_t *)(g->memory + ((entry >> 12) ^ MFN_XOR) * 4096);

        assert_true(entry & 2);
        assert_int_equal(page[pfn % 512], pfn ^ MFN_XOR);
    }
}

/* No two areas share a page, and all lie below used_pages. */
static void check_disjoint(const struct pv_layout *l)
{
    const struct pv_layout_area *a[] = {&l->kernel,     &l->initrd,   &l->p2m,
                                        &l->start_info, &l->xenstore, &l->console,
                                        &l->tables,     &l->stack,    &l->p2m_tables};
    uint8_t *used = calloc(l->used_pages, 1);

    for (unsigned i = 0; i < sizeof(a) / sizeof(a[0]); i++) {
        for (uint64_t p = 0; p < a[i]->pages; p++) {
            assert_true(a[i]->pfn + p < l->used_pages);
            assert_int_equal(used[a[i]->pfn + p]++, 0);
        }
    }
    free(used);
}

static void build_and_check(struct guest *g)
{
    const struct pv_layout_ops ops = ops_of(g);
    struct builder_error err;

    check_disjoint(&g->lay);
    assert_int_equal(pv_layout_write_tables(&g->lay, &ops, &err), 0);
    assert_int_equal(pv_layout_write_p2m(&g->lay, &ops, &err), 0);
    check_region(g);
    check_p2m(g);
    assert_int_equal(g->lay.v_end & ((4 << 20) - 1), 0);
    assert_true(g->lay.v_end - g->lay.stack_top >= 512 << 10);
}

static void stock_guest(void **state)
{
    struct guest g;
    struct start_info si;
    struct builder_error err;
    struct pv_layout_boot boot = {.shared_info_maddr = 0x123000,
                                  .cmdline = "console=hvc0 quiet",
                                  .store_evtchn = 1,
                                  .console_evtchn = 2};
    struct pv_layout_ops ops;

    guest_open(&g, kernel_notes_stock_count);
    guest_plan(&g, 20000, 123456, false);
    ops = ops_of(&g);
    build_and_check(&g);
    assert_true(g.lay.initrd_by_pfn);
    assert_int_equal(g.lay.p2m.va, 0x8000000000);
    assert_int_equal(g.lay.kernel.pfn, KERNEL_PADDR >> 12);
    assert_int_equal(g.lay.hypercall_pfn, (KERNEL_PADDR >> 12) + 1);
    assert_int_equal(pv_layout_start_info(&g.lay, &ops, &boot, &si, &err), 0);
    assert_string_equal(si.magic, "xen-3.0-x86_64");
    assert_int_equal(si.nr_pages, 20000);
    assert_int_equal(si.flags, SIF_MOD_START_PFN);
    assert_int_equal(si.mod_start, g.lay.initrd.pfn);
    assert_int_equal(si.mod_len, 123456);
    assert_int_equal(si.store_mfn, g.lay.xenstore.pfn ^ MFN_XOR);
    assert_int_equal(si.console.domU.mfn, g.lay.console.pfn ^ MFN_XOR);
    assert_int_equal(si.console.domU.evtchn, 2);
    assert_int_equal(si.pt_base, g.lay.tables.va);
    assert_int_equal(si.mfn_list, 0x8000000000);
    assert_int_equal(si.first_p2m_pfn, g.lay.p2m.pfn);
    assert_string_equal((char *)si.cmd_line, boot.cmdline);
    guest_close(&g);
}

static void control_domain(void **state)
{
    struct guest g;
    struct start_info si;
    struct builder_error err;
    const struct pv_layout_boot boot = {
        .flags = SIF_PRIVILEGED | SIF_INITDOMAIN, .vga_info_off = 1160, .vga_info_size = 24};
    struct pv_layout_ops ops;

    guest_open(&g, kernel_notes_stock_count);
    guest_plan(&g, 70000, 0, true);
    ops = ops_of(&g);
    build_and_check(&g);
    assert_int_equal(g.lay.xenstore.pages + g.lay.console.pages + g.lay.initrd.pages, 0);
    assert_int_equal(pv_layout_start_info(&g.lay, &ops, &boot, &si, &err), 0);
    assert_int_equal(si.flags, SIF_PRIVILEGED | SIF_INITDOMAIN);
    assert_int_equal(si.console.dom0.info_off, 1160);
    assert_int_equal(si.store_mfn, 0);
    guest_close(&g);
}

/* A kernel that wants initrd and p2m list inside its first mapping. */
static void everything_inside(void **state)
{
    struct guest g;

    guest_open(&g, 4); /* up to VIRT_BASE */
    g.notes.entry = KERNEL_ENTRY;
    guest_plan(&g, 300000, 5000000, false);
    build_and_check(&g);
    assert_false(g.lay.initrd_by_pfn);
    assert_int_equal(g.lay.p2m_tables.pages, 0);
    assert_int_equal(g.lay.initrd.va, g.lay.v_start + (g.lay.initrd.pfn << 12));
    assert_true(g.lay.p2m.va > g.lay.initrd.va && g.lay.start_info.va > g.lay.p2m.va);
    guest_close(&g);
}

static void plan_error(struct guest *g, uint64_t pages, uint64_t initrd, int rc, const char *what)
{
    const struct pv_layout_request req = {pages, initrd, false};
    struct builder_error err = {"none", 0};
    struct pv_layout lay;

    assert_int_equal(pv_layout_plan(&lay, &g->elf, &g->notes, &req, &err), rc);
    assert_string_equal(err.what, what);
}

static void names_what_is_wrong(void **state)
{
    struct guest g;

    guest_open(&g, kernel_notes_stock_count);
    plan_error(&g, 100, 0, -XEN_ENOMEM, "domain has too little memory, pages needed");
    plan_error(&g, 20000, 80 << 20, -XEN_ENOMEM, "domain has too little memory, pages needed");
    plan_error(&g, 1ull << 40, 0, -XEN_EINVAL, "domain or initrd is too large");
    g.notes.init_p2m = 0xffff800000000000;
    plan_error(&g, 20000, 0, -XEN_EINVAL, "INIT_P2M note names an unusable address");
    g.notes.init_p2m = 0x800000000000;
    plan_error(&g, 20000, 0, -XEN_EINVAL, "INIT_P2M note names an unusable address");
    g.notes.init_p2m = KERNEL_VIRT_BASE;
    plan_error(&g, 20000, 0, -XEN_EINVAL, "INIT_P2M note names an unusable address");
    g.notes.kernel_start += 8;
    plan_error(&g, 20000, 0, -XEN_EINVAL, "kernel does not start at a page boundary");
    g.notes.kernel_start -= 8;
    g.notes.virt_base += 4096;
    plan_error(&g, 20000, 0, -XEN_EINVAL, "kernel's VIRT_BASE is not aligned to 4 MiB");
    g.notes.virt_base = 0xffff800000000000;
    g.notes.kernel_start = g.notes.virt_base + KERNEL_PADDR;
    g.notes.kernel_end = g.notes.kernel_start + 0x5000;
    plan_error(&g, 20000, 0, -XEN_EINVAL, "kernel's address range is not usable");
    g.notes.virt_base = 0xffffffffff000000;
    g.notes.kernel_start = g.notes.virt_base + 0x800000;
    g.notes.kernel_end = g.notes.kernel_start + 0x5000;
    g.notes.mod_start_pfn = false;
    plan_error(&g, 20000, 8 << 20, -XEN_EINVAL,
               "initial mapping overlaps the hypervisor or is not canonical");
    g.elf.is64 = false;
    plan_error(&g, 20000, 0, -XEN_EOPNOTSUPP, "32-bit PV kernels are not supported");
    guest_close(&g);
}

static void failing_callbacks(void **state)
{
    struct guest g;
    struct pv_layout_ops ops;
    struct builder_error err;
    struct start_info si;
    char *longest = malloc(2000);
    const struct pv_layout_boot boot = {.cmdline = longest};

    memset(longest, 'x', 1999);
    longest[1999] = '\0';
    guest_open(&g, kernel_notes_stock_count);
    guest_plan(&g, 20000, 0, false);
    ops = ops_of(&g);
    g.refuse_pfn = g.lay.tables.pfn + 1;
    assert_int_equal(pv_layout_write_tables(&g.lay, &ops, &err), -XEN_ENOMEM);
    assert_int_equal(err.where, g.refuse_pfn);
    g.refuse_pfn = g.lay.p2m.pfn;
    assert_int_equal(pv_layout_write_p2m(&g.lay, &ops, &err), -XEN_ENOMEM);
    assert_int_equal(pv_layout_start_info(&g.lay, &ops, &boot, &si, &err), -XEN_E2BIG);
    assert_string_equal(err.what, "kernel command line is too long, bytes");
    free(longest);
    guest_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stock_guest),       cmocka_unit_test(control_domain),
        cmocka_unit_test(everything_inside), cmocka_unit_test(names_what_is_wrong),
        cmocka_unit_test(failing_callbacks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
