// SPDX-License-Identifier: BSD-2-Clause
// The journal: a file of records, each with its length and a checksum. It is read once, when the
// daemon starts; what is damaged at its end is cut off. When it has grown it is replaced by a
// snapshot of the store (written beside it, then renamed).
#pragma once

#include "record.h"

#include <stdbool.h>
#include <stdint.h>

struct journal {
    char *path;
    int fd;
    uint64_t size;      // of the file
    uint64_t snapshot;  // of what the last snapshot wrote
    uint64_t retry_at;  // no new try to make one below this size
    uint64_t threshold; // the least size at which one is made
    bool failed;        // told once that it cannot be written
};

// Opens or creates it and applies its records to the store. 0 or -errno.
int journal_open(struct journal *j, const char *path, struct store *s);
void journal_close(struct journal *j);
// All of the record or nothing of it is in the file afterwards. 0 or -errno.
int journal_append(struct journal *j, const struct record *r);
// Whether it has grown enough to be replaced by a snapshot.
bool journal_is_large(const struct journal *j);
// Replaces it if it is large.
void journal_compact(struct journal *j, struct store *s);
