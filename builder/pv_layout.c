// SPDX-License-Identifier: BSD-2-Clause
#define __XEN_TOOLS__ 1 /* the public headers' view for whoever builds domains */
#include "pv_layout.h"

#include <xen/xen.h>

enum {
    PV_PTE_PRESENT = 1 << 0,
    PV_PTE_WRITE = 1 << 1,
    PV_PTE_USER = 1 << 2,
    PV_PTE_ACCESSED = 1 << 5,
    PV_PTE_DIRTY = 1 << 6,
    PV_PTE_TABLE = PV_PTE_PRESENT | PV_PTE_WRITE | PV_PTE_USER | PV_PTE_ACCESSED,
    PV_PTE_READ_ONLY = PV_PTE_PRESENT | PV_PTE_USER | PV_PTE_ACCESSED,
    PV_PTE_DATA = PV_PTE_READ_ONLY | PV_PTE_WRITE | PV_PTE_DIRTY,
    PV_TABLE_ENTRIES = 512,
};

#define PV_REGION_ALIGN (4ull << 20)
#define PV_PADDING      (512ull << 10)
#define PV_ROUND_MAX    8 /* rounds until the size of the tables agrees with what they map */

/* Bits of a virtual address below the index into a table of `level`. */
static unsigned pv_shift(unsigned level)
{
    return BUILDER_PAGE_SHIFT + 9 * (level - 1);
}

/* Tables of `level` that cover [start, end), end exclusive and above start. */
static uint64_t pv_tables_for(uint64_t start, uint64_t end, unsigned level)
{
    unsigned shift = level < 4 ? pv_shift(level + 1) : 48;

    return ((end - 1) >> shift) - (start >> shift) + 1;
}

static bool pv_canonical(uint64_t va)
{
    return va < 1ull << 47 || va >= UINT64_MAX << 47;
}

/* [start, end) is usable by a guest: canonical, on one side, and not the hypervisor's. */
static bool pv_range_ok(uint64_t start, uint64_t end)
{
    return start < end && pv_canonical(start) && pv_canonical(end - 1) &&
           (start >> 63) == ((end - 1) >> 63) &&
           (end <= HYPERVISOR_VIRT_START || start >= HYPERVISOR_VIRT_END);
}

/* Places an area at the end of the region being laid out and moves the end. */
static void pv_place(struct pv_layout *lay, struct pv_layout_area *area, uint64_t pages,
                     uint64_t *va)
{
    *area = (struct pv_layout_area){0};
    if (pages) {
        area->va = *va;
        area->pfn = (*va - lay->v_start) >> BUILDER_PAGE_SHIFT;
        area->pages = pages;
        *va += pages << BUILDER_PAGE_SHIFT;
    }
}

/* The same behind the region, in pseudo-physical memory alone. */
static void pv_place_outside(struct pv_layout_area *area, uint64_t pages, uint64_t va,
                             uint64_t *pfn)
{
    *area = (struct pv_layout_area){0};
    if (pages) {
        *area = (struct pv_layout_area){.va = va, .pfn = *pfn, .pages = pages};
        *pfn += pages;
    }
}

static uint64_t pv_count_tables(const struct pv_layout *lay, unsigned count[5])
{
    uint64_t total = 0;

    for (unsigned level = 4; level >= 1; level--) {
        count[level] = (unsigned)pv_tables_for(lay->v_start, lay->v_end, level);
        total += count[level];
    }
    return total;
}

/* Tables, stack and padding: their number depends on the end of the region, which depends on it.
 * Both only grow, so a few rounds settle it. */
static int pv_plan_tables(struct pv_layout *lay, uint64_t va, struct builder_error *err)
{
    uint64_t pages = 0;

    for (unsigned round = 0; round < PV_ROUND_MAX; round++) {
        uint64_t at = va;

        pv_place(lay, &lay->tables, pages, &at);
        pv_place(lay, &lay->stack, 1, &at);
        lay->v_end = (at + PV_PADDING + PV_REGION_ALIGN - 1) & ~(PV_REGION_ALIGN - 1);
        if (lay->v_end == 0) {
            /* The region would reach the top of the address space. */
            return builder_fail(err, XEN_EINVAL, "initial mapping wraps around", va);
        }
        if (!pv_range_ok(lay->v_start, lay->v_end)) {
            return builder_fail(err, XEN_EINVAL,
                                "initial mapping overlaps the hypervisor or is not canonical",
                                lay->v_start);
        }
        if (pv_count_tables(lay, lay->table_count) == pages) {
            lay->stack_top = lay->stack.va + BUILDER_PAGE_SIZE;
            return 0;
        }
        pages = pv_count_tables(lay, lay->table_count);
    }
    return builder_fail(err, XEN_EINVAL, "initial mapping has no stable size", va);
}

