// SPDX-License-Identifier: BSD-2-Clause
// HYPERVISOR_memory_op: how much memory a domain has, and which. Lists of extents are worked off
// one extent at a time; a preempted call keeps its progress in the upper bits of the command.
#include "core/memory_op.h"
#include "core/access.h"
#include "core/grant.h"
#include "core/hypercall.h"
#include "core/sched.h"
#include "lib/string.h"
#include "memory/boot_alloc.h"
#include "memory/frame.h"
#include "memory/heap.h"
#include "memory/nodes.h"
#include "x86/arch/guest_access.h"
#include "x86/arch/memory.h"

#define EXTENT_SHIFT      6 // progress is kept above the command
#define CMD_MASK          ((1ul << EXTENT_SHIFT) - 1)
#define GUEST_MAX_ORDER   9  // 2 MiB
#define CONTROL_MAX_ORDER 18 // 1 GiB
#define MAP_MAX_ENTRIES   128
#define RESOURCE_MAX      32
#define NUMA_NO_NODE      0xffu // XENMEMF_get_node() of flags that name none

unsigned int memory_op_max_order(void)
{
    return current->domain->is_control ? CONTROL_MAX_ORDER : GUEST_MAX_ORDER;
}

// The domain that a request names, if the caller may change its memory; with a reference.
static int subject_domain(domid_t id, struct domain **d)
{
    *d = domain_get_by_any_id(id);
    if (!*d)
        return -ESRCH;
    if (*d == current->domain)
        return 0;
    int rc = access_check(current->domain, ACCESS_TARGET, *d);
    if (rc)
        domain_put(*d);
    return rc;
}

// Take the allocation's reference away: the frame is freed when nothing maps it any more.
static int remove_frame(struct domain *d, mfn_t mfn)
{
    if (!frame_get(mfn, d))
        return -EINVAL;
    struct frame *f = mfn_to_frame(mfn);
    bool allocated =
        __atomic_fetch_and(&f->count, ~FRAME_ALLOCATED, __ATOMIC_SEQ_CST) & FRAME_ALLOCATED;
    if (allocated)
        frame_put(f);
    frame_put(f);
    return allocated ? 0 : -EINVAL;
}

bool memory_op_flags_ok(uint32_t mem_flags)
{
    return !(mem_flags & (XENMEMF_populate_on_demand | XENMEMF_vnode));
}

struct frame *memory_op_alloc(struct domain *d, unsigned int order, uint32_t mem_flags)
{
    uint32_t node = XENMEMF_get_node(mem_flags);
    bool asked = node != NUMA_NO_NODE, exact = mem_flags & XENMEMF_exact_node_request;

    if (exact && (!asked || node >= node_count))
        return NULL;
    return frame_alloc_domain(
        d, order, (asked ? ALLOC_NODE(node) : 0) | (exact ? (unsigned int)ALLOC_THIS_NODE : 0),
        XENMEMF_get_address_bits(mem_flags));
}

struct reservation {
    struct xen_memory_reservation r;
    struct domain *d;
};

static int do_increase(struct reservation *a, unsigned long i)
{
    struct frame *f = memory_op_alloc(a->d, a->r.extent_order, a->r.mem_flags);
    if (!f)
        return -ENOMEM;
    xen_pfn_t mfn = frame_to_mfn(f).v;
    for (unsigned long n = 0; n < 1ul << a->r.extent_order; n++)
        *m2p_entry(MFN(mfn + n)) = M2P_INVALID;
    return a->r.extent_start.p ? guest_handle_to(a->r.extent_start, i, &mfn, 1) : 0;
}

static int do_decrease(struct reservation *a, unsigned long i)
{
    xen_pfn_t mfn;

    if (guest_handle_from(&mfn, a->r.extent_start, i, 1))
        return -EFAULT;
    for (unsigned long n = 0; n < 1ul << a->r.extent_order; n++) {
        int rc = remove_frame(a->d, MFN(mfn + n));
        if (rc)
            return rc;
    }
    return 0;
}

