// SPDX-License-Identifier: BSD-2-Clause
// Port I/O of PV guests. Two permissions are needed: the guest's kernel's (IOPL, I/O bitmap),
// without which the instruction faults, and the domain's (ioport_caps), without which nobody
// answers.
#include "core/rangeset.h"
#include "x86/arch/guest_access.h"
#include "x86/arch/io.h"
#include "x86/pv/pv_internal.h"

#include "drivers/pci.h"

#define PORT_PCI_ADDRESS 0xcf8
#define PORT_PCI_DATA    0xcfc
#define ALL_ONES(bytes)  ((bytes) == 4 ? ~0u : (1u << 8 * (bytes)) - 1)

// The bitmap lies in the kernel's address space, also when a process asks.
static bool bitmap_allows(struct vcpu *v, unsigned int port, unsigned int bytes)
{
    uint8_t bits[2] = {0xff, 0xff};
    bool user = !v->arch.in_kernel;

    if (!v->arch.iobitmap || port + bytes > v->arch.iobitmap_limit)
        return false;
    if (user)
        pv_toggle_mode(v);
    // As the CPU does: two bytes, of which the second may lie beyond the end.
    int rc = guest_copy_from(bits, v->arch.iobitmap + port / 8, 1);
    if (!rc && (port & 7) + bytes > 8)
        rc = guest_copy_from(bits + 1, v->arch.iobitmap + port / 8 + 1, 1);
    if (user)
        pv_toggle_mode(v);
    unsigned int mask = ((1u << bytes) - 1) << (port & 7);
    return !rc && !((bits[0] | bits[1] << 8) & mask);
}

bool pv_iopl_allows(const struct vcpu *v)
{
    if (!v->arch.in_kernel)
        return v->arch.iopl >= 3;
    // The guest's kernel counts as ring 1, or with the assist as ring 0.
    return v->arch.iopl >= 1 || (v->domain->vm_assist & (1ul << VMASST_TYPE_architectural_iopl));
}

bool pv_port_allowed(struct vcpu *v, unsigned int port, unsigned int bytes)
{
    return pv_iopl_allows(v) || bitmap_allows(v, port, bytes);
}

static bool domain_may(const struct vcpu *v, unsigned int port, unsigned int bytes)
{
    return rangeset_contains(v->domain->arch.ioport_caps, port, port + bytes - 1);
}

static bool is_pci_data(unsigned int port, unsigned int bytes)
{
    return port >= PORT_PCI_DATA && port + bytes <= PORT_PCI_DATA + 4;
}

uint32_t pv_port_read(struct vcpu *v, unsigned int port, unsigned int bytes)
{
    const struct pv_domain *pv = v->domain->arch.pv;

    if (port == PORT_PCI_ADDRESS && bytes == 4)
        return pv->pci_address;
    if (is_pci_data(port, bytes))
        return v->domain->is_control ? pci_raw_read(pv->pci_address, port - PORT_PCI_DATA, bytes)
                                     : ALL_ONES(bytes);
    if (!domain_may(v, port, bytes))
        return ALL_ONES(bytes);
    switch (bytes) {
    case 1:
        return inb(port);
    case 2:
        return inw(port);
    default:
        return inl(port);
    }
}

void pv_port_write(struct vcpu *v, unsigned int port, unsigned int bytes, uint32_t value)
{
    struct pv_domain *pv = v->domain->arch.pv;

    if (port == PORT_PCI_ADDRESS && bytes == 4) {
        pv->pci_address = value;
        return;
    }
    if (is_pci_data(port, bytes)) {
        if (v->domain->is_control)
            pci_raw_write(pv->pci_address, port - PORT_PCI_DATA, bytes, value);
        return;
    }
    if (!domain_may(v, port, bytes))
        return;
    switch (bytes) {
    case 1:
        outb(port, value);
        break;
    case 2:
        outw(port, value);
        break;
    default:
        outl(port, value);
        break;
    }
}
