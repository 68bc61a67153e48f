// SPDX-License-Identifier: BSD-2-Clause
#include "core.h"

#include <assert.h>
#include <errno.h>
#include <linux/elf.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define CORE_MAGIC_PV  0xf00febedu
#define CORE_VERSION   1 // 0.1
#define CORE_NOTE_NAME "Xen"

enum section { NONE, STRINGS, NOTES, PRSTATUS, SHARED_INFO, P2M, PAGES, SECTIONS };

static const char section_names[] =
    "\0.shstrtab\0.note.Xen\0.xen_prstatus\0.xen_shared_info\0.xen_p2m\0.xen_pages";

struct core_note_head {
    Elf64_Nhdr note;
    char name[4];
};

struct core_notes {
    struct core_note_head none;
    struct core_note_head header_head;
    uint64_t header[4]; // magic, vCPUs, pages, page size
    struct core_note_head version_head;
    struct core_version version;
    struct core_note_head format_head;
    uint64_t format;
};
static_assert(sizeof(struct core_note_head) == 16, "a note's head");
static_assert(offsetof(struct core_notes, format) + 8 == sizeof(struct core_notes), "no padding");
static_assert(sizeof(struct core_version) == 16 + 16 + 144 + 1024 + 64 + 8 + 8, "as documented");

struct core_head {
    Elf64_Ehdr elf;
    Elf64_Shdr section[SECTIONS];
    char names[(sizeof(section_names) + 7) / 8 * 8];
};

static uint64_t round_up(uint64_t n)
{
    return (n + XC_PAGE_SIZE - 1) / XC_PAGE_SIZE * XC_PAGE_SIZE;
}

void core_layout(struct core_layout *l, unsigned max_vcpus, uint64_t max_pages)
{
    l->notes = sizeof(struct core_head);
    l->prstatus = l->notes + sizeof(struct core_notes);
    l->shared_info = round_up(l->prstatus + max_vcpus * sizeof(vcpu_guest_context_t));
    l->p2m = l->shared_info + XC_PAGE_SIZE;
    l->pages = round_up(l->p2m + max_pages * sizeof(struct core_p2m));
}

int core_write(int fd, const void *data, size_t len, uint64_t at)
{
    const char *p = data;
    while (len) {
        ssize_t n = pwrite(fd, p, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? -errno : -EIO;
        p += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

int core_write_pages(int fd, const uint8_t *data, size_t pages, uint64_t at)
{
    static const uint8_t zeroes[XC_PAGE_SIZE];
    size_t from = 0; // the first page of those that are to be written
    for (size_t i = 0; i <= pages; i++) {
        if (i < pages && memcmp(data + i * XC_PAGE_SIZE, zeroes, XC_PAGE_SIZE) != 0)
            continue;
        int ret = core_write(fd, data + from * XC_PAGE_SIZE, (i - from) * XC_PAGE_SIZE,
                             at + from * XC_PAGE_SIZE);
        if (ret)
            return ret;
        from = i + 1;
    }
    return 0;
}

static struct core_note_head core_note(uint32_t type, uint32_t len)
{
    struct core_note_head h = {{sizeof(h.name), len, type}, CORE_NOTE_NAME};
    return h;
}

static Elf64_Shdr core_section(const char *name, uint32_t type, uint64_t at, uint64_t entries,
                               uint64_t entry_size, uint64_t align)
{
    // The name is somewhere in the table, after a NUL.
    const char *found = section_names + 1;
    while (strcmp(found, name) != 0)
        found += strlen(found) + 1;
    return (Elf64_Shdr){.sh_name = (uint32_t)(found - section_names),
                        .sh_type = type,
                        .sh_offset = at,
                        .sh_size = entries * entry_size,
                        .sh_entsize = type == SHT_PROGBITS ? entry_size : 0,
                        .sh_addralign = align};
}

int core_write_head(int fd, const struct core_layout *l, const struct core_version *version,
                    unsigned vcpus, uint64_t pages, const struct core_view *view)
{
    struct core_notes notes = {
        .none = core_note(XEN_ELFNOTE_DUMPCORE_NONE, 0),
        .header_head = core_note(XEN_ELFNOTE_DUMPCORE_HEADER, sizeof(notes.header)),
        .header = {CORE_MAGIC_PV, vcpus, pages, XC_PAGE_SIZE},
        .version_head = core_note(XEN_ELFNOTE_DUMPCORE_XEN_VERSION, sizeof(notes.version)),
        .version = *version,
        .format_head = core_note(XEN_ELFNOTE_DUMPCORE_FORMAT_VERSION, sizeof(notes.format)),
        .format = CORE_VERSION};
    struct core_head head = {
        .elf = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT,
                            ELFOSABI_NONE},
                .e_type = ET_CORE,
                .e_machine = EM_X86_64,
                .e_version = EV_CURRENT,
                .e_phoff = view->headers ? view->at : 0,
                .e_shoff = offsetof(struct core_head, section),
                .e_ehsize = sizeof(Elf64_Ehdr),
                .e_phentsize = sizeof(Elf64_Phdr),
                .e_phnum = (uint16_t)view->headers,
                .e_shentsize = sizeof(Elf64_Shdr),
                .e_shnum = SECTIONS,
                .e_shstrndx = STRINGS},
        .section = {
            [STRINGS] = core_section(".shstrtab", SHT_STRTAB, offsetof(struct core_head, names), 1,
                                     sizeof(section_names), 1),
            [NOTES] = core_section(".note.Xen", SHT_NOTE, l->notes, 1, sizeof(notes), 4),
            [PRSTATUS] = core_section(".xen_prstatus", SHT_PROGBITS, l->prstatus, vcpus,
                                      sizeof(vcpu_guest_context_t), 8),
            [SHARED_INFO] =
                core_section(".xen_shared_info", SHT_PROGBITS, l->shared_info, 1, XC_PAGE_SIZE, 8),
            [P2M] =
                core_section(".xen_p2m", SHT_PROGBITS, l->p2m, pages, sizeof(struct core_p2m), 8),
            [PAGES] = core_section(".xen_pages", SHT_PROGBITS, l->pages, pages, XC_PAGE_SIZE,
                                   XC_PAGE_SIZE)}};
    memcpy(head.names, section_names, sizeof(section_names));
    int ret = core_write(fd, &notes, sizeof(notes), l->notes);
    return ret ? ret : core_write(fd, &head, sizeof(head), 0);
}