static int do_populate(struct reservation *a, unsigned long i)
{
    unsigned long pages = 1ul << a->r.extent_order;
    xen_pfn_t gpfn;

    if (guest_handle_from(&gpfn, a->r.extent_start, i, 1))
        return -EFAULT;
    struct frame *f = memory_op_alloc(a->d, a->r.extent_order, a->r.mem_flags);
    if (!f)
        return -ENOMEM;
    xen_pfn_t mfn = frame_to_mfn(f).v;
    for (unsigned long n = 0; n < pages; n++)
        *m2p_entry(MFN(mfn + n)) = gpfn + n;
    return guest_handle_to(a->r.extent_start, i, &mfn, 1);
}

// Returns the number of extents done, which is short when one could not be.
static long change_reservation(unsigned long cmd, void *arg,
                               int (*one)(struct reservation *a, unsigned long i))
{
    unsigned long op = cmd & CMD_MASK, i = cmd >> EXTENT_SHIFT;
    struct reservation a;
    bool preempted = false;

    // A bad list changes nothing: none of its extents is done.
    if (guest_copy_from(&a.r, arg, sizeof(a.r)))
        return i;
    if (a.r.nr_extents > ~0ul >> EXTENT_SHIFT || i > a.r.nr_extents ||
        a.r.extent_order > memory_op_max_order() || !memory_op_flags_ok(a.r.mem_flags) ||
        !guest_range_ok(a.r.extent_start.p, a.r.nr_extents * sizeof(xen_pfn_t)))
        return i;
    if (subject_domain(a.r.domid, &a.d))
        return i;
    for (unsigned long start = i; i < a.r.nr_extents; i++) {
        preempted = i != start && hypercall_preempt_check();
        if (preempted || one(&a, i))
            break;
    }
    domain_put(a.d);
    if (!preempted)
        return i;
    unsigned long args[] = {op | i << EXTENT_SHIFT, (unsigned long)arg};
    return hypercall_continue(__HYPERVISOR_memory_op, 2, args);
}

static long domain_amount(unsigned long op, void *arg)
{
    struct domain *d;
    domid_t id;

    if (guest_copy_from(&id, arg, sizeof(id)))
        return -EFAULT;
    long rc = subject_domain(id, &d);
    if (rc)
        return rc;
    switch (op) {
    case XENMEM_current_reservation:
        rc = d->tot_pages;
        break;
    case XENMEM_maximum_reservation:
        rc = d->max_pages;
        break;
    default:
        rc = d->shared_info->arch.max_pfn ? (long)d->shared_info->arch.max_pfn - 1 : 0;
    }
    domain_put(d);
    return rc;
}

static long claim_pages(void *arg)
{
    struct xen_memory_reservation r;
    struct domain *d;

    if (guest_copy_from(&r, arg, sizeof(r)))
        return -EFAULT;
    if (access_check(current->domain, ACCESS_CONTROL, NULL))
        return -EPERM;
    if (r.extent_start.p || r.extent_order || r.mem_flags)
        return -EINVAL;
    long rc = subject_domain(r.domid, &d);
    if (rc)
        return rc;
    rc = memory_claim(d, r.nr_extents);
    domain_put(d);
    return rc;
}

static long machphys_mapping(void *arg)
{
    struct xen_machphys_mapping m = {
        .v_start = HYPERVISOR_VIRT_START, .v_end = MACH2PHYS_VIRT_END, .max_mfn = max_mfn - 1};
    return guest_copy_to(arg, &m, sizeof(m));
}

