// SPDX-License-Identifier: BSD-2-Clause
// Persistent grants of one device: pages that a frontend uses again and again stay mapped. What
// finds no place in the table is copied by the hypervisor instead.
#pragma once

#include "host.h"

struct pgrant_table;
struct pgrant; // one page

// A table for at most `limit` pages of a domain. NULL without memory.
struct pgrant_table *pgrant_new(struct host *host, uint32_t domid, unsigned limit);
// Unmaps everything; no page may be in use.
void pgrant_free(struct pgrant_table *t);
// Makes all pages available and in use, `pages` then has them in the same order; or none: false
// when they are too many or cannot be mapped.
bool pgrant_get(struct pgrant_table *t, const uint32_t *grefs, unsigned count,
                struct pgrant **pages, uint64_t now_ms);
// The address of a page that is in use.
void *pgrant_address(const struct pgrant *page);
void pgrant_put(struct pgrant *const *pages, unsigned count);
// Unmaps pages that nobody has used since `before_ms`.
void pgrant_purge(struct pgrant_table *t, uint64_t before_ms);
unsigned pgrant_count(const struct pgrant_table *t);
