// SPDX-License-Identifier: BSD-2-Clause
#include "pgrant.h"

#include <stdlib.h>

enum { PGRANT_PAGE = 4096, PGRANT_BATCH = 256 };
// Each batch is a mapping of the process, and Linux gives one process 65530. When half of what we
// use of them is gone, each table has to do with few.
enum { PGRANT_MAPPINGS_MAX = 40000, PGRANT_MAPPINGS_EACH = 256 };

static unsigned pgrant_mappings; // of all tables

// Pages mapped together: one area of memory, unmapped together.
struct pgrant_batch {
    struct pgrant_batch *next;
    uint8_t *address;
    unsigned count, in_use;
    uint64_t used_ms;
    struct pgrant *pages; // `count` of them
};

struct pgrant {
    struct pgrant *next; // in its bucket
    struct pgrant_batch *batch;
    uint32_t gref;
};

struct pgrant_table {
    struct host *host;
    uint32_t domid;
    unsigned limit, count, mappings;
    unsigned mask; // buckets - 1
    struct pgrant_batch *batches;
    struct pgrant *bucket[];
};

struct pgrant_table *pgrant_new(struct host *host, uint32_t domid, unsigned limit)
{
    unsigned buckets = 64;
    while (buckets < limit)
        buckets *= 2;
    struct pgrant_table *t = calloc(1, sizeof(*t) + buckets * sizeof(struct pgrant *));
    if (!t)
        return NULL;
    t->host = host;
    t->domid = domid;
    t->limit = limit;
    t->mask = buckets - 1;
    return t;
}

static struct pgrant **pgrant_bucket(struct pgrant_table *t, uint32_t gref)
{
    // A guest chooses its numbers, but only its own device becomes slow by clever ones.
    return &t->bucket[(gref ^ gref >> 11) & t->mask];
}

static struct pgrant *pgrant_find(const struct pgrant_table *t, uint32_t gref)
{
    for (struct pgrant *g = *pgrant_bucket((struct pgrant_table *)t, gref); g; g = g->next)
        if (g->gref == gref)
            return g;
    return NULL;
}

static void pgrant_unlink(struct pgrant_table *t, struct pgrant *g)
{
    for (struct pgrant **p = pgrant_bucket(t, g->gref); *p; p = &(*p)->next) {
        if (*p == g) {
            *p = g->next;
            return;
        }
    }
}

static void pgrant_drop(struct pgrant_table *t, struct pgrant_batch *b)
{
    for (unsigned i = 0; i < b->count; i++)
        pgrant_unlink(t, &b->pages[i]);
    t->host->ops->unmap(t->host->ctx, b->address, b->count);
    t->count -= b->count;
    t->mappings--;
    pgrant_mappings--;
    free(b->pages);
    free(b);
}

void pgrant_free(struct pgrant_table *t)
{
    if (!t)
        return;
    while (t->batches) {
        struct pgrant_batch *b = t->batches;
        t->batches = b->next;
        pgrant_drop(t, b);
    }
    free(t);
}

static bool pgrant_has_room(const struct pgrant_table *t, unsigned count)
{
    if (t->count + count > t->limit || pgrant_mappings >= PGRANT_MAPPINGS_MAX)
        return false;
    return pgrant_mappings < PGRANT_MAPPINGS_MAX / 2 || t->mappings < PGRANT_MAPPINGS_EACH;
}

static bool pgrant_map(struct pgrant_table *t, const uint32_t *grefs, unsigned count)
{
    struct pgrant_batch *b = calloc(1, sizeof(*b));
    struct pgrant *pages = calloc(count, sizeof(*pages));
    void *address = NULL;
    if (b && pages && pgrant_has_room(t, count))
        address = t->host->ops->map(t->host->ctx, t->domid, grefs, count);
    if (!address) {
        free(b);
        free(pages);
        return false;
    }
    *b = (struct pgrant_batch){
        .next = t->batches, .address = (uint8_t *)address, .count = count, .pages = pages};
    for (unsigned i = 0; i < count; i++) {
        struct pgrant **bucket = pgrant_bucket(t, grefs[i]);
        pages[i] = (struct pgrant){.next = *bucket, .batch = b, .gref = grefs[i]};
        *bucket = &pages[i];
    }
    t->batches = b;
    t->count += count;
    t->mappings++;
    pgrant_mappings++;
    return true;
}

static bool pgrant_listed(const uint32_t *grefs, unsigned count, uint32_t gref)
{
    for (unsigned i = 0; i < count; i++)
        if (grefs[i] == gref)
            return true;
    return false;
}

bool pgrant_get(struct pgrant_table *t, const uint32_t *grefs, unsigned count,
                struct pgrant **pages, uint64_t now_ms)
{
    uint32_t missing[PGRANT_BATCH];
    unsigned n = 0;
    if (count > PGRANT_BATCH)
        return false;
    for (unsigned i = 0; i < count; i++) {
        pages[i] = pgrant_find(t, grefs[i]);
        if (!pages[i] && !pgrant_listed(missing, n, grefs[i]))
            missing[n++] = grefs[i];
    }
    if (n && !pgrant_map(t, missing, n))
        return false;
    for (unsigned i = 0; i < count; i++) {
        if (!pages[i])
            pages[i] = pgrant_find(t, grefs[i]);
        pages[i]->batch->in_use++;
        pages[i]->batch->used_ms = now_ms;
    }
    return true;
}

void *pgrant_address(const struct pgrant *page)
{
    return page->batch->address + (size_t)(page - page->batch->pages) * PGRANT_PAGE;
}

void pgrant_put(struct pgrant *const *pages, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        pages[i]->batch->in_use--;
}

void pgrant_purge(struct pgrant_table *t, uint64_t before_ms)
{
    for (struct pgrant_batch **p = &t->batches; *p;) {
        struct pgrant_batch *b = *p;
        if (b->in_use || b->used_ms >= before_ms) {
            p = &b->next;
            continue;
        }
        *p = b->next;
        pgrant_drop(t, b);
    }
}

unsigned pgrant_count(const struct pgrant_table *t)
{
    return t->count;
}
