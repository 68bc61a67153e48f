// SPDX-License-Identifier: BSD-2-Clause
#include "x86/boot/memory_map.h"
#include "x86/boot/boot.h"
#include "x86/arch/image.h"
#include "x86/arch/page.h"
#include "core/cmdline.h"
#include "core/console.h"
#include "lib/string.h"

enum {
    E820_RAM = 1,
    E820_RESERVED = 2,
    E820_UNUSABLE = 5,
    LOW_RESERVED = 0x10000,
    LOW_END = 0xa0000
};

struct boot_range machine_map[BOOT_MAX_RANGES];
unsigned int machine_map_count;
unsigned long __read_only_after_boot trampoline_base;

static uint64_t __initdata edges[2 * BOOT_MAX_RANGES];
static struct boot_range __initdata sorted[BOOT_MAX_RANGES];

static unsigned int __init sort_edges(void)
{
    unsigned int n = 0;
    for (unsigned int i = 0; i < boot_info.range_count; i++) {
        edges[n++] = boot_info.ranges[i].start.v;
        edges[n++] = boot_info.ranges[i].start.v + boot_info.ranges[i].size;
    }
    for (unsigned int i = 1; i < n; i++) {
        uint64_t e = edges[i];
        unsigned int j = i;
        for (; j && edges[j - 1] > e; j--)
            edges[j] = edges[j - 1];
        edges[j] = e;
    }
    return n;
}

// The type of the byte at `start`: the highest number that any range gives it; 0: none.
static uint32_t __init type_at(uint64_t start)
{
    uint32_t type = 0;
    for (unsigned int i = 0; i < boot_info.range_count; i++) {
        const struct boot_range *r = &boot_info.ranges[i];
        if (start >= r->start.v && start - r->start.v < r->size)
            type = MAX(type, r->type);
    }
    // Loaders on UEFI have types of their own (20: runtime code).
    return type > E820_UNUSABLE ? E820_RESERVED : type;
}

static const char *__init type_name(uint32_t type)
{
    static const char *const names[] = {"unknown",   "RAM",      "reserved",
                                        "ACPI data", "ACPI NVS", "unusable"};
    return type < ARRAY_SIZE(names) ? names[type] : "reserved";
}

static void __init append(uint64_t start, uint64_t end, uint32_t type)
{
    struct boot_range *last = machine_map_count ? &sorted[machine_map_count - 1] : NULL;
    if (last && last->type == type && last->start.v + last->size == start) {
        last->size += end - start;
        return;
    }
    if (machine_map_count == BOOT_MAX_RANGES)
        return;
    sorted[machine_map_count++] =
        (struct boot_range){.start = PADDR(start), .size = end - start, .type = type};
}

// mem=: RAM beyond the limit is not there.
static void __init apply_limit(uint64_t limit)
{
    uint64_t total = 0;
    for (unsigned int i = 0; i < boot_info.range_count; i++) {
        struct boot_range *r = &boot_info.ranges[i];
        if (r->type != E820_RAM)
            continue;
        r->size = MIN(r->size, limit - total);
        total += r->size;
    }
}

static void __init choose_trampoline(void)
{
    for (unsigned int i = 0; i < machine_map_count; i++) {
        const struct boot_range *r = &machine_map[i];
        uint64_t start = MAX(ROUND_UP(r->start.v, PAGE_SIZE), 0x8000ul);
        uint64_t end = MIN(r->start.v + r->size, (uint64_t)LOW_END);
        if (r->type != E820_RAM || start + TRAMPOLINE_PAGES * PAGE_SIZE > end)
            continue;
        trampoline_base = start;
        return;
    }
}

void __init memory_map_init(void)
{
    unsigned int n = sort_edges();
    for (unsigned int i = 0; i + 1 < n; i++) {
        uint32_t type = edges[i] == edges[i + 1] ? 0 : type_at(edges[i]);
        if (type)
            append(edges[i], edges[i + 1], type);
    }
    memcpy(machine_map, sorted, sizeof(sorted));
    memcpy(boot_info.ranges, sorted, sizeof(sorted));
    boot_info.range_count = machine_map_count;

    uint64_t ram = 0;
    for (unsigned int i = 0; i < machine_map_count; i++) {
        const struct boot_range *r = &machine_map[i];
        printk(LOG_DEBUG "  %016lx-%016lx %s\n", r->start.v, r->start.v + r->size - 1,
               type_name(r->type));
        if (r->type == E820_RAM)
            ram += r->size;
    }
    printk("Memory: %llu MiB of RAM in %u ranges\n", ram / MiB, machine_map_count);
    if (options.mem_limit)
        apply_limit(options.mem_limit);
    choose_trampoline();
}

void __init memory_map_reserve(void)
{
    boot_reserve(PADDR(0), LOW_RESERVED);
    if (trampoline_base)
        boot_reserve(PADDR(trampoline_base), TRAMPOLINE_PAGES * PAGE_SIZE);
    boot_reserve(PADDR(IMAGE_PHYS), image_end - image_start);
    for (unsigned int i = 0; i < boot_info.module_count; i++)
        boot_reserve(boot_info.modules[i].start, boot_info.modules[i].size);
}
