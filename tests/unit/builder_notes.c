// SPDX-License-Identifier: BSD-2-Clause
#include "unit.h"

#include <xen/elfnote.h>
#include <xen/features.h>

#include "builder/notes.h"
#include "kernel_image.h"

static int read_notes(struct kernel_image *k, struct elf_image *elf, struct notes *n,
                      struct builder_error *err)
{
    int rc = elf_open(elf, (struct builder_blob){k->data, k->len}, err);

    return rc ? rc : notes_read(elf, n, err);
}

static void reads_stock_notes(void **state)
{
    struct kernel_image k = kernel_image_make(kernel_notes_stock, kernel_notes_stock_count, NULL);
    struct builder_error err;
    struct elf_image elf;
    struct notes n;

    assert_int_equal(read_notes(&k, &elf, &n, &err), 0);
    assert_false(n.legacy);
    assert_string_equal(n.guest_os, "linux");
    assert_string_equal(n.loader, "generic");
    assert_int_equal(n.entry, KERNEL_ENTRY);
    assert_int_equal(n.virt_base, KERNEL_VIRT_BASE);
    assert_int_equal(n.paddr_offset, 0);
    assert_int_equal(n.init_p2m, 0x8000000000);
    assert_int_equal(n.hv_start_low, 0xffff800000000000);
    assert_int_equal(n.phys32_entry, KERNEL_PADDR + 0x200);
    assert_int_equal(n.pae, NOTES_PAE_YES);
    assert_true(n.mod_start_pfn && n.suspend_cancel);
    assert_int_equal(n.l1_mfn_mask, 1);
    assert_int_equal(n.required, 1u << XENFEAT_writable_page_tables);
    assert_int_equal(n.supported, 0x8801 | 1u << XENFEAT_pae_pgdir_above_4gb);
    assert_int_equal(n.kernel_start, KERNEL_VIRT_BASE + KERNEL_PADDR);
    assert_int_equal(n.kernel_end, n.kernel_start + KERNEL_TEXT + KERNEL_BSS);
    assert_int_equal(notes_check_pv(&elf, &n, n.required, &err), 0);
    assert_int_equal(notes_check_pvh(&elf, &n, &err), 0);
    free(k.data);
}

static void missing_feature_is_refused(void **state)
{
    struct kernel_image k = kernel_image_make(kernel_notes_stock, kernel_notes_stock_count, NULL);
    struct builder_error err;
    struct elf_image elf;
    struct notes n;

    assert_int_equal(read_notes(&k, &elf, &n, &err), 0);
    assert_int_equal(notes_check_pv(&elf, &n, 0, &err), -XEN_EINVAL);
    assert_string_equal(err.what, "kernel requires a feature that is not offered, bit");
    assert_int_equal(err.where, XENFEAT_writable_page_tables);
    free(k.data);
}

static void no_notes_is_named(void **state)
{
    struct kernel_image k = kernel_image_make(NULL, 0, NULL);
    struct builder_error err;
    struct elf_image elf;
    struct notes n;

    assert_int_equal(read_notes(&k, &elf, &n, &err), -XEN_ENOENT);
    assert_string_equal(err.what, "kernel has no Xen notes");
    free(k.data);
}

static void reads_the_older_text(void **state)
{
    struct kernel_image k = kernel_image_make(
        NULL, 0,
        "GUEST_OS=minix,GUEST_VER=3,XEN_VER=xen-3.0,VIRT_BASE=0xffffffff80000000,"
        "ELF_PADDR_OFFSET=0x0,VIRT_ENTRY=0xffffffff81000100,HYPERCALL_PAGE=0x1001,"
        "PAE=yes[extended-cr3],FEATURES=!pae_pgdir_above_4gb|unheard_of,LOADER=generic,BSD_SYMTAB");
    struct builder_error err;
    struct elf_image elf;
    struct notes n;

    assert_int_equal(read_notes(&k, &elf, &n, &err), 0);
    assert_true(n.legacy);
    assert_true(n.bsd_symtab);
    assert_string_equal(n.guest_os, "minix");
    assert_int_equal(n.entry, KERNEL_ENTRY);
    assert_int_equal(n.hypercall_page, KERNEL_VIRT_BASE + KERNEL_PADDR + 0x1000);
    assert_int_equal(n.pae, NOTES_PAE_EXTENDED_CR3);
    assert_int_equal(n.required, 1u << XENFEAT_pae_pgdir_above_4gb);
    assert_int_equal(n.init_p2m, NOTES_UNSET);
    assert_int_equal(notes_check_pvh(&elf, &n, &err), -XEN_EINVAL);
    free(k.data);
}

static void check_one(const struct kernel_note *note, const char *expected)
{
    static const uint64_t base = KERNEL_VIRT_BASE;
    const struct kernel_note notes[] = {
        {XEN_ELFNOTE_VIRT_BASE, &base, 8}, {XEN_ELFNOTE_LOADER, "generic", 8}, *note};
    struct kernel_image k = kernel_image_make(notes, 3, NULL);
    struct builder_error err = {"fine", 0};
    struct elf_image elf;
    struct notes n;
    int rc = read_notes(&k, &elf, &n, &err);

    if (!rc) {
        rc = notes_check_pv(&elf, &n, ~0u, &err);
    }
    assert_int_not_equal(rc, 0);
    assert_string_equal(err.what, expected);
    free(k.data);
}

static void names_what_is_wrong(void **state)
{
    static const uint64_t entry = KERNEL_VIRT_BASE;
    static const uint64_t high = ~0ull - 0x1000, offset = KERNEL_PADDR + 1;
    const struct {
        struct kernel_note note;
        const char *text;
    } cases[] = {
        {{XEN_ELFNOTE_ENTRY, &entry, 8}, "kernel's entry point lies outside its image"},
        {{XEN_ELFNOTE_ENTRY, &entry, 3}, "Xen note has a wrong size"},
        {{XEN_ELFNOTE_L1_MFN_VALID, &entry, 8}, "Xen note has a wrong size"},
        {{XEN_ELFNOTE_LOADER, "other", 6}, "kernel asks for a loader other than \"generic\""},
        {{XEN_ELFNOTE_XEN_VERSION, "xen-4.0", 8}, "kernel is for another interface than xen-3.x"},
        {{XEN_ELFNOTE_FEATURES, "!unheard_of", 12}, "kernel requires an unknown feature"},
        {{XEN_ELFNOTE_VIRT_BASE, &high, 8}, "kernel wraps around the address space"},
        {{XEN_ELFNOTE_PADDR_OFFSET, &offset, 8}, "PADDR_OFFSET note is above the image"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        check_one(&cases[i].note, cases[i].text);
    }
}

static void damaged_note_area_is_named(void **state)
{
    struct kernel_image k = kernel_image_make(kernel_notes_stock, kernel_notes_stock_count, NULL);
    struct builder_error err;
    struct elf_image elf;
    struct notes n;

    memset(k.data + k.notes_at + 4, 0xff, 4); /* length of the first description */
    assert_int_equal(read_notes(&k, &elf, &n, &err), -XEN_EINVAL);
    assert_string_equal(err.what, "ELF note runs past its segment");
    assert_int_equal(err.where, k.notes_at);
    free(k.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_stock_notes),   cmocka_unit_test(missing_feature_is_refused),
        cmocka_unit_test(no_notes_is_named),   cmocka_unit_test(reads_the_older_text),
        cmocka_unit_test(names_what_is_wrong), cmocka_unit_test(damaged_note_area_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
