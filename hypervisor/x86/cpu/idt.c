// SPDX-License-Identifier: BSD-2-Clause
// One interrupt descriptor table for all CPUs; the stacks behind its IST slots are per CPU.
#include "x86/cpu/cpuid.h"
#include "x86/cpu/descriptors.h"
#include "x86/cpu/entry.h"
#include "x86/cpu/smap.h"
#include "x86/cpu/traps.h"
#include "x86/mm/paging.h"
#include "x86/pv/pv.h"
#include "core/cmdline.h"
#include "lib/string.h"

#define GATE_PRESENT   0x8000u
#define GATE_INTERRUPT 0x0e00u

struct gate {
    uint16_t offset_low, selector;
    uint16_t flags; // IST in bits 0-2, type and DPL above
    uint16_t offset_mid;
    uint32_t offset_high, reserved;
};

static struct gate idt[256] __section(".data.ro_after_boot") __aligned(16);

static void set_gate(unsigned int vector, unsigned int ist, unsigned int dpl)
{
    unsigned long stub = (unsigned long)idt_stubs + vector * IDT_STUB_BYTES;

    idt[vector] = (struct gate){
        .offset_low = stub,
        .offset_mid = stub >> 16,
        .offset_high = stub >> 32,
        .selector = SEL_HV_CS,
        .flags = GATE_PRESENT | GATE_INTERRUPT | dpl << 13 | ist,
    };
}

void trap_init(void)
{
    for (unsigned int vector = 0; vector < 256; vector++)
        set_gate(vector, IST_NONE, 0);
    set_gate(TRAP_DB, IST_DB, 0);
    set_gate(TRAP_NMI, IST_NMI, 0);
    set_gate(TRAP_DF, IST_DF, 0);
    set_gate(TRAP_MC, IST_MC, 0);
    set_gate(TRAP_BP, IST_NONE, 3);
    set_gate(TRAP_OF, IST_NONE, 3);
    smap_init();
}

void idt_load(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __packed idtr = {sizeof(idt) - 1, (uint64_t)idt};

    asm volatile("lidt %0" ::"m"(idtr));
}

// STAC and CLAC where the CPU has them; the places hold no-ops of the same length.
struct smap_site {
    int32_t offset;
    uint32_t last_byte;
};
extern const struct smap_site alternatives_start[], alternatives_end[];

void smap_init(void)
{
    if (!cpu_features.smap)
        return;
    for (const struct smap_site *s = alternatives_start; s < alternatives_end; s++) {
        const char *site = (const char *)&s->offset + s->offset;
        // The text is mapped read-only; the direct map reaches it for writing.
        uint8_t *p = paddr_to_virt(image_to_paddr(site));
        p[0] = 0x0f;
        p[1] = 0x01;
        p[2] = s->last_byte;
    }
    // A serialising instruction before any of them runs.
    cpuid(0, 0);
}
