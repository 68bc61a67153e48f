// SPDX-License-Identifier: BSD-2-Clause
// Bit operations on arrays of unsigned long. The plain forms are not atomic; *_atomic are, with
// full ordering. Bit n is bit n%64 of word n/64.
#pragma once

#include "lib/types.h"

#define BITS_PER_LONG              64
#define BITMAP_WORDS(n)            DIV_ROUND_UP(n, BITS_PER_LONG)
#define DECLARE_BITMAP(name, bits) unsigned long name[BITMAP_WORDS(bits)]

static inline bool bit_test(const unsigned long *m, unsigned int n)
{
    return (READ_ONCE(m[n / BITS_PER_LONG]) >> (n % BITS_PER_LONG)) & 1;
}
static inline void bit_set(unsigned long *m, unsigned int n)
{
    m[n / BITS_PER_LONG] |= 1ul << (n % BITS_PER_LONG);
}
static inline void bit_clear(unsigned long *m, unsigned int n)
{
    m[n / BITS_PER_LONG] &= ~(1ul << (n % BITS_PER_LONG));
}
// The *_atomic forms use lock bts/btr, so that they work on 32-bit aligned guest-shared words too.
static inline bool bit_test_and_set_atomic(volatile void *m, unsigned long n)
{
    bool old;
    asm volatile("lock btsq %2, %1" : "=@ccc"(old), "+m"(*(volatile long *)m) : "r"(n) : "memory");
    return old;
}
static inline bool bit_test_and_clear_atomic(volatile void *m, unsigned long n)
{
    bool old;
    asm volatile("lock btrq %2, %1" : "=@ccc"(old), "+m"(*(volatile long *)m) : "r"(n) : "memory");
    return old;
}
static inline void bit_set_atomic(volatile void *m, unsigned long n)
{
    asm volatile("lock btsq %1, %0" : "+m"(*(volatile long *)m) : "r"(n) : "memory");
}
static inline void bit_clear_atomic(volatile void *m, unsigned long n)
{
    asm volatile("lock btrq %1, %0" : "+m"(*(volatile long *)m) : "r"(n) : "memory");
}

void bitmap_zero(unsigned long *m, unsigned int bits);
void bitmap_fill(unsigned long *m, unsigned int bits);
void bitmap_copy(unsigned long *dst, const unsigned long *src, unsigned int bits);
void bitmap_and(unsigned long *dst, const unsigned long *a, const unsigned long *b, unsigned bits);
void bitmap_or(unsigned long *dst, const unsigned long *a, const unsigned long *b, unsigned bits);
bool bitmap_empty(const unsigned long *m, unsigned int bits);
bool bitmap_equal(const unsigned long *a, const unsigned long *b, unsigned int bits);
bool bitmap_intersects(const unsigned long *a, const unsigned long *b, unsigned int bits);
unsigned int bitmap_weight(const unsigned long *m, unsigned int bits);
// First set / clear bit at or after start; `bits` when there is none.
unsigned int bitmap_next(const unsigned long *m, unsigned int bits, unsigned int start);
unsigned int bitmap_next_zero(const unsigned long *m, unsigned int bits, unsigned int start);

#define bitmap_for_each(n, m, bits) \
    for ((n) = bitmap_next(m, bits, 0); (n) < (bits); (n) = bitmap_next(m, bits, (n) + 1))
