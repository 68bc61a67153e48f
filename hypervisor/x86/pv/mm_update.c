// SPDX-License-Identifier: BSD-2-Clause
// mmu_update and update_va_mapping. The L1 paths are the hottest of all hypercalls.
#include "x86/pv/mm_update.h"

#include "core/access.h"
#include "core/hypercall.h"
#include "lib/bug.h"
#include "x86/arch/guest_access.h"
#include "x86/pv/pv.h"

enum { BATCH = 8 };

int mm_target_get(domid_t id, struct domain **out)
{
    struct domain *me = current->domain, *d;

    if (id == DOMID_SELF || id == me->id) {
        *out = me;
        return 0;
    }
    if (id == DOMID_IO || id == DOMID_XEN) {
        if (id == DOMID_XEN && access_check(me, ACCESS_CONTROL, me))
            return -EPERM;
        *out = id == DOMID_IO ? dom_io : dom_xen;
        return 0;
    }
    d = domain_get_by_id(id);
    if (!d)
        return -ESRCH;
    int rc = access_check(me, ACCESS_TARGET, d);
    if (rc)
        domain_put(d);
    else
        *out = d;
    return rc;
}

void mm_target_put(struct domain *d)
{
    if (d != current->domain && !d->is_system)
        domain_put(d);
}

