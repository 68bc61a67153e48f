// SPDX-License-Identifier: BSD-2-Clause
// Copying between granted and own pages, and giving pages away.
#include "core/grant_private.h"
#include "lib/string.h"

// One side of a copy: what is to be given back, and the bytes.
struct copy_side {
    struct domain **kept;   // the granter of this side's last operation, with a reference
    struct domain *granter; // of the grant used; NULL: own page
    struct active *active;  // what holds its pin
    struct domain *through; // who passed a transitive grant on; then `granter` has a reference
    struct active *through_active;
    grant_ref_t ref, through_ref;
    bool write;
    bool have_frame;
    mfn_t frame;
    uint8_t *data;
};

static void side_release(const struct copy_side *s)
{
    if (s->have_frame)
        grant_put_frame_refs(s->frame, s->write);
    if (s->granter)
        grant_release_active(s->granter, s->active, s->ref, s->write);
    if (unlikely(s->through)) {
        if (s->granter)
            domain_put(s->granter);
        grant_release_active(s->through, s->through_active, s->through_ref, s->write);
    }
}

static int16_t acquire_direct(struct copy_side *s, struct domain *granter, grant_ref_t ref,
                              const struct domain *user, struct grant_use *use)
{
    int16_t rc = grant_acquire(granter, ref, user, s->write, use);

    if (!rc) {
        s->granter = granter;
        s->active = use->active;
        s->ref = ref;
    }
    return rc;
}

// The grant may pass on one that `granter` has from someone else: one step of that is followed.
static int16_t acquire_transitive(struct copy_side *s, struct domain *granter, grant_ref_t ref,
                                  struct grant_use *use)
{
    struct grant_next next;
    struct domain *owner;
    int16_t rc = grant_acquire_transitive(granter, ref, current->domain, s->write, &next);

    if (rc)
        return rc;
    s->through = granter;
    s->through_active = next.active;
    s->through_ref = ref;
    owner = domain_get_by_id(next.domain);
    if (!owner)
        return GNTST_general_error;
    rc = acquire_direct(s, owner, next.ref, granter, use);
    if (rc)
        domain_put(owner);
    return rc;
}

static struct domain *side_granter(const struct copy_side *s, domid_t id)
{
    struct domain *kept = *s->kept;

    if (likely(kept && kept->id == id))
        return kept;
    *s->kept = domain_get_by_any_id(id);
    if (kept)
        domain_put(kept);
    return *s->kept;
}

static int16_t side_grant(struct copy_side *s, const struct gnttab_copy_ptr *ptr,
                          struct grant_use *use)
{
    struct domain *granter = side_granter(s, ptr->domid);
    int16_t rc;

    if (!granter)
        return GNTST_bad_domain;
    rc = acquire_direct(s, granter, ptr->u.ref, current->domain, use);
    if (rc == GNTST_bad_gntref)
        rc = acquire_transitive(s, granter, ptr->u.ref, use);
    return rc;
}

static int16_t side_acquire(struct copy_side *s, const struct gnttab_copy_ptr *ptr, bool is_grant,
                            uint16_t len)
{
    struct domain *owner = current->domain;
    struct grant_use use = {.start = 0, .length = PAGE_SIZE};
    int16_t rc;

    if (is_grant) {
        rc = side_grant(s, ptr, &use);
        if (rc)
            return rc;
        owner = s->granter;
    } else {
        if (ptr->domid != DOMID_SELF && ptr->domid != owner->id)
            return GNTST_permission_denied; // by frame number only one's own
        use.frame = MFN(ptr->u.gmfn);
    }
    if (ptr->offset < use.start || ptr->offset + len > use.start + use.length)
        return GNTST_general_error;
    if (use.io || !grant_get_frame_refs(owner, use.frame, s->write))
        return GNTST_bad_page;
    s->frame = use.frame;
    s->have_frame = true;
    s->data = (uint8_t *)mfn_to_virt(use.frame) + ptr->offset;
    return GNTST_okay;
}

int grant_op_copy(void *arg)
{
    struct grant_copy_step *step = arg;
    struct gnttab_copy *op = &step->op;
    struct copy_side src = {.kept = &step->source, .write = false};
    struct copy_side dst = {.kept = &step->dest, .write = true};
    int16_t rc = GNTST_bad_copy_arg;

    if (op->source.offset + op->len <= PAGE_SIZE && op->dest.offset + op->len <= PAGE_SIZE) {
        rc = side_acquire(&src, &op->source, op->flags & GNTCOPY_source_gref, op->len);
        if (!rc)
            rc = side_acquire(&dst, &op->dest, op->flags & GNTCOPY_dest_gref, op->len);
        if (!rc)
            memmove(dst.data, src.data, op->len);
        side_release(&dst);
        side_release(&src);
    }
    op->status = rc;
    return 0;
}

void grant_copy_finish(struct grant_copy_step *step)
{
    if (step->source)
        domain_put(step->source);
    if (step->dest)
        domain_put(step->dest);
}

// ---- transfer -----------------------------------------------------------------------------------

// The receiver's entry accepts a page from d: commit, so that it cannot be taken back.
static int16_t commit_transfer(uint32_t *header, const struct domain *d)
{
    uint32_t want = GTF_accept_transfer | (uint32_t)d->id << 16;

    return __atomic_compare_exchange_n(header, &want, want | GTF_transfer_committed, false,
                                       __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)
               ? GNTST_okay
               : GNTST_bad_gntref;
}

static void complete_transfer(const struct grant_table *t, uint32_t *header, mfn_t frame)
{
    if (t->version == 1)
        WRITE_ONCE(((grant_entry_v1_t *)header)->frame, (uint32_t)frame.v);
    else
        WRITE_ONCE(((grant_entry_v2_t *)header)->full_page.frame, frame.v);
    smp_wmb();
    __atomic_fetch_or((uint16_t *)header, GTF_transfer_completed, __ATOMIC_SEQ_CST);
}

static int16_t transfer(struct domain *to, const struct gnttab_transfer *op)
{
    struct domain *d = current->domain;
    struct grant_table *t = to->grant;
    struct frame *f = mfn_to_frame(MFN(op->mfn));
    struct active *a;
    int16_t rc;

    a = grant_active_use(t, op->ref, GTF_accept_transfer, d); // keeps the version
    if (!a)
        return GNTST_bad_gntref;
    if (READ_ONCE(t->changing) || op->ref >= grant_entries(t))
        rc = GNTST_eagain;
    else
        rc = commit_transfer(grant_header(t, op->ref), d);
    if (!rc && frame_steal(d, f))
        rc = GNTST_bad_page;
    if (!rc) {
        arch_grant_flush_tlb(d); // old mappings may linger there
        if (frame_assign(to, f)) {
            // Back to d, unless it has filled its place meanwhile or is dying.
            if (frame_assign(d, f))
                frame_put(f);
            rc = GNTST_general_error;
        } else {
            complete_transfer(t, grant_header(t, op->ref), MFN(op->mfn));
        }
    }
    spin_unlock(&a->lock);
    return rc;
}

int grant_op_transfer(void *arg)
{
    struct gnttab_transfer *op = arg;
    struct domain *to;

    if (!mfn_valid(MFN(op->mfn))) {
        op->status = GNTST_bad_page;
        return 0;
    }
    to = domain_get_by_id(op->domid);
    if (!to || to->dying || !to->grant)
        op->status = GNTST_bad_domain;
    else if (to == current->domain)
        op->status = GNTST_general_error;
    else
        op->status = transfer(to, op);
    if (to)
        domain_put(to);
    return 0;
}
