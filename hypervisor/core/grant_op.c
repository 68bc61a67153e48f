// SPDX-License-Identifier: BSD-2-Clause
// grant_table_op: one table of operations, one loop over the guest's array.
#include "core/access.h"
#include "core/console.h"
#include "core/grant_private.h"
#include "core/hypercall.h"
#include "core/sched.h"
#include "x86/arch/guest_access.h"

#define PREEMPT_EVERY 64

// The domain an operation names, if the caller may look after its table. GNTST_*.
static int16_t get_table_owner(domid_t id, struct domain **out)
{
    struct domain *d = domain_get_by_any_id(id);

    if (!d)
        return GNTST_bad_domain;
    if (access_check(current->domain, ACCESS_SELF, d) &&
        access_check(current->domain, ACCESS_TARGET, d)) {
        domain_put(d);
        return GNTST_permission_denied;
    }
    if (!d->grant) {
        domain_put(d);
        return GNTST_bad_domain;
    }
    *out = d;
    return GNTST_okay;
}

static int grant_op_setup_table(void *arg)
{
    struct gnttab_setup_table *op = arg;
    struct domain *d;
    int ret = 0;

    op->status = get_table_owner(op->dom, &d);
    if (op->status)
        return 0;
    spin_lock(&d->grant->lock);
    ret = op->nr_frames > d->grant->frames ? grant_grow(d, op->nr_frames) : 0;
    spin_unlock(&d->grant->lock);
    if (ret) {
        guest_log(d, "grant table of %u frames refused (limit %u)", op->nr_frames,
                  d->grant->max_frames);
        op->status = GNTST_general_error;
        ret = 0;
    }
    // Frames never go away while the domain lives.
    for (uint32_t i = 0; !op->status && !ret && i < op->nr_frames; i++) {
        xen_pfn_t mfn = virt_to_mfn(d->grant->shared[i]).v;

        ret = guest_handle_to(op->frame_list, i, &mfn, 1);
    }
    domain_put(d);
    return ret;
}

static int grant_op_get_status_frames(void *arg)
{
    struct gnttab_get_status_frames *op = arg;
    struct domain *d;
    int ret = 0;

    op->status = get_table_owner(op->dom, &d);
    if (op->status)
        return 0;
    if (d->grant->version != 2 || op->nr_frames > READ_ONCE(d->grant->status_frames))
        op->status = GNTST_general_error;
    for (uint32_t i = 0; !op->status && !ret && i < op->nr_frames; i++) {
        uint64_t mfn = virt_to_mfn(d->grant->status[i]).v;

        ret = guest_handle_to(op->frame_list, i, &mfn, 1);
    }
    domain_put(d);
    return ret;
}

static int grant_op_query_size(void *arg)
{
    struct gnttab_query_size *op = arg;
    struct domain *d;

    op->status = get_table_owner(op->dom, &d);
    if (op->status)
        return 0;
    op->nr_frames = READ_ONCE(d->grant->frames);
    op->max_nr_frames = d->grant->max_frames;
    domain_put(d);
    return 0;
}

static int grant_op_dump_table(void *arg)
{
    struct gnttab_dump_table *op = arg;
    struct domain *d;

    op->status = get_table_owner(op->dom, &d);
    if (op->status)
        return 0;
    if (printk_ratelimit())
        printk(LOG_GUEST LOG_INFO "d%u: grant table version %u, %u of %u frames, %u mappings\n",
               d->id, d->grant->version, d->grant->frames, d->grant->max_frames,
               d->grant->mappings);
    domain_put(d);
    return 0;
}

static int grant_op_set_version(void *arg)
{
    struct gnttab_set_version *op = arg;
    struct domain *d = current->domain;
    int ret;

    if (!d->grant)
        return -EINVAL;
    ret = grant_set_version(d, op->version);
    op->version = d->grant->version;
    return ret;
}

static int grant_op_get_version(void *arg)
{
    struct gnttab_get_version *op = arg;
    struct domain *d;

    switch (get_table_owner(op->dom, &d)) {
    case GNTST_okay:
        break;
    case GNTST_permission_denied:
        return -EPERM;
    default:
        return -ESRCH;
    }
    op->version = d->grant->version;
    domain_put(d);
    return 0;
}

static int16_t swap_entries(struct grant_table *t, grant_ref_t a, grant_ref_t b)
{
    struct active *first, *second = grant_active_lock(t, MAX(a, b));
    int16_t rc = GNTST_okay;

    // So that its chunk is there: making one takes the table's lock, which comes before `first`.
    if (!second)
        return GNTST_bad_gntref;
    spin_unlock(&second->lock);
    first = grant_active_lock(t, MIN(a, b));
    if (!first)
        return GNTST_bad_gntref;
    second = grant_active_lock(t, MAX(a, b));
    if (!second || READ_ONCE(t->changing) || MAX(a, b) >= grant_entries(t)) {
        rc = GNTST_bad_gntref;
    } else if (first->readers | first->writers | second->readers | second->writers) {
        rc = GNTST_eagain;
    } else if (t->version == 1) {
        grant_entry_v1_t *ea = (grant_entry_v1_t *)grant_header(t, a);
        grant_entry_v1_t *eb = (grant_entry_v1_t *)grant_header(t, b), tmp = *ea;
        *ea = *eb;
        *eb = tmp;
    } else {
        grant_entry_v2_t *ea = (grant_entry_v2_t *)grant_header(t, a);
        grant_entry_v2_t *eb = (grant_entry_v2_t *)grant_header(t, b), tmp = *ea;
        *ea = *eb;
        *eb = tmp;
    }
    if (second)
        spin_unlock(&second->lock);
    spin_unlock(&first->lock);
    return rc;
}

