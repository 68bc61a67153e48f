// SPDX-License-Identifier: BSD-2-Clause
// A set of numbers kept as sorted, disjoint inclusive ranges (I/O memory frames, ports, IRQs).
// Each set has its own lock; all calls are safe from any context that may take a plain spinlock.
#pragma once

#include "lib/types.h"

struct rangeset;

struct rangeset *rangeset_new(const char *name); // NULL: out of memory
void rangeset_free(struct rangeset *r);          // NULL is allowed
// 0 or -ENOMEM; first <= last.
int __must_check rangeset_add(struct rangeset *r, uint64_t first, uint64_t last);
int __must_check rangeset_remove(struct rangeset *r, uint64_t first, uint64_t last);
bool rangeset_contains(const struct rangeset *r, uint64_t first, uint64_t last);
bool rangeset_overlaps(const struct rangeset *r, uint64_t first, uint64_t last);
// Call fn on each range inside [first,last]; stops at and returns its first non-zero result.
int rangeset_for_each(const struct rangeset *r, uint64_t first, uint64_t last,
                      int (*fn)(uint64_t first, uint64_t last, void *arg), void *arg);
