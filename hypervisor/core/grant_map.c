// SPDX-License-Identifier: BSD-2-Clause
// Mapping granted pages: handles, map and unmap. Unmapping goes in two steps, so that a batch needs
// one TLB flush: first the page table entries go, then, after the flush, pins and references.
#include "core/grant_private.h"
#include "core/hypercall.h"
#include "core/sched.h"
#include "memory/heap.h"

#define BATCH         16
#define PREEMPT_EVERY 64

// ---- handles ------------------------------------------------------------------------------------

static struct mapping *mapping_of(const struct grant_table *t, grant_handle_t handle)
{
    uint32_t page = handle / MAPPINGS_PER_PAGE, pages = READ_ONCE(t->track_pages);

    if (page >= pages)
        return NULL;
    return t->track[index_nospec(page, pages)] + handle % MAPPINGS_PER_PAGE;
}

// One more page of handles, all free. Maptrack locked.
static bool grow_track(struct grant_table *t)
{
    uint32_t first = (uint32_t)(t->track_pages * MAPPINGS_PER_PAGE);
    struct mapping *page;

    if (t->track_pages >= t->max_track_pages)
        return false;
    if (!t->track)
        t->track = heap_alloc_array(t->max_track_pages, sizeof(*t->track));
    page = t->track ? page_alloc_zero(0) : NULL;
    if (!page)
        return false;
    for (uint32_t i = 0; i < MAPPINGS_PER_PAGE; i++)
        page[i].ref = i + 1 < MAPPINGS_PER_PAGE ? first + i + 2 : t->track_free;
    t->track[t->track_pages] = page;
    t->track_free = first + 1;
    __atomic_store_n(&t->track_pages, t->track_pages + 1, __ATOMIC_RELEASE);
    return true;
}

static struct mapping *handle_alloc(struct grant_table *t, grant_handle_t *out)
{
    struct mapping *m = NULL;

    spin_lock(&t->track_lock);
    if (t->track_free || grow_track(t)) {
        *out = t->track_free - 1;
        m = mapping_of(t, *out);
        t->track_free = m->ref;
        t->mappings++;
    }
    spin_unlock(&t->track_lock);
    return m;
}

// The domain's reference is dropped with the handle.
static void handle_free(struct grant_table *t, grant_handle_t handle)
{
    struct mapping *m = mapping_of(t, handle);
    struct domain *granter = m->granter;

    spin_lock(&t->track_lock);
    m->granter = NULL;
    m->flags = 0;
    m->ref = t->track_free;
    t->track_free = handle + 1;
    t->mappings--;
    spin_unlock(&t->track_lock);
    domain_put(granter);
}

// ---- map ----------------------------------------------------------------------------------------

#define MAP_KINDS (GNTMAP_host_map | GNTMAP_device_map)

static bool is_write(uint32_t flags)
{
    return !(flags & GNTMAP_readonly);
}

// Undo one kind of mapping: pin and references.
static void drop_kind(struct domain *granter, grant_ref_t ref, mfn_t frame, bool io, bool write)
{
    if (!io)
        grant_put_frame_refs(frame, write);
    grant_release(granter, ref, write);
}

static int16_t take_kind(struct domain *granter, grant_ref_t ref, struct domain *user, bool write,
                         struct grant_use *use)
{
    int16_t rc = grant_acquire(granter, ref, user, write, use);

    if (rc)
        return rc;
    if (use->start || use->length != PAGE_SIZE)
        rc = GNTST_bad_gntref; // parts of pages can only be copied
    else if (!use->io && !grant_get_frame_refs(granter, use->frame, write))
        rc = GNTST_bad_page;
    if (rc)
        grant_release(granter, ref, write);
    return rc;
}

