// SPDX-License-Identifier: BSD-2-Clause
// Who has something to do, in turns: each connection does a bounded piece of work, then it is
// the next one's turn, so that one who asks for a lot slows down only itself. Between rounds the
// event loop looks at everything else.
#pragma once

#include "loop.h"

#include <stdbool.h>

struct turns {
    struct turn *first, **end;
};

struct turn {
    struct turn *next;
    bool queued;
    void (*serve)(struct turn *t); // may queue it again, or cancel any
};

// The loop calls a round after each look at its descriptors, and does not wait while turns wait.
void turns_init(struct turns *t, struct loop *l);
// From a callback of the loop, or before it runs.
void turn_queue(struct turns *t, struct turn *x);
void turn_cancel(struct turns *t, struct turn *x);
