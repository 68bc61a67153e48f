// SPDX-License-Identifier: BSD-2-Clause
#include "control/control.h"
#include "lib/string.h"
#include "x86/arch/guest_access.h"

#define MAX_BITS 1024

int control_bitmap_in(unsigned long *dst, unsigned int bits, const struct xenctl_bitmap *src)
{
    unsigned int given = MIN(src->nr_bits, bits);

    bitmap_zero(dst, bits);
    if (guest_copy_from(dst, src->bitmap.p, DIV_ROUND_UP(given, 8)))
        return -EFAULT;
    for (unsigned int i = given; i < ROUND_UP(given, 8u) && i < bits; i++)
        bit_clear(dst, i);
    return 0;
}

int control_bitmap_out(struct xenctl_bitmap *dst, const unsigned long *src, unsigned int bits)
{
    uint8_t bytes[MAX_BITS / 8] = {0};

    if (bits > MAX_BITS)
        return -EINVAL;
    memcpy(bytes, src, DIV_ROUND_UP(bits, 8));
    for (unsigned int i = bits; i < ROUND_UP(bits, 8u); i++)
        bytes[i / 8] &= ~(1u << (i % 8));
    unsigned int size = MIN(DIV_ROUND_UP(dst->nr_bits, 8), (unsigned int)sizeof(bytes));
    if (guest_copy_to(dst->bitmap.p, bytes, size))
        return -EFAULT;
    // What lies beyond our CPUs is zero.
    if (DIV_ROUND_UP(dst->nr_bits, 8) > size &&
        guest_clear(dst->bitmap.p + size, DIV_ROUND_UP(dst->nr_bits, 8) - size))
        return -EFAULT;
    return 0;
}
