// SPDX-License-Identifier: BSD-2-Clause
// HYPERVISOR_physdev_op: interrupts, PCI devices and I/O privilege.
#include "x86/cpu/physdev.h"
#include "core/access.h"
#include "core/evtchn.h"
#include "core/hypercall.h"
#include "lib/string.h"
#include "x86/arch/guest_access.h"
#include "x86/cpu/ioapic.h"
#include "x86/cpu/irqdesc.h"

union physdev_arg {
    struct physdev_eoi eoi;
    struct physdev_irq_status_query status;
    struct physdev_set_iopl iopl;
    struct physdev_set_iobitmap iobitmap;
    struct physdev_apic apic;
    struct physdev_irq vector;
    struct physdev_map_pirq map;
    struct physdev_unmap_pirq unmap;
    struct physdev_manage_pci manage_pci;
    struct physdev_manage_pci_ext manage_pci_ext;
    struct physdev_restore_msi restore_msi;
    struct physdev_setup_gsi setup_gsi;
    struct physdev_get_free_pirq free_pirq;
    struct physdev_pci_mmcfg_reserved mmcfg;
    struct physdev_pci_device_add device_add;
    struct physdev_pci_device device;
};

struct physdev_op_row {
    const char *name;
    long (*fn)(union physdev_arg *a);
    uint8_t size;
    bool copy_back;  // on success
    bool privileged; // ACCESS_HARDWARE
};

static long physdev_eoi(union physdev_arg *a)
{
    arch_pirq_unmask(current->domain, a->eoi.irq);
    return 0;
}

static long physdev_irq_status_query(union physdev_arg *a)
{
    uint32_t flags;
    int rc = pirq_status(current->domain, a->status.irq, &flags);
    if (!rc)
        a->status.flags = flags;
    return rc;
}

static long physdev_set_iopl(union physdev_arg *a)
{
    if (a->iopl.iopl > 3)
        return -EINVAL;
    current->arch.iopl = a->iopl.iopl;
    return 0;
}

static long physdev_set_iobitmap(union physdev_arg *a)
{
    uint8_t *bitmap = a->iobitmap.bitmap.p;

    if (a->iobitmap.nr_ports > 65536 ||
        !guest_range_ok(bitmap, DIV_ROUND_UP(a->iobitmap.nr_ports, 8)))
        return -EINVAL;
    current->arch.iobitmap = bitmap;

    current->arch.iobitmap_limit = a->iobitmap.nr_ports;
    return 0;
}

static long physdev_apic_read(union physdev_arg *a)
{
    return ioapic_guest_read(PADDR(a->apic.apic_physbase), a->apic.reg, &a->apic.value);
}

// Routes are the hypervisor's: a write is accepted and has no effect, as setup_gsi says it all.
static long physdev_apic_write(union physdev_arg *a)
{
    uint32_t unused;
    return ioapic_guest_read(PADDR(a->apic.apic_physbase), 0, &unused);
}

static long physdev_alloc_irq_vector(union physdev_arg *a)
{
    if (a->vector.irq >= ioapic_gsi_count())
        return -EINVAL;
    a->vector.vector = a->vector.irq;
    return pirq_map_gsi(current->domain, a->vector.irq);
}

static long map_msi(struct domain *d, union physdev_arg *a)
{
    bool has_segment = a->map.type != MAP_PIRQ_TYPE_MSI;
    struct pci_addr pci = PCI_ADDR(has_segment ? a->map.bus >> 16 : 0, a->map.bus, a->map.devfn);
    uint32_t pirq;

    if (a->map.pirq >= 0)
        return -EOPNOTSUPP;
    if (a->map.type == MAP_PIRQ_TYPE_MULTI_MSI && a->map.entry_nr != 1)
        return -EOPNOTSUPP;
    int rc = pirq_map_msi(d, pci, a->map.table_base != 0, a->map.table_base ? a->map.entry_nr : 0,
                          &pirq);
    if (!rc)
        a->map.pirq = pirq;
    return rc;
}

static long physdev_map_pirq(union physdev_arg *a)
{
    struct domain *d = domain_get_by_any_id(a->map.domid);
    long rc;

    if (!d)
        return -ESRCH;
    switch (a->map.type) {
    case MAP_PIRQ_TYPE_GSI:
        if (a->map.index < 0 || (a->map.pirq >= 0 && a->map.pirq != a->map.index)) {
            rc = -EINVAL;
            break;
        }
        rc = pirq_map_gsi(d, a->map.index);
        a->map.pirq = a->map.index;
        break;
    case MAP_PIRQ_TYPE_MSI:
    case MAP_PIRQ_TYPE_MSI_SEG:
    case MAP_PIRQ_TYPE_MULTI_MSI:
        rc = map_msi(d, a);
        break;
    default:
        rc = -EINVAL;
    }
    domain_put(d);
    return rc;
}

static long physdev_unmap_pirq(union physdev_arg *a)
{
    struct domain *d = domain_get_by_any_id(a->unmap.domid);

    if (!d)
        return -ESRCH;
    long rc = a->unmap.pirq < 0 ? -EINVAL : pirq_unmap(d, a->unmap.pirq);
    domain_put(d);
    return rc;
}

