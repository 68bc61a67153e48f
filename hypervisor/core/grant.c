// SPDX-License-Identifier: BSD-2-Clause
// Grant tables: their pages, versions and life.
#include "core/grant_private.h"
#include "core/hypercall.h"
#include "core/sched.h"
#include "lib/string.h"
#include "memory/heap.h"

static void *share_page(struct domain *d)
{
    void *page = page_alloc_zero(0);

    if (page)
        frame_share(mfn_to_frame(virt_to_mfn(page)), d, true);
    return page;
}

static void unshare_page(void *page)
{
    if (!page)
        return;
    frame_unshare(mfn_to_frame(virt_to_mfn(page)));
    page_free(page, 0);
}

static uint32_t status_frames_for(uint32_t frames)
{
    return (uint32_t)DIV_ROUND_UP(frames * V2_PER_PAGE, STATUS_PER_PAGE);
}

static int grow_status(struct domain *d, uint32_t frames)
{
    struct grant_table *t = d->grant;

    for (; t->status_frames < status_frames_for(frames); t->status_frames++) {
        t->status[t->status_frames] = share_page(d);
        if (!t->status[t->status_frames])
            return -ENOMEM;
    }
    return 0;
}

int grant_grow(struct domain *d, uint32_t frames)
{
    struct grant_table *t = d->grant;
    int ret;

    if (frames > t->max_frames)
        return -EINVAL;
    // Status pages first: every entry that can be used has its status.
    ret = t->version == 2 ? grow_status(d, frames) : 0;
    while (!ret && t->frames < frames) {
        struct active **chunks = heap_alloc_array(CHUNKS_PER_PAGE, sizeof(*chunks));
        void *page = chunks ? share_page(d) : NULL;

        if (!page) {
            heap_free(chunks);
            ret = -ENOMEM;
            break;
        }
        t->active[t->frames] = chunks;
        t->shared[t->frames] = page;
        __atomic_store_n(&t->frames, t->frames + 1, __ATOMIC_RELEASE);
    }
    return ret;
}

static struct active *make_chunk(struct grant_table *t, struct active **slot)
{
    struct active *chunk;

    spin_lock(&t->lock);
    chunk = *slot;
    if (!chunk) {
        chunk = heap_alloc_array(ACTIVE_PER_CHUNK, sizeof(*chunk));
        for (unsigned int i = 0; chunk && i < ACTIVE_PER_CHUNK; i++)
            spin_lock_init(&chunk[i].lock);
        __atomic_store_n(slot, chunk, __ATOMIC_RELEASE);
    }
    spin_unlock(&t->lock);
    return chunk;
}

static struct active **chunk_slot(const struct grant_table *t, grant_ref_t ref)
{
    return &t->active[ref / V1_PER_PAGE][ref / ACTIVE_PER_CHUNK % CHUNKS_PER_PAGE];
}

// Locked; NULL: no such reference, or none of its neighbours was ever used.
static struct active *active_find(struct grant_table *t, grant_ref_t ref)
{
    uint32_t entries = grant_entries(t);

    if (ref >= entries)
        return NULL;
    ref = (grant_ref_t)index_nospec(ref, entries);
    struct active *a = __atomic_load_n(chunk_slot(t, ref), __ATOMIC_ACQUIRE);
    if (unlikely(!a))
        return NULL;
    a += ref % ACTIVE_PER_CHUNK;
    spin_lock(&a->lock);
    return a;
}

struct active *grant_active_lock(struct grant_table *t, grant_ref_t ref)
{
    struct active *a = active_find(t, ref);
    uint32_t entries = grant_entries(t);

    if (likely(a) || ref >= entries)
        return a;
    ref = (grant_ref_t)index_nospec(ref, entries);
    return make_chunk(t, chunk_slot(t, ref)) ? active_find(t, ref) : NULL;
}

// Does the entry offer `user` this type of use at the moment?
static bool is_offered(struct grant_table *t, grant_ref_t ref, uint16_t type,
                       const struct domain *user)
{
    bool offered = false;

    spin_lock(&t->lock); // keeps the version
    uint32_t entries = grant_entries(t);
    if (ref < entries) {
        uint32_t header = READ_ONCE(*grant_header(t, (grant_ref_t)index_nospec(ref, entries)));
        offered = (header & GTF_type_mask) == type && header >> 16 == user->id;
    }
    spin_unlock(&t->lock);
    return offered;
}

