// SPDX-License-Identifier: BSD-2-Clause
// XEN_SYSCTL_cpupool_op.
#include "control/control.h"
#include "core/cpupool.h"

_Static_assert(CPUPOOL_ANY == XEN_SYSCTL_CPUPOOL_PAR_ANY, "public header");

static long pool_info(struct xen_sysctl_cpupool_op *op)
{
    struct cpupool_info info;
    int rc = cpupool_get_info(op->cpupool_id, &info);

    if (rc)
        return rc;
    op->cpupool_id = info.id;
    op->sched_id = info.sched_id;
    op->n_dom = info.domains;
    return control_bitmap_out(&op->cpumap, info.cpus, cpu_count);
}

static long pool_free_info(struct xen_sysctl_cpupool_op *op)
{
    DECLARE_BITMAP(cpus, MAX_CPUS);

    cpupool_free_cpus(cpus);
    return control_bitmap_out(&op->cpumap, cpus, cpu_count);
}

static long pool_move(struct xen_sysctl_cpupool_op *op)
{
    struct domain *d = op->domid < DOMID_FIRST_RESERVED ? domain_get_by_id(op->domid) : NULL;

    if (!d)
        return -ESRCH;
    // A domain that is going lives in pool 0 until it is gone.
    long rc = d == current->domain ? -EPERM
              : d->dying           ? -EINVAL
                                   : cpupool_move_domain(d, op->cpupool_id);
    domain_put(d);
    return rc;
}

long control_cpupool(struct xen_sysctl *sysctl)
{
    struct xen_sysctl_cpupool_op *op = &sysctl->u.cpupool_op;

    switch (op->op) {
    case XEN_SYSCTL_CPUPOOL_OP_CREATE:
        return cpupool_create(&op->cpupool_id, op->sched_id);
    case XEN_SYSCTL_CPUPOOL_OP_DESTROY:
        return cpupool_destroy(op->cpupool_id);
    case XEN_SYSCTL_CPUPOOL_OP_INFO:
        return pool_info(op);
    case XEN_SYSCTL_CPUPOOL_OP_ADDCPU:
        return cpupool_add_cpu(op->cpupool_id, op->cpu);
    case XEN_SYSCTL_CPUPOOL_OP_RMCPU:
        return cpupool_remove_cpu(op->cpupool_id, op->cpu);
    case XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN:
        return pool_move(op);
    case XEN_SYSCTL_CPUPOOL_OP_FREEINFO:
        return pool_free_info(op);
    default:
        return -ENOSYS;
    }
}