// Devices are found through configuration space when they are needed: nothing to remember.
static long physdev_pci_known(union physdev_arg *a)
{
    return 0;
}

static long physdev_restore_msi(union physdev_arg *a)
{
    return pirq_restore_msi(current->domain, PCI_ADDR(0, a->restore_msi.bus, a->restore_msi.devfn));
}

static long physdev_restore_msi_ext(union physdev_arg *a)
{
    return pirq_restore_msi(current->domain,
                            PCI_ADDR(a->device.seg, a->device.bus, a->device.devfn));
}

static long physdev_setup_gsi(union physdev_arg *a)
{
    if (a->setup_gsi.gsi < 0 || a->setup_gsi.triggering > 1 || a->setup_gsi.polarity > 1)
        return -EINVAL;
    return pirq_setup_gsi(a->setup_gsi.gsi, a->setup_gsi.triggering, a->setup_gsi.polarity);
}

static long physdev_get_free_pirq(union physdev_arg *a)
{
    // A domain's PIRQ for a message-signalled interrupt is known when it is mapped, not before.
    return -EOPNOTSUPP;
}

#define ROW(op, handler, type, back, priv) \
    [PHYSDEVOP_##op] = {                   \
        .name = #op, .fn = handler, .size = sizeof(type), .copy_back = back, .privileged = priv}

static const struct physdev_op_row physdev_ops[] = {
    ROW(irq_status_query, physdev_irq_status_query, struct physdev_irq_status_query, true, false),
    ROW(set_iopl, physdev_set_iopl, struct physdev_set_iopl, false, false),
    ROW(set_iobitmap, physdev_set_iobitmap, struct physdev_set_iobitmap, false, false),
    ROW(apic_read, physdev_apic_read, struct physdev_apic, true, true),
    ROW(apic_write, physdev_apic_write, struct physdev_apic, false, true),
    ROW(alloc_irq_vector, physdev_alloc_irq_vector, struct physdev_irq, true, true),
    ROW(eoi, physdev_eoi, struct physdev_eoi, false, false),
    ROW(map_pirq, physdev_map_pirq, struct physdev_map_pirq, true, true),
    ROW(unmap_pirq, physdev_unmap_pirq, struct physdev_unmap_pirq, false, true),
    ROW(manage_pci_add, physdev_pci_known, struct physdev_manage_pci, false, true),
    ROW(manage_pci_remove, physdev_pci_known, struct physdev_manage_pci, false, true),
    ROW(restore_msi, physdev_restore_msi, struct physdev_restore_msi, false, true),
    ROW(manage_pci_add_ext, physdev_pci_known, struct physdev_manage_pci_ext, false, true),
    ROW(setup_gsi, physdev_setup_gsi, struct physdev_setup_gsi, false, true),
    ROW(get_free_pirq, physdev_get_free_pirq, struct physdev_get_free_pirq, false, true),
    ROW(pci_mmcfg_reserved, physdev_pci_known, struct physdev_pci_mmcfg_reserved, false, true),
    ROW(pci_device_add, physdev_pci_known, struct physdev_pci_device_add, false, true),
    ROW(pci_device_remove, physdev_pci_known, struct physdev_pci_device, false, true),
    ROW(restore_msi_ext, physdev_restore_msi_ext, struct physdev_pci_device, false, true),
    ROW(prepare_msix, physdev_pci_known, struct physdev_pci_device, false, true),
    ROW(release_msix, physdev_pci_known, struct physdev_pci_device, false, true),
};

long hc_physdev_op(unsigned long cmd, unsigned long arg)
{
    union physdev_arg a = {0};

    if (cmd >= ARRAY_SIZE(physdev_ops))
        return -ENOSYS;
    const struct physdev_op_row *row = &physdev_ops[index_nospec(cmd, ARRAY_SIZE(physdev_ops))];
    if (!row->fn)
        return -ENOSYS;
    if (row->privileged && access_check(current->domain, ACCESS_HARDWARE, NULL))
        return -EPERM;
    if (guest_copy_from(&a, (void *)arg, row->size))
        return -EFAULT;
    long rc = row->fn(&a);
    if (rc == 0 && row->copy_back && guest_copy_to((void *)arg, &a, row->size))
        return -EFAULT;
    return rc;
}

// The old form carries its number in front of the argument.
long hc_physdev_op_compat(unsigned long op)
{
    uint32_t cmd;

    if (guest_copy_from(&cmd, (void *)op, sizeof(cmd)))
        return -EFAULT;
    switch (cmd) {
    case PHYSDEVOP_irq_status_query:
    case PHYSDEVOP_set_iopl:
    case PHYSDEVOP_set_iobitmap:
    case PHYSDEVOP_apic_read:
    case PHYSDEVOP_apic_write:
    case PHYSDEVOP_alloc_irq_vector:
        return hc_physdev_op(cmd, op + offsetof(struct physdev_op, u));
    default:
        return -ENOSYS;
    }
}
