// SPDX-License-Identifier: BSD-2-Clause
// PV guests: what the entry and trap side (traps, descriptors, privops) and the memory side
// (page types, MMU calls) of x86/pv ask of each other.
#pragma once

#include "core/domain.h"
#include "memory/frame.h"

// Selectors of the hypervisor's page of every GDT (page 14; values of the public ABI).
#define SEL_HV_CS      0xe008
#define SEL_HV_DS      0xe010
#define SEL_HV_CS32    0xe018 // compatibility mode, boot only
#define SEL_GUEST_CS32 0xe023
#define SEL_GUEST_DS32 0xe02b // also SS64/DS64 flat ring 3
#define SEL_GUEST_CS64 0xe033
#define SEL_TSS        0xe040
#define SEL_LDT        0xe050
#define SEL_PERCPU     0xe060 // limit holds the CPU number (LSL)

// Virtual addresses of a vCPU's descriptor tables in the per-domain slot: 16 pages of GDT, then 16
// pages of LDT. GDT page 14 is the physical CPU's own page and is switched with the vCPU.
#define PERDOMAIN_VCPU_BYTES (32 * PAGE_SIZE)
static inline unsigned long pv_gdt_virt(const struct vcpu *v)
{
    return PERDOMAIN_VIRT + v->id * PERDOMAIN_VCPU_BYTES;
}
static inline unsigned long pv_ldt_virt(const struct vcpu *v)
{
    return pv_gdt_virt(v) + 16 * PAGE_SIZE;
}

struct pv_domain {
    uint32_t pinned_relinquish_state; // how far pv_mm_relinquish has come
    uint32_t relinquish_cursor;
    uint32_t pci_address; // its port 0xcf8
};

// ---- memory side (x86/pv/mm_*.c) ------------------------------------------------------------
// Take a reference and a use as `type` (validating page tables / descriptors as needed).
// 0, -EINVAL (not d's, wrong type, bad contents), -EBUSY, -ERESTART (preempted: call again).
int __must_check pv_frame_get_type(mfn_t mfn, struct domain *d, uint32_t type, bool preemptible);
void pv_frame_put_type(struct frame *f); // drop both
int __must_check pv_frame_put_type_preemptible(struct frame *f);
// Roots for a stopped vCPU: references are taken (old ones dropped). user may be 0.
int __must_check pv_vcpu_set_roots(struct vcpu *v, mfn_t kernel, mfn_t user);
int __must_check pv_vcpu_drop_roots(struct vcpu *v); // preemptible
// Pin a root as the ABI wants a domain's first one. Not preemptible: 0 or -EINVAL.
int __must_check pv_pin_root(struct domain *d, mfn_t mfn);
// Recompute v->arch.cr3 from in_kernel and the roots; load it when v is current.
void pv_update_cr3(struct vcpu *v);
// A guest kernel's own load of CR3: another kernel root. 0, -ERESTART (again, please) or -E.
int __must_check pv_write_cr3(struct vcpu *v, uint64_t value);
// A write fault of a guest kernel on its own page table or of dom0 on read-only MMIO: emulated?
bool pv_ptwr_fault(struct vcpu *v, unsigned long addr, struct cpu_user_regs *regs);
// Present leaf PTE that maps va in current's tables (through the direct map); 0: none.
uint64_t pv_guest_pte(struct vcpu *v, unsigned long va);
// Unpin and release everything; preemptible.
int __must_check pv_mm_relinquish(struct domain *d);
// The frame behind a guest-virtual linear address for LDT/GDT shadowing, no reference.
mfn_t pv_linear_to_mfn(struct vcpu *v, unsigned long va);

// ---- descriptors (x86/pv/descriptors.c) ---------------------------------------------------------
// May d use this descriptor? Fixes up what the ABI lets the hypervisor fix (DPL).
bool pv_descriptor_ok(const struct domain *d, uint64_t *desc);
int __must_check pv_set_gdt(struct vcpu *v, const unsigned long *frames, unsigned int entries);
void pv_destroy_gdt(struct vcpu *v);
// Drop the shadow LDT mappings of v (before its LDT or the pages change). True: there were any.
bool pv_invalidate_ldt(struct vcpu *v);
int __must_check pv_set_ldt(struct vcpu *v, unsigned long base, unsigned int entries);
int __must_check pv_perdomain_create(struct domain *d); // tables of L4_SLOT_PERDOMAIN
void pv_perdomain_destroy(struct domain *d);

// ---- traps (x86/pv/traps.c, entry.S) ----------------------------------------------------------
// Deliver an exception to current's guest kernel on return: through its trap table.
void pv_inject_trap(unsigned int vector, uint32_t error_code);
void pv_inject_page_fault(unsigned long addr, uint32_t error_code);
// Switch between guest kernel and user mode: GS bases, CR3, in_kernel.
void pv_toggle_mode(struct vcpu *v);
// Fill a page with the hypercall entry points of the ABI, 32 bytes each.
void pv_hypercall_page_init(void *page);
