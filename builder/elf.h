// SPDX-License-Identifier: BSD-2-Clause
/*
 * ELF kernel images, 64-bit and 32-bit little endian x86, from untrusted memory.
 *
 * A struct elf_image only points into the blob it was opened on; the blob must outlive it.
 * "Physical" addresses are those of the program headers (p_paddr): a PV kernel is placed by them,
 * because its per-CPU segment has a virtual address near zero.
 */
#pragma once

#include "builder.h"

#define ELF_MAX_SEGMENTS 64

struct elf_segment {
    uint32_t type;  /* PT_* */
    uint32_t flags; /* PF_* */
    uint64_t offset;
    uint64_t vaddr;
    uint64_t paddr;
    uint64_t filesz; /* offset + filesz is inside the image, filesz <= memsz for PT_LOAD */
    uint64_t memsz;
};

struct elf_section {
    const char *name; /* terminated, inside the image; "" when there is none */
    uint32_t type;    /* SHT_* */
    uint32_t link;
    uint32_t info;
    uint64_t addr;
    uint64_t offset; /* offset + size is inside the image unless type is SHT_NOBITS */
    uint64_t size;
    uint64_t entsize;
};

struct elf_image {
    struct builder_blob blob;
    bool is64;
    uint64_t entry;
    unsigned nr_segments;
    struct elf_segment segment[ELF_MAX_SEGMENTS];
    uint64_t pstart, pend; /* physical range that all PT_LOAD segments cover */
    uint64_t vstart, vend; /* the same by p_vaddr; kernels may have a segment at 0 */
    uint64_t shoff;        /* section headers; nr_sections is 0 when absent or damaged */
    uint32_t nr_sections;
    uint32_t shentsize;
    uint32_t shstrndx;
};

/* Where elf_load() puts the image. `at` counts bytes from elf->pstart. */
struct elf_sink {
    void *ctx;
    int (*copy)(void *ctx, uint64_t at, const void *src, size_t len);
    int (*zero)(void *ctx, uint64_t at, size_t len);
};

/* Looks at the magic number only. */
bool elf_detect(struct builder_blob blob);

/*
 * Checks the headers of an x86 executable and fills *elf. -ENOEXEC: not such a file; -EINVAL:
 * damaged. At least one PT_LOAD segment exists and pend - pstart is below 2^40 afterwards.
 */
int elf_open(struct elf_image *elf, struct builder_blob blob, struct builder_error *err);

/* Bytes of memory the loaded image takes. */
static inline uint64_t elf_span(const struct elf_image *elf)
{
    return elf->pend - elf->pstart;
}

/* Copies every PT_LOAD segment, and zeroes what the file does not hold, gaps between not. Passes
 * on the first error of a callback. */
int elf_load(const struct elf_image *elf, const struct elf_sink *sink, struct builder_error *err);

/* The same into one buffer of `room` bytes that stands for [pstart, pend); gaps are zeroed too. */
int elf_load_flat(const struct elf_image *elf, void *dest, uint64_t room,
                  struct builder_error *err);

/* Section number `index` (below nr_sections). False: its header is damaged. */
bool elf_section(const struct elf_image *elf, uint32_t index, struct elf_section *out);

/* The first section with that name; false when there is none. */
bool elf_section_find(const struct elf_image *elf, const char *name, struct elf_section *out);

/* The symbol table and its string table, both inside the image; false when there is none. */
bool elf_symbols(const struct elf_image *elf, struct elf_section *symtab,
                 struct elf_section *strtab);
