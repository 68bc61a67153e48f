// SPDX-License-Identifier: BSD-2-Clause
#include "guest.h"
#include <xen/io/console.h>

static struct xencons_interface *ring; // NULL: the control domain
static evtchn_port_t ring_port;
static bool ring_lost; // nobody reads it any more: what is printed is dropped

void console_init(void)
{
    if (start_info->flags & SIF_INITDOMAIN)
        return;
    ring = mfn_to_va(start_info->console.domU.mfn);
    ring_port = start_info->console.domU.evtchn;
}

// Waits while the ring is full, but not for ever: a guest may have lost its console.
static bool ring_has_room(XENCONS_RING_IDX prod)
{
    enum { PATIENCE = 100000 };
    struct evtchn_send send = {.port = ring_port};

    for (unsigned int i = 0; i < PATIENCE; i++) {
        if (prod - READ_ONCE(ring->out_cons) < sizeof(ring->out))
            return true;
        hc_event_channel_op(EVTCHNOP_send, &send);
        hc_sched_op(SCHEDOP_yield, NULL);
    }
    return false;
}

static void ring_write(const char *s, size_t n)
{
    struct evtchn_send send = {.port = ring_port};
    XENCONS_RING_IDX prod = ring->out_prod;

    while (n && !ring_lost) {
        if (!ring_has_room(prod)) {
            ring_lost = true;
            return;
        }
        ring->out[MASK_XENCONS_IDX(prod, ring->out)] = *s++;
        prod++;
        n--;
        barrier();
        WRITE_ONCE(ring->out_prod, prod);
    }
    hc_event_channel_op(EVTCHNOP_send, &send);
}

void console_write(const char *s, size_t n)
{
    if (ring)
        ring_write(s, n);
    else
        hc_console_io(CONSOLEIO_write, (unsigned int)n, (void *)s);
}

size_t console_room(void)
{
    return ring ? sizeof(ring->out) - (ring->out_prod - READ_ONCE(ring->out_cons)) : 4096;
}

void console_drain(void)
{
    uint64_t end = clock_now() + 5000 * MS;

    while (ring && !ring_lost && READ_ONCE(ring->out_cons) != ring->out_prod && clock_now() < end)
        hc_sched_op(SCHEDOP_yield, NULL);
}

struct sink {
    char *out;
    size_t size, used;
};

static void put(struct sink *k, char c)
{
    if (k->used + 1 < k->size)
        k->out[k->used++] = c;
}

static void put_number(struct sink *k, unsigned long v, unsigned int base, int width, char pad)
{
    char digits[24];
    int n = 0;

    do {
        digits[n++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    for (; width > n; width--)
        put(k, pad);
    while (n)
        put(k, digits[--n]);
}

static void put_string(struct sink *k, const char *s, int width)
{
    int n = 0;

    for (; s[n]; n++)
        put(k, s[n]);
    for (; n < width; n++)
        put(k, ' ');
}

static void put_one(struct sink *k, char c, unsigned long v, int width, char pad, bool is_long)
{
    switch (c) {
    case 'd':
        if (!is_long)
            v = (unsigned long)(int)v;
        if ((long)v < 0) {
            put(k, '-');
            v = -v;
        }
        put_number(k, v, 10, width, pad);
        break;
    case 'u':
        put_number(k, is_long ? v : (unsigned int)v, 10, width, pad);
        break;
    case 'x':
        put_number(k, is_long ? v : (unsigned int)v, 16, width, pad);
        break;
    case 'p':
        put_number(k, v, 16, 16, '0');
        break;
    case 'c':
        put(k, (char)v);
        break;
    default:
        put(k, c);
    }
}

size_t format(char *out, size_t size, const char *fmt, va_list ap)
{
    struct sink k = {.out = out, .size = size};

    for (; *fmt; fmt++) {
        char pad = ' ';
        int width = 0;
        bool is_long = false;

        if (*fmt != '%') {
            put(&k, *fmt);
            continue;
        }
        fmt++;
        if (*fmt == '-')
            fmt++;
        if (*fmt == '0')
            pad = '0';
        while (*fmt >= '0' && *fmt <= '9')
            width = width * 10 + (*fmt++ - '0');
        for (; *fmt == 'l'; fmt++)
            is_long = true;
        if (*fmt == 's')
            put_string(&k, va_arg(ap, const char *), width);
        else if (*fmt == '%')
            put(&k, '%');
        else if (is_long || *fmt == 'p')
            put_one(&k, *fmt, va_arg(ap, unsigned long), width, pad, true);
        else
            put_one(&k, *fmt, va_arg(ap, unsigned int), width, pad, false);
    }
    if (size)
        out[k.used] = 0;
    return k.used;
}

void vprint(const char *fmt, va_list ap)
{
    char buf[512];

    console_write(buf, format(buf, sizeof(buf), fmt, ap));
}

void print(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vprint(fmt, ap);
    va_end(ap);
}
