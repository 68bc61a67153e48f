// SPDX-License-Identifier: BSD-2-Clause
/* zstd through libzstd, whose context is laid out in the scratch memory. */
#include "unpack_method.h"

#define ZSTD_STATIC_LINKING_ONLY /* for ZSTD_initStaticDCtx() */
#include <zstd.h>
#include <zstd_errors.h>

#define ZSTD_SCRATCH_BYTES (256u << 10) /* the context takes about 160 KiB */

static int zstd_run(const struct unpack_job *job, struct builder_error *err)
{
    ZSTD_DCtx *ctx = ZSTD_initStaticDCtx(job->scratch, job->scratch_bytes);
    size_t frame, got;

    if (!ctx) {
        return builder_fail(err, XEN_ENOMEM, "too little scratch memory for zstd",
                            ZSTD_SCRATCH_BYTES);
    }
    frame = ZSTD_findFrameCompressedSize(job->in.data, job->in.len);
    if (ZSTD_isError(frame)) {
        return builder_fail(err, XEN_EINVAL, "zstd data is damaged or truncated", 0);
    }
    got = ZSTD_decompressDCtx(ctx, job->out, job->out_bytes, job->in.data, frame);
    if (ZSTD_isError(got)) {
        if (ZSTD_getErrorCode(got) == ZSTD_error_dstSize_tooSmall) {
            return builder_fail(err, XEN_ENOSPC, "zstd data is larger than stated", job->out_bytes);
        }
        return builder_fail(err, XEN_EINVAL, "zstd data is damaged", 0);
    }
    if (got != job->out_bytes) {
        return builder_fail(err, XEN_EINVAL, "zstd data is smaller than stated, bytes", got);
    }
    return 0;
}

const struct unpack_method unpack_zstd = {
    .name = "zstd",
    .scratch_bytes = ZSTD_SCRATCH_BYTES,
    .run = zstd_run,
};
