// SPDX-License-Identifier: BSD-2-Clause
// The start order.
#pragma once

#include "lib/types.h"

// From head.S on the boot stack, in long mode on the boot page tables, interrupts off.
__noreturn void boot_main(uint32_t magic, uint32_t info);
