// SPDX-License-Identifier: BSD-2-Clause
#include "unit.h"

#include <elf.h>

#include "builder/elf.h"
#include "kernel_image.h"

static struct builder_blob blob_of(const struct kernel_image *k)
{
    return (struct builder_blob){k->data, k->len};
}

static int open_error(const struct kernel_image *k, const char *expected)
{
    struct elf_image elf;
    struct builder_error err = {0};
    int rc = elf_open(&elf, blob_of(k), &err);

    assert_int_not_equal(rc, 0);
    assert_string_equal(err.what, expected);
    return rc;
}

static void opens_a_kernel(void **state)
{
    struct kernel_image k = kernel_image_make(kernel_notes_stock, kernel_notes_stock_count, NULL);
    struct builder_error err;
    struct elf_image elf;

    assert_int_equal(elf_open(&elf, blob_of(&k), &err), 0);
    assert_true(elf.is64);
    assert_int_equal(elf.nr_segments, 2);
    assert_int_equal(elf.pstart, KERNEL_PADDR);
    assert_int_equal(elf_span(&elf), KERNEL_TEXT + KERNEL_BSS);
    assert_int_equal(elf.vstart, KERNEL_VIRT_BASE + KERNEL_PADDR);
    free(k.data);
}

static void loads_and_clears(void **state)
{
    struct kernel_image k = kernel_image_make(NULL, 0, NULL);
    uint8_t *mem = malloc(KERNEL_TEXT + KERNEL_BSS);
    struct builder_error err;
    struct elf_image elf;

    memset(mem, 0xaa, KERNEL_TEXT + KERNEL_BSS);
    assert_int_equal(elf_open(&elf, blob_of(&k), &err), 0);
    assert_int_equal(elf_load_flat(&elf, mem, KERNEL_TEXT + KERNEL_BSS - 1, &err), -XEN_ENOSPC);
    assert_int_equal(elf_load_flat(&elf, mem, KERNEL_TEXT + KERNEL_BSS, &err), 0);
    assert_memory_equal(mem, k.data + k.text_at, KERNEL_TEXT);
    for (unsigned i = 0; i < KERNEL_BSS; i++) {
        assert_int_equal(mem[KERNEL_TEXT + i], 0);
    }
    free(mem);
    free(k.data);
}

static int refuse(void *ctx, uint64_t at, const void *src, size_t len)
{
    return -XEN_EFAULT;
}

static void passes_on_sink_errors(void **state)
{
    struct kernel_image k = kernel_image_make(NULL, 0, NULL);
    const struct elf_sink sink = {.copy = refuse};
    struct builder_error err;
    struct elf_image elf;

    assert_int_equal(elf_open(&elf, blob_of(&k), &err), 0);
    assert_int_equal(elf_load(&elf, &sink, &err), -XEN_EFAULT);
    free(k.data);
}

static void names_what_is_wrong(void **state)
{
    struct kernel_image k = kernel_image_make(NULL, 0, NULL);
    Elf64_Ehdr *eh = (Elf64_Ehdr *)k.data, eh_good = *eh;
    Elf64_Phdr *ph = (Elf64_Phdr *)(k.data + sizeof(*eh)), ph_good = *ph;

    k.data[0] = 0;
    assert_int_equal(open_error(&k, "kernel is not an ELF image"), -XEN_ENOEXEC);
    *eh = eh_good;
    eh->e_machine = EM_AARCH64;
    assert_int_equal(open_error(&k, "ELF image is not for x86"), -XEN_ENOEXEC);
    *eh = eh_good;
    eh->e_type = ET_REL;
    open_error(&k, "ELF image is not an executable");
    *eh = eh_good;
    eh->e_phnum = 0;
    open_error(&k, "ELF image has no program headers");
    eh->e_phnum = 65535;
    open_error(&k, "ELF image has too many program headers");
    *eh = eh_good;
    eh->e_phoff = UINT64_MAX - 8;
    open_error(&k, "ELF program headers lie outside the file");
    *eh = eh_good;
    ph->p_offset = UINT64_MAX - 0x100;
    open_error(&k, "ELF segment lies outside the file (truncated?)");
    *ph = ph_good;
    ph->p_memsz = 1;
    open_error(&k, "ELF segment is smaller than its contents");
    *ph = ph_good;
    ph->p_paddr = UINT64_MAX - 0x100;
    open_error(&k, "ELF segment wraps around the address space");
    *ph = ph_good;
    ph->p_memsz = 1ull << 41;
    ph->p_vaddr = 0;
    open_error(&k, "ELF segments are too far apart");
    *ph = ph_good;
    ph->p_type = PT_NULL;
    open_error(&k, "ELF image has nothing to load");
    free(k.data);
}

static void every_truncation_fails_cleanly(void **state)
{
    struct kernel_image k = kernel_image_make(kernel_notes_stock, kernel_notes_stock_count, NULL);
    size_t needed = k.notes_at + k.notes_len;

    for (size_t len = 0; len < needed; len++) {
        uint8_t *copy = malloc(len + 1); /* exact size for the sanitizer, but never zero */
        struct builder_error err = {0};
        struct elf_image elf;

        memcpy(copy, k.data, len);
        assert_int_not_equal(elf_open(&elf, (struct builder_blob){copy, len}, &err), 0);
        assert_non_null(err.what);
        free(copy);
    }
    free(k.data);
}

static void finds_sections(void **state)
{
    struct kernel_image k = kernel_image_make(NULL, 0, "LOADER=generic");
    struct elf_section s, strtab;
    struct builder_error err;
    struct elf_image elf;

    assert_int_equal(elf_open(&elf, blob_of(&k), &err), 0);
    assert_true(elf_section_find(&elf, "__xen_guest", &s));
    assert_int_equal(s.size, 15);
    assert_false(elf_section_find(&elf, "none", &s));
    assert_false(elf_symbols(&elf, &s, &strtab));
    free(k.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_a_kernel),
        cmocka_unit_test(loads_and_clears),
        cmocka_unit_test(passes_on_sink_errors),
        cmocka_unit_test(names_what_is_wrong),
        cmocka_unit_test(every_truncation_fails_cleanly),
        cmocka_unit_test(finds_sections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
