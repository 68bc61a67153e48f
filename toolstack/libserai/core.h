// SPDX-License-Identifier: BSD-2-Clause
// The file that a dump of a guest is, as Xen's document "dump-core-format" describes it: an ELF
// core whose sections are
//
//   .note.Xen         what it is, made by which hypervisor
//   .xen_prstatus     the virtual CPUs' registers
//   .xen_shared_info  the page that guest and hypervisor share
//   .xen_p2m          for each page that follows: where the guest and the machine have it
//   .xen_pages        the pages
//
// Behind them are program headers and notes with registers: with these the file is a core for gdb
// as well, which sees the kernel's memory where the kernel saw it.
//
// They lie in this order, with room for as many vCPUs and pages as there can be, so that everything
// is written where it belongs as it comes; the header last. Room that stays unused is a hole.
#pragma once

#include "internal.h"

#include <xen/elfnote.h>
#include <xen/version.h>

struct core_p2m {
    uint64_t pfn, mfn;
};

// Where things go in the file; offsets in bytes.
struct core_layout {
    uint64_t notes, prstatus, shared_info, p2m, pages;
};

// What the notes tell of the hypervisor: all fields as XENVER_* give them.
struct core_version {
    uint64_t major, minor;
    xen_extraversion_t extra;
    struct xen_compile_info compile;
    xen_capabilities_info_t capabilities;
    xen_changeset_info_t changeset;
    xen_platform_parameters_t platform;
    uint64_t page_size;
};

// core_file.c
void core_layout(struct core_layout *l, unsigned max_vcpus, uint64_t max_pages);
// Writes header, section table and notes of a file that has so many vCPUs and pages. 0 or -errno.
// `view`: what core_write_view wrote.
struct core_view;
int core_write_head(int fd, const struct core_layout *l, const struct core_version *version,
                    unsigned vcpus, uint64_t pages, const struct core_view *view);
int core_write(int fd, const void *data, size_t len, uint64_t at);
// Writes whole pages, leaving holes where they are all zero.
int core_write_pages(int fd, const uint8_t *data, size_t pages, uint64_t at);

// core_view.c: where program headers are, and how many; 0: none.
struct core_view {
    uint64_t at;
    unsigned headers;
};
// Writes program headers and registers for gdb behind the pages, which the file must have already.
// Needs 16 bytes of memory for each of them. 0 or -errno.
int core_write_view(int fd, const struct core_layout *l, unsigned vcpus, uint64_t pages,
                    struct core_view *out);

// core_p2m.c: reads the list of its frames that a PV guest keeps. What it holds is the guest's
// word: a frame that it does not own is not to be had.
struct p2m_reader {
    struct serai *s;
    uint32_t domain;
    const xen_pfn_t *lists; // the page that names the pages that name the pages of the list
    const xen_pfn_t *list;  // one of those, the `list_index`th, NULL: none is mapped
    uint64_t list_index, max_pfn;
};
// `shared` is the domain's shared page. -EOPNOTSUPP when the guest has not told where its list is.
int p2m_open(struct p2m_reader *r, struct serai *s, uint32_t domain,
             const struct shared_info *shared, struct serai_error *err);
enum { P2M_STEP = XC_PAGE_SIZE / sizeof(xen_pfn_t) };
// The frames of the P2M_STEP pages from `first`, a multiple of it; returns how many are there.
unsigned p2m_read(struct p2m_reader *r, uint64_t first, struct core_p2m out[P2M_STEP]);
void p2m_close(struct p2m_reader *r);
