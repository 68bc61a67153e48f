// SPDX-License-Identifier: BSD-2-Clause
#include "x86/cpu/pirq.h"
#include "core/evtchn.h"
#include "core/rangeset.h"
#include "memory/heap.h"
#include "x86/cpu/ioapic.h"
#include "x86/cpu/irqdesc.h"
#include "x86/cpu/physdev.h"

struct irq_domain {
    spinlock_t lock;       // mapped; taken before an irq's lock
    unsigned long *mapped; // PIRQs the domain may bind, by number
};

unsigned int pirq_count(void)
{
    return irq_count();
}

int irq_domain_init(struct domain *d)
{
    d->arch.irq = heap_new(struct irq_domain);
    if (!d->arch.irq)
        return -ENOMEM;
    spin_lock_init(&d->arch.irq->lock);
    return 0;
}

void irq_domain_destroy(struct domain *d)
{
    if (d->arch.irq)
        heap_free(d->arch.irq->mapped);
    heap_free(d->arch.irq);
    d->arch.irq = NULL;
}

// The bitmap is made when a domain first maps an interrupt: most never do.
static int mapped_init(struct irq_domain *id)
{
    if (id->mapped)
        return 0;
    unsigned long *map = heap_alloc_array(BITMAP_WORDS(irq_count()), sizeof(long));
    if (!map)
        return -ENOMEM;
    spin_lock(&id->lock);
    if (!id->mapped) {
        id->mapped = map;
        map = NULL;
    }
    spin_unlock(&id->lock);
    heap_free(map);
    return 0;
}

int pirq_grant_hardware(struct domain *d)
{
    return rangeset_add(d->irq_caps, 0, irq_count() - 1);
}

static bool is_mapped(struct domain *d, uint32_t pirq)
{
    return pirq < irq_count() && d->arch.irq->mapped && bit_test(d->arch.irq->mapped, pirq);
}

int pirq_map_gsi(struct domain *d, uint32_t gsi)
{
    if (gsi >= ioapic_gsi_count())
        return -EINVAL;
    if (!rangeset_contains(d->irq_caps, gsi, gsi))
        return -EPERM;
    int rc = irq_get_gsi(gsi) ? mapped_init(d->arch.irq) : -ENOMEM;
    if (!rc)
        bit_set_atomic(d->arch.irq->mapped, gsi);
    return rc;
}

int pirq_map_msi(struct domain *d, struct pci_addr pci, bool msix, unsigned int entry,
                 uint32_t *pirq)
{
    int rc = mapped_init(d->arch.irq);

    if (rc)
        return rc;
    struct irq *irq = irq_new_msi();
    if (!irq)
        return -ENOSPC;
    rc = msi_attach(irq, pci, msix, entry);
    if (rc) {
        irq_free_msi(irq);
        return rc;
    }
    *pirq = irq->number;
    bit_set_atomic(d->arch.irq->mapped, irq->number);
    return 0;
}

int pirq_unmap(struct domain *d, uint32_t pirq)
{
    if (!is_mapped(d, pirq))
        return -EINVAL;
    if (!bit_test_and_clear_atomic(d->arch.irq->mapped, pirq))
        return -EINVAL;
    struct irq *irq = irq_get(pirq);
    arch_pirq_unbind(d, pirq);
    if (irq->kind != IRQ_GSI) {
        irq_unroute(irq);
        // A CPU that took the last interrupt may still be looking at it.
        arch_cpu_sync();
        msi_detach(irq);
        irq_free_msi(irq);
    }
    return 0;
}

static int guest_add(struct irq *irq, struct domain *d, bool share)
{
    int rc = 0;
    unsigned long flags = spin_lock_irqsave(&irq->lock);

    for (uint32_t i = 0; i < irq->guest_count; i++)
        if (irq->guest[i] == d)
            rc = -EEXIST;
    if (!rc && irq->guest_count && (!share || irq->guest_count == IRQ_MAX_GUESTS))
        rc = -EBUSY;
    if (!rc)
        irq->guest[irq->guest_count++] = d;
    spin_unlock_irqrestore(&irq->lock, flags);
    return rc;
}

