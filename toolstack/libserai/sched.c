// SPDX-License-Identifier: BSD-2-Clause
// Shares of CPU time: weight and cap, through whichever scheduler is running.
#include "internal.h"

#include <errno.h>

static int sched_id(struct serai *s, uint32_t *out, struct serai_error *err)
{
    struct xen_sysctl op = {.cmd = XEN_SYSCTL_sched_id};
    int ret = hc_sysctl(s, &op);
    if (ret < 0)
        return err_sys(err, ret, "cannot ask which scheduler is running");
    *out = op.u.sched_id.sched_id;
    if (*out != XEN_SCHEDULER_CREDIT && *out != XEN_SCHEDULER_CREDIT2)
        return err_set(err, -EOPNOTSUPP, "the running scheduler has no weights and caps");
    return 0;
}

static int sched_op(struct serai *s, uint32_t domain, uint32_t cmd, struct serai_sched *p,
                    struct serai_error *err)
{
    uint32_t id = 0;
    int ret = sched_id(s, &id, err);
    if (ret)
        return ret;
    struct xen_domctl op = {.cmd = XEN_DOMCTL_scheduler_op, .domain = (domid_t)domain};
    op.u.scheduler_op.sched_id = id;
    op.u.scheduler_op.cmd = cmd;
    bool put = cmd == XEN_DOMCTL_SCHEDOP_putinfo;
    uint16_t weight = put ? (uint16_t)p->weight : 0, cap = put ? (uint16_t)p->cap : 0;
    if (id == XEN_SCHEDULER_CREDIT2) {
        op.u.scheduler_op.u.credit2.weight = weight;
        op.u.scheduler_op.u.credit2.cap = cap;
    } else {
        op.u.scheduler_op.u.credit.weight = weight;
        op.u.scheduler_op.u.credit.cap = cap;
    }
    ret = hc_domctl(s, &op);
    if (ret < 0)
        return err_sys(err, ret, "cannot %s the scheduling of domain %u", put ? "set" : "read",
                       domain);
    if (!put && id == XEN_SCHEDULER_CREDIT2)
        *p = (struct serai_sched){op.u.scheduler_op.u.credit2.weight,
                                  op.u.scheduler_op.u.credit2.cap};
    else if (!put)
        *p =
            (struct serai_sched){op.u.scheduler_op.u.credit.weight, op.u.scheduler_op.u.credit.cap};
    return 0;
}

int serai_sched_get(struct serai *s, uint32_t domain, struct serai_sched *out,
                    struct serai_error *err)
{
    return sched_op(s, domain, XEN_DOMCTL_SCHEDOP_getinfo, out, err);
}

int serai_sched_set(struct serai *s, uint32_t domain, const struct serai_sched *in,
                    struct serai_error *err)
{
    if (in->weight != SERAI_SCHED_KEEP && (in->weight < 1 || in->weight > 65535))
        return err_set(err, -EINVAL, "weight %d is out of range (1 to 65535)", in->weight);
    if (in->cap != SERAI_SCHED_KEEP && (in->cap < 0 || in->cap > 65534))
        return err_set(err, -EINVAL, "cap %d is out of range (0 to 65534 percent)", in->cap);
    // The interface writes both: keep what the caller did not name.
    struct serai_sched p = {0};
    int ret = sched_op(s, domain, XEN_DOMCTL_SCHEDOP_getinfo, &p, err);
    if (ret)
        return ret;
    if (in->weight != SERAI_SCHED_KEEP)
        p.weight = in->weight;
    if (in->cap != SERAI_SCHED_KEEP)
        p.cap = in->cap;
    return sched_op(s, domain, XEN_DOMCTL_SCHEDOP_putinfo, &p, err);
}
