// SPDX-License-Identifier: BSD-2-Clause
// The IO-APICs: one redirection entry per global system interrupt (GSI).
#pragma once

#include "lib/types.h"

// Find and map all IO-APICs of the MADT, mask every entry; mask the two 8259s for good.
void ioapic_init(void);
unsigned int ioapic_gsi_count(void); // GSIs are below this
bool ioapic_gsi_valid(unsigned int gsi);

// Program an entry: fixed delivery of `vector` to the CPU with that APIC id. Any context.
// GSIs without an IO-APIC are ignored by all of these.
void ioapic_route(unsigned int gsi, uint8_t vector, uint32_t apic_dest, bool level, bool active_low,
                  bool masked);
void ioapic_mask(unsigned int gsi);
void ioapic_unmask(unsigned int gsi);

// Trigger and polarity that a GSI has when nobody says otherwise: an override of the MADT, else
// those of the ISA bus below 16 and of PCI above.
void isa_gsi_polarity(unsigned int gsi, bool *level, bool *active_low);
// The GSI of an ISA interrupt and its trigger and polarity.
unsigned int isa_irq_to_gsi(unsigned int irq, bool *level, bool *active_low);
// Register `reg` of the IO-APIC at `base` as the control domain may see it: entries read as masked.
// -EINVAL: no such IO-APIC.
int __must_check ioapic_guest_read(paddr_t base, uint32_t reg, uint32_t *value);
