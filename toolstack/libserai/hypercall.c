// SPDX-License-Identifier: BSD-2-Clause
// Hypercalls with arguments bounced through memory the hypervisor can reach.
#include "internal.h"

#include <errno.h>
#include <string.h>

#include <xen/memory.h>
#include <xen/version.h>

void *hc_alloc(struct serai *s, size_t size)
{
    size_t pages = (size + XC_PAGE_SIZE - 1) / XC_PAGE_SIZE;
    void *p = xencall_alloc_buffer(s->call, pages * XC_PAGE_SIZE);
    if (p)
        memset(p, 0, size);
    return p;
}

void hc_free(struct serai *s, void *p)
{
    if (p)
        xencall_free_buffer(s->call, p);
}

// libxencall gives -1 and errno; here a failure is the negative number itself.
static long hc_result(long ret)
{
    if (ret >= 0)
        return ret;
    return errno ? -errno : -EIO;
}

int hc_domctl(struct serai *s, struct xen_domctl *op)
{
    struct xen_domctl *arg = hc_alloc(s, sizeof(*arg));
    if (!arg)
        return -ENOMEM;
    op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    *arg = *op;
    int ret = (int)hc_result(xencall1(s->call, __HYPERVISOR_domctl, (uintptr_t)arg));
    *op = *arg;
    hc_free(s, arg);
    return ret;
}

int hc_sysctl(struct serai *s, struct xen_sysctl *op)
{
    struct xen_sysctl *arg = hc_alloc(s, sizeof(*arg));
    if (!arg)
        return -ENOMEM;
    op->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    *arg = *op;
    int ret = (int)hc_result(xencall1(s->call, __HYPERVISOR_sysctl, (uintptr_t)arg));
    *op = *arg;
    hc_free(s, arg);
    return ret;
}

long hc_memory(struct serai *s, unsigned cmd, void *arg, size_t size)
{
    void *copy = hc_alloc(s, size);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, arg, size);
    long ret = hc_result(xencall2L(s->call, __HYPERVISOR_memory_op, cmd, (uintptr_t)copy));
    memcpy(arg, copy, size);
    hc_free(s, copy);
    return ret;
}

int hc_evtchn(struct serai *s, int cmd, void *arg, size_t size)
{
    void *copy = hc_alloc(s, size);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, arg, size);
    int ret = (int)hc_result(
        xencall2(s->call, __HYPERVISOR_event_channel_op, (uint64_t)cmd, (uintptr_t)copy));
    memcpy(arg, copy, size);
    hc_free(s, copy);
    return ret;
}

int hc_mmuext(struct serai *s, const struct mmuext_op *op, uint32_t domain)
{
    struct mmuext_op *copy = hc_alloc(s, sizeof(*copy));
    if (!copy)
        return -ENOMEM;
    *copy = *op;
    int ret =
        (int)hc_result(xencall4(s->call, __HYPERVISOR_mmuext_op, (uintptr_t)copy, 1, 0, domain));
    hc_free(s, copy);
    return ret;
}

int hc_version(struct serai *s, int cmd, void *arg, size_t size)
{
    void *copy = hc_alloc(s, size ? size : 1);
    if (!copy)
        return -ENOMEM;
    if (size)
        memcpy(copy, arg, size);
    int ret = (int)hc_result(
        xencall2(s->call, __HYPERVISOR_xen_version, (uint64_t)cmd, size ? (uintptr_t)copy : 0));
    if (size)
        memcpy(arg, copy, size);
    hc_free(s, copy);
    return ret;
}
