// SPDX-License-Identifier: BSD-2-Clause
// HYPERVISOR_domctl: the control domain builds, watches and ends the others.
#include "control/control.h"
#include "core/access.h"
#include "core/console.h"
#include "core/cpupool.h"
#include "core/evtchn.h"
#include "core/hypercall.h"
#include "core/rangeset.h"
#include "core/sched.h"
#include "lib/string.h"
#include "memory/frame.h"
#include "memory/heap.h"
#include "memory/nodes.h"
#include "x86/arch/guest_access.h"
#include "x86/arch/time.h"

#define DEFAULT_GRANT_FRAMES    64
#define DEFAULT_MAPTRACK_FRAMES 1024

struct domctl_row {
    const char *name;
    long (*fn)(struct domain *d, struct xen_domctl *op);
    bool copy_back; // the argument has results, also to be copied on success only
    bool no_domain; // op->domain need not name an existing domain
};

static long domctl_createdomain(struct domain *none, struct xen_domctl *op)
{
    struct xen_domctl_createdomain *c = &op->u.createdomain;
    struct domain *d;

    if (c->flags & ~(XEN_DOMCTL_CDF_MAX | (XEN_DOMCTL_CDF_MAX - 1)))
        return -EINVAL;
    if (c->flags & XEN_DOMCTL_CDF_hvm)
        return -EOPNOTSUPP;
    if (c->flags & (XEN_DOMCTL_CDF_iommu | XEN_DOMCTL_CDF_nested_virt | XEN_DOMCTL_CDF_vpmu |
                    XEN_DOMCTL_CDF_hap) ||
        c->vmtrace_size || c->max_grant_frames < -1 || c->max_maptrack_frames < -1)
        return -EINVAL;
    if (c->max_grant_frames < 0)
        c->max_grant_frames = DEFAULT_GRANT_FRAMES;
    if (c->max_maptrack_frames < 0)
        c->max_maptrack_frames = DEFAULT_MAPTRACK_FRAMES;
    if (!(c->grant_opts & XEN_DOMCTL_GRANT_version_mask))
        c->grant_opts |= XEN_DOMCTL_GRANT_version(2);
    // Zero is the control domain's id: asking for it asks for any.
    domid_t want = op->domain > 0 && op->domain < DOMID_FIRST_RESERVED ? op->domain : DOMID_INVALID;
    int rc = domain_create(want, c, false, &d);
    if (rc)
        return rc;
    op->domain = d->id;
    return 0;
}

static long domctl_destroydomain(struct domain *d, struct xen_domctl *op)
{
    return domain_kill(d);
}

static long domctl_pausedomain(struct domain *d, struct xen_domctl *op)
{
    return d == current->domain ? -EINVAL : domain_pause_by_controller(d);
}

static long domctl_unpausedomain(struct domain *d, struct xen_domctl *op)
{
    struct vcpu *v = domain_vcpu(d, 0);

    if (!v || !v->initialised)
        return -EINVAL;
    d->creation_done = true;
    return domain_unpause_by_controller(d);
}

static long domctl_resumedomain(struct domain *d, struct xen_domctl *op)
{
    if (d == current->domain)
        return -EINVAL;
    domain_resume(d);
    return 0;
}

void domctl_domain_info(struct domain *d, struct xen_domctl_getdomaininfo *info)
{
    bool blocked = true, running = false;
    struct vcpu *v;

    *info = (struct xen_domctl_getdomaininfo){.domain = d->id};
    info->max_vcpu_id = XEN_INVALID_MAX_VCPU_ID;
    for_each_vcpu (d, v) {
        info->cpu_time += vcpu_cpu_time(v);
        info->max_vcpu_id = v->id;
        if (v->pause_flags & VPF_DOWN)
            continue;
        info->nr_online_vcpus++;
        if (!(v->pause_flags & VPF_BLOCKED))
            blocked = false;
        if (v->is_running)
            running = true;
    }
    if (d->dying)
        info->flags |= XEN_DOMINF_dying;
    if (d->shut_down)
        info->flags |= XEN_DOMINF_shutdown | d->shutdown_code << XEN_DOMINF_shutdownshift;
    if (d->controller_pauses)
        info->flags |= XEN_DOMINF_paused;
    if (running)
        info->flags |= XEN_DOMINF_running;
    else if (blocked && info->nr_online_vcpus)
        info->flags |= XEN_DOMINF_blocked;
    if (d->create_flags & XEN_DOMCTL_CDF_xs_domain)
        info->flags |= XEN_DOMINF_xs_domain;
    info->tot_pages = d->tot_pages;
    info->max_pages = d->max_pages;
    info->outstanding_pages = d->outstanding_pages;
    info->shared_info_frame = d->shared_info_mfn.v;
    info->cpupool = cpupool_id(d);
    memcpy(info->handle, d->handle, sizeof(info->handle));
    arch_domaininfo(d, info);
}

