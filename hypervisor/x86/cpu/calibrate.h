// SPDX-License-Identifier: BSD-2-Clause
// Measuring the TSC and the APIC timer against a clock of known rate.
#pragma once

#include "lib/types.h"

struct calibration {
    uint64_t tsc_hz, apic_hz;
    const char *source;
};
// Takes about ten milliseconds. Panics when the machine has no clock at all.
struct calibration calibrate(void);
