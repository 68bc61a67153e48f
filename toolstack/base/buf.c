// SPDX-License-Identifier: BSD-2-Clause
#include "buf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_free(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

int buf_reserve(struct buf *b, size_t extra)
{
    if (extra < b->cap && b->len < b->cap - extra)
        return 0;
    size_t cap = b->cap ? b->cap : 64;
    while (cap <= b->len + extra) {
        if (cap > (size_t)1 << 40)
            goto out_of_memory;
        cap *= 2;
    }
    char *data = realloc(b->data, cap);
    if (!data)
        goto out_of_memory;
    if (!b->data)
        data[0] = '\0';
    b->data = data;
    b->cap = cap;
    return 0;

out_of_memory:
    b->failed = true;
    return -ENOMEM;
}

int buf_add(struct buf *b, const void *data, size_t len)
{
    if (buf_reserve(b, len))
        return -ENOMEM;
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
    return 0;
}

int buf_puts(struct buf *b, const char *text)
{
    return buf_add(b, text, strlen(text));
}

int buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int need = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (need < 0 || buf_reserve(b, (size_t)need)) {
        b->failed = true;
        return -ENOMEM;
    }
    vsnprintf(b->data + b->len, (size_t)need + 1, fmt, ap);
    b->len += (size_t)need;
    return 0;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int ret = buf_vprintf(b, fmt, ap);
    va_end(ap);
    return ret;
}

void buf_consume(struct buf *b, size_t len)
{
    if (!b->data)
        return;
    if (len > b->len)
        len = b->len;
    memmove(b->data, b->data + len, b->len - len + 1);
    b->len -= len;
}

char *buf_take(struct buf *b)
{
    if (b->failed || buf_reserve(b, 0)) {
        buf_free(b);
        return NULL;
    }
    char *text = b->data;
    *b = (struct buf){0};
    return text;
}
