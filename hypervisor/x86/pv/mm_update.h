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

// The entry for va in the table that e points to. By another vCPU's doing that can be any page by
// now, so nothing is believed until the L1 table is locked.
static inline uint64_t mm_next_entry(uint64_t e, unsigned long va, unsigned int shift)
{
    uint64_t mfn = pte_mfn(e).v;

    if (unlikely(!(e & PTE_P) || mfn >= max_mfn))
        return 0;
    return word_probe((const uint64_t *)mfn_to_virt(MFN(mfn)) + ((va >> shift) & 511));
}

// The L1 entry for va in v's guest kernel's address space, its table locked; NULL: there is none.
uint64_t *l1_slot_lock(struct vcpu *v, unsigned long va, struct frame **table);
// The L1 entry at a machine address, its table (which must be d's) locked; NULL: it is none.
static inline uint64_t *l1_slot_lock_maddr(struct domain *d, uint64_t maddr, struct frame **table)
{
    uint64_t mfn = maddr >> PAGE_SHIFT;
    struct frame *f = mfn_to_frame(MFN(mfn));

    if (unlikely(mfn >= max_mfn || !frame_owner_probe(f, d->id) || !table_lock(f, FRAME_TYPE_L1)))
        return NULL;
    *table = f;
    return paddr_to_virt(PADDR(maddr & ~7ull));
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
