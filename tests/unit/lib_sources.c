// SPDX-License-Identifier: BSD-2-Clause
/* The hypervisor's lib/ as it is, with its symbols renamed to hv_*: beside the C library's own. */
#include <stdarg.h>
#include "lib/types.h"

#define RENAME(type, name, ...) type name(__VA_ARGS__) __asm__("hv_" #name)
RENAME(void *, memcpy, void *, const void *, size_t);
RENAME(void *, memmove, void *, const void *, size_t);
RENAME(void *, memset, void *, int, size_t);
RENAME(int, memcmp, const void *, const void *, size_t);
RENAME(void *, memchr, const void *, int, size_t);
RENAME(size_t, strlen, const char *);
RENAME(size_t, strnlen, const char *, size_t);
RENAME(int, strcmp, const char *, const char *);
RENAME(int, strncmp, const char *, const char *, size_t);
RENAME(char *, strchr, const char *, int);
RENAME(char *, strstr, const char *, const char *);
RENAME(size_t, strlcpy, char *, const char *, size_t);
RENAME(size_t, strlcat, char *, const char *, size_t);
RENAME(int, snprintf, char *, size_t, const char *, ...);
RENAME(int, vsnprintf, char *, size_t, const char *, va_list);
RENAME(uint64_t, strtoull, const char *, const char **, int);

#include "hypervisor/lib/bitmap.c"
#include "hypervisor/lib/heap.c"
#include "hypervisor/lib/number.c"
#include "hypervisor/lib/printf.c"
#include "hypervisor/lib/string.c"
