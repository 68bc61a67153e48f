// SPDX-License-Identifier: BSD-2-Clause
// What the firmware left behind that the control domain may ask for.
#pragma once

#include "lib/types.h"

extern uint8_t firmware_kbd_shift_flags; // BIOS data area byte 0x417 at boot; 0 on UEFI
