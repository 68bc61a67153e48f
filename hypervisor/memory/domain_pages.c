// SPDX-License-Identifier: BSD-2-Clause
// Allocation of frames for the hypervisor and for domains, and domains' page lists and limits.
#include "core/domain.h"
#include "lib/bug.h"
#include "memory/buddy.h"
#include "memory/frame.h"
#include "memory/heap.h"
#include "memory/nodes.h"
#include "memory/sections.h"
#include "x86/arch/memory.h"

static spinlock_t claim_lock = SPINLOCK_INIT;
static uint64_t claimed_pages; // sum of all domains' outstanding_pages

uint64_t memory_free_pages(void)
{
    return buddy_free_pages() + sections_offline_pages();
}

uint64_t memory_node_free_pages(unsigned int node)
{
    return buddy_node_free_pages(node) + sections_offline_node_pages(node);
}

uint64_t memory_unclaimed_pages(void)
{
    uint64_t free = memory_free_pages(), claimed = READ_ONCE(claimed_pages);
    return free > claimed ? free - claimed : 0;
}

// The node to begin with for d (NULL: the hypervisor).
static unsigned int first_node(struct domain *d, unsigned int flags)
{
    unsigned int asked = ALLOC_NODE_OF(flags);

    if (node_count == 1)
        return 0;
    if (asked && asked <= node_count)
        return asked - 1;
    if (!d)
        return node_of_cpu(cpu_id());
    // In turns: whoever reads it at the same time as another takes the same one.
    uint64_t nodes = READ_ONCE(d->node_affinity);
    uint64_t later = nodes & ~((2ul << READ_ONCE(d->last_node)) - 1);
    unsigned int node = __builtin_ctzl(later ? later : nodes);
    WRITE_ONCE(d->last_node, node);
    return node;
}

// One CPU at a time: many would only wait for each other, and for those that allocate.
static spinlock_t scrub_lock = SPINLOCK_INIT;
static bool scrub_enabled; // not while the machine is starting

void memory_scrub_enable(void)
{
    scrub_enabled = true;
}

bool memory_scrub_idle(void)
{
    if (!scrub_enabled || !spin_trylock(&scrub_lock))
        return false;
    bool more = buddy_scrub_some(first_node(NULL, 0)) && buddy_dirty_pages();
    spin_unlock(&scrub_lock);
    return more;
}

static bool flags_allow_online(unsigned int order)
{
    return order < BUDDY_MAX_ORDER; // no section has a whole GiB left beside its own tables
}

static struct frame *find_in_node(unsigned int node, unsigned int order, unsigned int bits,
                                  bool *dirty)
{
    for (;;) {
        struct frame *f = buddy_alloc(node, order, bits, dirty);
        if (f || !flags_allow_online(order) || !sections_online_next(node, bits))
            return f;
    }
}

static struct frame *find_block(unsigned int node, unsigned int order, unsigned int flags,
                                unsigned int bits, bool *dirty)
{
    unsigned int nodes = flags & ALLOC_THIS_NODE ? 1 : node_count;

    for (;;) {
        for (unsigned int i = 0; i < nodes; i++) {
            struct frame *f = find_in_node(node_near(node, i), order, bits, dirty);
            if (f)
                return f;
        }
        // Clean neighbours of dirty blocks may make up what is missing; small orders only, as
        // callers fall back to smaller ones by themselves.
        if (order == 0 || order > 4 || !buddy_scrub_some(node))
            return NULL;
    }
}

// Make a fresh block safe to use: no stale TLB entry of a former owner maps it, and, for domains,
// nothing of a former owner's data is in it. State words become 0.
static void prepare_block(struct frame *f, unsigned int order, bool scrub)
{
    uint32_t stamp = 0;
    bool stamped = false;

    for (unsigned long i = 0; i < 1ul << order; i++) {
        if (f[i].count & FRAME_STAMPED) {
            if (!stamped || (int32_t)(f[i].tlb_stamp - stamp) > 0)
                stamp = f[i].tlb_stamp;
            stamped = true;
        }
        f[i].state = 0;
        f[i].linear = 0;
        f[i].tlb_stamp = 0;
        f[i].owner = DOMID_INVALID;
    }
    if (stamped)
        arch_tlb_flush_since(stamp);
    for (unsigned long i = 0; scrub && i < 1ul << order; i++)
        clear_page(frame_to_virt(&f[i]));
}

