// SPDX-License-Identifier: BSD-2-Clause
// Operations on whole bitmaps. Bits of the last word beyond the size are written as zero and
// ignored when read.
#include "lib/bitmap.h"

static unsigned long word_mask(unsigned int bits, unsigned int word)
{
    unsigned int left = bits - word * BITS_PER_LONG;

    return left >= BITS_PER_LONG ? ~0ul : (1ul << left) - 1;
}

#define for_each_word(i, bits) for (unsigned int i = 0; i < BITMAP_WORDS(bits); i++)

void bitmap_zero(unsigned long *m, unsigned int bits)
{
    for_each_word (i, bits)
        m[i] = 0;
}

void bitmap_fill(unsigned long *m, unsigned int bits)
{
    for_each_word (i, bits)
        m[i] = word_mask(bits, i);
}

void bitmap_copy(unsigned long *dst, const unsigned long *src, unsigned int bits)
{
    for_each_word (i, bits)
        dst[i] = src[i] & word_mask(bits, i);
}

void bitmap_and(unsigned long *dst, const unsigned long *a, const unsigned long *b, unsigned bits)
{
    for_each_word (i, bits)
        dst[i] = a[i] & b[i] & word_mask(bits, i);
}

void bitmap_or(unsigned long *dst, const unsigned long *a, const unsigned long *b, unsigned bits)
{
    for_each_word (i, bits)
        dst[i] = (a[i] | b[i]) & word_mask(bits, i);
}

bool bitmap_empty(const unsigned long *m, unsigned int bits)
{
    for_each_word (i, bits)
        if (m[i] & word_mask(bits, i))
            return false;
    return true;
}

bool bitmap_equal(const unsigned long *a, const unsigned long *b, unsigned int bits)
{
    for_each_word (i, bits)
        if ((a[i] ^ b[i]) & word_mask(bits, i))
            return false;
    return true;
}

bool bitmap_intersects(const unsigned long *a, const unsigned long *b, unsigned int bits)
{
    for_each_word (i, bits)
        if (a[i] & b[i] & word_mask(bits, i))
            return true;
    return false;
}

unsigned int bitmap_weight(const unsigned long *m, unsigned int bits)
{
    unsigned int n = 0;

    for_each_word (i, bits)
        for (unsigned long w = m[i] & word_mask(bits, i); w; w &= w - 1)
            n++;
    return n;
}

static unsigned int next_bit(const unsigned long *m, unsigned int bits, unsigned int start,
                             unsigned long invert)
{
    unsigned int i = start / BITS_PER_LONG;
    unsigned long word;

    if (start >= bits)
        return bits;
    word = (READ_ONCE(m[i]) ^ invert) & (~0ul << (start % BITS_PER_LONG));
    while (!word) {
        if (++i >= BITMAP_WORDS(bits))
            return bits;
        word = READ_ONCE(m[i]) ^ invert;
    }
    start = i * BITS_PER_LONG + __builtin_ctzl(word);
    return MIN(start, bits);
}

unsigned int bitmap_next(const unsigned long *m, unsigned int bits, unsigned int start)
{
    return next_bit(m, bits, start, 0);
}

unsigned int bitmap_next_zero(const unsigned long *m, unsigned int bits, unsigned int start)
{
    return next_bit(m, bits, start, ~0ul);
}
