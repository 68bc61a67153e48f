// SPDX-License-Identifier: BSD-2-Clause
/* ELF headers, sections, notes, loading and the layout that follows from them. */
#include "fuzz.h"

#include "builder/elf.h"
#include "builder/notes.h"
#include "builder/pv_layout.h"

#define PAGES 9000 /* of the pretended domain */

static uint8_t page[4096];

static uint64_t fuzz_mfn(void *ctx, uint64_t pfn)
{
    FUZZ_ASSERT(pfn < PAGES);
    return pfn + 0x1000;
}

static void *fuzz_map(void *ctx, uint64_t pfn)
{
    FUZZ_ASSERT(pfn < PAGES);
    return page;
}

static void fuzz_unmap(void *ctx, uint64_t pfn, void *p)
{
    FUZZ_ASSERT(p == page);
}

static void fuzz_layout(const struct elf_image *elf, const struct notes *notes, uint64_t initrd)
{
    const struct pv_layout_ops ops = {NULL, fuzz_mfn, fuzz_map, fuzz_unmap};
    const struct pv_layout_request req = {PAGES, initrd, initrd & 1};
    struct builder_error err = {0};
    struct pv_layout lay;

    if (pv_layout_plan(&lay, elf, notes, &req, &err) != 0) {
        FUZZ_ASSERT(err.what);
        return;
    }
    FUZZ_ASSERT(lay.used_pages <= PAGES);
    FUZZ_ASSERT(lay.kernel.pfn + lay.kernel.pages <= lay.start_info.pfn);
    FUZZ_ASSERT(lay.kernel.pages * 4096 >= elf_span(elf));
    FUZZ_ASSERT(pv_layout_write_tables(&lay, &ops, &err) == 0);
    FUZZ_ASSERT(pv_layout_write_p2m(&lay, &ops, &err) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct builder_blob blob = {data, size};
    struct builder_error err = {0};
    struct elf_section s, t;
    struct elf_image elf;
    struct notes notes;

    if (elf_open(&elf, blob, &err) != 0) {
        FUZZ_ASSERT(err.what);
        return 0;
    }
    elf_section_find(&elf, "none", &s);
    elf_symbols(&elf, &s, &t);
    if (elf_span(&elf) < 1 << 20) {
        void *mem = malloc(elf_span(&elf));

        FUZZ_ASSERT(elf_load_flat(&elf, mem, elf_span(&elf), &err) == 0);
        free(mem);
    }
    if (notes_read(&elf, &notes, &err) != 0) {
        FUZZ_ASSERT(err.what);
        return 0;
    }
    if (notes_check_pv(&elf, &notes, ~0u, &err) == 0) {
        fuzz_layout(&elf, &notes, size * 1000);
    }
    notes_check_pvh(&elf, &notes, &err);
    return 0;
}
