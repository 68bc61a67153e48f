// SPDX-License-Identifier: BSD-2-Clause
#include "elf.h"

/* Layout constants of the System V ABI's ELF chapter. */
enum {
    ELF_CLASS32 = 1,
    ELF_CLASS64 = 2,
    ELF_DATA_LSB = 1,
    ELF_ET_EXEC = 2,
    ELF_ET_DYN = 3,
    ELF_EM_386 = 3,
    ELF_EM_X86_64 = 62,
    ELF_PT_LOAD = 1,
    ELF_SHT_SYMTAB = 2,
    ELF_SHT_STRTAB = 3,
    ELF_SHT_NOBITS = 8,
    ELF_SHDR32_BYTES = 40,
    ELF_SHDR64_BYTES = 64,
};

#define ELF_SPAN_MAX (1ull << 40)

/* Offsets of the fields of the file header that differ by class. */
struct elf_header_layout {
    uint8_t entry, phoff, shoff, phentsize, bytes, phdr_bytes, shdr_bytes;
};

static const struct elf_header_layout elf_layout32 = {24, 28, 32, 42, 52, 32, ELF_SHDR32_BYTES};
static const struct elf_header_layout elf_layout64 = {24, 32, 40, 54, 64, 56, ELF_SHDR64_BYTES};

static uint64_t elf_word(const struct elf_image *elf, const uint8_t *p)
{
    return elf->is64 ? builder_get64(p) : builder_get32(p);
}

bool elf_detect(struct builder_blob blob)
{
    return blob.len >= 4 && builder_get32(blob.data) == 0x464c457f;
}

static int elf_open_ident(struct elf_image *elf, struct builder_error *err)
{
    const uint8_t *h = elf->blob.data;

    if (!elf_detect(elf->blob)) {
        return builder_fail(err, XEN_ENOEXEC, "kernel is not an ELF image", 0);
    }
    if (elf->blob.len < elf_layout32.bytes) {
        return builder_fail(err, XEN_EINVAL, "ELF header is truncated", elf->blob.len);
    }
    elf->is64 = h[4] == ELF_CLASS64;
    if ((h[4] != ELF_CLASS32 && h[4] != ELF_CLASS64) || h[5] != ELF_DATA_LSB) {
        return builder_fail(err, XEN_ENOEXEC, "ELF image is of unknown class or byte order", 4);
    }
    if (elf->is64 && elf->blob.len < elf_layout64.bytes) {
        return builder_fail(err, XEN_EINVAL, "ELF header is truncated", elf->blob.len);
    }
    if (builder_get16(h + 18) != (elf->is64 ? ELF_EM_X86_64 : ELF_EM_386)) {
        return builder_fail(err, XEN_ENOEXEC, "ELF image is not for x86", 18);
    }
    if (builder_get16(h + 16) != ELF_ET_EXEC && builder_get16(h + 16) != ELF_ET_DYN) {
        return builder_fail(err, XEN_ENOEXEC, "ELF image is not an executable", 16);
    }
    return 0;
}

static void elf_read_segment(const struct elf_image *elf, const uint8_t *p, struct elf_segment *s)
{
    s->type = builder_get32(p);
    if (elf->is64) {
        s->flags = builder_get32(p + 4);
        s->offset = builder_get64(p + 8);
        s->vaddr = builder_get64(p + 16);
        s->paddr = builder_get64(p + 24);
        s->filesz = builder_get64(p + 32);
        s->memsz = builder_get64(p + 40);
    } else {
        s->offset = builder_get32(p + 4);
        s->vaddr = builder_get32(p + 8);
        s->paddr = builder_get32(p + 12);
        s->filesz = builder_get32(p + 16);
        s->memsz = builder_get32(p + 20);
        s->flags = builder_get32(p + 24);
    }
}

static int elf_check_segment(const struct elf_image *elf, const struct elf_segment *s, uint64_t at,
                             struct builder_error *err)
{
    if (!builder_blob_has(elf->blob, s->offset, s->filesz)) {
        return builder_fail(err, XEN_EINVAL, "ELF segment lies outside the file (truncated?)", at);
    }
    if (s->type != ELF_PT_LOAD) {
        return 0;
    }
    if (s->filesz > s->memsz) {
        return builder_fail(err, XEN_EINVAL, "ELF segment is smaller than its contents", at);
    }
    if (s->paddr + s->memsz < s->paddr || s->vaddr + s->memsz < s->vaddr) {
        return builder_fail(err, XEN_EINVAL, "ELF segment wraps around the address space", at);
    }
    return 0;
}

