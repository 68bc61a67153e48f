// SPDX-License-Identifier: BSD-2-Clause
// Who has something to do, in turns: each connection does a bounded piece of work, then it is
// the next one's turn, so that one who asks for a lot slows down only itself. Between rounds the
// event loop looks at everything else.
#pragma once

#include "loop.h"

#include <stdbool.h>

struct turns {
    struct turn *first, **end;
    int fd; // readable while anybody waits
    bool signalled;
};

struct turn {
    struct turn *next;
    bool queued;
    void (*serve)(struct turn *t); // may queue it again, or cancel any
};

// 0 or -errno.
int turns_init(struct turns *t, struct loop *l);
void turns_free(struct turns *t);
void turn_queue(struct turns *t, struct turn *x);
void turn_cancel(struct turns *t, struct turn *x);
