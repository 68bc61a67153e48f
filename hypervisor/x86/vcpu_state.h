// SPDX-License-Identifier: BSD-2-Clause
// The rest of a vCPU's state, beside get/setvcpucontext, that a toolstack reads to save a domain
// and writes to make it again.
#pragma once

#include "core/domain.h"

#include <xen/domctl.h>

// XEN_DOMCTL_{get,set}_ext_vcpucontext, {get,set}vcpuextstate, {get,set}_vcpu_msrs on a domain that
// is not current's: 0 or -E; -ENOSYS for other commands.
long vcpu_state_domctl(struct domain *d, struct xen_domctl *op);