static int elf_open_segments(struct elf_image *elf, const struct elf_header_layout *lay,
                             struct builder_error *err)
{
    const uint8_t *h = elf->blob.data;
    uint64_t phoff = elf_word(elf, h + lay->phoff);
    unsigned phentsize = builder_get16(h + lay->phentsize);
    unsigned phnum = builder_get16(h + lay->phentsize + 2);

    if (phnum == 0) {
        return builder_fail(err, XEN_EINVAL, "ELF image has no program headers", phoff);
    }
    if (phnum > ELF_MAX_SEGMENTS) {
        return builder_fail(err, XEN_EINVAL, "ELF image has too many program headers", phnum);
    }
    if (phentsize < lay->phdr_bytes ||
        !builder_blob_has(elf->blob, phoff, (uint64_t)phnum * phentsize)) {
        return builder_fail(err, XEN_EINVAL, "ELF program headers lie outside the file", phoff);
    }
    for (unsigned i = 0; i < phnum; i++) {
        uint64_t at = phoff + (uint64_t)i * phentsize;
        int rc;

        elf_read_segment(elf, elf->blob.data + at, &elf->segment[i]);
        rc = elf_check_segment(elf, &elf->segment[i], at, err);
        if (rc) {
            return rc;
        }
    }
    elf->nr_segments = phnum;
    return 0;
}

static int elf_open_range(struct elf_image *elf, struct builder_error *err)
{
    elf->pstart = elf->vstart = UINT64_MAX;
    elf->pend = elf->vend = 0;
    for (unsigned i = 0; i < elf->nr_segments; i++) {
        const struct elf_segment *s = &elf->segment[i];

        if (s->type != ELF_PT_LOAD || s->memsz == 0) {
            continue;
        }
        elf->pstart = s->paddr < elf->pstart ? s->paddr : elf->pstart;
        elf->vstart = s->vaddr < elf->vstart ? s->vaddr : elf->vstart;
        elf->pend = s->paddr + s->memsz > elf->pend ? s->paddr + s->memsz : elf->pend;
        elf->vend = s->vaddr + s->memsz > elf->vend ? s->vaddr + s->memsz : elf->vend;
    }
    if (elf->pend == 0 || elf->pstart >= elf->pend) {
        return builder_fail(err, XEN_EINVAL, "ELF image has nothing to load", BUILDER_NOWHERE);
    }
    if (elf_span(elf) >= ELF_SPAN_MAX) {
        return builder_fail(err, XEN_EINVAL, "ELF segments are too far apart", elf_span(elf));
    }
    return 0;
}

/* Section headers are optional; a damaged table counts as none. */
static void elf_open_sections(struct elf_image *elf, const struct elf_header_layout *lay)
{
    const uint8_t *h = elf->blob.data;
    unsigned entsize = builder_get16(h + lay->phentsize + 4);
    unsigned num = builder_get16(h + lay->phentsize + 6);

    elf->shoff = elf_word(elf, h + lay->shoff);
    if (num && entsize >= lay->shdr_bytes &&
        builder_blob_has(elf->blob, elf->shoff, (uint64_t)num * entsize)) {
        elf->nr_sections = num;
        elf->shentsize = entsize;
        elf->shstrndx = builder_get16(h + lay->phentsize + 8);
    }
}

int elf_open(struct elf_image *elf, struct builder_blob blob, struct builder_error *err)
{
    const struct elf_header_layout *lay;
    int rc;

    *elf = (struct elf_image){.blob = blob};
    rc = elf_open_ident(elf, err);
    if (rc) {
        return rc;
    }
    lay = elf->is64 ? &elf_layout64 : &elf_layout32;
    elf->entry = elf_word(elf, blob.data + lay->entry);
    rc = elf_open_segments(elf, lay, err);
    if (rc) {
        return rc;
    }
    elf_open_sections(elf, lay);
    return elf_open_range(elf, err);
}

