// SPDX-License-Identifier: BSD-2-Clause
// The batch that this CPU is working on, for hypercall_continue. A CPU never leaves a hypercall for
// another vCPU in the middle of a batch, so the state is per CPU.
#pragma once

#include "lib/types.h"

bool multicall_active(void);
// Keep the call in the batch with these new arguments; the batch starts again from it.
long multicall_continue(unsigned long nr, unsigned int nargs, const unsigned long *args);
