// SPDX-License-Identifier: BSD-2-Clause
#include "core/rangeset.h"

#include "core/spinlock.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "memory/heap.h"

struct range {
    uint64_t first, last;
};

struct rangeset {
    spinlock_t lock;
    uint32_t count, capacity;
    struct range *ranges; // sorted; neighbours neither overlap nor touch
    const char *name;
};

struct rangeset *rangeset_new(const char *name)
{
    struct rangeset *r = heap_new(struct rangeset);
    if (r)
        r->name = name;
    return r;
}

void rangeset_free(struct rangeset *r)
{
    if (r)
        heap_free(r->ranges);
    heap_free(r);
}

// Index of the first range that ends at or after x.
static uint32_t find(const struct rangeset *r, uint64_t x)
{
    uint32_t lo = 0, hi = r->count;

    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (r->ranges[mid].last < x)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

// Room for one more range; the lock is dropped while memory is allocated, so callers look at the
// set only afterwards. Returns with the lock held.
static int lock_with_room(struct rangeset *r)
{
    for (;;) {
        spin_lock(&r->lock);
        if (r->count < r->capacity)
            return 0;
        uint32_t want = r->capacity ? r->capacity * 2 : 4;
        spin_unlock(&r->lock);
        struct range *more = heap_alloc_array(want, sizeof(*more));
        if (!more) {
            spin_lock(&r->lock);
            return -ENOMEM;
        }
        spin_lock(&r->lock);
        struct range *old = more;
        if (want > r->capacity) {
            old = r->ranges;
            if (r->count)
                memcpy(more, old, r->count * sizeof(*more));
            r->ranges = more;
            r->capacity = want;
        }
        spin_unlock(&r->lock);
        heap_free(old);
    }
}

// Replace ranges [i, j) by n (0..2) others; there is room.
static void replace(struct rangeset *r, uint32_t i, uint32_t j, const struct range *with,
                    uint32_t n)
{
    memmove(&r->ranges[i + n], &r->ranges[j], (r->count - j) * sizeof(*r->ranges));
    memcpy(&r->ranges[i], with, n * sizeof(*with));
    r->count = r->count - (j - i) + n;
}

int rangeset_add(struct rangeset *r, uint64_t first, uint64_t last)
{
    int rc = lock_with_room(r);

    // Neighbours that touch are joined.
    uint32_t i = find(r, first ? first - 1 : 0), j = i;
    struct range all = {first, last};
    for (; j < r->count && (last == ~0ull || r->ranges[j].first <= last + 1); j++) {
        all.first = all.first < r->ranges[j].first ? all.first : r->ranges[j].first;
        all.last = all.last > r->ranges[j].last ? all.last : r->ranges[j].last;
    }
    if (!rc || j > i) {
        replace(r, i, j, &all, 1);
        rc = 0;
    }
    spin_unlock(&r->lock);
    return rc;
}

int rangeset_remove(struct rangeset *r, uint64_t first, uint64_t last)
{
    struct range rest[2];
    uint32_t n = 0;
    int rc = lock_with_room(r);

    uint32_t i = find(r, first), j = i;
    for (; j < r->count && r->ranges[j].first <= last; j++) {
        if (r->ranges[j].first < first)
            rest[n++] = (struct range){r->ranges[j].first, first - 1};
        if (r->ranges[j].last > last)
            rest[n++] = (struct range){last + 1, r->ranges[j].last};
    }
    if (!rc || n <= j - i) {
        replace(r, i, j, rest, n);
        rc = 0;
    }
    spin_unlock(&r->lock);
    return rc;
}

// Sets are read from const contexts; the lock is no part of the value.
static spinlock_t *lock_of(const struct rangeset *r)
{
    return (spinlock_t *)&r->lock;
}

bool rangeset_contains(const struct rangeset *r, uint64_t first, uint64_t last)
{
    spin_lock(lock_of(r));
    uint32_t i = find(r, first);
    bool in = i < r->count && r->ranges[i].first <= first && r->ranges[i].last >= last;
    spin_unlock(lock_of(r));
    return in;
}

bool rangeset_overlaps(const struct rangeset *r, uint64_t first, uint64_t last)
{
    spin_lock(lock_of(r));
    uint32_t i = find(r, first);
    bool any = i < r->count && r->ranges[i].first <= last;
    spin_unlock(lock_of(r));
    return any;
}

int rangeset_for_each(const struct rangeset *r, uint64_t first, uint64_t last,
                      int (*fn)(uint64_t first, uint64_t last, void *arg), void *arg)
{
    for (;;) {
        spin_lock(lock_of(r));
        uint32_t i = find(r, first);
        bool any = i < r->count && r->ranges[i].first <= last;
        struct range at = any ? r->ranges[i] : (struct range){0, 0};
        spin_unlock(lock_of(r));
        if (!any)
            return 0;
        uint64_t from = at.first > first ? at.first : first, to = at.last < last ? at.last : last;
        int rc = fn(from, to, arg);
        if (rc || to == last)
            return rc;
        first = to + 1;
    }
}