struct active *grant_active_use(struct grant_table *t, grant_ref_t ref, uint16_t type,
                                const struct domain *user)
{
    struct active *a = active_find(t, ref);

    if (unlikely(!a) && is_offered(t, ref, type, user))
        a = grant_active_lock(t, ref);
    return a;
}

uint32_t *grant_header(const struct grant_table *t, grant_ref_t ref)
{
    if (t->version == 1)
        return (uint32_t *)((grant_entry_v1_t *)t->shared[ref / V1_PER_PAGE] + ref % V1_PER_PAGE);
    return (uint32_t *)((grant_entry_v2_t *)t->shared[ref / V2_PER_PAGE] + ref % V2_PER_PAGE);
}

uint16_t *grant_status(const struct grant_table *t, grant_ref_t ref)
{
    if (t->version == 1)
        return (uint16_t *)grant_header(t, ref);
    return t->status[ref / STATUS_PER_PAGE] + ref % STATUS_PER_PAGE;
}

// ---- versions -----------------------------------------------------------------------------------

static bool any_pinned(struct grant_table *t)
{
    for (uint32_t page = 0; page < t->frames; page++) {
        for (unsigned int c = 0; c < CHUNKS_PER_PAGE; c++) {
            struct active *chunk = t->active[page][c];

            for (unsigned int i = 0; chunk && i < ACTIVE_PER_CHUNK; i++) {
                bool pinned;

                spin_lock(&chunk[i].lock);
                pinned = chunk[i].readers | chunk[i].writers;
                spin_unlock(&chunk[i].lock);
                if (pinned)
                    return true;
            }
        }
    }
    return false;
}

// The first entries (console, xenstore) were made by the toolstack and survive a change.
static int save_reserved(const struct grant_table *t, grant_entry_v1_t *saved)
{
    for (grant_ref_t ref = 0; ref < GNTTAB_NR_RESERVED_ENTRIES; ref++) {
        const grant_entry_v2_t *e2;

        if (t->version == 1) {
            saved[ref] = ((const grant_entry_v1_t *)t->shared[0])[ref];
        } else {
            e2 = (const grant_entry_v2_t *)t->shared[0] + ref;
            saved[ref].flags = e2->hdr.flags;
            saved[ref].domid = e2->hdr.domid;
            saved[ref].frame = (uint32_t)e2->full_page.frame;
        }
        if ((saved[ref].flags & GTF_type_mask) == GTF_invalid)
            saved[ref] = (grant_entry_v1_t){0};
        else if ((saved[ref].flags & GTF_type_mask) != GTF_permit_access ||
                 (saved[ref].flags & GTF_sub_page))
            return -ERANGE;
    }
    return 0;
}

static void restore_reserved(struct grant_table *t, const grant_entry_v1_t *saved)
{
    for (grant_ref_t ref = 0; ref < GNTTAB_NR_RESERVED_ENTRIES; ref++) {
        if (t->version == 1) {
            ((grant_entry_v1_t *)t->shared[0])[ref] = saved[ref];
        } else {
            grant_entry_v2_t *e = (grant_entry_v2_t *)t->shared[0] + ref;

            e->hdr.flags = saved[ref].flags & (uint16_t) ~(GTF_reading | GTF_writing);
            e->hdr.domid = saved[ref].domid;
            e->full_page.frame = saved[ref].frame;
        }
    }
}

static int change_version(struct domain *d, uint32_t version)
{
    struct grant_table *t = d->grant;
    grant_entry_v1_t saved[GNTTAB_NR_RESERVED_ENTRIES] = {0};
    int ret;

    if (any_pinned(t))
        return -EBUSY;
    ret = t->frames ? save_reserved(t, saved) : 0;
    if (ret)
        return ret;
    // Status pages stay when the table goes back to version 1: the guest may map them still.
    ret = version == 2 ? grow_status(d, t->frames) : 0;
    if (ret)
        return ret;
    for (uint32_t i = 0; i < t->frames; i++)
        memset(t->shared[i], 0, PAGE_SIZE);
    for (uint32_t i = 0; i < t->status_frames; i++)
        memset(t->status[i], 0, PAGE_SIZE);
    t->version = (uint8_t)version;
    if (t->frames)
        restore_reserved(t, saved);
    return 0;
}

