// SPDX-License-Identifier: BSD-2-Clause
#include "notes.h"

#include <xen/elfnote.h>
#include <xen/features.h>

enum {
    NOTES_PT_NOTE = 4,
    NOTES_SHT_NOTE = 7,
    NOTES_HEADER_BYTES = 12,
};

struct notes_feature {
    const char *name;
    unsigned bit;
};

/* Names as the public headers spell them, without the XENFEAT_ prefix. */
static const struct notes_feature notes_features[] = {
    {"writable_page_tables", XENFEAT_writable_page_tables},
    {"writable_descriptor_tables", XENFEAT_writable_descriptor_tables},
    {"auto_translated_physmap", XENFEAT_auto_translated_physmap},
    {"supervisor_mode_kernel", XENFEAT_supervisor_mode_kernel},
    {"pae_pgdir_above_4gb", XENFEAT_pae_pgdir_above_4gb},
    {"mmu_pt_update_preserve_ad", XENFEAT_mmu_pt_update_preserve_ad},
    {"highmem_assist", XENFEAT_highmem_assist},
    {"gnttab_map_avail_bits", XENFEAT_gnttab_map_avail_bits},
    {"hvm_callback_vector", XENFEAT_hvm_callback_vector},
    {"hvm_safe_pvclock", XENFEAT_hvm_safe_pvclock},
    {"hvm_pirqs", XENFEAT_hvm_pirqs},
    {"dom0", XENFEAT_dom0},
    {"memory_op_vnode_supported", XENFEAT_memory_op_vnode_supported},
    {"linux_rsdp_unrestricted", XENFEAT_linux_rsdp_unrestricted},
    {"not_direct_mapped", XENFEAT_not_direct_mapped},
    {"direct_mapped", XENFEAT_direct_mapped},
};

/* Text that is not terminated: a piece of the image. */
struct notes_text {
    const char *s;
    size_t len;
};

static bool notes_text_is(struct notes_text t, const char *word)
{
    return __builtin_strlen(word) == t.len && __builtin_memcmp(t.s, word, t.len) == 0;
}

/* Cuts *rest at the first `at`; returns the part before it. */
static struct notes_text notes_text_cut(struct notes_text *rest, char at)
{
    struct notes_text head = *rest;
    size_t n = 0;

    while (n < rest->len && rest->s[n] != at) {
        n++;
    }
    head.len = n;
    if (n < rest->len) {
        n++;
    }
    rest->s += n;
    rest->len -= n;
    return head;
}

static void notes_text_store(char dest[NOTES_STRING_MAX], struct notes_text t)
{
    size_t n = t.len < NOTES_STRING_MAX - 1 ? t.len : NOTES_STRING_MAX - 1;

    __builtin_memcpy(dest, t.s, n);
    dest[n] = '\0';
}

static void notes_init(struct notes *n)
{
    *n = (struct notes){
        .entry = NOTES_UNSET,
        .hypercall_page = NOTES_UNSET,
        .virt_base = NOTES_UNSET,
        .paddr_offset = NOTES_UNSET,
        .init_p2m = NOTES_UNSET,
        .hv_start_low = NOTES_UNSET,
        .phys32_entry = NOTES_UNSET,
    };
}

/* "a|!b|c": unknown names are fine unless required. */
static int notes_parse_features(struct notes *n, struct notes_text text, struct builder_error *err)
{
    while (text.len) {
        struct notes_text name = notes_text_cut(&text, '|');
        bool required = name.len && name.s[0] == '!';
        bool known = false;

        name.s += required;
        name.len -= required;
        for (size_t i = 0; i < sizeof(notes_features) / sizeof(notes_features[0]); i++) {
            if (notes_text_is(name, notes_features[i].name)) {
                n->supported |= 1u << notes_features[i].bit;
                n->required |= required ? 1u << notes_features[i].bit : 0;
                known = true;
            }
        }
        if (required && !known) {
            return builder_fail(err, XEN_EINVAL, "kernel requires an unknown feature",
                                BUILDER_NOWHERE);
        }
    }
    return 0;
}

static enum notes_pae notes_parse_pae(struct notes_text t)
{
    if (notes_text_is(t, "yes")) {
        return NOTES_PAE_YES;
    }
    if (notes_text_is(t, "yes[extended-cr3]")) {
        return NOTES_PAE_EXTENDED_CR3;
    }
    if (notes_text_is(t, "bimodal") || notes_text_is(t, "yes,bimodal")) {
        return NOTES_PAE_BIMODAL;
    }
    return NOTES_PAE_NO;
}

