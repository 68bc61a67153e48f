// SPDX-License-Identifier: BSD-2-Clause
/* gzip through zlib, whose state comes out of the scratch memory. */
#include "unpack_method.h"

#include <zlib.h>

#define GZIP_SCRATCH_BYTES (64u << 10) /* inflate takes about 42 KiB: state and a 32 KiB window */

struct gzip_arena {
    uint8_t *next;
    size_t left;
};

static void *gzip_alloc(void *opaque, unsigned items, unsigned size)
{
    struct gzip_arena *arena = opaque;
    size_t bytes = ((size_t)items * size + 15) & ~(size_t)15;
    void *p = arena->next;

    if (bytes > arena->left) {
        return NULL;
    }
    arena->next += bytes;
    arena->left -= bytes;
    return p;
}

static void gzip_free(void *opaque, void *p)
{
    (void)opaque;
    (void)p;
}

static int gzip_run(const struct unpack_job *job, struct builder_error *err)
{
    struct gzip_arena arena = {job->scratch, job->scratch_bytes};
    z_stream z = {.zalloc = gzip_alloc, .zfree = gzip_free, .opaque = &arena};
    int rc;

    if (job->in.len > UINT32_MAX || job->out_bytes > UINT32_MAX) {
        return builder_fail(err, XEN_EINVAL, "gzip data is too large", job->in.len);
    }
    if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK) {
        return builder_fail(err, XEN_ENOMEM, "too little scratch memory for gzip",
                            GZIP_SCRATCH_BYTES);
    }
    z.next_in = (void *)(uintptr_t)job->in.data;
    z.avail_in = (uInt)job->in.len;
    z.next_out = job->out;
    z.avail_out = (uInt)job->out_bytes;
    rc = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    if (rc == Z_STREAM_END) {
        return z.avail_out == 0
                   ? 0
                   : builder_fail(err, XEN_EINVAL, "gzip data is smaller than stated, bytes",
                                  z.total_out);
    }
    if (rc == Z_BUF_ERROR && z.avail_out == 0) {
        return builder_fail(err, XEN_ENOSPC, "gzip data is larger than stated, offset", z.total_in);
    }
    return builder_fail(
        err, XEN_EINVAL,
        rc == Z_BUF_ERROR ? "gzip data is truncated" : "gzip data is damaged, offset", z.total_in);
}

const struct unpack_method unpack_gzip = {
    .name = "gzip",
    .scratch_bytes = GZIP_SCRATCH_BYTES,
    .run = gzip_run,
};
