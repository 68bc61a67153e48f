// SPDX-License-Identifier: BSD-2-Clause
// References to frames. All changes of count and type are by compare-and-exchange.
#include "memory/frame.h"

#include "core/domain.h"
#include "lib/bug.h"
#include "x86/arch/memory.h"

#define TYPE_SHIFTED(t) ((uint64_t)(t) << 32)

static inline bool get_count(struct frame *f)
{
    uint32_t old = READ_ONCE(f->count);

    do {
        uint32_t n = old & FRAME_COUNT_MASK;
        if (unlikely(n == 0 || n == FRAME_COUNT_MASK))
            return false;
    } while (!__atomic_compare_exchange_n(&f->count, &old, old + 1, false, __ATOMIC_ACQUIRE,
                                          __ATOMIC_RELAXED));
    return true;
}

bool frame_get(mfn_t mfn, const struct domain *d)
{
    if (!mfn_has_frame(mfn))
        return false;
    struct frame *f = mfn_to_frame(mfn);
    if (f->owner != d->id || !get_count(f))
        return false;
    // With the reference held the owner cannot change any more: look again.
    if (likely(f->owner == d->id))
        return true;
    frame_put(f);
    return false;
}

domid_t frame_get_owner(mfn_t mfn)
{
    if (!mfn_valid(mfn))
        return DOMID_INVALID;
    struct frame *f = mfn_to_frame(mfn);
    if (!get_count(f))
        return DOMID_INVALID;
    domid_t owner = f->owner;
    if (owner == DOMID_INVALID)
        frame_put(f);
    return owner;
}

void frame_put(struct frame *f)
{
    uint32_t now = __atomic_sub_fetch(&f->count, 1, __ATOMIC_ACQ_REL);

    ASSERT((now & FRAME_COUNT_MASK) != FRAME_COUNT_MASK);
    if (unlikely(!(now & FRAME_COUNT_MASK)))
        frame_free_domain(f);
}

static void wait_validated(const struct frame *f)
{
    uint32_t t;
    while ((t = READ_ONCE(f->type)) & FRAME_TYPE_COUNT_MASK && !(t & FRAME_VALIDATED))
        cpu_relax();
}

bool frame_get_type_simple(struct frame *f, uint32_t type)
{
    uint32_t old = READ_ONCE(f->type), new;
    bool flush;

    do {
        uint32_t n = old & FRAME_TYPE_COUNT_MASK;
        flush = false;
        if (n == 0) {
            if (type != FRAME_TYPE_WRITABLE && type != FRAME_TYPE_SHARED)
                return false;
            // What used to be a page table may still be known as one to a CPU.
            flush = (old & FRAME_TYPE_MASK) != type && (old & FRAME_TYPE_MASK) != FRAME_TYPE_NONE;
            new = type | 1 | (flush ? 0 : FRAME_VALIDATED);
        } else {
            if ((old & FRAME_TYPE_MASK) != type || n == FRAME_TYPE_COUNT_MASK ||
                (old & FRAME_PARTIAL))
                return false;
            if (!(old & FRAME_VALIDATED)) {
                wait_validated(f);
                old = READ_ONCE(f->type);
                new = old;
                continue;
            }
            new = old + 1;
        }
    } while (!__atomic_compare_exchange_n(&f->type, &old, new, false, __ATOMIC_ACQUIRE,
                                          __ATOMIC_RELAXED) ||
             new == old);
    if (unlikely(flush)) {
        arch_tlb_flush_since(f->tlb_stamp);
        __atomic_or_fetch(&f->type, FRAME_VALIDATED, __ATOMIC_RELEASE);
    }
    return true;
}

void frame_put_type_simple(struct frame *f)
{
    uint32_t old = READ_ONCE(f->type);

    do {
        ASSERT(old & FRAME_TYPE_COUNT_MASK);
        // Before the last use ends: whoever takes the frame for something else reads the stamp.
        if ((old & FRAME_TYPE_COUNT_MASK) == 1)
            f->tlb_stamp = arch_tlb_stamp();
    } while (!__atomic_compare_exchange_n(&f->type, &old, old - 1, false, __ATOMIC_RELEASE,
                                          __ATOMIC_RELAXED));
}

#define WRITABLE_REF (1ull << 32 | 1) // of both kinds

static bool in_use_as_writable(uint64_t state)
{
    uint32_t count = (uint32_t)state & FRAME_COUNT_MASK, type = (uint32_t)(state >> 32);
    uint32_t uses = type & FRAME_TYPE_COUNT_MASK;

    return count && count != FRAME_COUNT_MASK && uses && uses != FRAME_TYPE_COUNT_MASK &&
           (type & ~FRAME_TYPE_COUNT_MASK) == (FRAME_TYPE_WRITABLE | FRAME_VALIDATED);
}

bool frame_get_writable(mfn_t mfn, const struct domain *d)
{
    if (!mfn_has_frame(mfn))
        return false;
    struct frame *f = mfn_to_frame(mfn);
    uint64_t old = READ_ONCE(f->state);
    // A page that its owner has mapped writable: both at once.
    if (likely(f->owner == d->id && in_use_as_writable(old)) &&
        __atomic_compare_exchange_n(&f->state, &old, old + WRITABLE_REF, false, __ATOMIC_ACQUIRE,
                                    __ATOMIC_RELAXED)) {
        if (likely(f->owner == d->id))
            return true;
        frame_put_writable(f);
        return false;
    }
    if (!frame_get(mfn, d))
        return false;
    if (frame_get_type_simple(f, FRAME_TYPE_WRITABLE))
        return true;
    frame_put(f);
    return false;
}

void frame_put_writable(struct frame *f)
{
    uint64_t old = READ_ONCE(f->state);

    while ((old & FRAME_COUNT_MASK) > 1 && (old >> 32 & FRAME_TYPE_COUNT_MASK) > 1)
        if (__atomic_compare_exchange_n(&f->state, &old, old - WRITABLE_REF, false,
                                        __ATOMIC_RELEASE, __ATOMIC_RELAXED))
            return;
    frame_put_type_simple(f); // the last of one kind
    frame_put(f);
}

void frame_share(struct frame *f, struct domain *d, bool writable)
{
    uint32_t type = (writable ? FRAME_TYPE_WRITABLE : FRAME_TYPE_SHARED) | FRAME_VALIDATED | 1;

    ASSERT(!f->state);
    f->owner = d->id;
    *m2p_entry(frame_to_mfn(f)) = M2P_INVALID;
    __atomic_store_n(&f->state, TYPE_SHIFTED(type) | FRAME_STATIC | 1, __ATOMIC_RELEASE);
    __atomic_add_fetch(&d->shared_frames, 1, __ATOMIC_RELAXED);
}

void frame_unshare(struct frame *f)
{
    struct domain *d = domain_get_by_id(f->owner);

    if (d) {
        __atomic_sub_fetch(&d->shared_frames, 1, __ATOMIC_RELAXED);
        domain_put(d);
    }
    f->owner = DOMID_INVALID;
    __atomic_and_fetch(&f->count, ~FRAME_STATIC, __ATOMIC_SEQ_CST);
    frame_put_type_simple(f);
}
