// SPDX-License-Identifier: BSD-2-Clause
/*
 * The .xz container (tukaani.org/xz/xz-file-format.txt): blocks of LZMA2, optionally behind the
 * x86 branch filter, with CRC32 or no integrity check. That is what kernels are packed with.
 */
#include "unpack_lzma.h"
#include "unpack_method.h"

enum {
    XZ_HEADER_BYTES = 12,
    XZ_FILTER_X86 = 0x04,
    XZ_FILTER_LZMA2 = 0x21,
    XZ_CHECK_NONE = 0,
    XZ_CHECK_CRC32 = 1,
    XZ_CRC_SLICES = 8,
};

struct xz {
    struct builder_blob in;
    size_t at;
    unsigned check_bytes;
    bool x86;            /* the current block went through the branch filter */
    uint64_t index_hash; /* of block sizes, compared with the index */
    uint64_t blocks;
    uint32_t crc[XZ_CRC_SLICES][256];
    struct lzma lzma;
};

static void xz_crc_init(struct xz *xz)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;

        for (unsigned bit = 0; bit < 8; bit++) {
            c = c >> 1 ^ (c & 1 ? 0xedb88320 : 0);
        }
        xz->crc[0][i] = c;
    }
    for (unsigned k = 1; k < XZ_CRC_SLICES; k++) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = xz->crc[k - 1][i];

            xz->crc[k][i] = c >> 8 ^ xz->crc[0][c & 0xff];
        }
    }
}

/* CRC-32, eight bytes a step. */
static uint32_t xz_crc(const struct xz *xz, const uint8_t *p, size_t len)
{
    const uint32_t(*t)[256] = xz->crc;
    uint32_t c = ~0u;

    for (; len >= 8; p += 8, len -= 8) {
        uint64_t v;

        __builtin_memcpy(&v, p, 8);
        v ^= c;
        c = t[7][v & 0xff] ^ t[6][v >> 8 & 0xff] ^ t[5][v >> 16 & 0xff] ^ t[4][v >> 24 & 0xff] ^
            t[3][v >> 32 & 0xff] ^ t[2][v >> 40 & 0xff] ^ t[1][v >> 48 & 0xff] ^ t[0][v >> 56];
    }
    for (; len; p++, len--) {
        c = c >> 8 ^ t[0][(c ^ *p) & 0xff];
    }
    return ~c;
}

static bool xz_is_sign_byte(uint8_t b)
{
    return b == 0 || b == 0xff;
}

/* The next CALL or JMP opcode (E8, E9) in [p, end); eight bytes at a time. end is followed by at
 * least four readable bytes. */
static uint8_t *xz_find_branch(uint8_t *p, const uint8_t *end)
{
    const uint64_t ones = 0x0101010101010101;

    while (end - p >= 8) {
        uint64_t v;

        __builtin_memcpy(&v, p, 8);
        v = (v & ~ones) ^ 0xe8 * ones;
        v = (v - ones) & ~v & 0x80 * ones;
        if (v) {
            return p + __builtin_ctzll(v) / 8;
        }
        p += 8;
    }
    while (p < end && (*p & 0xfe) != 0xe8) {
        p++;
    }
    return p;
}

/*
 * Absolute branch target back to relative. `lone` is the distance of the one opcode byte before
 * this that stayed unconverted and whose operand overlaps this one, or 0. The encoder skips values
 * that would make that operand convertible: it flips the low bytes and converts once more.
 */
static uint32_t xz_branch_target(uint32_t target, uint32_t next, unsigned lone)
{
    uint32_t v = target - next;

    if (lone && xz_is_sign_byte((uint8_t)(v >> (24 - 8 * lone)))) {
        v = (v ^ (UINT32_MAX >> (8 * lone))) - next;
    }
    v &= 0x01ffffff;
    return v | (0u - (v & 0x01000000));
}

/*
 * Undoes the x86 branch filter in place. `seen` tells which of the last three bytes were opcode
 * bytes left as they were (bit 0: the nearest): after more than one of them, or one whose operand
 * ends in a sign byte, the encoder did not convert.
 */
