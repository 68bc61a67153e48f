// SPDX-License-Identifier: BSD-2-Clause
#include "string.h"

void *memcpy(void *to, const void *from, size_t n)
{
    void *d = to;

    __asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(n) : : "memory");
    return to;
}

void *memmove(void *to, const void *from, size_t n)
{
    unsigned char *d = to;
    const unsigned char *s = from;

    if (d <= s || d >= s + n)
        return memcpy(to, from, n);
    while (n--) {
        d[n] = s[n];
        __asm__ volatile("" ::: "memory");
    }
    return to;
}

void *memset(void *to, int c, size_t n)
{
    void *d = to;

    __asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
    return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *x = a, *y = b;

    for (size_t i = 0; i < n; i++)
        if (x[i] != y[i])
            return x[i] - y[i];
    return 0;
}

size_t strlen(const char *s)
{
    const char *e = s;

    while (*(const volatile char *)e)
        e++;
    return (size_t)(e - s);
}

int strncmp(const char *a, const char *b, size_t n)
{
    for (; n; n--, a++, b++)
        if (*a != *b || !*a)
            return *a - *b;
    return 0;
}

const char *strstr(const char *s, const char *part)
{
    size_t n = strlen(part);

    for (; *s; s++)
        if (!strncmp(s, part, n))
            return s;
    return n ? NULL : s;
}
