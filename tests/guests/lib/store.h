// SPDX-License-Identifier: BSD-2-Clause
// Xenstore through this guest's ring: one request at a time, waiting as long as it takes, with
// watches and transactions. Paths are relative to this guest's home.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Watches whose events have come since they were last looked at, as bits of their tokens ('a' is
// bit 0).
extern uint32_t store_events;
// Called while an answer is awaited; does not use the store.
extern void (*store_waiting)(void);

// False: there is none.
bool store_init(void);
// Takes the events that have come.
void store_serve(void);
// What was asked for, with a NUL byte behind it; after a false the error's name.
extern char store_text[4096 + 1];
bool store_read(uint32_t tx, const char *path);
bool store_list(const char *path);
// The next name after `at` in the answer, the first one for NULL; NULL at the end.
const char *store_next(const char *at);
bool store_write(uint32_t tx, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
bool store_watch(const char *path, char token);
bool store_unwatch(const char *path, char token);
// 0: none was given.
uint32_t store_begin(void);
// True when it has happened; false when it has to be tried again.
bool store_end(uint32_t tx);