static int grant_op_swap_grant_ref(void *arg)
{
    struct gnttab_swap_grant_ref *op = arg;
    struct grant_table *t = current->domain->grant;

    if (!t || op->ref_a >= grant_entries(t) || op->ref_b >= grant_entries(t))
        op->status = GNTST_bad_gntref;
    else
        op->status = op->ref_a == op->ref_b ? GNTST_okay : swap_entries(t, op->ref_a, op->ref_b);
    return 0;
}

// Devices see the caches of this machine: beyond the checks there is nothing to do.
static int grant_op_cache_flush(void *arg)
{
    struct gnttab_cache_flush *op = arg;
    struct domain *d = current->domain;
    uint32_t ops = op->op & ~GNTTAB_CACHE_SOURCE_GREF;
    mfn_t mfn;

    if (ops & ~(GNTTAB_CACHE_CLEAN | GNTTAB_CACHE_INVAL) || op->offset >= PAGE_SIZE ||
        op->offset + op->length > PAGE_SIZE)
        return -EINVAL;
    if (!ops || !op->length)
        return 0;
    if (op->op & GNTTAB_CACHE_SOURCE_GREF)
        return -EOPNOTSUPP; // Arm's need
    mfn = MFN(op->a.dev_bus_addr >> PAGE_SHIFT);
    if (!frame_get(mfn, d))
        return -EPERM;
    frame_put(mfn_to_frame(mfn));
    return 0;
}

struct grant_op {
    int (*fn)(void *op); // 0 with the operation's own status inside, or -E for the whole call
    uint16_t size;
    bool single; // takes exactly one
};

// clang-format off
static const struct grant_op grant_ops[] = {
    [GNTTABOP_map_grant_ref]     = {grant_op_map, sizeof(struct gnttab_map_grant_ref), false},
    [GNTTABOP_unmap_grant_ref]   = {grant_op_unmap, sizeof(struct gnttab_unmap_grant_ref), false},
    [GNTTABOP_setup_table]       = {grant_op_setup_table, sizeof(struct gnttab_setup_table), true},
    [GNTTABOP_dump_table]        = {grant_op_dump_table, sizeof(struct gnttab_dump_table), false},
    [GNTTABOP_transfer]          = {grant_op_transfer, sizeof(struct gnttab_transfer), false},
    [GNTTABOP_copy]              = {grant_op_copy, sizeof(struct gnttab_copy), false},
    [GNTTABOP_query_size]        = {grant_op_query_size, sizeof(struct gnttab_query_size), true},
    [GNTTABOP_unmap_and_replace] = {grant_op_unmap_and_replace, sizeof(struct gnttab_unmap_and_replace), false},
    [GNTTABOP_set_version]       = {grant_op_set_version, sizeof(struct gnttab_set_version), false},
    [GNTTABOP_get_status_frames] = {grant_op_get_status_frames, sizeof(struct gnttab_get_status_frames), true},
    [GNTTABOP_get_version]       = {grant_op_get_version, sizeof(struct gnttab_get_version), false},
    [GNTTABOP_swap_grant_ref]    = {grant_op_swap_grant_ref, sizeof(struct gnttab_swap_grant_ref), false},
    [GNTTABOP_cache_flush]       = {grant_op_cache_flush, sizeof(struct gnttab_cache_flush), false},
};
// clang-format on

union grant_arg {
    struct gnttab_map_grant_ref map;
    struct gnttab_unmap_grant_ref unmap;
    struct grant_copy_step copy;
    struct gnttab_setup_table setup;
    struct gnttab_transfer transfer;
    struct gnttab_unmap_and_replace replace;
    struct gnttab_get_status_frames status_frames;
};

long hc_grant_table_op(unsigned long cmd, unsigned long ops, unsigned long count)
{
    const struct grant_op *g;
    union grant_arg buf;
    unsigned long done = 0;
    int ret = 0;

    // Guests of another world's kernels may leave garbage above.
    cmd = (uint32_t)cmd;
    count = (uint32_t)count;
    if (cmd >= ARRAY_SIZE(grant_ops))
        return -ENOSYS;
    g = &grant_ops[index_nospec(cmd, ARRAY_SIZE(grant_ops))];
    if (cmd == GNTTABOP_copy)
        buf.copy.source = buf.copy.dest = NULL;
    if ((int32_t)count < 0 || (g->single && count != 1))
        return -EINVAL;
    if (!current->domain->grant)
        return -ENOSYS;
    for (; done < count && !ret; done++) {
        void *guest = (void *)(ops + done * g->size);

        if (done && done % PREEMPT_EVERY == 0 && hypercall_preempt_check())
            break;
        if (guest_copy_from(&buf, guest, g->size))
            ret = -EFAULT;
        if (!ret)
            ret = g->fn(&buf);
        if (!ret && guest_copy_to(guest, &buf, g->size))
            ret = -EFAULT;
    }
    grant_unmap_finish();
    if (cmd == GNTTABOP_copy)
        grant_copy_finish(&buf.copy);
    if (ret || done >= count)
        return ret;
    return hypercall_continue(__HYPERVISOR_grant_table_op, 3,
                              (unsigned long[]){cmd, ops + done * g->size, count - done});
}
