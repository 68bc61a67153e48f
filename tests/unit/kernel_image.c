// SPDX-License-Identifier: BSD-2-Clause
#include "kernel_image.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include <xen/elfnote.h>

static const uint64_t note_entry = KERNEL_ENTRY, note_base = KERNEL_VIRT_BASE;
static const uint64_t note_p2m = 0x8000000000, note_hv_start = 0xffff800000000000;
static const uint64_t note_hypercall = KERNEL_VIRT_BASE + KERNEL_PADDR + 0x1000;
static const uint64_t note_l1[2] = {1, 1};
static const uint32_t note_one = 1, note_supported = 0x8801, note_phys32 = KERNEL_PADDR + 0x200;

const struct kernel_note kernel_notes_stock[] = {
    {XEN_ELFNOTE_GUEST_OS, "linux", 6},
    {XEN_ELFNOTE_GUEST_VERSION, "2.6", 4},
    {XEN_ELFNOTE_XEN_VERSION, "xen-3.0", 8},
    {XEN_ELFNOTE_VIRT_BASE, &note_base, 8},
    {XEN_ELFNOTE_INIT_P2M, &note_p2m, 8},
    {XEN_ELFNOTE_ENTRY, &note_entry, 8},
    {XEN_ELFNOTE_HYPERCALL_PAGE, &note_hypercall, 8},
    {XEN_ELFNOTE_FEATURES, "!writable_page_tables|pae_pgdir_above_4gb", 41},
    {XEN_ELFNOTE_SUPPORTED_FEATURES, &note_supported, 4},
    {XEN_ELFNOTE_PAE_MODE, "yes", 4},
    {XEN_ELFNOTE_LOADER, "generic", 8},
    {XEN_ELFNOTE_L1_MFN_VALID, note_l1, 16},
    {XEN_ELFNOTE_SUSPEND_CANCEL, &note_one, 4},
    {XEN_ELFNOTE_MOD_START_PFN, &note_one, 4},
    {XEN_ELFNOTE_HV_START_LOW, &note_hv_start, 8},
    {XEN_ELFNOTE_PHYS32_ENTRY, &note_phys32, 4},
};
const unsigned kernel_notes_stock_count = sizeof(kernel_notes_stock) / sizeof(struct kernel_note);

static size_t put_notes(uint8_t *at, const struct kernel_note *notes, unsigned nr)
{
    uint8_t *p = at;

    for (unsigned i = 0; i < nr; i++) {
        const Elf64_Nhdr h = {.n_namesz = 4, .n_descsz = notes[i].len, .n_type = notes[i].type};

        memcpy(p, &h, sizeof(h));
        memcpy(p + sizeof(h), "Xen", 4);
        memcpy(p + sizeof(h) + 4, notes[i].desc, notes[i].len);
        p += sizeof(h) + 4 + ((notes[i].len + 3) & ~3u);
    }
    return (size_t)(p - at);
}

struct kernel_image kernel_image_make(const struct kernel_note *notes, unsigned nr_notes,
                                      const char *legacy)
{
    static const char names[] = "\0.shstrtab\0__xen_guest";
    struct kernel_image k = {.data = calloc(1, 0x8000), .len = 0x8000};
    Elf64_Ehdr *eh = (Elf64_Ehdr *)k.data;
    Elf64_Phdr *ph = (Elf64_Phdr *)(k.data + sizeof(*eh));
    Elf64_Shdr *sh = (Elf64_Shdr *)(k.data + 0x7000);

    memcpy(eh->e_ident, ELFMAG, SELFMAG);
    eh->e_ident[EI_CLASS] = ELFCLASS64;
    eh->e_ident[EI_DATA] = ELFDATA2LSB;
    eh->e_type = ET_EXEC;
    eh->e_machine = EM_X86_64;
    eh->e_version = EV_CURRENT;
    eh->e_entry = KERNEL_PADDR;
    eh->e_phoff = sizeof(*eh);
    eh->e_phentsize = sizeof(*ph);
    eh->e_phnum = notes ? 2 : 1;
    eh->e_shoff = 0x7000;
    eh->e_shentsize = sizeof(*sh);
    eh->e_shnum = 3;
    eh->e_shstrndx = 1;
    k.text_at = 0x1000;
    ph[0] = (Elf64_Phdr){.p_type = PT_LOAD,
                         .p_flags = PF_R | PF_W | PF_X,
                         .p_offset = k.text_at,
                         .p_vaddr = KERNEL_VIRT_BASE + KERNEL_PADDR,
                         .p_paddr = KERNEL_PADDR,
                         .p_filesz = KERNEL_TEXT,
                         .p_memsz = KERNEL_TEXT + KERNEL_BSS};
    for (unsigned i = 0; i < KERNEL_TEXT; i++) {
        k.data[k.text_at + i] = (uint8_t)(i * 7 + (i >> 8));
    }
    k.notes_at = 0x5000;
    if (notes) {
        k.notes_len = put_notes(k.data + k.notes_at, notes, nr_notes);
        ph[1] = (Elf64_Phdr){.p_type = PT_NOTE,
                             .p_offset = k.notes_at,
                             .p_filesz = k.notes_len,
                             .p_memsz = k.notes_len};
    }
    memcpy(k.data + 0x6000, names, sizeof(names));
    sh[1] = (Elf64_Shdr){
        .sh_name = 1, .sh_type = SHT_STRTAB, .sh_offset = 0x6000, .sh_size = sizeof(names)};
    if (legacy) {
        strcpy((char *)k.data + 0x6100, legacy);
        sh[2] = (Elf64_Shdr){.sh_name = 11,
                             .sh_type = SHT_PROGBITS,
                             .sh_offset = 0x6100,
                             .sh_size = strlen(legacy) + 1};
    }
    return k;
}

struct kernel_image kernel_image_bz(const void *payload, size_t len)
{
    struct kernel_image k = {.len = 1024 + 64 + len};
    uint32_t offset = 64, length = (uint32_t)len;

    k.data = calloc(1, k.len);
    k.data[0x1f1] = 1; /* one setup sector after the boot sector */
    k.data[0x1fe] = 0x55;
    k.data[0x1ff] = 0xaa;
    memcpy(k.data + 0x202, "HdrS", 4);
    k.data[0x206] = 0x0f;
    k.data[0x207] = 0x02;
    memcpy(k.data + 0x248, &offset, 4);
    memcpy(k.data + 0x24c, &length, 4);
    memcpy(k.data + 1024 + 64, payload, len);
    k.text_at = 1024 + 64;
    return k;
}

void kernel_image_append_size(struct kernel_image *image, uint32_t size)
{
    image->data = realloc(image->data, image->len + 4);
    memcpy(image->data + image->len, &size, 4);
    image->len += 4;
}
