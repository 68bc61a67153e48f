// SPDX-License-Identifier: BSD-2-Clause
#include "core/access.h"

int access_check(const struct domain *subject, enum access_op op, const struct domain *d)
{
    if (subject->is_control)
        return 0;
    switch (op) {
    case ACCESS_SELF:
        return d == subject ? 0 : -EPERM;
    case ACCESS_TARGET:
        return d && d == READ_ONCE(subject->target) ? 0 : -EPERM;
    case ACCESS_CONTROL:
    case ACCESS_HARDWARE:
    case ACCESS_HOST_INFO:
        break;
    }
    return -EPERM;
}