/* What lies outside the initial mapping: the p2m list with its tables, then the initrd. */
static int pv_plan_outside(struct pv_layout *lay, const struct notes *notes, uint64_t p2m_pages,
                           uint64_t initrd_pages, struct builder_error *err)
{
    uint64_t pfn = (lay->v_end - lay->v_start) >> BUILDER_PAGE_SHIFT;

    if (notes->init_p2m != NOTES_UNSET) {
        uint64_t start = notes->init_p2m, end = start + (p2m_pages << BUILDER_PAGE_SHIFT);
        uint64_t tables = 0;

        if ((start & (BUILDER_PAGE_SIZE - 1)) || !pv_range_ok(start, end) ||
            (start >> 39) == (lay->v_start >> 39) || ((end - 1) >> 39) == (lay->v_start >> 39)) {
            return builder_fail(err, XEN_EINVAL, "INIT_P2M note names an unusable address", start);
        }
        for (unsigned level = 3; level >= 1; level--) {
            lay->p2m_table_count[level] = (unsigned)pv_tables_for(start, end, level);
            tables += lay->p2m_table_count[level];
        }
        pv_place_outside(&lay->p2m, p2m_pages, start, &pfn);
        pv_place_outside(&lay->p2m_tables, tables, 0, &pfn);
    }
    if (notes->mod_start_pfn) {
        pv_place_outside(&lay->initrd, initrd_pages, 0, &pfn);
        lay->initrd_by_pfn = initrd_pages != 0;
    }
    lay->used_pages = pfn;
    if (pfn > lay->nr_pages) {
        return builder_fail(err, XEN_ENOMEM, "domain has too little memory, pages needed", pfn);
    }
    return 0;
}

static int pv_plan_check(const struct elf_image *elf, const struct notes *notes,
                         const struct pv_layout_request *req, struct builder_error *err)
{
    if (!elf->is64) {
        return builder_fail(err, XEN_EOPNOTSUPP, "32-bit PV kernels are not supported",
                            BUILDER_NOWHERE);
    }
    if (req->nr_pages > 1ull << 36 || req->initrd_bytes > 1ull << 40) {
        return builder_fail(err, XEN_EINVAL, "domain or initrd is too large", req->nr_pages);
    }
    if (notes->virt_base & (PV_REGION_ALIGN - 1)) {
        return builder_fail(err, XEN_EINVAL, "kernel's VIRT_BASE is not aligned to 4 MiB",
                            notes->virt_base);
    }
    if (notes->kernel_start & (BUILDER_PAGE_SIZE - 1)) {
        /* elf_load() counts from the image's first byte, areas are whole pages. */
        return builder_fail(err, XEN_EINVAL, "kernel does not start at a page boundary",
                            notes->kernel_start);
    }
    if (!pv_range_ok(notes->virt_base, notes->kernel_end)) {
        return builder_fail(err, XEN_EINVAL, "kernel's address range is not usable",
                            notes->virt_base);
    }
    if (builder_pages(notes->kernel_end - notes->virt_base) > req->nr_pages) {
        return builder_fail(err, XEN_ENOMEM, "domain has too little memory, pages needed",
                            builder_pages(notes->kernel_end - notes->virt_base));
    }
    return 0;
}

