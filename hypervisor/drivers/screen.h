// SPDX-License-Identifier: BSD-2-Clause
// The screen as a console (console=vga): VGA text memory or a linear framebuffer, as the boot
// loader left it. The control domain takes it over when it starts.
#pragma once

#include "lib/types.h"

struct framebuffer_info {
    paddr_t base;
    uint32_t width, height, pitch; // pixels, pixels, bytes
    uint32_t bytes_per_pixel;      // 2, 3 or 4
    uint32_t foreground;           // a pixel's value for text
};

// fb NULL: text mode. After the heap.
void screen_init(const struct framebuffer_info *fb);
// From now on only a panic writes there.
void screen_release(void);