// d: the domain it is for; NULL: the hypervisor.
static struct frame *alloc_block(struct domain *d, unsigned int order, unsigned int flags,
                                 unsigned int bits)
{
    bool dirty;

    if (flags & ALLOC_BELOW_4G)
        bits = bits ? MIN(bits, 32u) : 32;
    struct frame *f = find_block(first_node(d, flags), order, flags, bits, &dirty);
    // What is dirty during boot no guest has left there, and it goes to the control domain.
    if (f)
        prepare_block(f, order, (flags & ALLOC_ZERO) || (d && dirty && scrub_enabled));
    return f;
}

struct frame *frame_alloc_bits(unsigned int order, unsigned int flags, unsigned int bits)
{
    return alloc_block(NULL, order, flags, bits);
}

struct frame *frame_alloc(unsigned int order, unsigned int flags)
{
    return alloc_block(NULL, order, flags, 0);
}

void frame_free(struct frame *f, unsigned int order)
{
    if (f->count) { // was shared with guests: the hypervisor's reference
        ASSERT(order == 0);
        frame_put(f);
        return;
    }
    buddy_free(f, order, true);
}

void *page_alloc(unsigned int order)
{
    struct frame *f = frame_alloc(order, 0);
    return f ? frame_to_virt(f) : NULL;
}

void *page_alloc_zero(unsigned int order)
{
    struct frame *f = frame_alloc(order, ALLOC_ZERO);
    return f ? frame_to_virt(f) : NULL;
}

void page_free(void *p, unsigned int order)
{
    if (p)
        frame_free(mfn_to_frame(virt_to_mfn(p)), order);
}

// ---- limits and claims --------------------------------------------------------------------------

// Count n more pages for d if its limit and others' claims allow. page_lock held.
static bool account_locked(struct domain *d, uint64_t n)
{
    if (d->dying || d->tot_pages + n > d->max_pages)
        return false;
    if (READ_ONCE(claimed_pages)) {
        spin_lock(&claim_lock);
        uint64_t own = MIN(n, d->outstanding_pages);
        if (n - own > memory_unclaimed_pages()) {
            spin_unlock(&claim_lock);
            return false;
        }
        d->outstanding_pages -= own;
        claimed_pages -= own;
        spin_unlock(&claim_lock);
    }
    // The list holds one reference to the domain.
    if (d->tot_pages == 0 && !d->is_system && !domain_get(d))
        return false;
    d->tot_pages += n;
    return true;
}

// True: the domain reference of the list is to be dropped, by the caller, without page_lock.
static bool __must_check unaccount_locked(struct domain *d, uint64_t n)
{
    ASSERT(d->tot_pages >= n);
    d->tot_pages -= n;
    return d->tot_pages == 0 && !d->is_system;
}

int memory_claim(struct domain *d, uint64_t pages)
{
    int rc = 0;

    spin_lock(&d->page_lock);
    spin_lock(&claim_lock);
    claimed_pages -= d->outstanding_pages;
    d->outstanding_pages = 0;
    if (pages) {
        if (pages <= d->tot_pages || pages > d->max_pages)
            rc = -EINVAL;
        else if (d->dying || pages - d->tot_pages > memory_unclaimed_pages())
            rc = -ENOMEM;
        else
            claimed_pages += d->outstanding_pages = pages - d->tot_pages;
    }
    spin_unlock(&claim_lock);
    spin_unlock(&d->page_lock);
    return rc;
}

// ---- domains' frames ----------------------------------------------------------------------------

static void list_insert_locked(struct domain *d, struct frame *f, uint64_t n)
{
    uint32_t first = frame_to_mfn(f).v;

    for (uint64_t i = 0; i < n; i++) {
        f[i].prev = i ? first + i - 1 : FRAME_NONE;
        f[i].next = first + i + 1;
    }
    f[n - 1].next = d->page_list;
    if (d->page_list != FRAME_NONE)
        mfn_to_frame(MFN(d->page_list))->prev = first + n - 1;
    d->page_list = first;
}

static void list_remove_locked(struct domain *d, struct frame *f)
{
    if (f->next != FRAME_NONE)
        mfn_to_frame(MFN(f->next))->prev = f->prev;
    if (f->prev != FRAME_NONE)
        mfn_to_frame(MFN(f->prev))->next = f->next;
    else
        d->page_list = f->next;
}

