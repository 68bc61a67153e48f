// SPDX-License-Identifier: BSD-2-Clause
/* Makes small kernel images for tests: ELF with Xen notes, bzImage around a payload. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KERNEL_VIRT_BASE 0xffffffff80000000ull
#define KERNEL_PADDR     0x1000000ull
#define KERNEL_TEXT      0x3000 /* bytes of the text segment; .bss follows */
#define KERNEL_BSS       0x2000
#define KERNEL_ENTRY     (KERNEL_VIRT_BASE + KERNEL_PADDR + 0x100)

struct kernel_image {
    uint8_t *data;
    size_t len;
    size_t notes_at, notes_len; /* file offsets, for damage */
    size_t text_at;
};

struct kernel_note {
    uint32_t type;
    const void *desc;
    uint32_t len;
};

/* A 64-bit kernel with the given notes (NULL: none at all), to be freed with free(image.data).
 * legacy: text for a __xen_guest section, or NULL. */
struct kernel_image kernel_image_make(const struct kernel_note *notes, unsigned nr_notes,
                                      const char *legacy);

/* The notes that a stock kernel has: loader, entry, base, features, init_p2m, mod_start_pfn, ... */
extern const struct kernel_note kernel_notes_stock[];
extern const unsigned kernel_notes_stock_count;

/* Wraps a compressed payload (with its size word already appended where the format wants one). */
struct kernel_image kernel_image_bz(const void *payload, size_t len);

/* Appends the unpacked size as a little-endian word. */
void kernel_image_append_size(struct kernel_image *image, uint32_t size);