static void xz_unfilter_x86(uint8_t *buf, size_t len)
{
    uint8_t *p = buf, *last = buf;
    const uint8_t *end = buf + len - 4;
    uint32_t seen = 0;

    if (len < 5) {
        return;
    }
    while ((p = xz_find_branch(p, end)) < end) {
        unsigned lone = 0;
        bool keep = !xz_is_sign_byte(p[4]);

        if (seen) {
            seen = p - last <= 3 ? seen << (p - last - 1) & 7 : 0;
        }
        if (seen) {
            lone = (unsigned)__builtin_ctz(seen) + 1;
            keep = keep || (seen & (seen - 1)) || xz_is_sign_byte(p[4 - lone]);
        }
        last = p;
        if (keep) {
            seen = seen << 1 | 1;
            p++;
        } else {
            uint32_t v = xz_branch_target(builder_get32(p + 1), (uint32_t)(p - buf) + 5, lone);

            __builtin_memcpy(p + 1, &v, 4);
            seen = 0;
            p += 5;
        }
    }
}

static int xz_damaged(const struct xz *xz, struct builder_error *err)
{
    return builder_fail(err, XEN_EINVAL, "xz container is damaged, offset", xz->at);
}

/* Is the CRC32 word at `at` that of [from, at)? The word must be inside the input. */
static bool xz_crc_matches(const struct xz *xz, size_t from, size_t at)
{
    return xz_crc(xz, xz->in.data + from, at - from) == builder_get32(xz->in.data + at);
}

/* A variable-length number at *at, not beyond end. */
static bool xz_number(const struct xz *xz, size_t *at, size_t end, uint64_t *v)
{
    *v = 0;
    for (unsigned shift = 0; shift < 63 && *at < end; shift += 7) {
        uint8_t b = xz->in.data[(*at)++];

        *v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            return b != 0 || shift == 0;
        }
    }
    return false;
}

/* One filter of a block's list: the branch filter first or LZMA2 last. */
static bool xz_read_filter(struct xz *xz, size_t *at, size_t end, bool last, bool *supported)
{
    uint64_t id, size;

    if (!xz_number(xz, at, end, &id) || !xz_number(xz, at, end, &size) || size > end - *at) {
        return false;
    }
    if (last) {
        *supported = id == XZ_FILTER_LZMA2 && size == 1;
    } else {
        /* A start offset other than zero is never used for kernels. */
        *supported = id == XZ_FILTER_X86 && size == 0;
        xz->x86 = true;
    }
    *at += size;
    return true;
}

static int xz_block_header(struct xz *xz, struct builder_error *err)
{
    size_t bytes = ((size_t)xz->in.data[xz->at] + 1) * 4;
    size_t at = xz->at + 2, end = xz->at + bytes - 4;
    uint64_t ignored;
    uint8_t flags;

    if (!builder_blob_has(xz->in, xz->at, bytes) || !xz_crc_matches(xz, xz->at, end)) {
        return xz_damaged(xz, err);
    }
    flags = xz->in.data[xz->at + 1];
    if (((flags & 0x40) && !xz_number(xz, &at, end, &ignored)) ||
        ((flags & 0x80) && !xz_number(xz, &at, end, &ignored))) {
        return xz_damaged(xz, err);
    }
    xz->x86 = false;
    for (unsigned i = 0, last = flags & 3; i <= last; i++) {
        bool supported = false;

        if (!xz_read_filter(xz, &at, end, i == last, &supported)) {
            return xz_damaged(xz, err);
        }
        if (!supported || last > 1) {
            return builder_fail(err, XEN_EOPNOTSUPP, "xz filter is not supported, offset", at);
        }
    }
    xz->at += bytes;
    return 0;
}

static void xz_hash(uint64_t *hash, uint64_t unpadded, uint64_t unpacked)
{
    *hash = (*hash ^ unpadded) * 0x9e3779b97f4a7c15;
    *hash = (*hash ^ unpacked) * 0x9e3779b97f4a7c15;
}

/* One block; *made: its output bytes. */
static int xz_block(struct xz *xz, uint8_t *out, size_t room, size_t *made,
                    struct builder_error *err)
{
    size_t start = xz->at, body, used;
    int rc = xz_block_header(xz, err);

