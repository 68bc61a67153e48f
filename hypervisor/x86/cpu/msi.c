// SPDX-License-Identifier: BSD-2-Clause
// Message-signalled interrupts: PCI Local Bus 3.0, 6.8.
#include "x86/cpu/apic.h"
#include "x86/cpu/irqdesc.h"
#include "x86/arch/io.h"
#include "memory/frame.h"
#include "x86/mm/paging.h"

enum {
    MSI_CONTROL = 2,
    MSI_CONTROL_64BIT = 1 << 7,
    MSI_CONTROL_MASKBITS = 1 << 8,
    MSI_ADDRESS = 4,
    MSI_ADDRESS_HIGH = 8,
    MSIX_CONTROL = 2,
    MSIX_CONTROL_SIZE = 0x7ff,
    MSIX_TABLE = 4,
    MSIX_ENTRY_BYTES = 16,
    MSIX_ENTRY_DATA = 8,
    MSIX_ENTRY_CTRL = 12,
    MSIX_ENTRY_MASKED = 1,
    MSI_ADDRESS_BASE = 0xfee00000,
};

static uint32_t message_address(const struct irq *irq)
{
    return MSI_ADDRESS_BASE | (apic_id_of(irq->cpu) & 0xff) << 12;
}

static unsigned int msi_data_offset(uint16_t control)
{
    return control & MSI_CONTROL_64BIT ? 12 : 8;
}

void msi_write(struct irq *irq)
{
    if (irq->kind == IRQ_MSIX) {
        write32(irq->table_entry, message_address(irq));
        write32((char *)irq->table_entry + 4, 0);
        write32((char *)irq->table_entry + MSIX_ENTRY_DATA, irq->vector);
        return;
    }
    uint16_t control = pci_read16(irq->pci, irq->cap + MSI_CONTROL);
    pci_write32(irq->pci, irq->cap + MSI_ADDRESS, message_address(irq));
    if (control & MSI_CONTROL_64BIT)
        pci_write32(irq->pci, irq->cap + MSI_ADDRESS_HIGH, 0);
    pci_write16(irq->pci, irq->cap + msi_data_offset(control), irq->vector);
}

void msi_set_mask(struct irq *irq, bool masked)
{
    if (irq->kind == IRQ_MSIX) {
        write32((char *)irq->table_entry + MSIX_ENTRY_CTRL, masked ? MSIX_ENTRY_MASKED : 0);
        return;
    }
    uint16_t control = pci_read16(irq->pci, irq->cap + MSI_CONTROL);
    if (control & MSI_CONTROL_MASKBITS)
        pci_write32(irq->pci, irq->cap + msi_data_offset(control) + 4, masked ? 1 : 0);
}

static uint64_t bar_address(struct pci_addr pci, unsigned int bir)
{
    if (bir > 5)
        return 0;
    uint32_t low = pci_read32(pci, PCI_BAR0 + bir * 4);
    if (low & 1)
        return 0;
    uint64_t address = low & ~0xfu;
    if ((low & 6) == 4 && bir < 5)
        address |= (uint64_t)pci_read32(pci, PCI_BAR0 + bir * 4 + 4) << 32;
    return address;
}

static int attach_msix(struct irq *irq, unsigned int entry)
{
    uint16_t control = pci_read16(irq->pci, irq->cap + MSIX_CONTROL);
    uint32_t table = pci_read32(irq->pci, irq->cap + MSIX_TABLE);

    if (entry > (control & MSIX_CONTROL_SIZE))
        return -EINVAL;
    if (!(pci_read16(irq->pci, PCI_COMMAND) & PCI_COMMAND_MEMORY))
        return -ENXIO;
    uint64_t base = bar_address(irq->pci, table & 7);
    uint64_t pa = base + (table & ~7u) + entry * MSIX_ENTRY_BYTES;
    // A device that claims its table in RAM would have us overwrite it.
    if (!base || mfn_is_ram(MFN(pa >> PAGE_SHIFT)))
        return -EINVAL;
    irq->table_map = ioremap(PADDR(pa), MSIX_ENTRY_BYTES);
    if (!irq->table_map)
        return -ENOMEM;
    irq->table_entry = irq->table_map;
    return 0;
}

int msi_attach(struct irq *irq, struct pci_addr pci, bool msix, unsigned int entry)
{
    irq->pci = pci;
    irq->kind = msix ? IRQ_MSIX : IRQ_MSI;
    irq->entry = entry;
    irq->cap = pci_find_capability(pci, msix ? PCI_CAP_ID_MSIX : PCI_CAP_ID_MSI);
    if (!irq->cap)
        return -ENODEV;
    return msix ? attach_msix(irq, entry) : 0;
}

void msi_detach(struct irq *irq)
{
    if (irq->table_map)
        vunmap(irq->table_map);
    irq->table_map = irq->table_entry = NULL;
}
