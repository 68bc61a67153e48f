// SPDX-License-Identifier: BSD-2-Clause
// Whole-file reading and crash-safe writing. All return 0 or -errno.
#pragma once

#include "buf.h"

#include <stddef.h>
#include <sys/types.h>

// Reads a file of at most `limit` bytes into an empty buffer; -EFBIG above that.
int file_read(const char *path, size_t limit, struct buf *out);
// Replaces `path` so that a reader sees the old text or the new one, never a part.
int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode);
// Creates a directory and its parents.
int file_make_dirs(const char *path, mode_t mode);
// Writes everything, continuing after short writes and signals.
int file_write_all(int fd, const void *data, size_t len);

void file_close_auto(int *fd);
#define FD_AUTO __attribute__((cleanup(file_close_auto))) int
