// SPDX-License-Identifier: BSD-2-Clause
// Which boot modules hold microcode (option ucode=), and the best update in them.
#include "core/cmdline.h"
#include "core/console.h"
#include "lib/errno.h"
#include "x86/arch/page.h"
#include "x86/boot/boot.h"
#include "x86/cpu/microcode.h"

// Search module n. False: it holds no microcode at all.
static bool __init search_module(unsigned int n, const struct microcode_cpu *cpu,
                                 struct microcode_patch *best)
{
    const struct boot_module *m = &boot_info.modules[n];
    const uint8_t *blob = paddr_to_virt(m->start);
    uint64_t size = m->size;
    const char *why = "";
    int err = 0;
    if (!microcode_is_blob(blob, size))
        err = microcode_in_cpio(blob, size, cpu->vendor, &blob, &size, &why);
    if (err == -ENOENT)
        return false;
    if (!err)
        err = microcode_search(blob, size, cpu, best, &why);
    if (err == -EINVAL)
        printk(LOG_WARN "Microcode in module %u is damaged (%s): ignored\n", n, why);
    else if (err)
        printk(LOG_DEBUG "Microcode in module %u: nothing newer for this CPU\n", n);
    return true;
}

// The named module must not become the initrd: it goes behind all others.
static void __init move_last(unsigned int n)
{
    struct boot_module m = boot_info.modules[n];
    for (; n + 1 < boot_info.module_count; n++)
        boot_info.modules[n] = boot_info.modules[n + 1];
    boot_info.modules[n] = m;
}

static void __init search_named(int number, const struct microcode_cpu *cpu,
                                struct microcode_patch *best)
{
    int n = number < 0 ? (int)boot_info.module_count + number : number;
    if (n < 1 || n >= (int)boot_info.module_count) {
        printk(LOG_WARN "Microcode: ucode=%d names no module behind the kernel\n", number);
        return;
    }
    const struct boot_module *m = &boot_info.modules[n];
    bool raw = microcode_is_blob(paddr_to_virt(m->start), m->size);
    if (!search_module(n, cpu, best))
        printk(LOG_WARN "Microcode: none in module %d\n", n);
    if (raw)
        move_last(n);
}

void __init microcode_from_modules(void)
{
    struct microcode_cpu cpu;
    if (options.ucode == UCODE_OFF || boot_info.module_count < 2 ||
        cpu_features.vendor == VENDOR_OTHER)
        return;
    if (microcode_this_cpu(&cpu)) {
        printk(LOG_DEBUG "Microcode: the CPU does not tell its revision\n");
        return;
    }
    struct microcode_patch best = {.revision = cpu.revision};
    if (options.ucode == UCODE_MODULE)
        search_named(options.ucode_module, &cpu, &best);
    else
        for (unsigned int n = options.ucode == UCODE_SCAN ? 1 : 2; n < boot_info.module_count; n++)
            search_module(n, &cpu, &best);
    if (best.data)
        microcode_load(&best);
}