// Returns the number of domains left.
static uint32_t guest_remove(struct irq *irq, struct domain *d)
{
    unsigned long flags = spin_lock_irqsave(&irq->lock);

    for (uint32_t i = 0; i < irq->guest_count; i++) {
        if (irq->guest[i] != d)
            continue;
        uint32_t last = --irq->guest_count;
        bool last_pending = irq->eoi_pending & 1u << last;
        irq->guest[i] = irq->guest[last];
        irq->eoi_pending &= ~(1u << i | 1u << last);
        if (last_pending && i != last)
            irq->eoi_pending |= 1u << i;
        if (irq->level && irq->masked && !irq->eoi_pending && irq->guest_count)
            irq_unmask(irq);
        break;
    }
    uint32_t left = irq->guest_count;
    spin_unlock_irqrestore(&irq->lock, flags);
    return left;
}

int arch_pirq_bind(struct vcpu *v, uint32_t pirq, bool share)
{
    struct domain *d = v->domain;

    if (!is_mapped(d, pirq)) {
        // A privileged domain may bind a GSI without mapping it first.
        int rc = pirq < ioapic_gsi_count() ? pirq_map_gsi(d, pirq) : -EINVAL;
        if (rc)
            return rc;
    }
    struct irq *irq = irq_get(pirq);
    int rc = guest_add(irq, d, share);
    if (rc || irq->vector)
        return rc;
    rc = irq_route(irq, v->cpu, false);
    if (rc)
        guest_remove(irq, d);
    return rc;
}

void arch_pirq_unbind(struct domain *d, uint32_t pirq)
{
    struct irq *irq = irq_get(pirq);

    if (irq && guest_remove(irq, d) == 0)
        irq_unroute(irq);
}

void arch_pirq_unmask(struct domain *d, uint32_t pirq)
{
    // Others' may be freed at any moment.
    struct irq *irq = is_mapped(d, pirq) ? irq_get(pirq) : NULL;

    if (!irq || !irq->level)
        return;
    unsigned long flags = spin_lock_irqsave(&irq->lock);
    uint32_t before = irq->eoi_pending;
    for (uint32_t i = 0; i < irq->guest_count; i++)
        if (irq->guest[i] == d)
            irq->eoi_pending &= ~(1u << i);
    if (before && !irq->eoi_pending && irq->vector)
        irq_unmask(irq);
    spin_unlock_irqrestore(&irq->lock, flags);
}

int pirq_status(struct domain *d, uint32_t pirq, uint32_t *flags)
{
    if (!is_mapped(d, pirq))
        return -EINVAL;
    struct irq *irq = irq_get(pirq);
    *flags =
        (irq->level ? XENIRQSTAT_needs_eoi : 0) | (irq->guest_count > 1 ? XENIRQSTAT_shared : 0);
    return 0;
}

int pirq_setup_gsi(uint32_t gsi, bool level, bool active_low)
{
    struct irq *irq = irq_get_gsi(gsi);

    if (!irq)
        return -EINVAL;
    unsigned long flags = spin_lock_irqsave(&irq->lock);
    // Once in use it stays as it is.
    int rc = irq->vector && (irq->level != level || irq->active_low != active_low) ? -EBUSY : 0;
    if (!rc) {
        irq->level = level;
        irq->active_low = active_low;
    }
    spin_unlock_irqrestore(&irq->lock, flags);
    return rc;
}

int pirq_restore_msi(struct domain *d, struct pci_addr pci)
{
    for (uint32_t n = ioapic_gsi_count(); n < irq_count(); n++) {
        struct irq *irq = is_mapped(d, n) ? irq_get(n) : NULL;
        if (!irq || irq->pci.bus != pci.bus || irq->pci.devfn != pci.devfn || !irq->vector)
            continue;
        unsigned long flags = spin_lock_irqsave(&irq->lock);
        msi_write(irq);
        msi_set_mask(irq, irq->masked);
        spin_unlock_irqrestore(&irq->lock, flags);
    }
    return 0;
}

void irq_domain_relinquish(struct domain *d)
{
    if (!d->arch.irq || !d->arch.irq->mapped)
        return;
    for (uint32_t n = 0; n < irq_count(); n++)
        if (is_mapped(d, n) && pirq_unmap(d, n))
            ASSERT_UNREACHABLE();
}
