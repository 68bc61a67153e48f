// SPDX-License-Identifier: BSD-2-Clause
/* One decompressor on untrusted input, with buffers of exact size. */
#pragma once

#include "fuzz.h"

#include "builder/unpack_method.h"

/* Runs it; returns its result, and the output in *out (to be freed). */
static inline int unpack_one(const struct unpack_method *m, const uint8_t *data, size_t size,
                             size_t out_bytes, uint8_t **out)
{
    void *scratch = aligned_alloc(16, (m->scratch_bytes + 31) & ~(size_t)15);
    struct builder_error err = {0};
    struct unpack_job job = {
        {data, size}, malloc(out_bytes + 1), out_bytes, scratch, m->scratch_bytes};
    int rc = m->run(&job, &err);

    FUZZ_ASSERT(rc == 0 || (rc < 0 && err.what));
    free(scratch);
    *out = job.out;
    return rc;
}

/* Input: two bytes of output size, then the compressed data. */
static inline int unpack_one_input(const struct unpack_method *m, const uint8_t *data, size_t size)
{
    uint8_t *out;

    if (size > 2) {
        unpack_one(m, data + 2, size - 2, builder_get16(data), &out);
        free(out);
    }
    return 0;
}
