// SPDX-License-Identifier: BSD-2-Clause
/*
 * LZ4 through liblz4, in the legacy framing that kernels are packed with: a magic number, then
 * blocks of a 32-bit length and up to 8 MiB of unpacked data each, independent of one another.
 */
#include "unpack_method.h"

#include <lz4.h>

#define LZ4_LEGACY_MAGIC 0x184c2102
#define LZ4_LEGACY_BLOCK (8u << 20)

static int lz4_run(const struct unpack_job *job, struct builder_error *err)
{
    size_t at = 4, done = 0;

    while (at < job->in.len) {
        uint32_t packed;
        size_t room = job->out_bytes - done;
        int got;

        if (!builder_blob_has(job->in, at, 4)) {
            return builder_fail(err, XEN_EINVAL, "lz4 data is truncated", at);
        }
        packed = builder_get32(job->in.data + at);
        at += 4;
        if (packed == LZ4_LEGACY_MAGIC) {
            continue; /* another frame appended */
        }
        if (packed > LZ4_COMPRESSBOUND(LZ4_LEGACY_BLOCK) ||
            !builder_blob_has(job->in, at, packed)) {
            return builder_fail(err, XEN_EINVAL, "lz4 data is truncated", at);
        }
        got = LZ4_decompress_safe((const char *)job->in.data + at, (char *)job->out + done,
                                  (int)packed,
                                  (int)(room < LZ4_LEGACY_BLOCK ? room : LZ4_LEGACY_BLOCK));
        if (got < 0) {
            return builder_fail(err, XEN_EINVAL, "lz4 data is damaged or larger than stated", at);
        }
        done += (size_t)got;
        at += packed;
    }
    if (done != job->out_bytes) {
        return builder_fail(err, XEN_EINVAL, "lz4 data is smaller than stated, bytes", done);
    }
    return 0;
}

const struct unpack_method unpack_lz4 = {
    .name = "lz4",
    .scratch_bytes = 0,
    .run = lz4_run,
};
