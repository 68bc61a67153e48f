// SPDX-License-Identifier: BSD-2-Clause
// Disks of this guest: each is written and read at random all the time, several requests at once,
// and every block that is read must hold what was written last.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { DISKS_MAX = 4 };

extern uint64_t disk_pause_ns; // between a request's end and the next in its place
extern unsigned int disk_operations, disk_bad, disk_longest_ms, disks_up;

// Looks for disks that have come and goes on with those that come up or go down. Uses the store.
void disks_look(void);
// Takes answers and gives requests. Does not use the store.
void disks_serve(void);
// Some disk that goes has nothing in work any more: look again.
bool disks_drained(void);
// When the next request is due.
uint64_t disks_due(void);
