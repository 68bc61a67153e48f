// SPDX-License-Identifier: BSD-2-Clause
#include "x86/cpu/microcode.h"
#include "core/console.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "memory/heap.h"
#include "x86/arch/percpu.h"
#include "x86/cpu/msr.h"

enum {
    INTEL_DATA_AT = 48, // the CPU wants the address of what follows the header
    INTEL_PLATFORM_SHIFT = 50,
    PATCH_SIZE_MAX = 8 << 20,
};

// What the CPUs get; the boot CPU sets it, the others start one after the other.
static struct {
    uint8_t *copy; // NULL: nothing to load
    unsigned int order;
    struct microcode_cpu cpu; // the boot CPU as it was
    uint32_t revision;
    unsigned int failed; // CPUs
} update;

static int revision_read(uint32_t *revision)
{
    uint64_t v;
    if (cpu_features.vendor == VENDOR_INTEL) {
        if (wrmsr_safe(MSR_UCODE_REVISION, 0))
            return -EFAULT;
        cpuid(1, 0); // puts the revision there
    }
    if (rdmsr_safe(MSR_UCODE_REVISION, &v))
        return -EFAULT;
    *revision = cpu_features.vendor == VENDOR_INTEL ? v >> 32 : v;
    return 0;
}

int microcode_this_cpu(struct microcode_cpu *cpu)
{
    uint64_t v;
    *cpu = (struct microcode_cpu){.vendor = cpu_features.vendor, .signature = cpuid(1, 0).a};
    if (cpu->vendor == VENDOR_INTEL && !rdmsr_safe(MSR_PLATFORM_ID, &v))
        cpu->platform = 1u << (v >> INTEL_PLATFORM_SHIFT & 7);
    return revision_read(&cpu->revision);
}

// On this CPU; its revision afterwards.
static int apply(uint32_t *revision)
{
    int err;
    if (cpu_features.vendor == VENDOR_INTEL) {
        asm volatile("wbinvd" ::: "memory"); // some models demand it
        err = wrmsr_safe(MSR_UCODE_WRITE, (uint64_t)(update.copy + INTEL_DATA_AT));
    } else {
        err = wrmsr_safe(MSR_AMD_UCODE_LOAD, (uint64_t)update.copy);
    }
    return err ? err : revision_read(revision);
}

static void drop_copy(void)
{
    uint8_t *copy = update.copy;
    update.copy = NULL;
    page_free(copy, update.order);
}

void __init microcode_load(const struct microcode_patch *patch)
{
    uint32_t revision = 0;
    if (patch->size > PATCH_SIZE_MAX || microcode_this_cpu(&update.cpu))
        return;
    while ((PAGE_SIZE << update.order) < patch->size)
        update.order++;
    update.copy = page_alloc(update.order);
    if (!update.copy) {
        printk(LOG_WARN "Microcode: no memory for a copy of %u bytes\n", patch->size);
        return;
    }
    memcpy(update.copy, patch->data, patch->size);
    update.revision = patch->revision;
    if (apply(&revision) || revision != patch->revision) {
        printk(LOG_WARN "Microcode: the CPU does not take revision 0x%x, 0x%x stays\n",
               patch->revision, update.cpu.revision);
        drop_copy();
        return;
    }
    printk("Microcode: revision 0x%x -> 0x%x\n", update.cpu.revision, revision);
}

void microcode_cpu_init(void)
{
    struct microcode_cpu cpu;
    uint32_t revision = 0;
    if (!update.copy)
        return;
    if (microcode_this_cpu(&cpu) || cpu.signature != update.cpu.signature ||
        cpu.platform != update.cpu.platform) {
        printk(LOG_WARN "Microcode: CPU %u is of another model: not updated\n", cpu_id());
        update.failed++;
        return;
    }
    // Threads of one core share theirs.
    if (cpu.revision >= update.revision)
        return;
    if (apply(&revision) || revision != update.revision) {
        printk(LOG_WARN "Microcode: CPU %u does not take revision 0x%x, 0x%x stays\n", cpu_id(),
               update.revision, cpu.revision);
        update.failed++;
    } else {
        printk(LOG_DEBUG "Microcode: CPU %u: revision 0x%x -> 0x%x\n", cpu_id(), cpu.revision,
               revision);
    }
}

void __init microcode_done(void)
{
    if (!update.copy)
        return;
    drop_copy();
    if (update.failed)
        printk(LOG_WARN "Microcode: %u CPUs have another revision than CPU 0\n", update.failed);
}