// The domain named, or the next one there is: so toolstacks walk over all.
static long domctl_getdomaininfo(struct domain *none, struct xen_domctl *op)
{
    struct domain *d = op->domain < DOMID_FIRST_RESERVED ? domain_get_next(op->domain)
                                                         : domain_get_by_any_id(op->domain);

    if (!d)
        return -ESRCH;
    domctl_domain_info(d, &op->u.getdomaininfo);
    op->domain = d->id;
    domain_put(d);
    return 0;
}

static long domctl_max_mem(struct domain *d, struct xen_domctl *op)
{
    uint64_t pages = op->u.max_mem.max_memkb >> (PAGE_SHIFT - 10);

    if (pages > max_mfn && pages < UINT32_MAX)
        printk(LOG_DEBUG "d%u: memory limit above the machine's memory\n", d->id);
    spin_lock(&d->page_lock);
    d->max_pages = MIN(pages, (uint64_t)UINT32_MAX);
    spin_unlock(&d->page_lock);
    return 0;
}

static long domctl_max_vcpus(struct domain *d, struct xen_domctl *op)
{
    uint32_t max = op->u.max_vcpus.max;

    if (d == current->domain || d->dying || max == 0 || max > d->max_vcpus)
        return -EINVAL;
    for (uint32_t i = 0; i < max; i++)
        if (!d->vcpu[i] && !vcpu_create(d, i))
            return -ENOMEM;
    return 0;
}

static long domctl_setvcpucontext(struct domain *d, struct xen_domctl *op)
{
    struct vcpu *v = domain_vcpu(d, op->u.vcpucontext.vcpu);
    long rc;

    // What a dying domain's vCPU got now nobody would drop.
    if (d == current->domain || d->dying)
        return -EINVAL;
    if (!v)
        return -ENOENT;
    if (!op->u.vcpucontext.ctxt.p) {
        vcpu_pause(v);
        arch_vcpu_reset(v);
        vcpu_unpause(v);
        return 0;
    }
    struct vcpu_guest_context *c = heap_new(struct vcpu_guest_context);
    if (!c)
        return -ENOMEM;
    rc = guest_copy_from(c, op->u.vcpucontext.ctxt.p, sizeof(*c));
    if (!rc) {
        domain_pause(d);
        rc = arch_vcpu_set_context(v, c);
        if (!rc) {
            v->initialised = true;
            if (c->flags & VGCF_online)
                __atomic_and_fetch(&v->pause_flags, ~VPF_DOWN, __ATOMIC_SEQ_CST);
            else
                __atomic_or_fetch(&v->pause_flags, VPF_DOWN, __ATOMIC_SEQ_CST);
        }
        domain_unpause(d);
    }
    heap_free(c);
    return rc;
}

static long domctl_getvcpucontext(struct domain *d, struct xen_domctl *op)
{
    struct vcpu *v = domain_vcpu(d, op->u.vcpucontext.vcpu);

    if (d == current->domain)
        return -EINVAL;
    if (!v)
        return -ESRCH;
    if (!v->initialised)
        return -ENODATA;
    struct vcpu_guest_context *c = heap_new(struct vcpu_guest_context);
    if (!c)
        return -ENOMEM;
    domain_pause(d);
    arch_vcpu_get_context(v, c);
    domain_unpause(d);
    long rc = guest_copy_to(op->u.vcpucontext.ctxt.p, c, sizeof(*c));
    heap_free(c);
    return rc;
}

static long domctl_getvcpuinfo(struct domain *d, struct xen_domctl *op)
{
    struct vcpu *v = domain_vcpu(d, op->u.getvcpuinfo.vcpu);

    if (!v)
        return -ESRCH;
    op->u.getvcpuinfo.online = !(v->pause_flags & VPF_DOWN);
    op->u.getvcpuinfo.blocked = !!(v->pause_flags & VPF_BLOCKED);
    op->u.getvcpuinfo.running = v->is_running;
    op->u.getvcpuinfo.cpu_time = vcpu_cpu_time(v);
    op->u.getvcpuinfo.cpu = v->cpu;
    return 0;
}

