// SPDX-License-Identifier: BSD-2-Clause
// The CMOS real-time clock. Read once at boot; the control domain's afterwards.
#pragma once

#include "lib/types.h"

// UTC as seconds since 1970. century: CMOS register of the century, 0: none.
uint64_t rtc_read_seconds(uint8_t century);
