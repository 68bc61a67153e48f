// SPDX-License-Identifier: BSD-2-Clause
// Random numbers that a seed repeats (xorshift).
#pragma once

#include <stdint.h>

// The next one; *state is not 0, now and after.
static inline uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}
