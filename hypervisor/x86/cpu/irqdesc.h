// SPDX-License-Identifier: BSD-2-Clause
// One device interrupt of the machine, as x86/cpu/irq.c, msi.c and pirq.c share it.
// Numbers: GSIs first, [0, ioapic_gsi_count()), MSIs above. A domain's PIRQ has the IRQ's number.
#pragma once

#include "core/domain.h"
#include "drivers/pci.h"

#define IRQ_MAX_GUESTS 4
#define IRQ_MSI_COUNT  1024

enum irq_kind { IRQ_GSI, IRQ_MSI, IRQ_MSIX };

struct irq {
    spinlock_t lock; // irqsave
    uint32_t number;
    enum irq_kind kind;
    uint8_t vector; // 0: not routed
    uint32_t cpu;   // where it is routed
    bool level, active_low;
    bool masked;
    // Domains it is delivered to, and which of them have not yet acknowledged a level interrupt.
    struct domain *guest[IRQ_MAX_GUESTS];
    uint32_t guest_count;
    uint32_t eoi_pending;
    // MSI and MSI-X.
    struct pci_addr pci;
    uint16_t cap;      // offset of the capability
    uint16_t entry;    // MSI-X table entry, or index within a multi-MSI block
    void *table_entry; // MSI-X: the mapped entry
    void *table_map;   // what to vunmap
};

struct irq *irq_get(uint32_t number);  // existing, or NULL
struct irq *irq_get_gsi(uint32_t gsi); // made when needed; NULL: no such GSI / memory
struct irq *irq_new_msi(void);         // a free number above the GSIs, or NULL
void irq_free_msi(struct irq *irq);    // not routed any more
uint32_t irq_count(void);              // numbers [0, count)
// Give it a vector on `cpu` and let the hardware send it there, masked or not. -ENOSPC: no vector.
int __must_check irq_route(struct irq *irq, unsigned int cpu, bool masked);
void irq_unroute(struct irq *irq); // mask, take the vector back
void irq_mask(struct irq *irq);    // irq->lock held
void irq_unmask(struct irq *irq);  // irq->lock held

// msi.c: write address and data for irq->vector on irq->cpu / mask or unmask where possible.
void msi_write(struct irq *irq);
void msi_set_mask(struct irq *irq, bool masked);
// Find the capability (and the MSI-X table entry) of a device. 0 or -ENODEV, -EINVAL, -ENOMEM.
int __must_check msi_attach(struct irq *irq, struct pci_addr pci, bool msix, unsigned int entry);
void msi_detach(struct irq *irq);