int grant_set_version(struct domain *d, uint32_t version)
{
    struct grant_table *t = d->grant;
    int ret = 0;

    if (version != 1 && version != 2)
        return -EINVAL;
    if (version > t->max_version)
        return -ENOSYS;
    spin_lock(&t->lock);
    if (version != t->version) {
        // Whoever locks an active entry after any_pinned() looked at it sees the flag.
        __atomic_store_n(&t->changing, true, __ATOMIC_SEQ_CST);
        ret = change_version(d, version);
        __atomic_store_n(&t->changing, false, __ATOMIC_SEQ_CST);
    }
    spin_unlock(&t->lock);
    return ret;
}

int grant_get_frame(struct domain *d, bool status, unsigned int n, mfn_t *out)
{
    struct grant_table *t = d->grant;
    int ret = 0;

    if (!t)
        return -EINVAL;
    spin_lock(&t->lock);
    if (status && t->version != 2) {
        ret = -EINVAL;
    } else if (status) {
        // Enough entries for that status page.
        uint64_t frames = ((uint64_t)n + 1) * STATUS_PER_PAGE / V2_PER_PAGE;

        if (n >= t->status_frames)
            ret = frames > t->max_frames ? -EINVAL : grant_grow(d, (uint32_t)frames);
    } else if (n >= t->frames) {
        ret = n >= t->max_frames ? -EINVAL : grant_grow(d, n + 1);
    }
    if (!ret)
        *out = virt_to_mfn(status ? (void *)t->status[n] : t->shared[n]);
    spin_unlock(&t->lock);
    return ret;
}

// ---- life ---------------------------------------------------------------------------------------

int grant_domain_init(struct domain *d, uint32_t max_frames, uint32_t max_maptrack,
                      uint32_t max_version)
{
    struct grant_table *t = heap_new(struct grant_table);

    if (!t)
        return -ENOMEM;
    d->grant = t;
    spin_lock_init(&t->lock);
    spin_lock_init(&t->track_lock);
    t->version = 1;
    t->max_version = (uint8_t)(max_version ? MIN(max_version, 2u) : 2);
    t->max_frames = MIN(max_frames, (uint32_t)MAX_TABLE_FRAMES);
    t->max_track_pages = MIN(max_maptrack, (uint32_t)MAX_TRACK_PAGES);
    t->shared = heap_alloc_array(MAX(t->max_frames, 1u), sizeof(*t->shared));
    t->status = heap_alloc_array(status_frames_for(t->max_frames) + 1, sizeof(*t->status));
    t->active = heap_alloc_array(MAX(t->max_frames, 1u), sizeof(*t->active));
    return t->shared && t->status && t->active ? 0 : -ENOMEM; // destroy frees what is there
}

void grant_domain_destroy(struct domain *d)
{
    struct grant_table *t = d->grant;

    if (!t)
        return;
    for (uint32_t i = 0; t->shared && i < t->max_frames; i++)
        unshare_page(t->shared[i]);
    for (uint32_t i = 0; t->status && i < status_frames_for(t->max_frames); i++)
        unshare_page(t->status[i]);
    for (uint32_t i = 0; t->active && i < t->frames; i++) {
        for (unsigned int c = 0; c < CHUNKS_PER_PAGE; c++)
            heap_free(t->active[i][c]);
        heap_free(t->active[i]);
    }
    for (uint32_t i = 0; i < t->track_pages; i++)
        page_free(t->track[i], 0);
    heap_free(t->track);
    heap_free(t->active);
    heap_free(t->status);
    heap_free(t->shared);
    heap_free(t);
    d->grant = NULL;
}

unsigned int grant_max_frames(const struct domain *d, bool status)
{
    if (!d->grant)
        return 0;
    return status ? status_frames_for(d->grant->max_frames) : d->grant->max_frames;
}

unsigned int grant_domain_mappings(const struct domain *d)
{
    return d->grant ? READ_ONCE(d->grant->mappings) : 0;
}
