// SPDX-License-Identifier: BSD-2-Clause
// What CPUID tells a PV domain, as the toolstack reads and sets it: leaves in the public form
// (arch-x86/xen.h, xen_cpuid_leaf_t). A domain's own policy only takes away from the default.
#pragma once

#include "core/domain.h"

struct xen_domctl_cpu_policy;
struct xen_sysctl_cpu_policy;
struct xen_sysctl_cpu_featureset;

// XEN_SYSCTL_get_cpu_policy: 0, -EINVAL, -EOPNOTSUPP (HVM), -ENOBUFS, -EFAULT.
int __must_check cpu_policy_sysctl(struct xen_sysctl_cpu_policy *op);
// XEN_SYSCTL_get_cpu_featureset: likewise.
int __must_check cpu_policy_featureset(struct xen_sysctl_cpu_featureset *op);
// XEN_DOMCTL_get_cpu_policy.
int __must_check cpu_policy_get(const struct domain *d, struct xen_domctl_cpu_policy *op);
// XEN_DOMCTL_set_cpu_policy: before the domain first runs, else -EEXIST. Leaves may be set a few at
// a time; what the default does not have is dropped. -EINVAL and -ERANGE name the leaf in op.
int __must_check cpu_policy_set(struct domain *d, struct xen_domctl_cpu_policy *op);
void cpu_policy_destroy(struct domain *d);
// Lay d's policy over the default `out` of a leaf.
void cpu_policy_apply(const struct domain *d, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
