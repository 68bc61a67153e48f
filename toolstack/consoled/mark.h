// SPDX-License-Identifier: BSD-2-Clause
// How far a console's log has come, in memory that outlives the process (a file in the state
// directory, mapped). Output goes into the log first and off the ring after that; a process that
// is killed in between leaves bytes that are in both. The next one finds out how many by the mark,
// so that the log has every byte once.
#pragma once

#include "logfile.h"

#include <stdbool.h>
#include <stdint.h>

struct mark {
    uint64_t magic;
    uint8_t uuid[16];    // of the domain
    uint64_t size;       // of the log before the piece that is being written
    uint32_t cons, left; // the ring's index then; bytes of the piece, 0: none is being written
};

// Opens or makes DIR/ID; NULL when that cannot be had: output is then in the log once or twice.
struct mark *mark_open(const char *dir, uint32_t id, const uint8_t uuid[16]);
void mark_close(struct mark *m);
// The domain is gone.
void mark_forget(const char *dir, uint32_t id);
// Forgets those of domains that went while no process ran: that `used` knows nothing of.
void mark_sweep(const char *dir, bool (*used)(void *arg, uint32_t id), void *arg);
// A piece is about to go into the log; it is in the log and off the ring.
void mark_begin(struct mark *m, const struct logfile *f, uint32_t cons, uint32_t bytes);
void mark_end(struct mark *m);
// Bytes at the beginning of the ring that are in the log already, `cons` being its index now.
uint32_t mark_written(const struct mark *m, const struct logfile *f, uint32_t cons);
