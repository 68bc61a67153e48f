// SPDX-License-Identifier: BSD-2-Clause
// The log of one console: NAME.log, and when it has grown NAME.log.1, NAME.log.2, ...
#pragma once

#include "buf.h"

#include <stddef.h>
#include <stdint.h>

struct logfile {
    char *path;
    int fd;
    uint64_t size, limit; // bytes; at the limit the file is put aside
    unsigned keep;        // how many old ones are kept
};

// Opens (creating, appending) DIR/NAME.log. 0 or -errno; then nothing is written.
int logfile_open(struct logfile *f, const char *dir, const char *name, uint64_t limit,
                 unsigned keep);
void logfile_close(struct logfile *f);
// Errors (a full disk) lose output, nothing else: 0 or -errno for the caller to tell.
int logfile_write(struct logfile *f, const char *data, size_t len);
// The last bytes written so far, at most `max`, appended to `out`.
void logfile_tail(const struct logfile *f, size_t max, struct buf *out);
