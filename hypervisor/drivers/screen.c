// SPDX-License-Identifier: BSD-2-Clause
#include "drivers/screen.h"
#include "core/console.h"
#include "core/console_device.h"
#include "core/panic.h"
#include "drivers/font.h"
#include "lib/string.h"
#include "x86/arch/io.h"
#include "x86/mm/paging.h"

enum {
    TEXT_BASE = 0xb8000,
    TEXT_COLUMNS = 80,
    TEXT_ROWS = 25,
    TEXT_ATTRIBUTE = 0x0700, // light grey on black
    CRTC_INDEX = 0x3d4,
    CRTC_DATA = 0x3d5,
    CRTC_CURSOR_START = 0x0a,
    CURSOR_OFF = 0x20,
    CELL_WIDTH = 8,
    CELL_HEIGHT = 16,
    TAB = 8,
};

// What both kinds of screen have: cells, and a place in them.
static struct {
    unsigned int columns, rows, x, y;
    void (*put)(unsigned int x, unsigned int y, char c);
    void (*scroll)(void);
    bool released;
} screen;

static volatile uint16_t *text;
static volatile uint8_t *pixels;
static struct framebuffer_info fb;

// ---- VGA text -----------------------------------------------------------------------------------

static void text_put(unsigned int x, unsigned int y, char c)
{
    text[y * TEXT_COLUMNS + x] = (uint8_t)c | TEXT_ATTRIBUTE;
}

static void text_scroll(void)
{
    for (unsigned int i = 0; i < (TEXT_ROWS - 1) * TEXT_COLUMNS; i++)
        text[i] = text[i + TEXT_COLUMNS];
    for (unsigned int x = 0; x < TEXT_COLUMNS; x++)
        text_put(x, TEXT_ROWS - 1, ' ');
}

static bool text_open(void)
{
    text = ioremap(PADDR(TEXT_BASE), TEXT_COLUMNS * TEXT_ROWS * 2);
    if (!text)
        return false;
    outb(CRTC_INDEX, CRTC_CURSOR_START);
    outb(CRTC_DATA, CURSOR_OFF);
    screen.columns = TEXT_COLUMNS;
    screen.rows = TEXT_ROWS;
    screen.put = text_put;
    screen.scroll = text_scroll;
    return true;
}

// ---- framebuffer --------------------------------------------------------------------------------

static void pixel_set(volatile uint8_t *p, bool on)
{
    uint32_t v = on ? fb.foreground : 0;
    if (fb.bytes_per_pixel == 4) {
        *(volatile uint32_t *)p = v;
        return;
    }
    for (unsigned int i = 0; i < fb.bytes_per_pixel; i++)
        p[i] = v >> 8 * i;
}

// Each row of a glyph is two pixels high; the cell has a margin around it.
static void fb_put(unsigned int x, unsigned int y, char c)
{
    const uint8_t *glyph =
        c > FONT_FIRST && c <= FONT_LAST ? font_glyphs[c - FONT_FIRST] : font_glyphs[0];
    for (unsigned int row = 0; row < CELL_HEIGHT; row++) {
        volatile uint8_t *p = pixels + (y * CELL_HEIGHT + row) * (unsigned long)fb.pitch +
                              x * CELL_WIDTH * fb.bytes_per_pixel;
        unsigned int glyph_row = (row - 1) / 2;
        uint8_t bits = row >= 1 && glyph_row < FONT_ROWS ? glyph[glyph_row] << 1 : 0;
        for (int column = CELL_WIDTH - 1; column >= 0; column--, p += fb.bytes_per_pixel)
            pixel_set(p, bits >> column & 1);
    }
}

// Moving pixels over a slow bus takes long: start again at the top instead.
static void fb_scroll(void)
{
    screen.y = 0;
    for (unsigned int x = 0; x < screen.columns; x++)
        fb_put(x, 0, ' ');
}

static bool fb_open(const struct framebuffer_info *info)
{
    fb = *info;
    if (fb.bytes_per_pixel < 2 || fb.bytes_per_pixel > 4 || fb.width < CELL_WIDTH ||
        fb.height < CELL_HEIGHT || fb.pitch < fb.width * fb.bytes_per_pixel)
        return false;
    pixels = ioremap(fb.base, (size_t)fb.pitch * fb.height);
    if (!pixels)
        return false;
    screen.columns = fb.width / CELL_WIDTH;
    screen.rows = fb.height / CELL_HEIGHT;
    screen.put = fb_put;
    screen.scroll = fb_scroll;
    return true;
}

// ---- both ---------------------------------------------------------------------------------------

static void new_line(void)
{
    screen.x = 0;
    if (screen.y + 1 == screen.rows) {
        screen.scroll();
        return;
    }
    screen.y++;
    for (unsigned int x = 0; x < screen.columns; x++)
        screen.put(x, screen.y, ' ');
}

static void screen_char(char c)
{
    if (c == '\n') {
        new_line();
    } else if (c == '\r') {
        screen.x = 0;
    } else if (c == '\t') {
        screen.x = MIN((screen.x + TAB) & ~(TAB - 1u), screen.columns - 1);
    } else if (c >= ' ') {
        if (screen.x == screen.columns)
            new_line();
        screen.put(screen.x++, screen.y, c);
    }
}

static void screen_write(const char *s, size_t len)
{
    if (screen.released && !panic_in_progress())
        return;
    for (size_t i = 0; i < len; i++)
        screen_char(s[i]);
}

static const struct console_device screen_device = {.name = "vga", .write = screen_write};

void __init screen_init(const struct framebuffer_info *info)
{
    if (!console_wanted("vga") || !(info ? fb_open(info) : text_open()))
        return;
    for (unsigned int y = 0; y < screen.rows; y++)
        for (unsigned int x = 0; x < screen.columns; x++)
            screen.put(x, y, ' ');
    console_add_device(&screen_device);
}

void screen_release(void)
{
    screen.released = true;
}