/* One note with text in it. */
static int notes_take_text(struct notes *n, uint32_t type, struct notes_text t,
                           struct builder_error *err)
{
    switch (type) {
    case XEN_ELFNOTE_GUEST_OS:
        notes_text_store(n->guest_os, t);
        break;
    case XEN_ELFNOTE_GUEST_VERSION:
        notes_text_store(n->guest_version, t);
        break;
    case XEN_ELFNOTE_XEN_VERSION:
        notes_text_store(n->xen_version, t);
        break;
    case XEN_ELFNOTE_LOADER:
        notes_text_store(n->loader, t);
        break;
    case XEN_ELFNOTE_PAE_MODE:
        n->pae = notes_parse_pae(t);
        break;
    case XEN_ELFNOTE_BSD_SYMTAB:
        n->bsd_symtab = notes_text_is(t, "yes");
        break;
    case XEN_ELFNOTE_FEATURES:
        return notes_parse_features(n, t, err);
    default:
        break;
    }
    return 0;
}

/* One note with a number in it. */
static void notes_take_number(struct notes *n, uint32_t type, uint64_t v)
{
    switch (type) {
    case XEN_ELFNOTE_ENTRY:
        n->entry = v;
        break;
    case XEN_ELFNOTE_HYPERCALL_PAGE:
        n->hypercall_page = v;
        break;
    case XEN_ELFNOTE_VIRT_BASE:
        n->virt_base = v;
        break;
    case XEN_ELFNOTE_PADDR_OFFSET:
        n->paddr_offset = v;
        break;
    case XEN_ELFNOTE_HV_START_LOW:
        n->hv_start_low = v;
        break;
    case XEN_ELFNOTE_SUSPEND_CANCEL:
        n->suspend_cancel = v != 0;
        break;
    case XEN_ELFNOTE_INIT_P2M:
        n->init_p2m = v;
        break;
    case XEN_ELFNOTE_MOD_START_PFN:
        n->mod_start_pfn = v != 0;
        break;
    case XEN_ELFNOTE_SUPPORTED_FEATURES:
        n->supported |= (uint32_t)v;
        break;
    case XEN_ELFNOTE_PHYS32_ENTRY:
        n->phys32_entry = v;
        break;
    default:
        break;
    }
}

static bool notes_is_text(uint32_t type)
{
    switch (type) {
    case XEN_ELFNOTE_INFO:
    case XEN_ELFNOTE_XEN_VERSION:
    case XEN_ELFNOTE_GUEST_OS:
    case XEN_ELFNOTE_GUEST_VERSION:
    case XEN_ELFNOTE_LOADER:
    case XEN_ELFNOTE_PAE_MODE:
    case XEN_ELFNOTE_FEATURES:
    case XEN_ELFNOTE_BSD_SYMTAB:
        return true;
    default:
        return false;
    }
}

static int notes_take(struct notes *n, const struct elf_image *elf, uint32_t type,
                      const uint8_t *desc, uint32_t len, uint64_t at, struct builder_error *err)
{
    if (type > XEN_ELFNOTE_MAX) {
        return 0;
    }
    if (notes_is_text(type)) {
        struct notes_text all = {(const char *)desc, len};

        return notes_take_text(n, type, notes_text_cut(&all, '\0'), err);
    }
    if (type == XEN_ELFNOTE_L1_MFN_VALID) {
        unsigned word = elf->is64 ? 8 : len / 2;

        if (len < 2 * word || (word != 4 && word != 8)) {
            return builder_fail(err, XEN_EINVAL, "Xen note has a wrong size", at);
        }
        n->l1_mfn_mask = word == 8 ? builder_get64(desc) : builder_get32(desc);
        n->l1_mfn_value = word == 8 ? builder_get64(desc + 8) : builder_get32(desc + 4);
        return 0;
    }
    if (len != 4 && len != 8) {
        return builder_fail(err, XEN_EINVAL, "Xen note has a wrong size", at);
    }
    notes_take_number(n, type, len == 8 ? builder_get64(desc) : builder_get32(desc));
    return 0;
}

