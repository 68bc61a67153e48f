// SPDX-License-Identifier: BSD-2-Clause
// The PIRQ operations behind PHYSDEVOP_* (public header physdev.h). Each returns 0 or -E.
#pragma once

#include "core/domain.h"

#include <xen/physdev.h>

#include "drivers/pci.h"

int __must_check pirq_map_gsi(struct domain *d, uint32_t gsi);
int __must_check pirq_map_msi(struct domain *d, struct pci_addr pci, bool msix, unsigned int entry,
                              uint32_t *pirq);
int __must_check pirq_unmap(struct domain *d, uint32_t pirq);
int __must_check pirq_status(struct domain *d, uint32_t pirq, uint32_t *flags);
int __must_check pirq_setup_gsi(uint32_t gsi, bool level, bool active_low);
int __must_check pirq_restore_msi(struct domain *d, struct pci_addr pci);
