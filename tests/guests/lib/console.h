// SPDX-License-Identifier: BSD-2-Clause
// Output: CONSOLEIO_write for the control domain, the console ring page for any other.
#pragma once

#include <stdarg.h>
#include <stddef.h>

void console_init(void);
void console_write(const char *s, size_t n);

// Waits (5 s at most) until everything written was read from the ring.
void console_drain(void);
// Bytes that can be written without waiting.
size_t console_room(void);

// %d %u %x %c %s %p with optional l, zero flag and width; at most 511 bytes a call.
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void vprint(const char *fmt, va_list ap);
size_t format(char *out, size_t size, const char *fmt, va_list ap);