/* Walks one area of notes; *found counts those named "Xen". */
static int notes_walk(struct notes *n, const struct elf_image *elf, uint64_t offset, uint64_t size,
                      unsigned *found, struct builder_error *err)
{
    uint64_t at = offset, end = offset + size;

    while (end - at >= NOTES_HEADER_BYTES) {
        const uint8_t *p = elf->blob.data + at;
        uint32_t namesz = builder_get32(p);
        uint32_t descsz = builder_get32(p + 4);
        uint64_t name_span = ((uint64_t)namesz + 3) & ~3ull;
        uint64_t desc_span = ((uint64_t)descsz + 3) & ~3ull;
        uint64_t left = end - at - NOTES_HEADER_BYTES;

        if (name_span > left || descsz > left - name_span) {
            return builder_fail(err, XEN_EINVAL, "ELF note runs past its segment", at);
        }
        if (namesz == 4 && __builtin_memcmp(p + NOTES_HEADER_BYTES, "Xen", 4) == 0) {
            int rc = notes_take(n, elf, builder_get32(p + 8), p + NOTES_HEADER_BYTES + name_span,
                                descsz, at, err);

            if (rc) {
                return rc;
            }
            ++*found;
        }
        if (desc_span > left - name_span) {
            break;
        }
        at += NOTES_HEADER_BYTES + name_span + desc_span;
    }
    return 0;
}

static int notes_from_elf(struct notes *n, const struct elf_image *elf, unsigned *found,
                          struct builder_error *err)
{
    int rc = 0;

    for (unsigned i = 0; !rc && i < elf->nr_segments; i++) {
        const struct elf_segment *s = &elf->segment[i];

        if (s->type == NOTES_PT_NOTE) {
            rc = notes_walk(n, elf, s->offset, s->filesz, found, err);
        }
    }
    for (uint32_t i = 0; !rc && !*found && i < elf->nr_sections; i++) {
        struct elf_section s;

        if (elf_section(elf, i, &s) && s.type == NOTES_SHT_NOTE) {
            rc = notes_walk(n, elf, s.offset, s.size, found, err);
        }
    }
    return rc;
}

