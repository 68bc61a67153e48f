// SPDX-License-Identifier: BSD-2-Clause
// Who may do what to whom: the single place that decides (control domain, device model of a
// target, the domain itself).
#pragma once

#include "core/domain.h"

enum access_op {
    ACCESS_SELF,      // on itself, or by the control domain
    ACCESS_CONTROL,   // by the control domain only (domctl on d)
    ACCESS_TARGET,    // by the control domain or d's device model (d may be NULL)
    ACCESS_HARDWARE,  // the machine itself: physdev, platform_op (d is ignored)
    ACCESS_HOST_INFO, // sysctl
};

// 0 or -EPERM for `subject` doing `op` to `d`.
int __must_check access_check(const struct domain *subject, enum access_op op,
                              const struct domain *d);