// False: d began to die since it was counted, and nobody would find the frames on its list any
// more.
static bool publish(struct domain *d, struct frame *f, uint64_t n)
{
    spin_lock(&d->page_lock);
    if (d->dying) {
        spin_unlock(&d->page_lock);
        return false;
    }
    for (uint64_t i = 0; i < n; i++) {
        f[i].owner = d->id;
        __atomic_store_n(&f[i].state, 1 | FRAME_ALLOCATED, __ATOMIC_RELEASE);
    }
    list_insert_locked(d, f, n);
    spin_unlock(&d->page_lock);
    return true;
}

struct frame *frame_alloc_domain(struct domain *d, unsigned int order, unsigned int flags,
                                 unsigned int bits)
{
    uint64_t n = 1ul << order;

    if (flags & ALLOC_NO_OWNER) {
        struct frame *f = alloc_block(d, order, flags, bits);
        for (uint64_t i = 0; f && i < n; i++)
            f[i].state = 1;
        return f;
    }
    if (order > BUDDY_MAX_ORDER)
        return NULL;
    spin_lock(&d->page_lock);
    bool ok = account_locked(d, n);
    spin_unlock(&d->page_lock);
    if (!ok)
        return NULL;
    struct frame *f = alloc_block(d, order, flags, bits);
    if (f && !publish(d, f, n)) {
        buddy_free(f, order, true);
        f = NULL;
    }
    if (!f) {
        spin_lock(&d->page_lock);
        bool last = unaccount_locked(d, n);
        spin_unlock(&d->page_lock);
        if (last)
            domain_put(d);
        return NULL;
    }
    return f;
}

// f, whose last reference is gone, leaves its owner.
static void leave_owner(struct frame *f)
{
    if (f->owner >= DOMID_FIRST_RESERVED)
        return; // nobody's
    struct domain *d = domain_get_by_id(f->owner);
    BUG_ON(!d); // owning pages keeps it alive
    spin_lock(&d->page_lock);
    list_remove_locked(d, f);
    bool last = unaccount_locked(d, 1);
    spin_unlock(&d->page_lock);
    if (last)
        domain_put(d);
    domain_put(d);
}

void frame_free_domain(struct frame *f)
{
    ASSERT(!(f->count & (FRAME_COUNT_MASK | FRAME_ALLOCATED | FRAME_STATIC)));
    ASSERT(!(f->type & FRAME_TYPE_COUNT_MASK));
    leave_owner(f);
    f->owner = DOMID_INVALID;
    *m2p_entry(frame_to_mfn(f)) = M2P_INVALID;
    f->tlb_stamp = arch_tlb_stamp();
    f->state = FRAME_STAMPED;
    buddy_free(f, 0, true);
}

int frame_assign(struct domain *d, struct frame *f)
{
    ASSERT((f->count & FRAME_COUNT_MASK) && f->owner == DOMID_INVALID);
    if (f->count & FRAME_STAMPED) {
        arch_tlb_flush_since(f->tlb_stamp);
        __atomic_and_fetch(&f->count, ~FRAME_STAMPED, __ATOMIC_SEQ_CST);
    }
    spin_lock(&d->page_lock);
    if (!account_locked(d, 1)) {
        spin_unlock(&d->page_lock);
        return d->dying ? -EINVAL : -ENOMEM;
    }
    f->owner = d->id;
    list_insert_locked(d, f, 1);
    // Count 1 becomes the allocation's.
    __atomic_or_fetch(&f->count, FRAME_ALLOCATED, __ATOMIC_SEQ_CST);
    spin_unlock(&d->page_lock);
    return 0;
}

int frame_steal(struct domain *d, struct frame *f)
{
    uint64_t old = READ_ONCE(f->state);

    spin_lock(&d->page_lock);
    if (f->owner != d->id || (uint32_t)old != (1 | FRAME_ALLOCATED) ||
        ((old >> 32) & (FRAME_TYPE_COUNT_MASK | FRAME_PINNED | FRAME_PARTIAL | FRAME_LOCKED)) ||
        // Nobody can take a reference while the count is 0 and the owner still named.
        !__atomic_compare_exchange_n(&f->state, &old, FRAME_STAMPED, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_RELAXED)) {
        spin_unlock(&d->page_lock);
        return -EINVAL;
    }
    // A stale TLB entry of the old owner must not outlive the change of hands.
    f->tlb_stamp = arch_tlb_stamp();
    f->owner = DOMID_INVALID;
    list_remove_locked(d, f);
    __atomic_store_n(&f->count, 1 | FRAME_STAMPED, __ATOMIC_RELEASE);
    bool last = unaccount_locked(d, 1);
    spin_unlock(&d->page_lock);
    if (last)
        domain_put(d);
    return 0;
}