// granter's reference goes to the mapping when this succeeds.
static int16_t map_grant(struct domain *granter, struct gnttab_map_grant_ref *op)
{
    struct vcpu *v = current;
    struct domain *d = v->domain;
    bool write = is_write(op->flags);
    struct grant_use use = {.frame = INVALID_MFN};
    struct mapping *m;
    uint32_t taken = 0;
    int16_t rc = GNTST_okay;

    m = handle_alloc(d->grant, &op->handle);
    if (!m)
        return GNTST_no_space;
    // Written before any flag: a handle without flags means nothing to anyone.
    m->granter = granter;
    m->ref = op->ref;
    for (uint32_t kind = GNTMAP_device_map; kind <= GNTMAP_host_map && !rc; kind <<= 1) {
        if (!(op->flags & kind))
            continue;
        rc = take_kind(granter, op->ref, d, write, &use);
        if (!rc)
            taken |= kind;
    }
    if (!rc && (op->flags & GNTMAP_host_map))
        rc = arch_grant_map(v, op->host_addr, use.frame, op->flags, 0);
    if (!rc) {
        op->dev_bus_addr = use.frame.v << PAGE_SHIFT;
        __atomic_store_n(&m->flags, op->flags & (MAP_KINDS | GNTMAP_readonly | GNTMAP_contains_pte),
                         __ATOMIC_RELEASE);
        return GNTST_okay;
    }
    for (; taken; taken &= taken - 1)
        drop_kind(granter, op->ref, use.frame, use.io, write);
    if (domain_get(granter)) // the caller keeps its own
        handle_free(d->grant, op->handle);
    return rc;
}

int grant_op_map(void *arg)
{
    struct gnttab_map_grant_ref *op = arg;
    struct domain *granter;

    op->handle = ~0u;
    if (!(op->flags & MAP_KINDS)) {
        op->status = GNTST_bad_gntref;
        return 0;
    }
    granter = domain_get_by_any_id(op->dom);
    if (!granter || granter->dying || !granter->grant) {
        op->status = GNTST_bad_domain;
        if (granter)
            domain_put(granter);
        return 0;
    }
    op->status = map_grant(granter, op);
    if (op->status)
        domain_put(granter);
    return 0;
}

// ---- unmap --------------------------------------------------------------------------------------

struct pending_unmap {
    struct domain *granter;
    mfn_t frame;
    uint32_t ref;
    grant_handle_t handle;
    uint32_t flags;       // of the mapping, as it was when they were claimed
    uint8_t kinds;        // MAP_KINDS bits that end
    bool io, write, last; // last: the handle ends as well
};

struct unmap_batch {
    unsigned int count;
    bool flush;
    struct pending_unmap entry[BATCH];
};

static DEFINE_PER_CPU(struct unmap_batch, unmap_batch);

void grant_unmap_finish(void)
{
    struct unmap_batch *b = &this_cpu(unmap_batch);
    struct domain *d = current->domain;

    if (b->flush)
        arch_grant_flush_tlb(d);
    for (unsigned int i = 0; i < b->count; i++) {
        const struct pending_unmap *p = &b->entry[i];

        for (unsigned int kinds = p->kinds; kinds; kinds &= kinds - 1)
            drop_kind(p->granter, p->ref, p->frame, p->io, p->write);
        if (p->last)
            handle_free(d->grant, p->handle);
    }
    b->count = 0;
    b->flush = false;
}

// Take `kinds` off the mapping, whatever order its users come in: they meet at the active entry's
// lock. What was there goes to *p.
static int16_t claim_mapping(struct domain *d, grant_handle_t handle, uint32_t kinds,
                             struct pending_unmap *p)
{
    struct mapping *m = mapping_of(d->grant, handle);
    struct active *a;
    uint32_t flags;
    int16_t rc = GNTST_okay;

