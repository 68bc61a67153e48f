// SPDX-License-Identifier: BSD-2-Clause
#include "balance.h"

static uint64_t distance(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

// Page counts are never exact: a driver rounds, and keeps a few.
static bool settled(const struct balance_guest *g)
{
    return distance(g->actual, g->target) <= BALANCE_STEP_KIB;
}

bool balance_stuck(struct balance_guest *g)
{
    bool moved = distance(g->actual, g->last) >= BALANCE_STEP_KIB / 4;
    g->waiting = settled(g) || moved ? 0 : g->waiting + 1;
    g->last = g->actual;
    return g->waiting >= BALANCE_PATIENCE;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t scale(uint64_t of, uint64_t part, uint64_t whole)
{
    return whole ? (uint64_t)((unsigned __int128)of * part / whole) : 0;
}

static uint64_t range(const struct balance_guest *g)
{
    return g->max > g->min ? g->max - g->min : 0;
}

// What each would have if everything could be moved at once.
static void ideal(const struct balance_guest *g, size_t count, uint64_t free_kib, uint64_t keep_kib,
                  uint64_t *out)
{
    uint64_t pool = free_kib, need = keep_kib, ranges = 0;
    for (size_t i = 0; i < count; i++) {
        if (g[i].waiting >= BALANCE_PATIENCE)
            continue;
        pool += g[i].actual;
        need += g[i].min;
        ranges += range(&g[i]);
    }
    uint64_t spare = pool > need ? least(pool - need, ranges) : 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t want = g[i].min + scale(range(&g[i]), spare, ranges);
        // Once it listens again it gives back what it has too much, but it gets no more.
        if (g[i].waiting >= BALANCE_PATIENCE && want > g[i].actual)
            want = g[i].actual > g[i].min ? g[i].actual : g[i].min;
        out[i] = want;
    }
}

void balance_share(struct balance_guest *g, size_t count, uint64_t free_kib, uint64_t keep_kib,
                   uint64_t *out)
{
    // What was promised to guests that are growing is not free any more.
    uint64_t promised = keep_kib, growth = 0;
    ideal(g, count, free_kib, keep_kib, out);
    for (size_t i = 0; i < count; i++) {
        if (distance(out[i], g[i].target) < BALANCE_STEP_KIB && out[i] != g[i].max &&
            out[i] != g[i].min)
            out[i] = g[i].target;
        uint64_t now = least(out[i], g[i].target);
        promised += now > g[i].actual ? now - g[i].actual : 0;
        growth += out[i] > g[i].target ? out[i] - g[i].target : 0;
    }
    uint64_t room = free_kib > promised ? free_kib - promised : 0;
    for (size_t i = 0; i < count; i++)
        if (out[i] > g[i].target && growth > room)
            out[i] = g[i].target + scale(out[i] - g[i].target, room, growth);
    for (size_t i = 0; i < count; i++) {
        if (out[i] < g[i].min)
            out[i] = g[i].min;
        if (out[i] > g[i].max)
            out[i] = g[i].max;
        out[i] -= out[i] % 1024 && out[i] != g[i].min && out[i] != g[i].max ? out[i] % 1024 : 0;
    }
}
