// SPDX-License-Identifier: BSD-2-Clause
// How free memory is shared between guests that have a range of it: the decision alone, without
// anything that it needs a machine for. All sizes in KiB.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BALANCE_STEP_KIB = 4096, BALANCE_PATIENCE = 4 };

struct balance_guest {
    uint32_t id;
    uint64_t min, max;       // its range
    uint64_t actual, target; // what it has, and was last told to have
    // What is remembered from round to round.
    uint64_t last;    // `actual` of the round before
    unsigned waiting; // rounds in which it was to change and did not
};

// Does it not do as it is told? Call once a round, with a new `actual`.
bool balance_stuck(struct balance_guest *g);

// Decides what each is to have (`out`, in the order of `g`), given what is free in the machine and
// how much of that is to stay so, or is wanted by others. Each gets its minimum and the same
// fraction of its range; a guest that is stuck counts with what it has, and the others share what
// remains. Nobody is sent below its minimum, and none grows into what is not free yet. Changes of
// less than a step are not made.
void balance_share(struct balance_guest *g, size_t count, uint64_t free_kib, uint64_t keep_kib,
                   uint64_t *out);
