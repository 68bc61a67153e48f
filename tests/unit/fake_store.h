// SPDX-License-Identifier: BSD-2-Clause
/*
 * A xenstore daemon behind libserai's client (xsclient.h), in the test's own process, with guests
 * and backends that follow the protocol of split devices at once.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

extern bool fake_store_served;    /* is there a daemon at all? Starts as false */
extern bool fake_store_guest;     /* guests react: they close devices and take notice of requests */
extern bool fake_store_blkd_sick; /* the block daemon refuses every disk */
extern bool fake_store_full;      /* the daemon can write nothing down: changes are refused */
extern unsigned fake_store_introduced; /* domains */
extern unsigned fake_store_busy;       /* so many ends of transactions meet interference */

void fake_store_reset(void);
/* Of a node; NULL when there is none. */
const char *fake_store_value(const char *path);
const char *fake_store_perms(const char *path); /* "n0,r1" */
void fake_store_set(const char *path, const char *value);
/* How many nodes there are. */
unsigned fake_store_nodes(void);
