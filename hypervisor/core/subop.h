// SPDX-License-Identifier: BSD-2-Clause
// Sub-operations of a hypercall: one table per family gives the argument's size and the direction
// of copies, so that guest memory is read and written in one place.
#pragma once

#include "lib/types.h"

enum { SUBOP_NONE = 0, SUBOP_IN = 1, SUBOP_OUT = 2, SUBOP_INOUT = 3 };

struct subop {
    int (*fn)(void *arg); // NULL: -ENOSYS
    uint16_t size;
    uint8_t copy;
};

#define SUBOP(fn, type, copy)  \
    {                          \
        fn, sizeof(type), copy \
    }

// Copy in, call, copy out when it succeeded. buf holds the largest argument of the table.
long subop_run(const struct subop *table, unsigned long count, unsigned long cmd, void *guest,
               void *buf, unsigned long buf_size);