// Where the machine-to-physical map is, for whoever maps it elsewhere (as DOMID_XEN's), in pieces
// of 2 MiB. Tools map all pieces in one go, so a gap is told as the piece before it.
static long machphys_mfn_list(void *arg)
{
    struct xen_machphys_mfn_list l;
    unsigned long pieces = DIV_ROUND_UP(max_mfn * sizeof(uint64_t), 2 * MiB), n;
    xen_pfn_t pfn = 0;

    if (guest_copy_from(&l, arg, sizeof(l)))
        return -EFAULT;
    for (n = 0; n < pieces && n < l.max_extents; n++) {
        mfn_t mfn = m2p_share(n);
        pfn = mfn_eq(mfn, INVALID_MFN) ? pfn : mfn.v;
        if (guest_handle_to(l.extent_start, n, &pfn, 1))
            return -EFAULT;
    }
    l.nr_extents = n;
    return guest_copy_to(arg, &l, sizeof(l));
}

struct e820_entry { // as the BIOS call returns it
    uint64_t addr, size;
    uint32_t type;
} __packed;

static long machine_memory_map(void *arg)
{
    struct xen_memory_map m;
    unsigned int n;

    if (access_check(current->domain, ACCESS_HARDWARE, NULL))
        return -EPERM;
    if (guest_copy_from(&m, arg, sizeof(m)))
        return -EFAULT;
    for (n = 0; m.buffer.p && n < machine_map_count && n < m.nr_entries; n++) {
        struct e820_entry e = {machine_map[n].start.v, machine_map[n].size, machine_map[n].type};
        if (guest_copy_to((char *)m.buffer.p + n * sizeof(e), &e, sizeof(e)))
            return -EFAULT;
    }
    m.nr_entries = m.buffer.p ? n : machine_map_count;
    return guest_copy_to(arg, &m, sizeof(m));
}

static long set_memory_map(void *arg)
{
    struct xen_foreign_memory_map fm;
    struct domain *d;

    if (guest_copy_from(&fm, arg, sizeof(fm)))
        return -EFAULT;
    if (fm.map.nr_entries > MAP_MAX_ENTRIES)
        return -EINVAL;
    long rc = subject_domain(fm.domid, &d);
    if (rc)
        return rc;
    size_t bytes = fm.map.nr_entries * sizeof(struct e820_entry);
    void *map = bytes ? heap_alloc(bytes) : NULL;
    if (bytes && !map)
        rc = -ENOMEM;
    else if (bytes && guest_copy_from(map, fm.map.buffer.p, bytes))
        rc = -EFAULT;
    if (!rc) {
        spin_lock(&d->page_lock);
        void *old = d->memory_map;
        d->memory_map = map;
        d->memory_map_entries = fm.map.nr_entries;
        spin_unlock(&d->page_lock);
        map = old;
    }
    heap_free(map);
    domain_put(d);
    return rc;
}

static long memory_map(void *arg)
{
    struct domain *d = current->domain;
    struct e820_entry entries[MAP_MAX_ENTRIES / 8];
    struct xen_memory_map m;
    unsigned int done = 0, n;

    if (guest_copy_from(&m, arg, sizeof(m)))
        return -EFAULT;
    if (!d->memory_map_entries)
        return -ENOSYS;
    unsigned int want = MIN(m.nr_entries, d->memory_map_entries);
    // Copied out in pieces, since the lock must not be held over guest copies.
    for (; done < want; done += n) {
        n = MIN(want - done, (unsigned int)ARRAY_SIZE(entries));
        spin_lock(&d->page_lock);
        if (done + n <= d->memory_map_entries)
            memcpy(entries, (struct e820_entry *)d->memory_map + done, n * sizeof(entries[0]));
        else
            n = 0;
        spin_unlock(&d->page_lock);
        if (n == 0)
            break;
        if (guest_copy_to((char *)m.buffer.p + done * sizeof(entries[0]), entries,
                          n * sizeof(entries[0])))
            return -EFAULT;
    }
    m.nr_entries = done;
    return guest_copy_to(arg, &m, sizeof(m));
}

