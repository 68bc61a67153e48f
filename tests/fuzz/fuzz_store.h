// SPDX-License-Identifier: BSD-2-Clause
/* Connections of guests to a store, for the targets that have one: no rings behind them. */
#pragma once

#include "mem.h"
#include "store.h"

#include <stdlib.h>

static int fuzz_connect(void *arg, struct domain *d)
{
    struct conn *c = mem_alloc(sizeof(*c));
    conn_init(c, arg, d, true);
    d->conn = c;
    return 0;
}

static void fuzz_disconnect(void *arg, struct conn *c)
{
    (void)arg;
    conn_close(c);
    free(c);
}
