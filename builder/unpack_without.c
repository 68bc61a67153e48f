// SPDX-License-Identifier: BSD-2-Clause
/*
 * Stand-ins for decompressors that a build leaves out: weak, so linking unpack_<format>.c replaces
 * one.
 */
#include "unpack_method.h"

static int unpack_refuse(const char *what, struct builder_error *err)
{
    return builder_fail(err, XEN_EOPNOTSUPP, what, 0);
}

static int unpack_refuse_gzip(const struct unpack_job *job, struct builder_error *err)
{
    (void)job;
    return unpack_refuse("kernel compression gzip is not supported", err);
}

static int unpack_refuse_zstd(const struct unpack_job *job, struct builder_error *err)
{
    (void)job;
    return unpack_refuse("kernel compression zstd is not supported", err);
}

static int unpack_refuse_lz4(const struct unpack_job *job, struct builder_error *err)
{
    (void)job;
    return unpack_refuse("kernel compression lz4 is not supported", err);
}

__attribute__((weak)) const struct unpack_method unpack_gzip = {"gzip", 0, unpack_refuse_gzip};
__attribute__((weak)) const struct unpack_method unpack_zstd = {"zstd", 0, unpack_refuse_zstd};
__attribute__((weak)) const struct unpack_method unpack_lz4 = {"lz4", 0, unpack_refuse_lz4};
