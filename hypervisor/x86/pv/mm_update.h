// SPDX-License-Identifier: BSD-2-Clause
// Changes of page-table entries, for the hypercalls, the fault emulation and grants. Internal to
// x86/pv.
#pragma once

#include "x86/pv/mm_entries.h"

// The domain named by a hypercall's domid argument as owner of frames; a reference is held unless
// it is current's own or a system domain. 0, -ESRCH, -EPERM.
int __must_check mm_target_get(domid_t id, struct domain **out);
void mm_target_put(struct domain *d);

// Write e into *slot of an L1 table of `owner`, whose lock is held. The frame is pg_owner's.
// preserve: keep accessed and dirty bits. 0 or -EINVAL.
int __must_check l1_update(uint64_t *slot, uint64_t e, struct domain *owner,
                           struct domain *pg_owner, bool preserve);

// The same, only if *slot is `old`, atomically: -EAGAIN when it is not.
int __must_check l1_cmpxchg(uint64_t *slot, uint64_t old, uint64_t e, struct domain *owner);

// The L1 table that maps va in v's guest kernel's address space, locked; NULL: none.
struct frame *l1_table_lock(struct vcpu *v, unsigned long va);
static inline uint64_t *l1_slot(struct frame *table, unsigned long va)
{
    return (uint64_t *)frame_to_virt(table) + ((va >> PAGE_SHIFT) & 511);
}

// A validated L4 becomes the root of v's guest kernel, or of its user mode, which the m2p_strict
// assist keeps from the machine-to-phys map.
void mm_root_show_m2p(struct vcpu *v, mfn_t l4);
void mm_root_hide_m2p(struct vcpu *v, mfn_t l4);

// CPUs where vCPUs of d run that are named by a guest's bitmap. 0 or -EFAULT.
int __must_check mm_vcpumask_to_cpus(const struct domain *d, const void *guest_mask,
                                     unsigned long *cpus);
// What a guest may rely on after asking for a flush of its TLB here.
static inline void mm_flush_guest_local(void)
{
    tlb_flush_local_global();
}