    if (!m)
        return GNTST_bad_handle;
    // The mapping's table is only looked up with the mapping locked against its end.
    spin_lock(&d->grant->track_lock);
    flags = m->flags;
    if (!(flags & MAP_KINDS) || (flags & kinds) != kinds) {
        spin_unlock(&d->grant->track_lock);
        return flags & MAP_KINDS ? GNTST_general_error : GNTST_bad_handle;
    }
    m->flags = flags & ~kinds;
    if (!(m->flags & MAP_KINDS))
        m->flags = 0;
    *p = (struct pending_unmap){.granter = m->granter,
                                .ref = m->ref,
                                .handle = handle,
                                .flags = flags,
                                .kinds = (uint8_t)kinds,
                                .write = is_write(flags),
                                .last = !m->flags};
    spin_unlock(&d->grant->track_lock);
    // Our pins hold what the active entry says.
    a = grant_active_lock(p->granter->grant, p->ref);
    if (WARN_ON(!a))
        return GNTST_general_error;
    p->frame = a->frame;
    p->io = a->io;
    spin_unlock(&a->lock);
    return rc;
}

// Only what was claimed goes back: between a look and a claim the handle can have become another's.
static void unclaim_mapping(struct domain *d, const struct pending_unmap *p)
{
    struct mapping *m = mapping_of(d->grant, p->handle);

    spin_lock(&d->grant->track_lock);
    m->flags |= p->kinds | (p->flags & (GNTMAP_readonly | GNTMAP_contains_pte));
    spin_unlock(&d->grant->track_lock);
}

static int16_t unmap_one(grant_handle_t handle, uint64_t host_addr, uint64_t dev_addr,
                         uint64_t new_addr)
{
    struct unmap_batch *b = &this_cpu(unmap_batch);
    struct pending_unmap *p = &b->entry[b->count];
    struct vcpu *v = current;
    struct domain *d = v->domain;
    uint32_t kinds = (host_addr ? GNTMAP_host_map : 0) | (dev_addr ? GNTMAP_device_map : 0);
    int16_t rc;

    if (!kinds) {
        const struct mapping *m = mapping_of(d->grant, handle);
        return m && READ_ONCE(m->flags) ? GNTST_okay : GNTST_bad_handle;
    }
    rc = claim_mapping(d, handle, kinds, p);
    if (rc)
        return rc;
    if (dev_addr && dev_addr != p->frame.v << PAGE_SHIFT)
        rc = GNTST_general_error;
    if (!rc && host_addr)
        rc = arch_grant_unmap(v, host_addr, p->frame, new_addr, p->flags);
    if (rc) {
        unclaim_mapping(d, p);
        return rc;
    }
    b->flush |= host_addr != 0;
    if (++b->count == BATCH)
        grant_unmap_finish();
    return GNTST_okay;
}

int grant_op_unmap(void *arg)
{
    struct gnttab_unmap_grant_ref *op = arg;

    op->status = unmap_one(op->handle, op->host_addr, op->dev_bus_addr, 0);
    return 0;
}

int grant_op_unmap_and_replace(void *arg)
{
    struct gnttab_unmap_and_replace *op = arg;

    op->status =
        op->host_addr ? unmap_one(op->handle, op->host_addr, 0, op->new_addr) : GNTST_bad_virt_addr;
    return 0;
}

// ---- end of a domain ----------------------------------------------------------------------------

// Nothing of d runs any more, and its page tables are never loaded again: their entries may stay.
int grant_domain_relinquish(struct domain *d)
{
    struct grant_table *t = d->grant;
    uint32_t handles;

    if (!t)
        return 0;
    handles = (uint32_t)(t->track_pages * MAPPINGS_PER_PAGE);
    for (; t->cursor < handles; t->cursor++) {
        uint32_t flags = mapping_of(t, t->cursor)->flags & MAP_KINDS;
        struct pending_unmap p;

        if (!flags || claim_mapping(d, t->cursor, flags, &p))
            continue;
        for (; flags; flags &= flags - 1)
            drop_kind(p.granter, p.ref, p.frame, p.io, p.write);
        handle_free(t, t->cursor);
        if (t->cursor % PREEMPT_EVERY == 0 && hypercall_preempt_check()) {
            t->cursor++;
            return -ERESTART;
        }
    }
    return 0;
}
