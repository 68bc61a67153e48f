// SPDX-License-Identifier: BSD-2-Clause
// The hypervisor's heap: small objects in size classes, larger ones whole pages. Zeroed.
// Thread-safe; not from interrupt context.
#pragma once

#include "lib/types.h"

void *heap_alloc(size_t size) __attribute__((malloc, alloc_size(1))); // zeroed; NULL: none
void *heap_alloc_array(size_t n, size_t size);                        // NULL on overflow too
void heap_free(void *p);                                              // NULL is allowed
#define heap_new(type) ((type *)heap_alloc(sizeof(type)))

// For leak tests and debug key 'm': bytes of all objects, and the pages that small ones are cut
// from (more than they need, as they come and go).
uint64_t heap_bytes_in_use(void);
uint64_t heap_small_pages(void);

// 2^order pages of the direct map / back. NULL: none.
void *page_alloc(unsigned int order); // not zeroed
void *page_alloc_zero(unsigned int order);
void page_free(void *p, unsigned int order);