/* A number in decimal or 0x hexadecimal; false when it is not one or too large. */
static bool notes_text_number(struct notes_text t, uint64_t *out)
{
    bool hex = t.len > 2 && t.s[0] == '0' && (t.s[1] == 'x' || t.s[1] == 'X');
    uint64_t base = hex ? 16 : 10, v = 0;

    for (size_t i = hex ? 2 : 0; i < t.len; i++) {
        char c = t.s[i];
        uint64_t digit = c >= '0' && c <= '9' ? (uint64_t)(c - '0') : 99;

        if (hex && (c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
            digit = (uint64_t)((c | 0x20) - 'a') + 10;
        }
        if (digit >= base || __builtin_mul_overflow(v, base, &v) ||
            __builtin_add_overflow(v, digit, &v)) {
            return false;
        }
    }
    *out = v;
    return t.len > 0;
}

static const struct {
    const char *key;
    uint32_t type;
} notes_legacy_keys[] = {
    {"VIRT_ENTRY", XEN_ELFNOTE_ENTRY},
    {"HYPERCALL_PAGE", XEN_ELFNOTE_HYPERCALL_PAGE},
    {"VIRT_BASE", XEN_ELFNOTE_VIRT_BASE},
    {"ELF_PADDR_OFFSET", XEN_ELFNOTE_PADDR_OFFSET},
    {"XEN_VER", XEN_ELFNOTE_XEN_VERSION},
    {"GUEST_OS", XEN_ELFNOTE_GUEST_OS},
    {"GUEST_VER", XEN_ELFNOTE_GUEST_VERSION},
    {"LOADER", XEN_ELFNOTE_LOADER},
    {"PAE", XEN_ELFNOTE_PAE_MODE},
    {"FEATURES", XEN_ELFNOTE_FEATURES},
};

static int notes_take_legacy(struct notes *n, struct notes_text key, struct notes_text value,
                             struct builder_error *err)
{
    uint64_t number;

    if (notes_text_is(key, "BSD_SYMTAB")) {
        n->bsd_symtab = true;
        return 0;
    }
    for (size_t i = 0; i < sizeof(notes_legacy_keys) / sizeof(notes_legacy_keys[0]); i++) {
        uint32_t type = notes_legacy_keys[i].type;

        if (!notes_text_is(key, notes_legacy_keys[i].key)) {
            continue;
        }
        if (notes_is_text(type)) {
            return notes_take_text(n, type, value, err);
        }
        if (!notes_text_number(value, &number)) {
            return builder_fail(err, XEN_EINVAL, "__xen_guest holds a malformed number",
                                BUILDER_NOWHERE);
        }
        notes_take_number(n, type, number);
    }
    return 0;
}

/* "KEY=value,KEY=value,..." */
static int notes_from_legacy(struct notes *n, const struct elf_image *elf, unsigned *found,
                             struct builder_error *err)
{
    struct elf_section s;
    struct notes_text text;

    if (!elf_section_find(elf, "__xen_guest", &s) ||
        !builder_blob_has(elf->blob, s.offset, s.size)) {
        return 0;
    }
    n->legacy = true;
    text = (struct notes_text){(const char *)elf->blob.data + s.offset, s.size};
    text = notes_text_cut(&text, '\0');
    while (text.len) {
        struct notes_text value = notes_text_cut(&text, ',');
        struct notes_text key = notes_text_cut(&value, '=');
        int rc = notes_take_legacy(n, key, value, err);

        if (rc) {
            return rc;
        }
        ++*found;
    }
    return 0;
}

/* The defaults that the public header gives for what is absent. */
static void notes_defaults(struct notes *n, const struct elf_image *elf)
{
    if (n->virt_base == NOTES_UNSET) {
        n->virt_base = 0;
    }
    if (n->paddr_offset == NOTES_UNSET) {
        n->paddr_offset = n->legacy ? n->virt_base : 0;
    }
    if (n->entry == NOTES_UNSET) {
        n->entry = elf->entry;
    }
    if (n->legacy && n->hypercall_page != NOTES_UNSET) {
        /* The text form gives a page number relative to virt_base. */
        n->hypercall_page = n->virt_base + (n->hypercall_page << BUILDER_PAGE_SHIFT);
    }
}

static int notes_derive(struct notes *n, const struct elf_image *elf, struct builder_error *err)
{
    uint64_t limit = elf->is64 ? UINT64_MAX : UINT32_MAX;

    if (n->paddr_offset > elf->pstart) {
        return builder_fail(err, XEN_EINVAL, "PADDR_OFFSET note is above the image",
                            n->paddr_offset);
    }
    if (__builtin_add_overflow(n->virt_base, elf->pstart - n->paddr_offset, &n->kernel_start) ||
        __builtin_add_overflow(n->virt_base, elf->pend - n->paddr_offset, &n->kernel_end) ||
        n->kernel_end > limit) {
        return builder_fail(err, XEN_EINVAL, "kernel wraps around the address space", n->virt_base);
    }
    return 0;
}

int notes_read(const struct elf_image *elf, struct notes *notes, struct builder_error *err)
{
    unsigned found = 0;
    int rc;

    notes_init(notes);
    rc = notes_from_elf(notes, elf, &found, err);
    if (!rc && !found) {
        rc = notes_from_legacy(notes, elf, &found, err);
    }
    if (rc) {
        return rc;
    }
    if (!found) {
        return builder_fail(err, XEN_ENOENT, "kernel has no Xen notes", BUILDER_NOWHERE);
    }
    notes_defaults(notes, elf);
    return notes_derive(notes, elf, err);
}

int notes_check_pv(const struct elf_image *elf, const struct notes *notes, uint32_t offered,
                   struct builder_error *err)
{
    uint32_t missing = notes->required & ~offered;

    (void)elf;
    if (notes->loader[0] && __builtin_strcmp(notes->loader, "generic") != 0) {
        return builder_fail(err, XEN_EINVAL, "kernel asks for a loader other than \"generic\"",
                            BUILDER_NOWHERE);
    }
    if (notes->xen_version[0] && __builtin_memcmp(notes->xen_version, "xen-3.", 6) != 0) {
        return builder_fail(err, XEN_EINVAL, "kernel is for another interface than xen-3.x",
                            BUILDER_NOWHERE);
    }
    if (notes->entry < notes->kernel_start || notes->entry >= notes->kernel_end) {
        return builder_fail(err, XEN_EINVAL, "kernel's entry point lies outside its image",
                            notes->entry);
    }
    if (notes->hypercall_page != NOTES_UNSET &&
        ((notes->hypercall_page & (BUILDER_PAGE_SIZE - 1)) ||
         notes->hypercall_page < notes->kernel_start ||
         notes->hypercall_page >= notes->kernel_end)) {
        return builder_fail(err, XEN_EINVAL, "kernel's hypercall page lies outside its image",
                            notes->hypercall_page);
    }
    if (missing) {
        return builder_fail(err, XEN_EINVAL, "kernel requires a feature that is not offered, bit",
                            (uint64_t)__builtin_ctz(missing));
    }
    return 0;
}

int notes_check_pvh(const struct elf_image *elf, const struct notes *notes,
                    struct builder_error *err)
{
    if (notes->phys32_entry == NOTES_UNSET) {
        return builder_fail(err, XEN_EINVAL, "kernel has no PVH entry point note", BUILDER_NOWHERE);
    }
    if (notes->phys32_entry < elf->pstart || notes->phys32_entry >= elf->pend ||
        elf->pend > UINT32_MAX) {
        return builder_fail(err, XEN_EINVAL, "kernel's PVH entry point lies outside its image",
                            notes->phys32_entry);
    }
    return 0;
}
