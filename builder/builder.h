// SPDX-License-Identifier: BSD-2-Clause
/*
 * What all of builder/ shares: how an error is reported, and the few memory helpers that exist in
 * both worlds.
 *
 * The code here runs in the hypervisor (freestanding) and in the toolstack (hosted). It does no
 * I/O, holds no state, takes no lock and allocates nothing: callers hand in buffers and callbacks.
 * Every number read from an image is untrusted and checked for overflow before it is used.
 *
 * Functions return 0 or a negative public error number (xen/errno.h; the values are Linux's) and
 * then describe the fault in *err.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xen/errno.h>

#define BUILDER_PAGE_SHIFT 12
#define BUILDER_PAGE_SIZE  4096ull

/* One clear message: print "%s (at %#x)" or, when where is BUILDER_NOWHERE, the text alone. */
struct builder_error {
    const char *what; /* static text, e.g. "kernel has no Xen notes" */
    uint64_t where;   /* byte offset in the input, an address or an amount, as the text says */
};

#define BUILDER_NOWHERE UINT64_MAX

/* Fills *err and returns -error (error is a positive number from xen/errno.h). */
static inline int builder_fail(struct builder_error *err, int error, const char *what,
                               uint64_t where)
{
    if (err) {
        err->what = what;
        err->where = where;
    }
    return -error;
}

/* An untrusted input held in memory. */
struct builder_blob {
    const uint8_t *data;
    size_t len;
};

/* True when [at, at + len) lies inside the blob. */
static inline bool builder_blob_has(struct builder_blob blob, uint64_t at, uint64_t len)
{
    return at <= blob.len && len <= blob.len - at;
}

static inline uint16_t builder_get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t builder_get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t builder_get64(const uint8_t *p)
{
    return builder_get32(p) | (uint64_t)builder_get32(p + 4) << 32;
}

/* Rounds up to whole pages; the caller knows that value is far from 2^64. */
static inline uint64_t builder_pages(uint64_t bytes)
{
    return (bytes >> BUILDER_PAGE_SHIFT) + ((bytes & (BUILDER_PAGE_SIZE - 1)) != 0);
}