int l1_update(uint64_t *slot, uint64_t e, struct domain *owner, struct domain *pg_owner,
              bool preserve)
{
    uint64_t old = READ_ONCE(*slot);

    if (e & PTE_P) {
        // The same frame, as writable as before: references stay as they are.
        uint64_t adjusted = l1_adjust(e);
        if ((old & PTE_P) && !((old ^ adjusted) & L1_REFERENCE)) {
            adjusted |= old & PTE_GUEST_IO;
            if (preserve)
                while (!__atomic_compare_exchange_n(slot, &old, adjusted | (old & PTE_PRESERVED),
                                                    false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
                    ;
            else
                WRITE_ONCE(*slot, adjusted);
            return 0;
        }
        int rc = l1_entry_get(&e, owner, pg_owner);
        if (unlikely(rc))
            return rc;
    }
    if (preserve && (old & PTE_P))
        // The processor sets these bits meanwhile; nobody else writes under the lock.
        while (!__atomic_compare_exchange_n(slot, &old, e | (old & PTE_PRESERVED), false,
                                            __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
            ;
    else
        // With a barrier: the old entry must be gone before l1_entry_put looks at the TLB clock.
        __atomic_store_n(slot, e, __ATOMIC_SEQ_CST);
    if (old & PTE_P)
        l1_entry_put(old);
    return 0;
}

int l1_cmpxchg(uint64_t *slot, uint64_t old, uint64_t e, struct domain *owner)
{
    bool same = (e & PTE_P) && (old & PTE_P) && !((old ^ l1_adjust(e)) & L1_REFERENCE);

    if (same) {
        e = l1_adjust(e) | (old & PTE_GUEST_IO);
    } else if (e & PTE_P) {
        int rc = l1_entry_get(&e, owner, owner);
        if (rc)
            return rc;
    }
    uint64_t expected = old;
    if (!__atomic_compare_exchange_n(slot, &expected, e, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_RELAXED)) {
        if ((e & PTE_P) && !same)
            l1_entry_put(e);
        return -EAGAIN;
    }
    if ((old & PTE_P) && !same)
        l1_entry_put(old);
    return 0;
}

// ---- entries of higher tables --------------------------------------------------------------

static void entry_put_later(struct vcpu *v, uint64_t e, unsigned int level, mfn_t table)
{
    mfn_t mfn = pte_mfn(e);
    struct frame *f = mfn_to_frame(mfn);

    if (mfn_eq(mfn, table) || (f->type & FRAME_TYPE_MASK) == level_type(level)) {
        int rc = table_entry_put(e, level, table, false); // linear: no work behind it
        ASSERT(!rc);
        (void)rc;
        return;
    }
    mm_put(v, f);
}

// Take what a new entry needs, under v's control across preemption.
static int upper_get(struct vcpu *v, uint64_t *e, unsigned int level, mfn_t table, struct domain *d)
{
    bool held;
    mfn_t mfn = pte_mfn(*e);

    if ((*e & TABLE_REFUSED) || !mfn_valid(mfn))
        return -EINVAL;
    // A linear entry never takes long; anything else goes through v.
    uint32_t type = READ_ONCE(mfn_to_frame(mfn)->type);
    if ((type & FRAME_TYPE_MASK) == level_type(level) && (type & FRAME_TYPE_COUNT_MASK))
        return table_entry_get(e, level, table, d, false, &held);
    *e |= PTE_US;
    return mm_get(v, mfn, d, level_type(level - 1));
}

// A new value for an entry of an L2, L3 or L4 table.
static int upper_update(struct vcpu *v, struct frame *table, unsigned int level, unsigned int index,
                        uint64_t e, struct domain *d, bool preserve)
{
    uint64_t *slot = (uint64_t *)frame_to_virt(table) + index, old;
    mfn_t mfn = frame_to_mfn(table);

    if (level == 4 && index >= L4_SLOT_FIRST && index < L4_SLOT_END)
        return -EINVAL;
    // The table must stay what it is while its new entry is being validated.
    if (!table_lock(table, level_type(level)))
        return -EINVAL;
    old = READ_ONCE(*slot);
    bool same =
        (old & PTE_P) && (e & PTE_P) && !((old ^ e) & (PTE_ADDR_MASK | TABLE_REFUSED | PTE_RW));
    if (same) {
        e |= PTE_US;
    } else if (e & PTE_P) {
        int rc = upper_get(v, &e, level, mfn, d);
        if (rc) {
            table_unlock(table);
            return rc;
        }
    }
    while (!__atomic_compare_exchange_n(slot, &old, preserve ? e | (old & PTE_PRESERVED) : e, false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        ;
    table_unlock(table);
    if ((old & PTE_P) && !same)
        entry_put_later(v, old, level, mfn);
    return 0;
}

// ---- mmu_update ----------------------------------------------------------------------------

struct update {
    struct vcpu *v;
    struct domain *pt_owner, *pg_owner;
    // The page of the last request, or NULL: an L1 table, locked, or an ordinary page, with a
    // writable use and a reference, as an entry of a table not yet in use.
    struct frame *locked, *plain;
};

static inline void update_unlock(struct update *u)
{
    if (u->locked)
        table_unlock(u->locked);
    u->locked = NULL;
    if (u->plain)
        l1_entry_put(frame_to_mfn(u->plain).v << PAGE_SHIFT | PTE_RW);
    u->plain = NULL;
}

// The page is no page table: an ordinary write.
static int plain_write(struct update *u, mfn_t mfn, unsigned int offset, uint64_t val)
{
    if (!frame_get(mfn, u->pt_owner))
        return -EINVAL;
    struct frame *f = mfn_to_frame(mfn);
    int rc = -EINVAL;
    if (frame_get_type_simple(f, FRAME_TYPE_WRITABLE)) {
        WRITE_ONCE(*(uint64_t *)((char *)frame_to_virt(f) + offset), val);
        frame_put_type_simple(f);
        rc = 0;
    }
    frame_put(f);
    return rc;
}

static int machphys_update(struct update *u, mfn_t mfn, uint64_t val)
{
    if (!frame_get(mfn, u->pg_owner))
        return -EINVAL;
    WRITE_ONCE(*m2p_entry(mfn), val);
    frame_put(mfn_to_frame(mfn));
    return 0;
}

static __noinline int update_other(struct update *u, unsigned int cmd, mfn_t mfn,
                                   unsigned int offset, uint64_t val)
{
    if (cmd == MMU_MACHPHYS_UPDATE)
        return machphys_update(u, mfn, val);
    if (cmd > MMU_PT_UPDATE_NO_TRANSLATE)
        return -ENOSYS;
    if (!frame_get(mfn, u->pt_owner))
        return -EINVAL;
    struct frame *f = mfn_to_frame(mfn);
    uint32_t type = READ_ONCE(f->type);
    unsigned int level = type_level(type);
    int rc;
    if ((type & FRAME_TYPE_COUNT_MASK) && level >= 2 && level <= 4)
        rc = upper_update(u->v, f, level, offset / 8, val, u->pt_owner,
                          cmd == MMU_PT_UPDATE_PRESERVE_AD);
    else
        rc = plain_write(u, mfn, offset, val);
    frame_put(f);
    return rc;
}

static inline int update_one(struct update *u, const mmu_update_t *r)
{
    uint64_t mfn = r->ptr >> PAGE_SHIFT;
    uint64_t *slot = paddr_to_virt(PADDR(r->ptr & ~7ull));
    struct frame *f = mfn_to_frame(MFN(mfn));
    unsigned int cmd = r->ptr & 7;

    if (likely(cmd != MMU_MACHPHYS_UPDATE && cmd <= MMU_PT_UPDATE_NO_TRANSLATE)) {
        if (f != u->locked && f != u->plain) {
            update_unlock(u);
            // Leaves u->locked alone when it fails.
            if (!l1_slot_lock_maddr(u->pt_owner, r->ptr, &u->locked) &&
                mfn < max_mfn && // an address wider than an entry's would lose its top bits
                l1_entry_get_fast(mfn << PAGE_SHIFT | PTE_RW, u->pt_owner->id, max_mfn))
                u->plain = f;
        }
        if (likely(u->locked))
            return l1_update(slot, r->val, u->pt_owner, u->pg_owner,
                             cmd == MMU_PT_UPDATE_PRESERVE_AD);
        if (u->plain) {
            WRITE_ONCE(*slot, r->val);
            return 0;
        }
    }
    update_unlock(u);
    return update_other(u, cmd, MFN(mfn), r->ptr & (PAGE_SIZE - 8), r->val);
}

// Do requests from *i on. 0, -E or -ERESTART; *i is the first one not done.
static int update_batches(struct update *u, const mmu_update_t *reqs, unsigned int *i,
                          unsigned int count)
{
    mmu_update_t batch[BATCH];

    while (*i < count) {
        unsigned int n = MIN(count - *i, (unsigned int)BATCH);
        int rc = guest_copy_from(batch, &reqs[*i], n * sizeof(batch[0]));
        for (unsigned int k = 0; !rc && k < n; k++) {
            rc = update_one(u, &batch[k]);
            if (rc)
                break;
            ++*i;
            if (unlikely(u->v->arch.mm_put)) // a long put: the rest after it
                rc = -ERESTART;
        }
        update_unlock(u);
        if (rc)
            return rc;
        if (*i < count && mm_preempted())
            return -ERESTART;
    }
    return 0;
}

static int update_owners(struct update *u, unsigned long dom)
{
    domid_t pt = dom >> 16, pg = dom;
    int rc = mm_target_get(pg, &u->pg_owner);

    if (rc)
        return rc;
    u->pt_owner = u->v->domain;
    if (pt) {
        rc = mm_target_get(pt - 1, &u->pt_owner);
        if (!rc && u->pt_owner->is_system) {
            mm_target_put(u->pt_owner);
            rc = -EINVAL;
        }
        if (rc)
            mm_target_put(u->pg_owner);
    }
    return rc;
}

long hc_mmu_update(unsigned long reqs, unsigned long count_arg, unsigned long udone,
                   unsigned long dom)
{
    struct update u = {.v = current};
    uint32_t count = count_arg, done = 0, i = 0;
    int rc = 0;

    // A continuation: *udone holds what was done before.
    if (unlikely(count & MMU_UPDATE_PREEMPTED)) {
        count &= ~MMU_UPDATE_PREEMPTED;
        if (udone && guest_copy_from(&done, (void *)udone, sizeof(done)))
            return -EFAULT;
    }
    if (likely((uint32_t)dom == DOMID_SELF))
        u.pt_owner = u.pg_owner = u.v->domain;
    else if ((rc = update_owners(&u, (uint32_t)dom)))
        return rc;
    rc = mm_finish(u.v);
    if (!rc)
        rc = update_batches(&u, (const mmu_update_t *)reqs, &i, count);
    if (unlikely(u.pt_owner != u.v->domain))
        mm_target_put(u.pt_owner);
    if (unlikely(u.pg_owner != u.v->domain))
        mm_target_put(u.pg_owner);
    done += i;
    if (udone && guest_copy_to((void *)udone, &done, sizeof(done)))
        rc = rc ?: -EFAULT;
    if (unlikely(rc == -ERESTART)) {
        const unsigned long args[] = {reqs + i * sizeof(mmu_update_t),
                                      (count - i) | MMU_UPDATE_PREEMPTED, udone, dom};
        return hypercall_continue(__HYPERVISOR_mmu_update, 4, args);
    }
    return rc;
}

// ---- update_va_mapping ---------------------------------------------------------------------

static inline uint64_t *slot_lock(struct vcpu *v, unsigned long va, struct frame **table)
{
    uint64_t e = v->arch.kernel_l4 | PTE_P;

    if (unlikely(va - HYPERVISOR_HOLE_START < HYPERVISOR_HOLE_END - HYPERVISOR_HOLE_START))
        return NULL;
    e = mm_next_entry(e, va, L4_SHIFT);
    e = mm_next_entry(e, va, L3_SHIFT);
    e = mm_next_entry(e, va, L2_SHIFT);
    if (unlikely(!(e & PTE_P)))
        return NULL;
    return l1_slot_lock_maddr(v->domain, (e & PTE_ADDR_MASK) | ((va >> (L1_SHIFT - 3)) & 0xff8),
                              table);
}

uint64_t *l1_slot_lock(struct vcpu *v, unsigned long va, struct frame **table)
{
    return slot_lock(v, va, table);
}

int mm_vcpumask_to_cpus(const struct domain *d, const void *guest_mask, unsigned long *cpus)
{
    DECLARE_BITMAP(vcpus, MAX_VIRT_CPUS) = {0};
    struct vcpu *v;

    if (guest_copy_from(vcpus, guest_mask, DIV_ROUND_UP(d->max_vcpus, 8)))
        return -EFAULT;
    bitmap_zero(cpus, MAX_CPUS);
    smp_mb();
    for_each_vcpu (d, v)
        if (bit_test(vcpus, v->id) && READ_ONCE(v->is_running))
            bit_set(cpus, READ_ONCE(v->cpu));
    return 0;
}

static __noinline int flush_others(struct domain *d, unsigned long va, unsigned long flags)
{
    bool one = (flags & UVMF_FLUSHTYPE_MASK) == UVMF_INVLPG;
    const void *mask = (const void *)(flags & ~(UVMF_FLUSHTYPE_MASK | UVMF_ALL));
    DECLARE_BITMAP(cpus, MAX_CPUS);

    if (flags & UVMF_ALL) {
        tlb_flush_domain(d, (void *)va, one);
        return 0;
    }
    int rc = mm_vcpumask_to_cpus(d, mask, cpus);
    if (!rc)
        tlb_flush_mask(cpus, (void *)va, one);
    return rc;
}

static inline int va_mapping(unsigned long va, unsigned long val, unsigned long flags,
                             struct domain *pg_owner)
{
    struct vcpu *v = current;
    struct frame *table;
    uint64_t *slot = slot_lock(v, va, &table);

    if (unlikely(!slot))
        return -EINVAL;
    int rc = l1_update(slot, val, v->domain, pg_owner, false);
    table_unlock(table);

    // As asked, whatever became of the update: the guest may count on it.
    unsigned long type = flags & UVMF_FLUSHTYPE_MASK;
    if (type != UVMF_TLB_FLUSH && type != UVMF_INVLPG)
        return rc;
    if (flags & ~UVMF_FLUSHTYPE_MASK) {
        int rc2 = flush_others(v->domain, va, flags);
        return rc ?: rc2;
    }
    if (type == UVMF_INVLPG)
        tlb_invlpg(va);
    else
        mm_flush_guest_local();
    return rc;
}

long hc_update_va_mapping(unsigned long va, unsigned long val, unsigned long flags)
{
    return va_mapping(va, val, flags, current->domain);
}

long hc_update_va_mapping_otherdomain(unsigned long va, unsigned long val, unsigned long flags,
                                      unsigned long dom)
{
    struct domain *pg_owner;
    int rc = mm_target_get(dom, &pg_owner);

    if (rc)
        return rc;
    rc = va_mapping(va, val, flags, pg_owner);
    mm_target_put(pg_owner);
    return rc;
}
