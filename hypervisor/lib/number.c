// SPDX-License-Identifier: BSD-2-Clause
// Numbers in text.
#include "lib/string.h"

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'Z')
        return c - 'A' + 10;
    return 99;
}

static bool hex_prefix(const char *s)
{
    return s[0] == '0' && (s[1] == 'x' || s[1] == 'X') && digit_value(s[2]) < 16;
}

uint64_t strtoull(const char *s, const char **end, int base)
{
    const char *p = s;
    uint64_t value = 0;
    bool saturated = false;

    if ((base == 0 || base == 16) && hex_prefix(p)) {
        p += 2;
        base = 16;
    } else if (base == 0) {
        base = *p == '0' ? 8 : 10;
    }
    for (; digit_value(*p) < base; p++)
        saturated |= __builtin_mul_overflow(value, (uint64_t)base, &value) ||
                     __builtin_add_overflow(value, (uint64_t)digit_value(*p), &value);
    if (end)
        *end = p;
    return saturated ? ~0ull : value;
}

uint64_t parse_size(const char *s, const char **end)
{
    const char *p;
    uint64_t value = strtoull(s, &p, 0);
    unsigned int shift = 0;

    if (p != s) {
        switch (*p) {
        case 'k':
        case 'K':
            shift = 10;
            break;
        case 'm':
        case 'M':
            shift = 20;
            break;
        case 'g':
        case 'G':
            shift = 30;
            break;
        case 't':
        case 'T':
            shift = 40;
            break;
        default:
            break;
        }
    }
    if (shift) {
        p++;
        value = value > (~0ull >> shift) ? ~0ull : value << shift;
    }
    if (end)
        *end = p;
    return value;
}