int elf_load(const struct elf_image *elf, const struct elf_sink *sink, struct builder_error *err)
{
    for (unsigned i = 0; i < elf->nr_segments; i++) {
        const struct elf_segment *s = &elf->segment[i];
        uint64_t at = s->paddr - elf->pstart;
        int rc = 0;

        if (s->type != ELF_PT_LOAD) {
            continue;
        }
        if (s->filesz) {
            rc = sink->copy(sink->ctx, at, elf->blob.data + s->offset, s->filesz);
        }
        if (!rc && s->memsz > s->filesz) {
            rc = sink->zero(sink->ctx, at + s->filesz, s->memsz - s->filesz);
        }
        if (rc) {
            return builder_fail(err, -rc, "cannot write the kernel's memory", s->paddr);
        }
    }
    return 0;
}

static int elf_flat_copy(void *ctx, uint64_t at, const void *src, size_t len)
{
    __builtin_memcpy((uint8_t *)ctx + at, src, len);
    return 0;
}

static int elf_flat_zero(void *ctx, uint64_t at, size_t len)
{
    __builtin_memset((uint8_t *)ctx + at, 0, len);
    return 0;
}

int elf_load_flat(const struct elf_image *elf, void *dest, uint64_t room, struct builder_error *err)
{
    const struct elf_sink sink = {.ctx = dest, .copy = elf_flat_copy, .zero = elf_flat_zero};
    uint64_t covered = 0;

    if (room < elf_span(elf)) {
        return builder_fail(err, XEN_ENOSPC, "kernel does not fit", elf_span(elf));
    }
    for (unsigned i = 0; i < elf->nr_segments; i++) {
        covered += elf->segment[i].type == ELF_PT_LOAD ? elf->segment[i].memsz : 0;
    }
    if (covered != elf_span(elf)) {
        __builtin_memset(dest, 0, elf_span(elf));
    }
    return elf_load(elf, &sink, err);
}

static bool elf_section_raw(const struct elf_image *elf, uint32_t index, struct elf_section *out,
                            uint32_t *name)
{
    const uint8_t *p;

    if (index >= elf->nr_sections) {
        return false;
    }
    p = elf->blob.data + elf->shoff + (uint64_t)index * elf->shentsize;
    *name = builder_get32(p);
    out->name = "";
    out->type = builder_get32(p + 4);
    if (elf->is64) {
        out->addr = builder_get64(p + 16);
        out->offset = builder_get64(p + 24);
        out->size = builder_get64(p + 32);
        out->link = builder_get32(p + 40);
        out->info = builder_get32(p + 44);
        out->entsize = builder_get64(p + 56);
    } else {
        out->addr = builder_get32(p + 12);
        out->offset = builder_get32(p + 16);
        out->size = builder_get32(p + 20);
        out->link = builder_get32(p + 24);
        out->info = builder_get32(p + 28);
        out->entsize = builder_get32(p + 36);
    }
    return out->type == ELF_SHT_NOBITS || builder_blob_has(elf->blob, out->offset, out->size);
}

bool elf_section(const struct elf_image *elf, uint32_t index, struct elf_section *out)
{
    struct elf_section names;
    uint32_t name, ignored;

    if (!elf_section_raw(elf, index, out, &name)) {
        return false;
    }
    if (elf_section_raw(elf, elf->shstrndx, &names, &ignored) && names.type == ELF_SHT_STRTAB &&
        name < names.size && elf->blob.data[names.offset + names.size - 1] == '\0') {
        out->name = (const char *)elf->blob.data + names.offset + name;
    }
    return true;
}

bool elf_section_find(const struct elf_image *elf, const char *name, struct elf_section *out)
{
    for (uint32_t i = 0; i < elf->nr_sections; i++) {
        if (elf_section(elf, i, out) && __builtin_strcmp(out->name, name) == 0) {
            return true;
        }
    }
    return false;
}

bool elf_symbols(const struct elf_image *elf, struct elf_section *symtab,
                 struct elf_section *strtab)
{
    for (uint32_t i = 0; i < elf->nr_sections; i++) {
        if (elf_section(elf, i, symtab) && symtab->type == ELF_SHT_SYMTAB) {
            return elf_section(elf, symtab->link, strtab) && strtab->type == ELF_SHT_STRTAB;
        }
    }
    return false;
}
