// SPDX-License-Identifier: BSD-2-Clause
#include "x86/cpu/ioapic.h"
#include "core/console.h"
#include "core/spinlock.h"
#include "drivers/acpi.h"
#include "lib/errno.h"
#include "x86/arch/io.h"
#include "x86/mm/paging.h"

enum {
    REG_SELECT = 0x00,
    REG_WINDOW = 0x10,
    IOAPIC_ID = 0,
    IOAPIC_VERSION = 1,
    IOAPIC_ARBITRATION = 2,
    IOAPIC_RTE = 0x10,
    RTE_ACTIVE_LOW = 1 << 13,
    RTE_LEVEL = 1 << 15,
    RTE_MASKED = 1 << 16,
    PIC_MASTER_DATA = 0x21,
    PIC_SLAVE_DATA = 0xa1,
};

struct ioapic {
    char *registers;
    paddr_t address;
    unsigned int gsi_base, pins;
};

static struct ioapic __read_only_after_boot ioapics[ACPI_MAX_IOAPICS];
static unsigned int __read_only_after_boot ioapic_count, gsi_count;
static spinlock_t lock; // select/window pairs; interrupts off

static uint32_t reg_read(const struct ioapic *io, unsigned int reg)
{
    write32(io->registers + REG_SELECT, reg);
    return read32(io->registers + REG_WINDOW);
}

static void reg_write(const struct ioapic *io, unsigned int reg, uint32_t v)
{
    write32(io->registers + REG_SELECT, reg);
    write32(io->registers + REG_WINDOW, v);
}

static const struct ioapic *find(unsigned int gsi)
{
    for (unsigned int i = 0; i < ioapic_count; i++)
        if (gsi - ioapics[i].gsi_base < ioapics[i].pins)
            return &ioapics[i];
    return NULL;
}

static void __init init_one(const struct acpi_ioapic *a)
{
    struct ioapic *io = &ioapics[ioapic_count];
    io->registers = ioremap(a->address, 0x20);
    if (!io->registers) {
        printk(LOG_ERR "IO-APIC at %#lx cannot be mapped: not used\n", a->address.v);
        return;
    }
    uint32_t version = reg_read(io, IOAPIC_VERSION);
    if (version == 0xffffffff) {
        printk(LOG_WARN "IO-APIC at %#lx does not answer: not used\n", a->address.v);
        vunmap(io->registers);
        return;
    }
    io->address = a->address;
    io->gsi_base = a->gsi_base;
    io->pins = (version >> 16 & 0xff) + 1;
    for (unsigned int pin = 0; pin < io->pins; pin++) {
        reg_write(io, IOAPIC_RTE + 2 * pin, RTE_MASKED);
        reg_write(io, IOAPIC_RTE + 2 * pin + 1, 0);
    }
    gsi_count = MAX(gsi_count, io->gsi_base + io->pins);
    ioapic_count++;
    printk("IO-APIC at %#lx: GSI %u-%u\n", a->address.v, io->gsi_base, io->gsi_base + io->pins - 1);
}

// Their vectors are moved out of the way of exceptions first: a spurious one may still come.
static void __init mask_pics(void)
{
    outb(0x20, 0x11);
    outb(0xa0, 0x11);
    outb(PIC_MASTER_DATA, 0xe0);
    outb(PIC_SLAVE_DATA, 0xe8);
    outb(PIC_MASTER_DATA, 4);
    outb(PIC_SLAVE_DATA, 2);
    outb(PIC_MASTER_DATA, 1);
    outb(PIC_SLAVE_DATA, 1);
    outb(PIC_MASTER_DATA, 0xff);
    outb(PIC_SLAVE_DATA, 0xff);
}

void __init ioapic_init(void)
{
    mask_pics();
    for (unsigned int i = 0; i < acpi_info.ioapic_count; i++)
        init_one(&acpi_info.ioapics[i]);
    if (!ioapic_count)
        printk(LOG_WARN "No IO-APIC: devices have message-signalled interrupts only\n");
}

unsigned int ioapic_gsi_count(void)
{
    return gsi_count;
}

bool ioapic_gsi_valid(unsigned int gsi)
{
    return find(gsi) != NULL;
}

void ioapic_route(unsigned int gsi, uint8_t vector, uint32_t apic_dest, bool level, bool active_low,
                  bool masked)
{
    const struct ioapic *io = find(gsi);
    if (!io)
        return;
    unsigned int reg = IOAPIC_RTE + 2 * (gsi - io->gsi_base);
    uint32_t low = vector | (level ? RTE_LEVEL : 0) | (active_low ? RTE_ACTIVE_LOW : 0) |
                   (masked ? RTE_MASKED : 0);
    unsigned long flags = spin_lock_irqsave(&lock);
    // Masked while the halves disagree.
    reg_write(io, reg, low | RTE_MASKED);
    reg_write(io, reg + 1, apic_dest << 24);
    reg_write(io, reg, low);
    spin_unlock_irqrestore(&lock, flags);
}

static void change_mask(unsigned int gsi, bool masked)
{
    const struct ioapic *io = find(gsi);
    if (!io)
        return;
    unsigned int reg = IOAPIC_RTE + 2 * (gsi - io->gsi_base);
    unsigned long flags = spin_lock_irqsave(&lock);
    uint32_t low = reg_read(io, reg);
    reg_write(io, reg, masked ? low | RTE_MASKED : low & ~RTE_MASKED);
    if (masked)
        reg_read(io, reg); // the write has arrived when this returns
    spin_unlock_irqrestore(&lock, flags);
}

void ioapic_mask(unsigned int gsi)
{
    change_mask(gsi, true);
}

void ioapic_unmask(unsigned int gsi)
{
    change_mask(gsi, false);
}

void isa_gsi_polarity(unsigned int gsi, bool *level, bool *active_low)
{
    for (unsigned int i = 0; i < acpi_info.override_count; i++)
        if (acpi_info.overrides[i].gsi == gsi) {
            *level = acpi_info.overrides[i].level;
            *active_low = acpi_info.overrides[i].active_low;
            return;
        }
    *level = *active_low = gsi >= 16;
}

unsigned int isa_irq_to_gsi(unsigned int irq, bool *level, bool *active_low)
{
    unsigned int gsi = irq;
    for (unsigned int i = 0; i < acpi_info.override_count; i++)
        if (acpi_info.overrides[i].isa_irq == irq)
            gsi = acpi_info.overrides[i].gsi;
    isa_gsi_polarity(gsi, level, active_low);
    return gsi;
}

int ioapic_guest_read(paddr_t base, uint32_t reg, uint32_t *value)
{
    for (unsigned int i = 0; i < ioapic_count; i++) {
        const struct ioapic *io = &ioapics[i];
        if (io->address.v != base.v)
            continue;
        *value = 0;
        if (reg >= IOAPIC_RTE && reg < IOAPIC_RTE + 2 * io->pins) {
            *value = reg & 1 ? 0 : RTE_MASKED;
        } else if (reg <= IOAPIC_ARBITRATION) {
            unsigned long flags = spin_lock_irqsave(&lock);
            *value = reg_read(io, reg);
            spin_unlock_irqrestore(&lock, flags);
        }
        return 0;
    }
    return -EINVAL;
}
