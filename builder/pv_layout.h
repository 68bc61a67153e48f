// SPDX-License-Identifier: BSD-2-Clause
/*
 * The memory of a PV guest at its first instruction, as the comment above struct start_info in
 * xen/xen.h lays it down:
 *
 *   virt_base = pfn 0                                                  4 MiB aligned
 *   | gap | kernel | initrd* | p2m* | start_info | xenstore | console | tables | stack | pad |
 *                                                                                    v_end ^
 *   then, in pseudo-physical memory only:   | p2m list, and its tables | initrd |
 *
 *   * in the region when the kernel has not said that it copes with them elsewhere
 *     (XEN_ELFNOTE_INIT_P2M, XEN_ELFNOTE_MOD_START_PFN)
 *
 * pv_layout_plan() computes it from numbers alone; the other functions write it through callbacks,
 * so that the hypervisor can write frames directly and the toolstack foreign mappings.
 * 64-bit guests (four levels).
 */
#pragma once

#include "builder.h"
#include "notes.h"

struct start_info;

struct pv_layout_area {
    uint64_t va;    /* 0 when it is not mapped (initrd given by frame number) */
    uint64_t pfn;   /* first pseudo-physical page */
    uint64_t pages; /* 0: absent */
};

struct pv_layout_request {
    uint64_t nr_pages;     /* of the domain: pfns [0, nr_pages) */
    uint64_t initrd_bytes; /* 0: none */
    bool control_domain;   /* no xenstore and console pages */
};

struct pv_layout {
    struct pv_layout_area kernel;
    struct pv_layout_area initrd;
    struct pv_layout_area p2m;
    struct pv_layout_area start_info;
    struct pv_layout_area xenstore;
    struct pv_layout_area console;
    struct pv_layout_area tables;     /* L4 first, then L3s, L2s, L1s */
    struct pv_layout_area stack;      /* one page */
    struct pv_layout_area p2m_tables; /* L3s, L2s, L1s of a p2m list outside; not mapped */
    uint64_t nr_pages;
    uint64_t v_start, v_end; /* the initial mapping: all of it is mapped to pfns from 0 */
    uint64_t entry;          /* RIP */
    uint64_t stack_top;      /* RSP */
    uint64_t initrd_bytes;
    uint64_t used_pages;                  /* pfns at and above hold nothing of the layout */
    uint64_t hypercall_va, hypercall_pfn; /* page to fill; NOTES_UNSET: kernel named none */
    unsigned table_count[5];              /* pages of tables by level [1..4] in `tables` */
    unsigned p2m_table_count[5];
    bool initrd_by_pfn;
};

/* Access to the guest's pages while it is being built. */
struct pv_layout_ops {
    void *ctx;
    /* The machine frame behind a pfn below nr_pages. Cannot fail. */
    uint64_t (*mfn)(void *ctx, uint64_t pfn);
    /* A writable mapping of one page, or NULL (the operation fails with -ENOMEM). At most six
     * pages are mapped at a time. */
    void *(*map)(void *ctx, uint64_t pfn);
    void (*unmap)(void *ctx, uint64_t pfn, void *page);
};

/*
 * Plans a 64-bit guest. -ENOMEM: nr_pages too small (err->where: pages needed); -EINVAL: the
 * kernel's addresses make no valid layout (e.g. inside the hypervisor's range); -EOPNOTSUPP: a
 * 32-bit kernel.
 */
int pv_layout_plan(struct pv_layout *lay, const struct elf_image *elf, const struct notes *notes,
                   const struct pv_layout_request *req, struct builder_error *err);

/*
 * The level (1..4) of the page table that pfn holds in the layout, 0 when it holds none. Table
 * pages are mapped read-only in the initial mapping.
 */
unsigned pv_layout_table_level(const struct pv_layout *lay, uint64_t pfn);

/* Writes all page tables (zeroing them first). The L4's upper half where the hypervisor lives is
 * left zero. Root: lay->tables.pfn. */
int pv_layout_write_tables(const struct pv_layout *lay, const struct pv_layout_ops *ops,
                           struct builder_error *err);

/* Writes the list of machine frames, entry i being mfn(i). */
int pv_layout_write_p2m(const struct pv_layout *lay, const struct pv_layout_ops *ops,
                        struct builder_error *err);

/* What pv_layout_start_info() cannot know itself. */
struct pv_layout_boot {
    uint64_t shared_info_maddr;
    uint32_t flags;      /* SIF_PRIVILEGED, SIF_INITDOMAIN, ...; SIF_MOD_START_PFN is added */
    const char *cmdline; /* NULL: empty. Too long: -E2BIG */
    uint32_t store_evtchn, console_evtchn; /* guests only; their mfns come from ops->mfn() */
    uint32_t vga_info_off, vga_info_size;  /* control domain only: struct dom0_vga_console_info */
};

/* Fills *si (zeroed first; bytes after the structure in its page are the caller's). */
int pv_layout_start_info(const struct pv_layout *lay, const struct pv_layout_ops *ops,
                         const struct pv_layout_boot *boot, struct start_info *si,
                         struct builder_error *err);