static long domctl_setvcpuaffinity(struct domain *d, struct xen_domctl *op)
{
    struct xen_domctl_vcpuaffinity *a = &op->u.vcpuaffinity;
    struct vcpu *v = domain_vcpu(d, a->vcpu);
    DECLARE_BITMAP(cpus, MAX_CPUS);
    DECLARE_BITMAP(usable, MAX_CPUS);
    int rc = 0;

    if (!v)
        return -ESRCH;
    if (a->flags & ~(XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT | XEN_VCPUAFFINITY_FORCE))
        return -EINVAL;
    if (a->flags & XEN_VCPUAFFINITY_HARD) {
        rc = control_bitmap_in(cpus, MAX_CPUS, &a->cpumap_hard);
        if (!rc && a->flags & XEN_VCPUAFFINITY_FORCE)
            rc = vcpu_pin_override(v, -1);
        rc = rc ?: vcpu_set_hard_affinity(v, cpus);
        vcpu_usable_cpus(v, usable);
        rc = rc ?: control_bitmap_out(&a->cpumap_hard, usable, cpu_count);
    }
    if (!rc && a->flags & XEN_VCPUAFFINITY_SOFT) {
        rc = control_bitmap_in(cpus, MAX_CPUS, &a->cpumap_soft);
        rc = rc ?: vcpu_set_soft_affinity(v, cpus);
        vcpu_usable_cpus(v, usable);
        bitmap_and(cpus, cpus, usable, MAX_CPUS);
        rc = rc ?: control_bitmap_out(&a->cpumap_soft, cpus, cpu_count);
    }
    return rc;
}

static long domctl_getvcpuaffinity(struct domain *d, struct xen_domctl *op)
{
    struct xen_domctl_vcpuaffinity *a = &op->u.vcpuaffinity;
    struct vcpu *v = domain_vcpu(d, a->vcpu);
    int rc = 0;

    if (!v)
        return -ESRCH;
    if (a->flags & XEN_VCPUAFFINITY_HARD)
        rc = control_bitmap_out(&a->cpumap_hard, vcpu_hard_affinity(v), cpu_count);
    if (!rc && a->flags & XEN_VCPUAFFINITY_SOFT)
        rc = control_bitmap_out(&a->cpumap_soft, vcpu_soft_affinity(v), cpu_count);
    return rc;
}

// What the domain has stays where it is.
static long domctl_setnodeaffinity(struct domain *d, struct xen_domctl *op)
{
    unsigned long nodes[1];
    int rc = control_bitmap_in(nodes, NODES_MAX, &op->u.nodeaffinity.nodemap);
    if (rc)
        return rc;
    nodes[0] &= nodes_all();
    if (!nodes[0])
        return -EINVAL;
    WRITE_ONCE(d->node_affinity, nodes[0]);
    return 0;
}

static long domctl_getnodeaffinity(struct domain *d, struct xen_domctl *op)
{
    unsigned long nodes[1] = {d->node_affinity};
    return control_bitmap_out(&op->u.nodeaffinity.nodemap, nodes, node_count);
}

static long domctl_scheduler_op(struct domain *d, struct xen_domctl *op)
{
    return sched_domctl(d, &op->u.scheduler_op);
}

static long domctl_setdomainhandle(struct domain *d, struct xen_domctl *op)
{
    memcpy(d->handle, op->u.setdomainhandle.handle, sizeof(d->handle));
    return 0;
}

static long change_range(struct rangeset *r, uint64_t first, uint64_t last, bool allow)
{
    return allow ? rangeset_add(r, first, last) : rangeset_remove(r, first, last);
}

static long domctl_irq_permission(struct domain *d, struct xen_domctl *op)
{
    uint32_t pirq = op->u.irq_permission.pirq;

    if (!rangeset_contains(current->domain->irq_caps, pirq, pirq))
        return -EPERM;
    return change_range(d->irq_caps, pirq, pirq, op->u.irq_permission.allow_access);
}

static long domctl_iomem_permission(struct domain *d, struct xen_domctl *op)
{
    uint64_t first = op->u.iomem_permission.first_mfn, n = op->u.iomem_permission.nr_mfns;

    if (n == 0 || first + n - 1 < first)
        return -EINVAL;
    if (!rangeset_contains(current->domain->iomem_caps, first, first + n - 1))
        return -EPERM;
    return change_range(d->iomem_caps, first, first + n - 1, op->u.iomem_permission.allow_access);
}

static long domctl_settimeoffset(struct domain *d, struct xen_domctl *op)
{
    d->arch.time_offset_s = op->u.settimeoffset.time_offset_seconds;
    arch_time_update_wallclock(d);
    return 0;
}

static long domctl_sendtrigger(struct domain *d, struct xen_domctl *op)
{
    struct vcpu *v = domain_vcpu(d, op->u.sendtrigger.vcpu);

    if (!v)
        return -ESRCH;
    if (op->u.sendtrigger.trigger != XEN_DOMCTL_SENDTRIGGER_NMI)
        return -EOPNOTSUPP;
    arch_vcpu_send_nmi(v);
    return 0;
}

