// SPDX-License-Identifier: BSD-2-Clause
// What the firmware left behind that the control domain may ask for.
#pragma once

#include "lib/types.h"

extern uint8_t firmware_kbd_shift_flags; // BIOS data area byte 0x417 at boot; 0 on UEFI

// UEFI, as its system table said at boot. Its runtime services are not used.
struct firmware_efi {
    bool present;
    uint32_t revision, runtime_revision, vendor_revision;
    uint64_t config_table; // machine address of config_count entries
    uint32_t config_count;
    uint16_t vendor[64]; // UCS-2, terminated
};
extern struct firmware_efi firmware_efi;
