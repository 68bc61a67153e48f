// SPDX-License-Identifier: BSD-2-Clause
#include "suggest.h"

#include <string.h>

enum { SUGGEST_MAX = 63, SUGGEST_FAR = 1000 };

static unsigned min2(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned suggest_distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b);
    if (la > SUGGEST_MAX || lb > SUGGEST_MAX)
        return SUGGEST_FAR;

    // Three rows of the classic table are enough: a swap looks two rows back.
    unsigned rows[3][SUGGEST_MAX + 1];
    for (size_t j = 0; j <= lb; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= la; i++) {
        unsigned *row = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= lb; j++) {
            unsigned cost = a[i - 1] != b[j - 1];
            unsigned d = min2(min2(up[j] + 1, row[j - 1] + 1), up[j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d = min2(d, up2[j - 2] + 1);
            row[j] = d;
        }
    }
    return rows[la % 3][lb];
}

void suggest_offer(struct suggest *s, const char *candidate)
{
    unsigned d = suggest_distance(s->word, candidate);
    // One slip for short words, up to a third of the letters for long ones.
    unsigned limit = 1 + (unsigned)strlen(s->word) / 4;
    if (d <= limit && (!s->best || d < s->distance)) {
        s->best = candidate;
        s->distance = d;
    }
}
