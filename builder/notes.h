// SPDX-License-Identifier: BSD-2-Clause
/*
 * What a kernel says about itself to a Xen-compatible hypervisor: the ELF notes of
 * xen/elfnote.h, or the older text in a section named __xen_guest.
 */
#pragma once

#include "builder.h"
#include "elf.h"

#define NOTES_UNSET      UINT64_MAX
#define NOTES_STRING_MAX 32

enum notes_pae {
    NOTES_PAE_NO,
    NOTES_PAE_YES,
    NOTES_PAE_EXTENDED_CR3, /* page directories may lie above 4 GiB */
    NOTES_PAE_BIMODAL,
};

struct notes {
    bool legacy; /* came from __xen_guest text */
    char guest_os[NOTES_STRING_MAX];
    char guest_version[NOTES_STRING_MAX];
    char xen_version[NOTES_STRING_MAX];
    char loader[NOTES_STRING_MAX];
    enum notes_pae pae;
    bool bsd_symtab;
    bool suspend_cancel;
    bool mod_start_pfn;      /* start_info may give the initrd as a frame number, unmapped */
    uint64_t entry;          /* virtual; the ELF entry point when the note is absent */
    uint64_t hypercall_page; /* virtual; NOTES_UNSET: none */
    uint64_t virt_base;      /* virtual address of pseudo-physical page 0 */
    uint64_t paddr_offset;   /* subtract from p_paddr to get the pseudo-physical address */
    uint64_t init_p2m;       /* virtual; NOTES_UNSET: p2m list goes into the initial mapping */
    uint64_t hv_start_low;   /* NOTES_UNSET: none */
    uint64_t l1_mfn_mask, l1_mfn_value; /* both 0 when absent */
    uint64_t phys32_entry; /* physical, PVH entry; NOTES_UNSET: kernel cannot run as PVH */
    uint32_t supported;    /* bit per XENFEAT_* of submap 0 */
    uint32_t required;     /* the features marked '!' */

    /* Derived, all checked for overflow and for the width of the kernel: */
    uint64_t kernel_start; /* virtual range of the loaded image, from p_paddr */
    uint64_t kernel_end;
};

/*
 * Reads the notes (PT_NOTE segments, then SHT_NOTE sections, then __xen_guest) and derives the
 * kernel's virtual range. Errors: -ENOENT "kernel has no Xen notes"; -EINVAL with what is wrong.
 * Does not judge fitness: see notes_check_pv() and notes_check_pvh().
 */
int notes_read(const struct elf_image *elf, struct notes *notes, struct builder_error *err);

/* Is this a kernel that can start as a PV guest (generic loader, entry, ranges, required features
 * all in `offered`, a bit per XENFEAT_*)? */
int notes_check_pv(const struct elf_image *elf, const struct notes *notes, uint32_t offered,
                   struct builder_error *err);

/* Is this a kernel that can start as a PVH guest? */
int notes_check_pvh(const struct elf_image *elf, const struct notes *notes,
                    struct builder_error *err);
