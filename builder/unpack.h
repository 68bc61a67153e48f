// SPDX-License-Identifier: BSD-2-Clause
/*
 * Decompression of kernel images: one call, whole input to whole output, integrity checked where
 * the format carries a check. The output buffer serves as the dictionary, so scratch memory is
 * small. Which formats are in the build is decided at link time (unpack_<format>.c or
 * unpack_none.c); the others give -EOPNOTSUPP and "compression X not supported".
 */
#pragma once

#include "builder.h"

enum unpack_format {
    UNPACK_NONE,
    UNPACK_GZIP,
    UNPACK_XZ,
    UNPACK_ZSTD,
    UNPACK_LZ4, /* the legacy framing that lz4 -l and Linux write */
    UNPACK_UNKNOWN,
};

/* By magic number; UNPACK_NONE for ELF. */
enum unpack_format unpack_detect(struct builder_blob blob);

/* "gzip", "xz", ... */
const char *unpack_name(enum unpack_format format);

/* Scratch memory, in bytes, that unpack() needs for the format (16-byte aligned). */
size_t unpack_scratch_bytes(enum unpack_format format);

/*
 * Unpacks `in` into `out`, which must take exactly out_bytes. scratch holds at least
 * unpack_scratch_bytes(format). Errors: -EINVAL damaged (err->where: offset in the input where
 * known), -ENOSPC the output does not fit, -EOPNOTSUPP.
 */
int unpack(enum unpack_format format, struct builder_blob in, void *out, size_t out_bytes,
           void *scratch, size_t scratch_bytes, struct builder_error *err);
