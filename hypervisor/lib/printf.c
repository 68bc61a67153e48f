// SPDX-License-Identifier: BSD-2-Clause
// printf-style formatting (the subset that lib/string.h lists).
#include "lib/string.h"

int (*printf_symbol_hook)(char *buf, size_t size, unsigned long addr);

struct output {
    char *buf;
    size_t size, len; // len goes on counting when the buffer is full
};

enum {
    FLAG_LEFT = 1,
    FLAG_ZERO = 2,
    FLAG_PLUS = 4,
    FLAG_SPACE = 8,
    FLAG_ALT = 16,
    FLAG_UPPER = 32
};

struct spec {
    unsigned int flags;
    int width;
    int precision; // -1: none given
    int length;    // bytes of an integer argument
};

static void put(struct output *o, char c)
{
    if (o->len + 1 < o->size)
        o->buf[o->len] = c;
    o->len++;
}

static void put_padding(struct output *o, char c, int n)
{
    for (; n > 0; n--)
        put(o, c);
}

static void put_string(struct output *o, const struct spec *sp, const char *s)
{
    int len;

    if (!s)
        s = "(null)";
    len = (int)strnlen(s, sp->precision < 0 ? (size_t)0x7fffffff : (size_t)sp->precision);
    if (!(sp->flags & FLAG_LEFT))
        put_padding(o, ' ', sp->width - len);
    for (int i = 0; i < len; i++)
        put(o, s[i]);
    if (sp->flags & FLAG_LEFT)
        put_padding(o, ' ', sp->width - len);
}