int pv_layout_plan(struct pv_layout *lay, const struct elf_image *elf, const struct notes *notes,
                   const struct pv_layout_request *req, struct builder_error *err)
{
    uint64_t initrd_pages = builder_pages(req->initrd_bytes);
    uint64_t p2m_pages = builder_pages(req->nr_pages * sizeof(uint64_t));
    uint64_t va = notes->kernel_start;
    int rc = pv_plan_check(elf, notes, req, err);

    if (rc) {
        return rc;
    }
    *lay = (struct pv_layout){
        .v_start = notes->virt_base,
        .nr_pages = req->nr_pages,
        .initrd_bytes = req->initrd_bytes,
        .entry = notes->entry,
        .hypercall_va = notes->hypercall_page,
        .hypercall_pfn = NOTES_UNSET,
    };
    pv_place(lay, &lay->kernel, builder_pages(notes->kernel_end - va), &va);
    pv_place(lay, &lay->initrd, notes->mod_start_pfn ? 0 : initrd_pages, &va);
    pv_place(lay, &lay->p2m, notes->init_p2m != NOTES_UNSET ? 0 : p2m_pages, &va);
    pv_place(lay, &lay->start_info, 1, &va);
    pv_place(lay, &lay->xenstore, req->control_domain ? 0 : 1, &va);
    pv_place(lay, &lay->console, req->control_domain ? 0 : 1, &va);
    if (lay->hypercall_va != NOTES_UNSET) {
        lay->hypercall_pfn = (lay->hypercall_va - lay->v_start) >> BUILDER_PAGE_SHIFT;
    }
    rc = pv_plan_tables(lay, va, err);
    return rc ? rc : pv_plan_outside(lay, notes, p2m_pages, initrd_pages, err);
}

static unsigned pv_level_in(const struct pv_layout_area *area, const unsigned count[5],
                            uint64_t pfn)
{
    uint64_t at = pfn - area->pfn;

    if (pfn < area->pfn || at >= area->pages) {
        return 0;
    }
    for (unsigned level = 4; level >= 1; level--) {
        if (at < count[level]) {
            return level;
        }
        at -= count[level];
    }
    return 0;
}

unsigned pv_layout_table_level(const struct pv_layout *lay, uint64_t pfn)
{
    unsigned level = pv_level_in(&lay->tables, lay->table_count, pfn);

    return level ? level : pv_level_in(&lay->p2m_tables, lay->p2m_table_count, pfn);
}

static int pv_map_fail(struct builder_error *err, uint64_t pfn)
{
    return builder_fail(err, XEN_ENOMEM, "cannot map a page of the domain, pfn", pfn);
}

static int pv_clear(const struct pv_layout_area *area, const struct pv_layout_ops *ops,
                    struct builder_error *err)
{
    for (uint64_t i = 0; i < area->pages; i++) {
        void *page = ops->map(ops->ctx, area->pfn + i);

        if (!page) {
            return pv_map_fail(err, area->pfn + i);
        }
        __builtin_memset(page, 0, BUILDER_PAGE_SIZE);
        ops->unmap(ops->ctx, area->pfn + i, page);
    }
    return 0;
}

/* A run of tables of one level that maps [start, end) to consecutive pfns: level 1 to the data,
 * the others to the tables one level down. */
struct pv_run {
    uint64_t start, end;
    uint64_t table_pfn;  /* first table of the run */
    uint64_t target_pfn; /* what the entry for `start` points to */
    unsigned level;
};

static uint64_t pv_entry(const struct pv_layout *lay, const struct pv_layout_ops *ops,
                         const struct pv_run *run, uint64_t pfn)
{
    uint64_t flags = PV_PTE_TABLE;

    if (run->level == 1) {
        flags = pv_layout_table_level(lay, pfn) ? PV_PTE_READ_ONLY : PV_PTE_DATA;
    }
    return ops->mfn(ops->ctx, pfn) << BUILDER_PAGE_SHIFT | flags;
}

static int pv_write_run(const struct pv_layout *lay, const struct pv_layout_ops *ops,
                        const struct pv_run *run, struct builder_error *err)
{
    unsigned shift = pv_shift(run->level);
    uint64_t first = run->start >> shift, last = (run->end - 1) >> shift;
    uint64_t table_pfn = run->table_pfn, pfn = run->target_pfn;

    while (first <= last) {
        uint64_t *table = ops->map(ops->ctx, table_pfn);

        if (!table) {
            return pv_map_fail(err, table_pfn);
        }
        do {
            table[first % PV_TABLE_ENTRIES] = pv_entry(lay, ops, run, pfn++);
            first++;
        } while (first <= last && first % PV_TABLE_ENTRIES);
        ops->unmap(ops->ctx, table_pfn++, table);
    }
    return 0;
}

/* All levels from `top` down over one virtual range. Tables lie top level first from `pfn`; the
 * root may lie elsewhere. */
