// SPDX-License-Identifier: BSD-2-Clause
// "Did you mean ...?": the nearest known word to a mistyped one.
#pragma once

#include <stddef.h>

// Number of single-character insertions, deletions, replacements and swaps of neighbours
// between two words; words longer than 63 characters are infinitely far (returns 1000).
unsigned suggest_distance(const char *a, const char *b);

// Keeps the best of many candidates; start with `struct suggest s = {.word = typed}`.
struct suggest {
    const char *word;
    const char *best;
    unsigned distance;
};
// Considers one candidate; remembers it only when it is plausibly what was meant.
void suggest_offer(struct suggest *s, const char *candidate);
