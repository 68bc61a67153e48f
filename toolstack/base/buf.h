// SPDX-License-Identifier: BSD-2-Clause
// A growable byte buffer. Failure to allocate is sticky (`failed`), so a writer may
// append many times and check once. No locks: one owner.
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *data; // NUL-terminated whenever non-NULL; the NUL is not counted in `len`
    size_t len;
    size_t cap;
    bool failed; // an allocation failed: contents are incomplete
};

// Releases the memory and returns the buffer to its empty state.
void buf_free(struct buf *b);
// Makes room for `extra` more bytes plus the NUL. 0 or -ENOMEM.
int buf_reserve(struct buf *b, size_t extra);
// Appends bytes, a string, formatted text. 0 or -ENOMEM (also remembered in `failed`).
int buf_add(struct buf *b, const void *data, size_t len);
int buf_puts(struct buf *b, const char *text);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *fmt, va_list ap);
// Drops the first `len` bytes (at most all of them).
void buf_consume(struct buf *b, size_t len);
// Hands the text to the caller, who frees it; NULL if an allocation had failed.
char *buf_take(struct buf *b);

#define BUF_AUTO __attribute__((cleanup(buf_free))) struct buf
