// SPDX-License-Identifier: BSD-2-Clause
// Memory that is always there. Without memory the daemon ends with one log line and is started
// again from its journal, which is simpler and safer than half-done operations.
#pragma once

#include <stddef.h>

// Zeroed.
void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));
// Likewise; NULL for a count of 0.
void *mem_array(size_t count, size_t size) __attribute__((malloc));
void *mem_resize(void *old, size_t size) __attribute__((returns_nonnull));
char *mem_copy_string(const char *text) __attribute__((malloc, returns_nonnull));
// What every writer of a base/ buffer calls at its end.
struct buf;
void mem_check(const struct buf *b);
