// SPDX-License-Identifier: BSD-2-Clause
// Granted frames in a PV guest's page tables. The entry holds references of its own like any other,
// so it may also be overwritten by the guest; what the grant holds is core/grant.c's.
#include "core/grant.h"

#include "lib/bug.h"
#include "x86/pv/mm_update.h"
#include "x86/pv/pv.h"

enum { GUEST_AVAIL_SHIFT = 9 };

static uint64_t grant_pte(mfn_t frame, uint32_t flags)
{
    uint64_t e = frame.v << PAGE_SHIFT | PTE_P | PTE_A | PTE_D | PTE_NX;

    if (!(flags & GNTMAP_readonly))
        e |= PTE_RW;
    if (flags & GNTMAP_application_map)
        e |= PTE_US;
    e |= (uint64_t)((flags >> _GNTMAP_guest_avail0) & 7) << GUEST_AVAIL_SHIFT;
    return l1_adjust(e);
}

// The entry named by a grant operation, with its table locked; NULL: there is none.
static uint64_t *find_slot(struct vcpu *v, uint64_t addr, uint32_t flags, struct frame **table)
{
    if (!(flags & GNTMAP_contains_pte))
        return l1_slot_lock(v, addr, table);
    return addr & 7 ? NULL : l1_slot_lock_maddr(v->domain, addr, table);
}

static void replace(uint64_t *slot, uint64_t e)
{
    uint64_t old = __atomic_exchange_n(slot, e, __ATOMIC_SEQ_CST);
    if (old & PTE_P)
        l1_entry_put(old);
}

int16_t arch_grant_map(struct vcpu *v, uint64_t addr, mfn_t frame, uint32_t flags,
                       uint32_t cache_flags)
{
    struct frame *table, *f = mfn_to_frame(frame);

    if (frame_get_owner(frame) == DOMID_INVALID)
        return GNTST_general_error;
    if (!(flags & GNTMAP_readonly) && !frame_get_type_simple(f, FRAME_TYPE_WRITABLE)) {
        frame_put(f);
        return GNTST_general_error;
    }
    uint64_t *slot = find_slot(v, addr, flags, &table);
    if (!slot) {
        l1_entry_put(grant_pte(frame, flags));
        return flags & GNTMAP_contains_pte ? GNTST_general_error : GNTST_bad_virt_addr;
    }
    replace(slot, grant_pte(frame, flags));
    table_unlock(table);
    return GNTST_okay;
}

// The entry at `va` with its references, which is gone from there; 0: none.
static uint64_t take_entry(struct vcpu *v, unsigned long va)
{
    struct frame *table;
    uint64_t *slot = l1_slot_lock(v, va, &table);

    if (!slot)
        return 0;
    uint64_t e = __atomic_exchange_n(slot, 0, __ATOMIC_SEQ_CST);
    table_unlock(table);
    return e & PTE_P ? e : 0;
}

int16_t arch_grant_unmap(struct vcpu *v, uint64_t addr, mfn_t frame, uint64_t new_addr,
                         uint32_t flags)
{
    struct frame *table;
    uint64_t new = 0;

    if (new_addr) {
        if (flags & GNTMAP_contains_pte)
            return GNTST_general_error;
        new = take_entry(v, new_addr);
        if (!new)
            return GNTST_bad_virt_addr;
    }
    // Only with its entry may the grant end: another one that the guest names or nothing at all
    // would leave it a mapping that the granter believes to be gone.
    int16_t rc = flags & GNTMAP_contains_pte ? GNTST_general_error : GNTST_bad_virt_addr;
    uint64_t *slot = find_slot(v, addr, flags, &table);
    if (slot) {
        uint64_t old = READ_ONCE(*slot);
        rc = GNTST_general_error;
        if ((old & PTE_P) && mfn_eq(pte_mfn(old), frame) &&
            !(old & PTE_RW) == !!(flags & GNTMAP_readonly)) {
            replace(slot, new);
            new = 0;
            rc = GNTST_okay;
        }
        table_unlock(table);
    }
    if (new)
        l1_entry_put(new);
    return rc;
}

void arch_grant_flush_tlb(struct domain *d)
{
    tlb_flush_domain(d, NULL, false);
}
