// SPDX-License-Identifier: BSD-2-Clause
#include "drivers/pci.h"
#include "core/spinlock.h"
#include "x86/arch/io.h"

#define PORT_ADDRESS 0xcf8
#define PORT_DATA    0xcfc
#define ENABLE       0x80000000u
#define MAX_CAPS     48

static spinlock_t pci_lock = SPINLOCK_INIT;

uint32_t pci_raw_read(uint32_t address, unsigned int offset, unsigned int bytes)
{
    uint16_t port = PORT_DATA + (offset & 3);
    unsigned long flags = spin_lock_irqsave(&pci_lock);
    uint32_t v;

    outl(PORT_ADDRESS, address);
    if (bytes == 1)
        v = inb(port);
    else if (bytes == 2)
        v = inw(port);
    else
        v = inl(port);
    spin_unlock_irqrestore(&pci_lock, flags);
    return v;
}

void pci_raw_write(uint32_t address, unsigned int offset, unsigned int bytes, uint32_t v)
{
    uint16_t port = PORT_DATA + (offset & 3);
    unsigned long flags = spin_lock_irqsave(&pci_lock);

    outl(PORT_ADDRESS, address);
    if (bytes == 1)
        outb(port, v);
    else if (bytes == 2)
        outw(port, v);
    else
        outl(port, v);
    spin_unlock_irqrestore(&pci_lock, flags);
}

static uint32_t address_of(struct pci_addr a, unsigned int offset)
{
    return ENABLE | (uint32_t)a.bus << 16 | (uint32_t)a.devfn << 8 | (offset & 0xfc);
}

static uint32_t read_any(struct pci_addr a, unsigned int offset, unsigned int bytes)
{
    if (a.seg || offset > 0xff)
        return ~0u;
    return pci_raw_read(address_of(a, offset), offset, bytes);
}

uint8_t pci_read8(struct pci_addr a, unsigned int offset)
{
    return read_any(a, offset, 1);
}
uint16_t pci_read16(struct pci_addr a, unsigned int offset)
{
    return read_any(a, offset, 2);
}
uint32_t pci_read32(struct pci_addr a, unsigned int offset)
{
    return read_any(a, offset, 4);
}

void pci_write16(struct pci_addr a, unsigned int offset, uint16_t v)
{
    if (!a.seg)
        pci_raw_write(address_of(a, offset), offset, 2, v);
}

void pci_write32(struct pci_addr a, unsigned int offset, uint32_t v)
{
    if (!a.seg)
        pci_raw_write(address_of(a, offset), offset, 4, v);
}

unsigned int pci_find_capability(struct pci_addr a, uint8_t id)
{
    if (pci_read16(a, PCI_STATUS) == 0xffff || !(pci_read16(a, PCI_STATUS) & PCI_STATUS_CAP_LIST))
        return 0;
    unsigned int pos = pci_read8(a, PCI_CAP_PTR) & 0xfc;
    // A damaged list may loop.
    for (unsigned int n = 0; pos >= 0x40 && n < MAX_CAPS; n++) {
        uint16_t head = pci_read16(a, pos);
        if ((head & 0xff) == id)
            return pos;
        pos = head >> 8 & 0xfc;
    }
    return 0;
}
