// SPDX-License-Identifier: BSD-2-Clause
/*
 * One decompressor each, as unpack() calls them: arguments are already checked (scratch is large
 * enough and 16-byte aligned, `in` is not empty). A build that leaves a format out links
 * unpack_without.c for it.
 */
#pragma once

#include "builder.h"

struct unpack_job {
    struct builder_blob in;
    uint8_t *out;
    size_t out_bytes; /* must be filled exactly */
    void *scratch;
    size_t scratch_bytes;
};

struct unpack_method {
    const char *name;
    size_t scratch_bytes;
    int (*run)(const struct unpack_job *job, struct builder_error *err);
};

extern const struct unpack_method unpack_gzip;
extern const struct unpack_method unpack_xz;
extern const struct unpack_method unpack_zstd;
extern const struct unpack_method unpack_lz4;
