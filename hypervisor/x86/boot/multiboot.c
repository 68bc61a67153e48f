// SPDX-License-Identifier: BSD-2-Clause
#include "x86/boot/multiboot.h"
#include "x86/boot/boot.h"
#include "x86/arch/page.h"
#include "core/console.h"
#include "lib/string.h"
#include "x86/cpu/firmware.h"

enum { STRING_POOL = 8192 };
static char __initdata string_pool[STRING_POOL];
static unsigned int __initdata string_used;

// Boot information lies below 4 GiB, where the boot page tables reach.
static const void *__init at(uint64_t pa)
{
    return paddr_to_virt(PADDR(pa));
}

// A copy of a loader's string that outlives the loader's memory; cut when the pool is full.
static const char *__init keep_string(const char *s)
{
    char *copy = string_pool + string_used;
    unsigned int room = STRING_POOL - string_used;
    if (room < 2)
        return "";
    size_t len = strnlen(s, room - 1);
    memcpy(copy, s, len);
    copy[len] = 0;
    string_used += len + 1;
    return copy;
}

static const char *__init skip_word(const char *s)
{
    while (*s == ' ')
        s++;
    while (*s && *s != ' ')
        s++;
    while (*s == ' ')
        s++;
    return s;
}

// Configuration generators for GRUB put the word "placeholder" where other loaders have the name of
// the file; those are skipped when the loader has them.
static const char *__init arguments(const char *line, bool has_name)
{
    while (*line == ' ')
        line++;
    if (has_name || !strncmp(line, "placeholder ", 12) || !strcmp(line, "placeholder"))
        return skip_word(line);
    return line;
}

static void __init add_range(uint64_t start, uint64_t size, uint32_t type)
{
    if (!size || boot_info.range_count == BOOT_MAX_RANGES)
        return;
    if (start + size < start)
        size = -start;
    boot_info.ranges[boot_info.range_count++] =
        (struct boot_range){.start = PADDR(start), .size = size, .type = type};
}

static void __init add_module(uint64_t start, uint64_t end, const char *string, bool has_name)
{
    if (boot_info.module_count == BOOT_MAX_MODULES || end < start)
        return;
    struct boot_module *m = &boot_info.modules[boot_info.module_count++];
    m->start = PADDR(start);
    m->size = end - start;
    m->cmdline = arguments(string, has_name);
}

// ---- Multiboot 1 ------------------------------------------------------------------------------

static void __init parse_mmap1(const struct mb1_info *info)
{
    uint32_t pos = 0;
    while (pos + sizeof(struct mb1_mmap) <= info->mmap_length) {
        const struct mb1_mmap *e = at(info->mmap_addr + pos);
        add_range(e->addr, e->len, e->type);
        if (e->size < sizeof(*e) - sizeof(e->size))
            break;
        pos += e->size + sizeof(e->size);
    }
}

// GRUB's multiboot1 command passes module arguments without the file's name, QEMU with it.
static bool __init names_in_front(void)
{
    return strncmp(boot_info.loader, "GRUB", 4) != 0;
}

static void __init parse_multiboot1(const struct mb1_info *info)
{
    if (info->flags & MB1_INFO_LOADER)
        boot_info.loader = keep_string(at(info->boot_loader_name));
    if (info->flags & MB1_INFO_CMDLINE) {
        boot_info.cmdline = arguments(keep_string(at(info->cmdline)), names_in_front());
    }
    if (info->flags & MB1_INFO_MMAP) {
        parse_mmap1(info);
    } else if (info->flags & MB1_INFO_MEMORY) {
        add_range(0, info->mem_lower * KiB, 1);
        add_range(MiB, info->mem_upper * KiB, 1);
    }
    if (!(info->flags & MB1_INFO_MODS))
        return;
    const struct mb1_module *mods = at(info->mods_addr);
    for (uint32_t i = 0; i < info->mods_count; i++) {
        const char *s = mods[i].string ? keep_string(at(mods[i].string)) : "";
        add_module(mods[i].start, mods[i].end, s, names_in_front());
    }
}

// ---- Multiboot 2 ------------------------------------------------------------------------------

static void __init parse_mmap2(const struct mb2_mmap *m)
{
    if (m->entry_size < sizeof(struct mb2_mmap_entry))
        return;
    for (uint32_t pos = sizeof(*m); pos + m->entry_size <= m->tag.size; pos += m->entry_size) {
        const struct mb2_mmap_entry *e = (const void *)((const char *)m + pos);
        add_range(e->addr, e->len, e->type);
    }
}

