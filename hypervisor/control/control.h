// SPDX-License-Identifier: BSD-2-Clause
// Shared by the privileged interface: domctl, sysctl, platform_op.
#pragma once

#include "core/domain.h"

#include <xen/domctl.h>
#include <xen/sysctl.h>
#include <xen/platform.h>

// The x86 part of domctl / sysctl / platform_op: 0, -E, or -ENOSYS when the command is not its.
// *copy_back: the argument has results.
long arch_domctl(struct domain *d, struct xen_domctl *op, bool *copy_back);
long arch_sysctl(struct xen_sysctl *op, bool *copy_back);
long arch_platform_op(struct xen_platform_op *op, bool *copy_back);
void arch_physinfo(struct xen_sysctl_physinfo *info);
void arch_domaininfo(const struct domain *d, struct xen_domctl_getdomaininfo *info);

long control_cpupool(struct xen_sysctl *op); // XEN_SYSCTL_cpupool_op

// What getdomaininfo and getdomaininfolist report.
void domctl_domain_info(struct domain *d, struct xen_domctl_getdomaininfo *info);

// xenctl_bitmap <-> bits of CPUs. 0, -EFAULT or -EINVAL.
int __must_check control_bitmap_in(unsigned long *dst, unsigned int bits,
                                   const struct xenctl_bitmap *src);
int __must_check control_bitmap_out(struct xenctl_bitmap *dst, const unsigned long *src,
                                    unsigned int bits);
