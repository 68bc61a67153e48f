// SPDX-License-Identifier: BSD-2-Clause
// Beginning and ending the use of a grant, and what the guest sees of it (GTF_reading, _writing).
#include "core/grant_private.h"
#include "core/rangeset.h"

#define CHANGE_TRIES 8 // a guest that keeps changing an entry while it is being used gets an error

struct wish {
    const struct domain *user;
    uint16_t type; // GTF_permit_access or GTF_transitive
    bool write;
};

static bool header_permits(uint32_t header, const struct wish *w)
{
    uint16_t flags = (uint16_t)header, domid = (uint16_t)(header >> 16);

    return (flags & GTF_type_mask) == w->type && domid == w->user->id &&
           !(w->write && (flags & GTF_readonly));
}

// Version 1: flags and domid in one word, so that check and mark are one step.
static int16_t mark_v1(uint32_t *header, const struct wish *w)
{
    uint32_t old = READ_ONCE(*header);

    for (int i = 0; i < CHANGE_TRIES; i++) {
        uint32_t set = GTF_reading | (w->write ? GTF_writing : 0);

        if (!header_permits(old, w) || (old & GTF_sub_page))
            return GNTST_bad_gntref;
        if (__atomic_compare_exchange_n(header, &old, old | set, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED))
            return GNTST_okay;
    }
    return GNTST_general_error;
}

// Version 2: the mark is in the status page; look again at the header after setting it.
static int16_t mark_v2(uint32_t *header, uint16_t *status, const struct wish *w)
{
    uint16_t set = (uint16_t)(GTF_reading | (w->write ? GTF_writing : 0)), old;

    if (!header_permits(READ_ONCE(*header), w))
        return GNTST_bad_gntref;
    old = __atomic_fetch_or(status, set, __ATOMIC_SEQ_CST);
    if (header_permits(READ_ONCE(*header), w))
        return GNTST_okay;
    __atomic_fetch_and(status, (uint16_t) ~(set & ~old), __ATOMIC_SEQ_CST);
    return GNTST_bad_gntref;
}

// What a first user gets: frame and bytes. The entry is marked.
static int16_t fill_active(struct domain *granter, struct active *a, grant_ref_t ref,
                           const struct wish *w)
{
    const struct grant_table *t = granter->grant;
    const uint32_t *header = grant_header(t, ref);

    a->start = 0;
    a->length = PAGE_SIZE;
    a->transitive = w->type == GTF_transitive;
    a->io = false;
    if (a->transitive) {
        a->frame = INVALID_MFN;
        return GNTST_okay;
    }
    if (t->version == 1) {
        a->frame = MFN(READ_ONCE(((const grant_entry_v1_t *)header)->frame));
    } else {
        const grant_entry_v2_t *e = (const grant_entry_v2_t *)header;

        a->frame = MFN(READ_ONCE(e->full_page.frame));
        if (READ_ONCE(e->hdr.flags) & GTF_sub_page) {
            a->start = READ_ONCE(e->sub_page.page_off);
            a->length = READ_ONCE(e->sub_page.length);
            if (a->start >= PAGE_SIZE || a->length > PAGE_SIZE - a->start)
                return GNTST_bad_gntref;
        }
    }
    a->io = !mfn_valid(a->frame);
    if (a->io &&
        (mfn_is_ram(a->frame) || !rangeset_contains(granter->iomem_caps, a->frame.v, a->frame.v)))
        return GNTST_bad_page;
    return GNTST_okay;
}

static void unmark(const struct grant_table *t, grant_ref_t ref, const struct active *a)
{
    uint16_t clear =
        (uint16_t)((a->writers ? 0 : GTF_writing) | (a->writers | a->readers ? 0 : GTF_reading));

    if (clear)
        __atomic_fetch_and(grant_status(t, ref), (uint16_t)~clear, __ATOMIC_SEQ_CST);
}

