// SPDX-License-Identifier: BSD-2-Clause
// The machine's clock: boot-time set-up beside x86/arch/time.h. System time is the time stamp
// counter scaled, the same formula and numbers that guests get in vcpu_time_info.
#pragma once

#include "lib/types.h"
#include "x86/arch/time.h"

// Measure the TSC (and the APIC timer) for a few milliseconds; read the CMOS clock; from then on
// now_ns() runs. After ACPI and the boot CPU's APIC.
void time_init(void);
// This CPU's TSC minus the boot CPU's, as measured at its start.
void time_set_cpu_offset(int64_t offset);
// Busy-wait. Nothing before time_init().
void time_delay_us(unsigned int us);
