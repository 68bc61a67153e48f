// SPDX-License-Identifier: BSD-2-Clause
// PCI configuration space through ports 0xcf8/0xcfc (segment 0). Any context.
#pragma once

#include "lib/types.h"

struct pci_addr {
    uint16_t seg;
    uint8_t bus, devfn;
};

#define PCI_ADDR(s, b, df) ((struct pci_addr){.seg = (s), .bus = (b), .devfn = (df)})

enum {
    PCI_COMMAND = 0x04,
    PCI_COMMAND_MEMORY = 1 << 1,
    PCI_STATUS = 0x06,
    PCI_STATUS_CAP_LIST = 1 << 4,
    PCI_BAR0 = 0x10,
    PCI_CAP_PTR = 0x34,
    PCI_CAP_ID_MSI = 0x05,
    PCI_CAP_ID_MSIX = 0x11,
};

// Offset below 256, naturally aligned. Absent devices read as all ones; segments other than 0 too.
uint8_t pci_read8(struct pci_addr a, unsigned int offset);
uint16_t pci_read16(struct pci_addr a, unsigned int offset);
uint32_t pci_read32(struct pci_addr a, unsigned int offset);
void pci_write16(struct pci_addr a, unsigned int offset, uint16_t v);
void pci_write32(struct pci_addr a, unsigned int offset, uint32_t v);
// Offset of a capability, 0: the device has none.
unsigned int pci_find_capability(struct pci_addr a, uint8_t id);

// A guest's access to port 0xcfc..0xcff with `address` latched in its virtual 0xcf8: `bytes` (1, 2,
// 4) at 0xcfc + offset.
uint32_t pci_raw_read(uint32_t address, unsigned int offset, unsigned int bytes);
void pci_raw_write(uint32_t address, unsigned int offset, unsigned int bytes, uint32_t v);
