// SPDX-License-Identifier: BSD-2-Clause
// XENMEM_exchange: a domain gives frames and gets others for them, e.g. contiguous ones for DMA.
// Worked off in chunks of the larger of the two orders; a chunk is exchanged whole or not at all.
#include "core/access.h"
#include "core/hypercall.h"
#include "core/memory_op.h"
#include "core/sched.h"
#include "memory/frame.h"
#include "memory/heap.h"
#include "x86/arch/guest_access.h"

struct exchange {
    struct xen_memory_exchange x;
    struct domain *d;
    uint64_t in_per_chunk, out_per_chunk; // extents
    uint64_t chunk_pages;
    struct frame **taken; // chunk_pages frames of the domain
    struct frame **fresh; // out_per_chunk first frames of extents
};

static int check(struct exchange *e)
{
    const struct xen_memory_reservation *in = &e->x.in, *out = &e->x.out;
    unsigned int max = memory_op_max_order();

    if (in->domid != out->domid || in->extent_order > max || out->extent_order > max ||
        in->nr_extents > ~0ul >> max || out->nr_extents > ~0ul >> max ||
        in->nr_extents << in->extent_order != out->nr_extents << out->extent_order ||
        !memory_op_flags_ok(out->mem_flags) || e->x.nr_exchanged > in->nr_extents)
        return -EINVAL;
    if (!guest_range_ok(in->extent_start.p, in->nr_extents * sizeof(xen_pfn_t)) ||
        !guest_range_ok(out->extent_start.p, out->nr_extents * sizeof(xen_pfn_t)))
        return -EFAULT;
    unsigned int order = MAX(in->extent_order, out->extent_order);
    e->chunk_pages = 1ul << order;
    e->in_per_chunk = 1ul << (order - in->extent_order);
    e->out_per_chunk = 1ul << (order - out->extent_order);
    // A partial chunk at the end would be smaller than an extent of the other side.
    return e->x.nr_exchanged % e->in_per_chunk || in->nr_extents % e->in_per_chunk ? -EINVAL : 0;
}

static void give_back(struct exchange *e, uint64_t taken)
{
    for (uint64_t i = 0; i < taken; i++)
        if (frame_assign(e->d, e->taken[i]))
            frame_put(e->taken[i]); // the domain is dying: the frame is free
}

static int take(struct exchange *e, uint64_t first)
{
    uint64_t n = 0;

    for (uint64_t i = 0; i < e->in_per_chunk; i++) {
        xen_pfn_t mfn;
        int rc = guest_handle_from(&mfn, e->x.in.extent_start, first + i, 1);
        for (uint64_t j = 0; !rc && j < 1ul << e->x.in.extent_order; j++) {
            if (!mfn_valid(MFN(mfn + j)))
                rc = -EINVAL;
            else
                rc = frame_steal(e->d, mfn_to_frame(MFN(mfn + j)));
            if (!rc)
                e->taken[n++] = mfn_to_frame(MFN(mfn + j));
        }
        if (rc) {
            give_back(e, n);
            return rc;
        }
    }
    return 0;
}

static int allocate(struct exchange *e)
{
    unsigned int order = e->x.out.extent_order;

    for (uint64_t i = 0; i < e->out_per_chunk; i++) {
        e->fresh[i] = memory_op_alloc(e->d, order, e->x.out.mem_flags);
        if (e->fresh[i])
            continue;
        while (i-- > 0)
            for (uint64_t j = 0; j < 1ul << order; j++) {
                __atomic_fetch_and(&e->fresh[i][j].count, ~FRAME_ALLOCATED, __ATOMIC_SEQ_CST);
                frame_put(&e->fresh[i][j]);
            }
        return -ENOMEM;
    }
    return 0;
}

// What was taken is let go only now, so that a failure before leaves everything as it was.
static int exchange_chunk(struct exchange *e)
{
    uint64_t in = e->x.nr_exchanged, out = in / e->in_per_chunk * e->out_per_chunk;
    int rc = take(e, in);

    if (rc)
        return rc;
    rc = allocate(e);
    if (rc) {
        give_back(e, e->chunk_pages);
        return rc;
    }
    for (uint64_t i = 0; i < e->chunk_pages; i++)
        frame_put(e->taken[i]);
    for (uint64_t i = 0; i < e->out_per_chunk; i++) {
        xen_pfn_t gpfn, mfn = frame_to_mfn(e->fresh[i]).v;
        if (guest_handle_from(&gpfn, e->x.out.extent_start, out + i, 1))
            return -EFAULT;
        for (uint64_t j = 0; j < 1ul << e->x.out.extent_order; j++)
            *m2p_entry(MFN(mfn + j)) = gpfn + j;
        if (guest_handle_to(e->x.out.extent_start, out + i, &mfn, 1))
            return -EFAULT;
    }
    e->x.nr_exchanged += e->in_per_chunk;
    return 0;
}

static long run(struct exchange *e, bool *preempted)
{
    int rc = 0;

    e->taken = heap_alloc_array(e->chunk_pages, sizeof(*e->taken));
    e->fresh = heap_alloc_array(e->out_per_chunk, sizeof(*e->fresh));
    if (!e->taken || !e->fresh)
        rc = -ENOMEM;
    while (!rc && e->x.nr_exchanged < e->x.in.nr_extents && !*preempted) {
        rc = exchange_chunk(e);
        *preempted = hypercall_preempt_check();
    }
    heap_free(e->taken);
    heap_free(e->fresh);
    return rc;
}

long memory_exchange(void *arg)
{
    struct exchange e = {0};
    bool preempted = false;

    if (guest_copy_from(&e.x, arg, sizeof(e.x)))
        return -EFAULT;
    long rc = check(&e);
    if (rc)
        return rc;
    e.d = domain_get_by_any_id(e.x.in.domid);
    if (!e.d)
        return -ESRCH;
    rc = access_check(current->domain, e.d == current->domain ? ACCESS_SELF : ACCESS_TARGET, e.d);
    if (!rc)
        rc = run(&e, &preempted);
    domain_put(e.d);
    if (guest_copy_to((char *)arg + offsetof(struct xen_memory_exchange, nr_exchanged),
                      &e.x.nr_exchanged, sizeof(e.x.nr_exchanged)))
        return -EFAULT;
    if (rc || e.x.nr_exchanged == e.x.in.nr_extents)
        return rc;
    unsigned long args[] = {XENMEM_exchange, (unsigned long)arg};
    return hypercall_continue(__HYPERVISOR_memory_op, 2, args);
}