// Physical address spaces that the hypervisor keeps are those of translated guests alone.
static long change_physmap(void *arg)
{
    struct domain *d;
    domid_t id;

    if (guest_copy_from(&id, arg, sizeof(id)))
        return -EFAULT;
    long rc = subject_domain(id, &d);
    if (rc)
        return rc;
    domain_put(d);
    return -EACCES;
}

static long resource_grant_frames(struct domain *d, struct xen_mem_acquire_resource *r)
{
    bool status = r->id == XENMEM_resource_grant_table_id_status;
    mfn_t mfn;

    if (r->id > XENMEM_resource_grant_table_id_status)
        return -EINVAL;
    if (r->nr_frames > RESOURCE_MAX)
        return -E2BIG;
    // From the last frame on, so that the table grows once.
    for (uint32_t i = r->nr_frames; i-- > 0;) {
        if (r->frame + i > UINT32_MAX)
            return -EINVAL;
        int rc = grant_get_frame(d, status, r->frame + i, &mfn);
        if (rc)
            return rc;
        xen_pfn_t pfn = mfn.v;
        if (guest_handle_to(r->frame_list, i, &pfn, 1))
            return -EFAULT;
    }
    return 0;
}

static long acquire_resource(void *arg)
{
    struct xen_mem_acquire_resource r;
    struct domain *d;

    if (guest_copy_from(&r, arg, sizeof(r)))
        return -EFAULT;
    if (r.pad || (!r.frame_list.p && r.nr_frames))
        return -EINVAL;
    d = domain_get_by_id(r.domid);
    if (!d)
        return -ESRCH;
    long rc = access_check(current->domain, ACCESS_TARGET, d);
    if (!rc && d == current->domain)
        rc = -EINVAL;
    if (!rc && r.type != XENMEM_resource_grant_table)
        rc = -EOPNOTSUPP;
    if (!rc && r.nr_frames)
        rc = resource_grant_frames(d, &r);
    if (!rc && !r.frame_list.p) {
        r.nr_frames = grant_max_frames(d, r.id == XENMEM_resource_grant_table_id_status);
        rc = guest_copy_to(arg, &r, sizeof(r));
    }
    domain_put(d);
    return rc;
}

long hc_memory_op(unsigned long cmd, unsigned long arg)
{
    void *p = (void *)arg;

    switch (cmd & CMD_MASK) {
    case XENMEM_increase_reservation:
        return change_reservation(cmd, p, do_increase);
    case XENMEM_decrease_reservation:
        return change_reservation(cmd, p, do_decrease);
    case XENMEM_populate_physmap:
        return change_reservation(cmd, p, do_populate);
    case XENMEM_exchange:
        return memory_exchange(p);
    }
    // The others keep no progress in the command.
    switch (cmd) {
    case XENMEM_maximum_ram_page:
        return max_mfn - 1;
    case XENMEM_current_reservation:
    case XENMEM_maximum_reservation:
    case XENMEM_maximum_gpfn:
        return domain_amount(cmd, p);
    case XENMEM_machphys_mapping:
        return machphys_mapping(p);
    case XENMEM_machphys_mfn_list:
        return machphys_mfn_list(p);
    case XENMEM_machine_memory_map:
        return machine_memory_map(p);
    case XENMEM_memory_map:
        return memory_map(p);
    case XENMEM_set_memory_map:
        return set_memory_map(p);
    case XENMEM_add_to_physmap:
    case XENMEM_add_to_physmap_batch:
    case XENMEM_remove_from_physmap:
        return change_physmap(p);
    case XENMEM_claim_pages:
        return claim_pages(p);
    case XENMEM_acquire_resource:
        return acquire_resource(p);
    case XENMEM_get_sharing_freed_pages:
    case XENMEM_get_sharing_shared_pages:
        return 0; // no pages are shared between domains
    case XENMEM_get_vnumainfo:
    case XENMEM_reserved_device_memory_map: // nothing is reserved without an IOMMU
        return -EOPNOTSUPP;
    default:
        return -ENOSYS;
    }
}
