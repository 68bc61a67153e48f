// SPDX-License-Identifier: BSD-2-Clause
// Memory and string functions with their C library meaning, and printf-style formatting.
#pragma once

#include <stdarg.h>
#include "lib/types.h"

void *memcpy(void *dst, const void *src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *memchr(const void *s, int c, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
char *strstr(const char *s, const char *needle);
// Copy at most size-1 bytes and always terminate (size > 0). Returns strlen(src).
size_t strlcpy(char *dst, const char *src, size_t size);
size_t strlcat(char *dst, const char *src, size_t size);

// C99 subset: flags "-0+ #", width, precision, hh h l ll z, d i u x X c s p %, and %*.
// %pS prints a code address as symbol+offset. Returns the length without truncation.
// A bare %p is 16 hex digits without prefix; with a width, 0x and as many as needed.
int snprintf(char *buf, size_t size, const char *fmt, ...) __printf(3, 4);
int vsnprintf(char *buf, size_t size, const char *fmt, va_list ap);
// Writes "symbol+0x..." for addr and returns its length, <= 0 when unknown. NULL until set.
extern int (*printf_symbol_hook)(char *buf, size_t size, unsigned long addr);

// Like C's strtoull: base 0 accepts 0x and 0 prefixes. *end (may be NULL) is the first unparsed
// character; on overflow the result saturates.
uint64_t strtoull(const char *s, const char **end, int base);
// A number with an optional k/K, m/M, g/G, t/T suffix (binary multiples). As strtoull.
uint64_t parse_size(const char *s, const char **end);

#define memset  __builtin_memset
#define memcpy  __builtin_memcpy
#define memmove __builtin_memmove
#define memcmp  __builtin_memcmp
#define strlen  __builtin_strlen
