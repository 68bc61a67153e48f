// SPDX-License-Identifier: BSD-2-Clause
// A small font for the framebuffer console.
#pragma once

#include "lib/types.h"

enum { FONT_FIRST = 0x20, FONT_LAST = 0x7e, FONT_COLUMNS = 5, FONT_ROWS = 7 };

// One byte for each row from the top; bit 4 is the leftmost column.
extern const uint8_t font_glyphs[FONT_LAST - FONT_FIRST + 1][FONT_ROWS];