static int16_t acquire_locked(struct domain *granter, struct active *a, grant_ref_t ref,
                              const struct wish *w)
{
    const struct grant_table *t = granter->grant;
    bool first = !(a->readers | a->writers);
    uint32_t *header;
    int16_t rc;

    // While the entry is locked and the flag is clear the version stays.
    if (READ_ONCE(t->changing))
        return GNTST_eagain;
    if (ref >= grant_entries(t))
        return GNTST_bad_gntref;
    if (!first && (a->domid != w->user->id || a->transitive != (w->type == GTF_transitive)))
        return GNTST_general_error;
    header = grant_header(t, ref);
    rc = t->version == 1 ? mark_v1(header, w) : mark_v2(header, grant_status(t, ref), w);
    if (rc)
        return rc;
    if (first) {
        rc = fill_active(granter, a, ref, w);
        if (rc) {
            unmark(t, ref, a);
            return rc;
        }
        a->domid = w->user->id;
    }
    if (w->write)
        a->writers++;
    else
        a->readers++;
    return GNTST_okay;
}

static int16_t acquire(struct domain *granter, grant_ref_t ref, const struct wish *w,
                       struct grant_use *out)
{
    struct active *a;
    int16_t rc;

    if (!granter->grant)
        return GNTST_bad_domain;
    a = grant_active_use(granter->grant, ref, w->type, w->user);
    if (!a)
        return GNTST_bad_gntref;
    rc = acquire_locked(granter, a, ref, w);
    if (!rc)
        *out = (struct grant_use){
            .active = a, .frame = a->frame, .io = a->io, .start = a->start, .length = a->length};
    spin_unlock(&a->lock);
    return rc;
}

int16_t grant_acquire(struct domain *granter, grant_ref_t ref, const struct domain *user,
                      bool write, struct grant_use *out)
{
    const struct wish w = {.user = user, .type = GTF_permit_access, .write = write};

    return acquire(granter, ref, &w, out);
}

int16_t grant_acquire_transitive(struct domain *granter, grant_ref_t ref, const struct domain *user,
                                 bool write, struct grant_next *next)
{
    const struct wish w = {.user = user, .type = GTF_transitive, .write = write};
    const grant_entry_v2_t *e;
    struct grant_use use;
    int16_t rc;

    // There are none in version 1, where the header never permits this type of access.
    rc = granter->grant && granter->grant->version == 2 ? acquire(granter, ref, &w, &use)
                                                        : GNTST_bad_gntref;
    if (rc)
        return rc;
    // The pin keeps the version.
    e = (const grant_entry_v2_t *)grant_header(granter->grant, ref);
    *next = (struct grant_next){.active = use.active,
                                .domain = READ_ONCE(e->transitive.trans_domid),
                                .ref = READ_ONCE(e->transitive.gref)};
    return GNTST_okay;
}

static void release_locked(const struct grant_table *t, struct active *a, grant_ref_t ref,
                           bool write)
{
    if (WARN_ON(!(write ? a->writers : a->readers)))
        return;
    if (write)
        a->writers--;
    else
        a->readers--;
    unmark(t, ref, a);
}

void grant_release(struct domain *granter, grant_ref_t ref, bool write)
{
    struct active *a = grant_active_lock(granter->grant, ref);

    if (WARN_ON(!a))
        return;
    release_locked(granter->grant, a, ref, write);
    spin_unlock(&a->lock);
}

void grant_release_active(struct domain *granter, struct active *a, grant_ref_t ref, bool write)
{
    spin_lock(&a->lock);
    release_locked(granter->grant, a, ref, write);
    spin_unlock(&a->lock);
}

bool grant_get_frame_refs(const struct domain *owner, mfn_t frame, bool write)
{
    return write ? frame_get_writable(frame, owner) : frame_get(frame, owner);
}

void grant_put_frame_refs(mfn_t frame, bool write)
{
    struct frame *f = mfn_to_frame(frame);

    if (write)
        frame_put_writable(f);
    else
        frame_put(f);
}
