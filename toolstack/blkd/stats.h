// SPDX-License-Identifier: BSD-2-Clause
// Numbers for those who watch: a file with one line for each disk, replaced when they change:
//   domain devid reads writes flushes discards bytes-read bytes-written
// They begin at 0 when the daemon does.
#pragma once

#include "device.h"

enum { STATS_EVERY_MS = 500 };

struct stats {
    char path[256];
    char *last; // what stands there
};

void stats_write(struct stats *s, const struct devices *all);
void stats_free(struct stats *s);
