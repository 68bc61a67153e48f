// SPDX-License-Identifier: BSD-2-Clause
// Switching a CPU between vCPUs (contract: x86/arch/domain.h).
#pragma once

#include "core/domain.h"

// Prepare v's stack so that the first switch to it starts at vcpu_start.
void context_init_stack(struct vcpu *v);
