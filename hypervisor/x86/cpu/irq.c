// SPDX-License-Identifier: BSD-2-Clause
// Vectors, and the interrupts behind them.
#include "x86/cpu/irq.h"
#include "core/console.h"
#include "core/evtchn.h"
#include "memory/heap.h"
#include "x86/arch/percpu.h"
#include "x86/cpu/apic.h"
#include "x86/cpu/ioapic.h"
#include "x86/cpu/irqdesc.h"
#include "x86/cpu/pirq.h"

#define DEVICE_VECTORS (VECTOR_LAST_DEVICE - VECTOR_FIRST_DEVICE + 1)

static DEFINE_PER_CPU(struct irq *[DEVICE_VECTORS], vector_irq);
static void (*direct[256])(struct cpu_user_regs *regs);
static struct irq **irqs;
static uint32_t irq_total;
static spinlock_t vector_lock = SPINLOCK_INIT; // vector_irq of all CPUs, irqs[]; irqsave

uint32_t irq_count(void)
{
    return irq_total;
}

void irq_init(void)
{
    irq_total = ioapic_gsi_count() + IRQ_MSI_COUNT;
    irqs = heap_alloc_array(irq_total, sizeof(*irqs));
    if (!irqs)
        panic("no memory for %u interrupts", irq_total);
}

void irq_set_direct(unsigned int vector, void (*fn)(struct cpu_user_regs *regs))
{
    direct[vector] = fn;
}

struct irq *irq_get(uint32_t number)
{
    return number < irq_total ? READ_ONCE(irqs[index_nospec(number, irq_total)]) : NULL;
}

// Put a new descriptor in slot `number`, or return the one that is there.
static struct irq *irq_install(uint32_t number)
{
    struct irq *irq = heap_new(struct irq);

    if (!irq)
        return NULL;
    spin_lock_init(&irq->lock);
    irq->number = number;
    irq->masked = true;
    unsigned long flags = spin_lock_irqsave(&vector_lock);
    struct irq *there = irqs[number];
    if (!there)
        irqs[number] = irq;
    spin_unlock_irqrestore(&vector_lock, flags);
    if (there)
        heap_free(irq);
    return there ? there : irq;
}

struct irq *irq_get_gsi(uint32_t gsi)
{
    if (gsi >= ioapic_gsi_count())
        return NULL;
    struct irq *irq = irq_get(gsi);
    if (irq)
        return irq;
    irq = irq_install(gsi);
    if (irq)
        isa_gsi_polarity(gsi, &irq->level, &irq->active_low);
    return irq;
}

struct irq *irq_new_msi(void)
{
    struct irq *irq = heap_new(struct irq);

    if (!irq)
        return NULL;
    spin_lock_init(&irq->lock);
    irq->masked = true;
    irq->kind = IRQ_MSI;
    unsigned long flags = spin_lock_irqsave(&vector_lock);
    for (uint32_t n = ioapic_gsi_count(); n < irq_total; n++)
        if (!irqs[n]) {
            irq->number = n;
            irqs[n] = irq;
            spin_unlock_irqrestore(&vector_lock, flags);
            return irq;
        }
    spin_unlock_irqrestore(&vector_lock, flags);
    heap_free(irq);
    return NULL;
}

void irq_free_msi(struct irq *irq)
{
    unsigned long flags = spin_lock_irqsave(&vector_lock);

    irqs[irq->number] = NULL;
    spin_unlock_irqrestore(&vector_lock, flags);
    heap_free(irq);
}

void irq_mask(struct irq *irq)
{
    irq->masked = true;
    if (irq->kind == IRQ_GSI)
        ioapic_mask(irq->number);
    else
        msi_set_mask(irq, true);
}

void irq_unmask(struct irq *irq)
{
    irq->masked = false;
    if (irq->kind == IRQ_GSI)
        ioapic_unmask(irq->number);
    else
        msi_set_mask(irq, false);
}

static int vector_alloc(struct irq *irq, unsigned int cpu)
{
    unsigned long flags = spin_lock_irqsave(&vector_lock);

    for (unsigned int i = 0; i < DEVICE_VECTORS; i++)
        if (!per_cpu(vector_irq, cpu)[i]) {
            per_cpu(vector_irq, cpu)[i] = irq;
            spin_unlock_irqrestore(&vector_lock, flags);
            irq->vector = VECTOR_FIRST_DEVICE + i;
            irq->cpu = cpu;
            return 0;
        }
    spin_unlock_irqrestore(&vector_lock, flags);
    return -ENOSPC;
}

int irq_route(struct irq *irq, unsigned int cpu, bool masked)
{
    int rc = vector_alloc(irq, cpu);

    if (rc)
        return rc;
    unsigned long flags = spin_lock_irqsave(&irq->lock);
    irq->masked = masked;
    if (irq->kind == IRQ_GSI) {
        ioapic_route(irq->number, irq->vector, apic_id_of(cpu), irq->level, irq->active_low,
                     masked);
    } else {
        msi_write(irq);
        msi_set_mask(irq, masked);
    }
    spin_unlock_irqrestore(&irq->lock, flags);
    return 0;
}

void irq_unroute(struct irq *irq)
{
    unsigned long flags = spin_lock_irqsave(&irq->lock);
    uint8_t vector = irq->vector;

    if (vector) {
        irq_mask(irq);
        irq->vector = 0;
    }
    spin_unlock_irqrestore(&irq->lock, flags);
    if (!vector)
        return;
    flags = spin_lock_irqsave(&vector_lock);
    per_cpu(vector_irq, irq->cpu)[vector - VECTOR_FIRST_DEVICE] = NULL;
    spin_unlock_irqrestore(&vector_lock, flags);
}

// A level interrupt stays masked at the IO-APIC until every domain that shares it has
// acknowledged it; edges and messages need no acknowledgement.
static void irq_deliver(struct irq *irq)
{
    struct domain *to[IRQ_MAX_GUESTS];

    spin_lock(&irq->lock);
    uint32_t n = irq->guest_count;
    for (uint32_t i = 0; i < n; i++)
        to[i] = irq->guest[i];
    if (irq->level) {
        irq_mask(irq);
        irq->eoi_pending = (1u << n) - 1;
    }
    spin_unlock(&irq->lock);
    apic_eoi();
    for (uint32_t i = 0; i < n; i++)
        evtchn_send_pirq(to[i], irq->number);
}

static void dispatch(struct cpu_user_regs *regs)
{
    uint8_t vector = regs->entry_vector;

    if (vector > VECTOR_LAST_DEVICE) {
        if (vector != VECTOR_SPURIOUS)
            apic_eoi();
        if (direct[vector])
            direct[vector](regs);
        return;
    }
    struct irq *irq = this_cpu(vector_irq)[vector - VECTOR_FIRST_DEVICE];
    if (likely(irq)) {
        irq_deliver(irq);
        return;
    }
    apic_eoi();
    if (printk_ratelimit())
        printk(LOG_WARN "CPU %u: interrupt on vector %#x that nothing uses\n", cpu_id(), vector);
}

void irq_dispatch(struct cpu_user_regs *regs)
{
    lock_check_interrupt(true);
    dispatch(regs);
    lock_check_interrupt(false);
}