static long domctl_set_target(struct domain *d, struct xen_domctl *op)
{
    struct domain *target = domain_get_by_id(op->u.set_target.target);

    if (!target)
        return -ESRCH;
    if (target == d || d->dying) {
        domain_put(target);
        return -EINVAL;
    }
    struct domain *old = d->target;
    d->target = target;
    if (old)
        domain_put(old);
    return 0;
}

static long domctl_set_virq_handler(struct domain *d, struct xen_domctl *op)
{
    return evtchn_set_virq_handler(d, op->u.set_virq_handler.virq);
}

static long domctl_subscribe(struct domain *d, struct xen_domctl *op)
{
    d->suspend_evtchn = op->u.subscribe.port;
    return 0;
}

#define ROW(op, handler, ...) [XEN_DOMCTL_##op] = {.name = #op, .fn = handler, __VA_ARGS__}

static const struct domctl_row domctl_ops[] = {
    ROW(createdomain, domctl_createdomain, .copy_back = true, .no_domain = true),
    ROW(destroydomain, domctl_destroydomain),
    ROW(pausedomain, domctl_pausedomain),
    ROW(unpausedomain, domctl_unpausedomain),
    ROW(getdomaininfo, domctl_getdomaininfo, .copy_back = true, .no_domain = true),
    ROW(setvcpuaffinity, domctl_setvcpuaffinity, .copy_back = true),
    ROW(getvcpuaffinity, domctl_getvcpuaffinity, .copy_back = true),
    ROW(max_mem, domctl_max_mem),
    ROW(setvcpucontext, domctl_setvcpucontext),
    ROW(getvcpucontext, domctl_getvcpucontext, .copy_back = true),
    ROW(getvcpuinfo, domctl_getvcpuinfo, .copy_back = true),
    ROW(max_vcpus, domctl_max_vcpus),
    ROW(scheduler_op, domctl_scheduler_op, .copy_back = true),
    ROW(setdomainhandle, domctl_setdomainhandle),
    ROW(irq_permission, domctl_irq_permission),
    ROW(iomem_permission, domctl_iomem_permission),
    ROW(settimeoffset, domctl_settimeoffset),
    ROW(resumedomain, domctl_resumedomain),
    ROW(sendtrigger, domctl_sendtrigger),
    ROW(subscribe, domctl_subscribe),
    ROW(set_virq_handler, domctl_set_virq_handler),
    ROW(set_target, domctl_set_target),
    ROW(setnodeaffinity, domctl_setnodeaffinity),
    ROW(getnodeaffinity, domctl_getnodeaffinity, .copy_back = true),
};

// Operations on one domain exclude each other; instead of spinning for a long one, try again after
// the caller's own pending work.
static long run_on_domain(const struct domctl_row *row, struct domain *d, struct xen_domctl *op,
                          bool *copy_back)
{
    long rc;

    if (!spin_trylock(&d->hypercall_lock))
        return -ERESTART;
    if (row && row->fn) {
        *copy_back = row->copy_back;
        rc = row->fn(d, op);
    } else {
        rc = arch_domctl(d, op, copy_back);
    }
    spin_unlock(&d->hypercall_lock);
    return rc;
}

// What is wrong, or how much room is wanted, comes back with the refusal.
static bool tells_why(uint32_t cmd)
{
    return cmd == XEN_DOMCTL_set_cpu_policy || cmd == XEN_DOMCTL_get_vcpu_msrs ||
           cmd == XEN_DOMCTL_set_vcpu_msrs;
}

long hc_domctl(unsigned long arg)
{
    struct xen_domctl op;
    const struct domctl_row *row = NULL;
    bool copy_back = false;
    long rc;

    if (guest_copy_from(&op, (void *)arg, sizeof(op)))
        return -EFAULT;
    if (op.interface_version != XEN_DOMCTL_INTERFACE_VERSION)
        return -EACCES;
    // Before the look for the domain: others learn nothing of who is there.
    rc = access_check(current->domain, ACCESS_CONTROL, NULL);
    if (rc)
        return rc;
    if (op.cmd < ARRAY_SIZE(domctl_ops))
        row = &domctl_ops[index_nospec(op.cmd, ARRAY_SIZE(domctl_ops))];
    if (row && row->no_domain) {
        rc = row->fn(NULL, &op);
        copy_back = row->copy_back;
    } else {
        struct domain *d = domain_get_by_any_id(op.domain);
        if (!d)
            return -ESRCH;
        rc = run_on_domain(row, d, &op, &copy_back);
        domain_put(d);
    }
    if (rc == -ERESTART)
        return hypercall_continue(__HYPERVISOR_domctl, 1, &arg);
    copy_back &= rc == 0 || tells_why(op.cmd);
    if (copy_back && guest_copy_to((void *)arg, &op, sizeof(op)))
        return -EFAULT;
    return rc;
}