static void put_number(struct output *o, const struct spec *sp, uint64_t v, unsigned int base,
                       const char *prefix)
{
    static const char lower[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";
    const char *digits = sp->flags & FLAG_UPPER ? upper : lower;
    char text[24];
    int n = 0, prefix_len = (int)strlen(prefix), zeros, pad;

    while (v) {
        text[n++] = digits[v % base];
        v /= base;
    }
    if (!n && sp->precision != 0)
        text[n++] = '0';
    zeros = MAX(sp->precision - n, 0);
    pad = sp->width - n - zeros - prefix_len;
    if ((sp->flags & FLAG_ZERO) && !(sp->flags & FLAG_LEFT) && sp->precision < 0 && pad > 0) {
        zeros += pad;
        pad = 0;
    }
    if (!(sp->flags & FLAG_LEFT))
        put_padding(o, ' ', pad);
    while (*prefix)
        put(o, *prefix++);
    put_padding(o, '0', zeros);
    while (n)
        put(o, text[--n]);
    if (sp->flags & FLAG_LEFT)
        put_padding(o, ' ', pad);
}

static const char *parse_flags(const char *f, struct spec *sp)
{
    for (;; f++) {
        switch (*f) {
        case '-':
            sp->flags |= FLAG_LEFT;
            break;
        case '0':
            sp->flags |= FLAG_ZERO;
            break;
        case '+':
            sp->flags |= FLAG_PLUS;
            break;
        case ' ':
            sp->flags |= FLAG_SPACE;
            break;
        case '#':
            sp->flags |= FLAG_ALT;
            break;
        default:
            return f;
        }
    }
}

static const char *parse_count(const char *f, int *n, va_list *ap)
{
    if (*f == '*') {
        *n = va_arg(*ap, int);
        return f + 1;
    }
    for (*n = 0; *f >= '0' && *f <= '9' && *n < 100000; f++)
        *n = *n * 10 + (*f - '0');
    return f;
}

// Flags, width, precision and length modifier; returns the conversion character's place.
static const char *parse_spec(const char *f, struct spec *sp, va_list *ap)
{
    *sp = (struct spec){.precision = -1, .length = sizeof(int)};
    f = parse_flags(f, sp);
    f = parse_count(f, &sp->width, ap);
    if (sp->width < 0) {
        sp->flags |= FLAG_LEFT;
        sp->width = -sp->width;
    }
    if (*f == '.')
        f = parse_count(f + 1, &sp->precision, ap);
    if (*f == 'h') {
        sp->length = f[1] == 'h' ? 1 : 2;
        f += f[1] == 'h' ? 2 : 1;
    } else if (*f == 'l' || *f == 'z' || *f == 'j' || *f == 't') {
        sp->length = 8;
        f += f[0] == 'l' && f[1] == 'l' ? 2 : 1;
    }
    return f;
}

static uint64_t arg_unsigned(const struct spec *sp, va_list *ap)
{
    if (sp->length == 8)
        return va_arg(*ap, uint64_t);
    uint32_t v = va_arg(*ap, uint32_t);
    return sp->length == 1 ? (uint8_t)v : sp->length == 2 ? (uint16_t)v : v;
}

static void put_signed(struct output *o, const struct spec *sp, va_list *ap)
{
    uint64_t u = arg_unsigned(sp, ap);
    unsigned int shift = 64 - 8 * sp->length;
    int64_t v = (int64_t)(u << shift) >> shift;
    const char *sign = v < 0                    ? "-"
                       : sp->flags & FLAG_PLUS  ? "+"
                       : sp->flags & FLAG_SPACE ? " "
                                                : "";

    put_number(o, sp, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 10, sign);
}

static void put_hex(struct output *o, struct spec *sp, va_list *ap, bool upper)
{
    uint64_t v = arg_unsigned(sp, ap);

    sp->flags |= upper ? FLAG_UPPER : 0;
    put_number(o, sp, v, 16, (sp->flags & FLAG_ALT) && v ? (upper ? "0X" : "0x") : "");
}

// %p, and %pS: symbol+offset. Returns the last character used.
static const char *put_pointer(struct output *o, struct spec *sp, va_list *ap, const char *f)
{
    unsigned long v = (unsigned long)va_arg(*ap, void *);
    char name[96];

    if (f[1] == 'S') {
        f++;
        if (printf_symbol_hook && printf_symbol_hook(name, sizeof(name), v) > 0) {
            put_string(o, sp, name);
            return f;
        }
    }
    sp->precision = sp->precision < 0 && !sp->width ? 16 : sp->precision;
    put_number(o, sp, v, 16, sp->width ? "0x" : "");
    return f;
}

static const char *put_conversion(struct output *o, struct spec *sp, va_list *ap, const char *f)
{
    char one[2] = {0, 0};

    switch (*f) {
    case 'd':
    case 'i':
        put_signed(o, sp, ap);
        break;
    case 'u':
        put_number(o, sp, arg_unsigned(sp, ap), 10, "");
        break;
    case 'o':
        put_number(o, sp, arg_unsigned(sp, ap), 8, sp->flags & FLAG_ALT ? "0" : "");
        break;
    case 'x':
    case 'X':
        put_hex(o, sp, ap, *f == 'X');
        break;
    case 's':
        put_string(o, sp, va_arg(*ap, const char *));
        break;
    case 'c':
        one[0] = (char)va_arg(*ap, int);
        sp->precision = 1;
        put_string(o, sp, one);
        break;
    case 'p':
        f = put_pointer(o, sp, ap, f);
        break;
    case '%':
        put(o, '%');
        break;
    default: // unknown: show it as it is
        put(o, '%');
        if (!*f)
            return f - 1;
        put(o, *f);
        break;
    }
    return f;
}

int vsnprintf(char *buf, size_t size, const char *fmt, va_list args)
{
    struct output o = {.buf = buf, .size = size};
    struct spec sp;
    va_list ap;

    va_copy(ap, args);
    for (const char *f = fmt; *f; f++) {
        if (*f != '%') {
            put(&o, *f);
            continue;
        }
        f = parse_spec(f + 1, &sp, &ap);
        f = put_conversion(&o, &sp, &ap, f);
    }
    va_end(ap);
    if (size)
        buf[MIN(o.len, size - 1)] = 0;
    return (int)o.len;
}

int snprintf(char *buf, size_t size, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(buf, size, fmt, ap);
    va_end(ap);
    return n;
}
