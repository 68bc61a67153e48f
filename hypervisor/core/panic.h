// SPDX-License-Identifier: BSD-2-Clause
// The end: registers, the domain and vCPU concerned, a back trace, then reboot or halt (noreboot).
#pragma once

#include "lib/types.h"

struct cpu_user_regs;

// A fault of the hypervisor itself, described by the registers at the fault. Any context.
__noreturn void panic_regs(const struct cpu_user_regs *regs, const char *fmt, ...) __printf(2, 3);
// True once the machine is going down: NMI handlers then call panic_park().
bool panic_in_progress(void);
// Stop this CPU for good.
__noreturn void panic_park(void);
