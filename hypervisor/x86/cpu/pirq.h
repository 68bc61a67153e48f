// SPDX-License-Identifier: BSD-2-Clause
// Physical interrupts as domains see them: PIRQ numbers, bound to event channels. GSIs keep their
// number as PIRQ; MSIs get free ones above. Locks: a domain's irq->lock, then the IRQ's.
#pragma once

#include "core/domain.h"

struct physdev_map_pirq;

void irq_init(void); // after ioapic and LAPIC of the boot CPU
int __must_check irq_domain_init(struct domain *d);
void irq_domain_relinquish(struct domain *d); // unbind and unmap all
void irq_domain_destroy(struct domain *d);
// Let d (the control domain) bind every device interrupt of the machine.
int __must_check pirq_grant_hardware(struct domain *d);
unsigned int pirq_count(void); // numbers [0, count) exist for a domain
