// SPDX-License-Identifier: BSD-2-Clause
// Memory and string functions. Block operations use overlapping word accesses for short sizes and
// string instructions for the rest: no loop that a compiler could turn back into a call.
#include "lib/string.h"

#undef memset
#undef memcpy
#undef memmove
#undef memcmp
#undef strlen

typedef uint64_t __attribute__((may_alias, aligned(1))) word64_t;
typedef uint32_t __attribute__((may_alias, aligned(1))) word32_t;
typedef uint16_t __attribute__((may_alias, aligned(1))) word16_t;

// Up to 32 bytes. All loads come before all stores, so overlap is harmless.
static __always_inline void copy_short(void *dst, const void *src, size_t n)
{
    char *d = dst;
    const char *s = src;

    if (n > 16) {
        uint64_t a = *(const word64_t *)s, b = *(const word64_t *)(s + 8);
        uint64_t c = *(const word64_t *)(s + n - 16), e = *(const word64_t *)(s + n - 8);
        *(word64_t *)d = a;
        *(word64_t *)(d + 8) = b;
        *(word64_t *)(d + n - 16) = c;
        *(word64_t *)(d + n - 8) = e;
    } else if (n >= 8) {
        uint64_t a = *(const word64_t *)s, b = *(const word64_t *)(s + n - 8);
        *(word64_t *)d = a;
        *(word64_t *)(d + n - 8) = b;
    } else if (n >= 4) {
        uint32_t a = *(const word32_t *)s, b = *(const word32_t *)(s + n - 4);
        *(word32_t *)d = a;
        *(word32_t *)(d + n - 4) = b;
    } else if (n >= 2) {
        uint16_t a = *(const word16_t *)s, b = *(const word16_t *)(s + n - 2);
        *(word16_t *)d = a;
        *(word16_t *)(d + n - 2) = b;
    } else if (n) {
        *d = *s;
    }
}

// More than 32 bytes, ascending: right for dst below src as well, as the tail is loaded first.
static __always_inline void copy_long(void *dst, const void *src, size_t n)
{
    uint64_t tail = *(const word64_t *)((const char *)src + n - 8);
    void *end = (char *)dst + n - 8;
    size_t words = n / 8;

    asm volatile("rep movsq" : "+D"(dst), "+S"(src), "+c"(words)::"memory");
    *(word64_t *)end = tail;
}

void *memcpy(void *dst, const void *src, size_t n)
{
    if (n <= 32)
        copy_short(dst, src, n);
    else
        copy_long(dst, src, n);
    return dst;
}

void *memmove(void *dst, const void *src, size_t n)
{
    if (n <= 32) {
        copy_short(dst, src, n);
    } else if ((uintptr_t)dst - (uintptr_t)src >= n) {
        copy_long(dst, src, n);
    } else {
        uint64_t h0 = *(const word64_t *)src, h1 = *((const word64_t *)src + 1);
        size_t i = n;

        for (; i >= 16; i -= 8) {
            *(word64_t *)((char *)dst + i - 8) = *(const word64_t *)((const char *)src + i - 8);
            asm volatile("" ::: "memory");
        }
        *(word64_t *)dst = h0;
        *((word64_t *)dst + 1) = h1;
    }
    return dst;
}

void *memset(void *dst, int c, size_t n)
{
    uint64_t v = (uint8_t)c * 0x0101010101010101ull;
    char *d = dst;

    if (n >= 8) {
        size_t words = n / 8;
        void *p = dst;
        *(word64_t *)(d + n - 8) = v;
        asm volatile("rep stosq" : "+D"(p), "+c"(words) : "a"(v) : "memory");
    } else if (n >= 4) {
        *(word32_t *)d = (uint32_t)v;
        *(word32_t *)(d + n - 4) = (uint32_t)v;
    } else if (n) {
        d[0] = (char)v;
        d[n / 2] = (char)v;
        d[n - 1] = (char)v;
    }
    return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const uint8_t *p = a, *q = b;

    for (; n >= 8; n -= 8, p += 8, q += 8)
        if (*(const word64_t *)p != *(const word64_t *)q)
            break;
    for (; n; n--, p++, q++)
        if (*p != *q)
            return *p < *q ? -1 : 1;
    return 0;
}

void *memchr(const void *s, int c, size_t n)
{
    for (const uint8_t *p = s; n; n--, p++)
        if (*p == (uint8_t)c)
            return (void *)p;
    return NULL;
}

size_t strlen(const char *s)
{
    const char *p = s;

    for (; *p; p++)
        asm volatile("" ::: "memory");
    return p - s;
}

size_t strnlen(const char *s, size_t max)
{
    size_t n = 0;

    while (n < max && s[n])
        n++;
    return n;
}

int strcmp(const char *a, const char *b)
{
    for (; *a && *a == *b; a++, b++)
        ;
    return (uint8_t)*a - (uint8_t)*b;
}

int strncmp(const char *a, const char *b, size_t n)
{
    for (; n && *a && *a == *b; a++, b++, n--)
        ;
    return n ? (uint8_t)*a - (uint8_t)*b : 0;
}

char *strchr(const char *s, int c)
{
    for (; *s != (char)c; s++)
        if (!*s)
            return NULL;
    return (char *)s;
}

char *strstr(const char *s, const char *needle)
{
    size_t n = strlen(needle);

    for (;; s++) {
        if (!strncmp(s, needle, n))
            return (char *)s;
        if (!*s)
            return NULL;
    }
}

size_t strlcpy(char *dst, const char *src, size_t size)
{
    size_t len = strlen(src), n = len < size ? len : size - 1;

    memcpy(dst, src, n);
    dst[n] = 0;
    return len;
}

size_t strlcat(char *dst, const char *src, size_t size)
{
    size_t used = strnlen(dst, size);

    return used == size ? size + strlen(src) : used + strlcpy(dst + used, src, size - used);
}