    if (rc) {
        return rc;
    }
    body = xz->at;
    rc = lzma2_decode(&xz->lzma, (struct builder_blob){xz->in.data + body, xz->in.len - body}, out,
                      room, &used, made, err);
    if (rc) {
        err->where += body;
        return rc;
    }
    if (xz->x86) {
        xz_unfilter_x86(out, *made);
    }
    xz_hash(&xz->index_hash, body + used - start + xz->check_bytes, *made);
    xz->blocks++;
    xz->at = body + used;
    while (xz->at < xz->in.len && (xz->at - body) % 4) {
        if (xz->in.data[xz->at++] != 0) {
            return xz_damaged(xz, err);
        }
    }
    if (!builder_blob_has(xz->in, xz->at, xz->check_bytes)) {
        return builder_fail(err, XEN_EINVAL, "xz data is truncated", xz->in.len);
    }
    if (xz->check_bytes && xz_crc(xz, out, *made) != builder_get32(xz->in.data + xz->at)) {
        return builder_fail(err, XEN_EINVAL, "xz checksum does not match, offset", xz->at);
    }
    xz->at += xz->check_bytes;
    return 0;
}

/* The index repeats the sizes of all blocks; the footer repeats the header. */
static int xz_index_and_footer(struct xz *xz, struct builder_error *err)
{
    size_t start = xz->at, at = start + 1, end = xz->in.len;
    uint64_t count, hash = 0;

    if (!xz_number(xz, &at, end, &count) || count != xz->blocks) {
        return xz_damaged(xz, err);
    }
    while (count--) {
        uint64_t unpadded, unpacked;

        if (!xz_number(xz, &at, end, &unpadded) || !xz_number(xz, &at, end, &unpacked)) {
            return xz_damaged(xz, err);
        }
        xz_hash(&hash, unpadded, unpacked);
    }
    at = start + ((at - start + 3) & ~(size_t)3);
    if (hash != xz->index_hash || !builder_blob_has(xz->in, at, 4 + XZ_HEADER_BYTES) ||
        !xz_crc_matches(xz, start, at)) {
        return xz_damaged(xz, err);
    }
    xz->at = at + 4;
    if (builder_get32(xz->in.data + xz->at + 4) != (xz->at - start) / 4 - 1 ||
        builder_get16(xz->in.data + xz->at + 8) != builder_get16(xz->in.data + 6) ||
        builder_get16(xz->in.data + xz->at + 10) != 0x5a59 ||
        xz_crc(xz, xz->in.data + xz->at + 4, 6) != builder_get32(xz->in.data + xz->at)) {
        return xz_damaged(xz, err);
    }
    return 0;
}

static int xz_stream_header(struct xz *xz, struct builder_error *err)
{
    if (xz->in.len < XZ_HEADER_BYTES ||
        __builtin_memcmp(xz->in.data,
                         "\xfd"
                         "7zXZ",
                         6) != 0 ||
        xz->in.data[6] != 0 || !xz_crc_matches(xz, 6, 8)) {
        return xz_damaged(xz, err);
    }
    if (xz->in.data[7] != XZ_CHECK_NONE && xz->in.data[7] != XZ_CHECK_CRC32) {
        return builder_fail(err, XEN_EOPNOTSUPP, "xz integrity check is neither CRC32 nor none", 7);
    }
    xz->check_bytes = xz->in.data[7] == XZ_CHECK_CRC32 ? 4 : 0;
    xz->at = XZ_HEADER_BYTES;
    return 0;
}

static int xz_run(const struct unpack_job *job, struct builder_error *err)
{
    struct builder_error own = {.what = "", .where = BUILDER_NOWHERE};
    struct xz *xz = job->scratch;
    size_t done = 0;
    int rc;

    err = err ? err : &own;
    xz->in = job->in;
    xz->at = 0;
    xz->index_hash = 0;
    xz->blocks = 0;
    xz_crc_init(xz);
    rc = xz_stream_header(xz, err);
    while (!rc && xz->at < xz->in.len && xz->in.data[xz->at] != 0) {
        size_t made = 0;

        rc = xz_block(xz, job->out + done, job->out_bytes - done, &made, err);
        done += made;
    }
    if (rc) {
        return rc;
    }
    if (xz->at >= xz->in.len) {
        return builder_fail(err, XEN_EINVAL, "xz data is truncated", xz->at);
    }
    rc = xz_index_and_footer(xz, err);
    if (!rc && done != job->out_bytes) {
        rc = builder_fail(err, XEN_EINVAL, "xz data is smaller than stated, bytes", done);
    }
    return rc;
}

const struct unpack_method unpack_xz = {
    .name = "xz",
    .scratch_bytes = sizeof(struct xz),
    .run = xz_run,
};