static int pv_write_range(const struct pv_layout *lay, const struct pv_layout_ops *ops,
                          const struct pv_layout_area *data, const unsigned count[5],
                          uint64_t tables_pfn, struct builder_error *err)
{
    struct pv_run run = {
        .start = data->va,
        .end = data->va + (data->pages << BUILDER_PAGE_SHIFT),
        .table_pfn = lay->tables.pfn,
        .target_pfn = tables_pfn,
        .level = 4,
    };

    for (;;) {
        int rc;

        if (run.level == 1) {
            run.target_pfn = data->pfn;
        }
        rc = pv_write_run(lay, ops, &run, err);
        if (rc || run.level == 1) {
            return rc;
        }
        run.level--;
        run.table_pfn = run.target_pfn;
        run.target_pfn += count[run.level];
    }
}

int pv_layout_write_tables(const struct pv_layout *lay, const struct pv_layout_ops *ops,
                           struct builder_error *err)
{
    struct pv_layout_area region = {
        .va = lay->v_start,
        .pages = (lay->v_end - lay->v_start) >> BUILDER_PAGE_SHIFT,
    };
    int rc = pv_clear(&lay->tables, ops, err);

    if (!rc) {
        rc = pv_clear(&lay->p2m_tables, ops, err);
    }
    if (!rc) {
        rc = pv_write_range(lay, ops, &region, lay->table_count,
                            lay->tables.pfn + lay->table_count[4], err);
    }
    if (!rc && lay->p2m_tables.pages) {
        rc = pv_write_range(lay, ops, &lay->p2m, lay->p2m_table_count, lay->p2m_tables.pfn, err);
    }
    return rc;
}

int pv_layout_write_p2m(const struct pv_layout *lay, const struct pv_layout_ops *ops,
                        struct builder_error *err)
{
    uint64_t pfn = 0;

    for (uint64_t i = 0; i < lay->p2m.pages; i++) {
        uint64_t *list = ops->map(ops->ctx, lay->p2m.pfn + i);

        if (!list) {
            return pv_map_fail(err, lay->p2m.pfn + i);
        }
        for (unsigned e = 0; e < PV_TABLE_ENTRIES; e++, pfn++) {
            list[e] = pfn < lay->nr_pages ? ops->mfn(ops->ctx, pfn) : UINT64_MAX;
        }
        ops->unmap(ops->ctx, lay->p2m.pfn + i, list);
    }
    return 0;
}

int pv_layout_start_info(const struct pv_layout *lay, const struct pv_layout_ops *ops,
                         const struct pv_layout_boot *boot, struct start_info *si,
                         struct builder_error *err)
{
    size_t cmdline_len = boot->cmdline ? __builtin_strlen(boot->cmdline) : 0;

    if (cmdline_len >= MAX_GUEST_CMDLINE) {
        return builder_fail(err, XEN_E2BIG, "kernel command line is too long, bytes", cmdline_len);
    }
    __builtin_memset(si, 0, sizeof(*si));
    __builtin_memcpy(si->magic, "xen-3.0-x86_64", sizeof("xen-3.0-x86_64"));
    si->nr_pages = lay->nr_pages;
    si->shared_info = boot->shared_info_maddr;
    si->flags = boot->flags | (lay->initrd_by_pfn ? SIF_MOD_START_PFN : 0);
    if (lay->xenstore.pages) {
        si->store_mfn = ops->mfn(ops->ctx, lay->xenstore.pfn);
        si->store_evtchn = boot->store_evtchn;
    }
    if (lay->console.pages) {
        si->console.domU.mfn = ops->mfn(ops->ctx, lay->console.pfn);
        si->console.domU.evtchn = boot->console_evtchn;
    } else {
        si->console.dom0.info_off = boot->vga_info_off;
        si->console.dom0.info_size = boot->vga_info_size;
    }
    si->pt_base = lay->tables.va;
    si->nr_pt_frames = lay->tables.pages;
    si->mfn_list = lay->p2m.va;
    si->mod_start = lay->initrd_by_pfn ? lay->initrd.pfn : lay->initrd.va;
    si->mod_len = lay->initrd_bytes;
    if (cmdline_len) {
        __builtin_memcpy(si->cmd_line, boot->cmdline, cmdline_len);
    }
    if (lay->p2m_tables.pages) {
        si->first_p2m_pfn = lay->p2m.pfn;
        si->nr_p2m_frames = lay->p2m.pages + lay->p2m_tables.pages;
    }
    return 0;
}