static void __init parse_framebuffer(const struct mb2_framebuffer *f)
{
    if (f->tag.size < sizeof(*f) || f->type != 1 || !f->addr)
        return;
    boot_info.framebuffer.base = PADDR(f->addr);
    boot_info.framebuffer.width = f->width;
    boot_info.framebuffer.height = f->height;
    boot_info.framebuffer.pitch = f->pitch;
    boot_info.framebuffer.bpp = f->bpp;
    boot_info.framebuffer.red_pos = f->red_pos;
    boot_info.framebuffer.red_size = f->red_size;
    boot_info.framebuffer.green_pos = f->green_pos;
    boot_info.framebuffer.green_size = f->green_size;
    boot_info.framebuffer.blue_pos = f->blue_pos;
    boot_info.framebuffer.blue_size = f->blue_size;
    boot_info.framebuffer.present = true;
}

// The loader hands over a copy of the RSDP. ACPI tables it points to stay where they are, but the
// copy does not: keep it for drivers/acpi.c and give its address in the image.
uint8_t __initdata boot_rsdp_copy[36];

static void __init parse_rsdp(const struct mb2_tag *tag)
{
    size_t size = MIN((size_t)tag->size - sizeof(*tag), sizeof(boot_rsdp_copy));
    if (tag->type == MB2_TAG_ACPI_OLD && boot_info.rsdp.v)
        return;
    memset(boot_rsdp_copy, 0, sizeof(boot_rsdp_copy));
    memcpy(boot_rsdp_copy, tag + 1, size);
    boot_info.rsdp = image_to_paddr(boot_rsdp_copy);
}

static void __init parse_efi_system_table(uint64_t pa)
{
    const uint64_t reach = 4 * GiB - PAGE_SIZE;
    struct firmware_efi *f = &firmware_efi;
    boot_info.efi = true;
    if (!pa || pa > reach)
        return;
    const struct efi_system_table *t = at(pa);
    if (t->header.signature != EFI_SYSTEM_TABLE_SIGNATURE)
        return;
    f->present = true;
    f->revision = t->header.revision;
    f->vendor_revision = t->vendor_revision;
    f->config_table = t->config_table;
    f->config_count = t->config_count;
    if (t->runtime && t->runtime < reach)
        f->runtime_revision = ((const struct efi_header *)at(t->runtime))->revision;
    const uint16_t *vendor = t->vendor && t->vendor < reach ? at(t->vendor) : NULL;
    for (unsigned int i = 0; vendor && vendor[i] && i + 1 < ARRAY_SIZE(f->vendor); i++)
        f->vendor[i] = vendor[i];
}

static void __init parse_tag(const struct mb2_tag *tag)
{
    const char *text = (const char *)(tag + 1);
    switch (tag->type) {
    case MB2_TAG_CMDLINE:
        boot_info.cmdline = arguments(keep_string(text), false);
        break;
    case MB2_TAG_LOADER:
        boot_info.loader = keep_string(text);
        break;
    case MB2_TAG_MODULE: {
        const struct mb2_module *m = (const void *)tag;
        add_module(m->start, m->end, keep_string(m->string), false);
        break;
    }
    case MB2_TAG_MMAP:
        parse_mmap2((const void *)tag);
        break;
    case MB2_TAG_FRAMEBUFFER:
        parse_framebuffer((const void *)tag);
        break;
    case MB2_TAG_ACPI_OLD:
    case MB2_TAG_ACPI_NEW:
        parse_rsdp(tag);
        break;
    case MB2_TAG_EFI64:
        parse_efi_system_table(((const struct mb2_efi64 *)tag)->system_table);
        break;
    case MB2_TAG_EFI32:
    case MB2_TAG_EFI_MMAP:
        boot_info.efi = true;
        break;
    default:
        break;
    }
}

static void __init parse_multiboot2(const struct mb2_info *info)
{
    uint32_t pos = sizeof(*info);
    while (pos + sizeof(struct mb2_tag) <= info->total_size) {
        const struct mb2_tag *tag = (const void *)((const char *)info + pos);
        if (tag->type == MB2_TAG_END || tag->size < sizeof(*tag) ||
            tag->size > info->total_size - pos)
            break;
        parse_tag(tag);
        pos += ROUND_UP(tag->size, 8u);
    }
}

void __init multiboot_parse(uint32_t magic, uint32_t info)
{
    boot_info.loader = "an unnamed boot loader";
    boot_info.cmdline = "";
    if (magic == MB1_LOADER_MAGIC)
        parse_multiboot1(at(info));
    else if (magic == MB2_LOADER_MAGIC)
        parse_multiboot2(at(info));
    else
        fatal("Not started by a Multiboot loader (magic %#x)", magic);
    if (!boot_info.range_count)
        fatal("The boot loader gave no memory map");
}
