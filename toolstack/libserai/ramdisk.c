// SPDX-License-Identifier: BSD-2-Clause
// Is an initramfs complete? A truncated one would start the guest and let it fail half-way
// with a message that nobody connects to the file, so it is better said before.
//
// An initramfs is a row of archives (cpio, plain or compressed) with zero bytes between. Each
// format is walked by its own lengths, which costs little; gzip has none and is unpacked.
#include "image.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>

struct ramdisk {
    const uint8_t *data;
    size_t size;
    const char *path;
    struct serai_error *err;
};

enum { CPIO_HEADER = 110, LZ4_LEGACY_CHUNK_MAX = 9 << 20 };
#define ZSTD_MAGIC       0xfd2fb528u
#define LZ4_LEGACY_MAGIC 0x184c2102u

static uint32_t get32(const uint8_t *p)
{
    return builder_get32(p);
}

static int ramdisk_short(const struct ramdisk *r, const char *format, size_t at)
{
    return err_set(r->err, -EINVAL,
                   "ramdisk %s: truncated: the %s archive that starts at byte %zu goes on beyond "
                   "the end of the file (%zu bytes)",
                   r->path, format, at, r->size);
}

static bool ramdisk_has(const struct ramdisk *r, size_t at, size_t len)
{
    return at <= r->size && len <= r->size - at;
}

// Eight hexadecimal digits of a cpio header.
static bool cpio_field(const uint8_t *p, uint32_t *out)
{
    *out = 0;
    for (unsigned i = 0; i < 8; i++) {
        unsigned ch = p[i] | 0x20;
        unsigned digit = p[i] >= '0' && p[i] <= '9' ? (unsigned)(p[i] - '0')
                         : ch >= 'a' && ch <= 'f'   ? ch - 'a' + 10u
                                                    : 16u;
        if (digit > 15)
            return false;
        *out = *out << 4 | digit;
    }
    return true;
}

static int ramdisk_cpio(const struct ramdisk *r, size_t *at)
{
    size_t start = *at, pos = start;
    for (;;) {
        uint32_t file_size, name_size;
        if (!ramdisk_has(r, pos, CPIO_HEADER))
            return ramdisk_short(r, "cpio", start);
        const uint8_t *h = r->data + pos;
        if (memcmp(h, "07070", 5) != 0 || !cpio_field(h + 54, &file_size) ||
            !cpio_field(h + 94, &name_size))
            return err_set(r->err, -EINVAL, "ramdisk %s: damaged: no cpio header at byte %zu",
                           r->path, pos);
        size_t name = pos + CPIO_HEADER;
        size_t data = start + ((name - start + name_size + 3) & ~(size_t)3);
        if (!ramdisk_has(r, name, name_size) || !ramdisk_has(r, data, file_size))
            return ramdisk_short(r, "cpio", start);
        bool last = name_size == 11 && !memcmp(r->data + name, "TRAILER!!!", 11);
        pos = start + ((data - start + file_size + 3) & ~(size_t)3);
        if (last) {
            *at = pos < r->size ? pos : r->size;
            return 0;
        }
    }
}

static int ramdisk_gzip(const struct ramdisk *r, size_t *at)
{
    uint8_t sink[65536];
    z_stream z = {.next_in = (uint8_t *)(uintptr_t)(r->data + *at)};
    size_t left = r->size - *at;
    if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
        return err_set(r->err, -ENOMEM, "out of memory");
    int state = Z_OK;
    while (state == Z_OK) {
        if (!z.avail_in) {
            z.avail_in = left > (1u << 30) ? 1u << 30 : (uInt)left;
            left -= z.avail_in;
        }
        z.next_out = sink;
        z.avail_out = sizeof(sink);
        state = inflate(&z, Z_NO_FLUSH);
    }
    size_t end = (size_t)(z.next_in - r->data);
    inflateEnd(&z);
    if (state == Z_BUF_ERROR)
        return ramdisk_short(r, "gzip", *at);
    if (state != Z_STREAM_END)
        return err_set(r->err, -EINVAL, "ramdisk %s: damaged: bad gzip data near byte %zu", r->path,
                       end);
    *at = end;
    return 0;
}

static int ramdisk_zstd(const struct ramdisk *r, size_t *at)
{
    static const uint8_t dict_bytes[] = {0, 1, 2, 4}, size_bytes[] = {0, 2, 4, 8};
    size_t start = *at, pos = start + 4;
    if (!ramdisk_has(r, pos, 1))
        return ramdisk_short(r, "zstd", start);
    uint8_t flags = r->data[pos++];
    bool single = flags & 0x20, checksum = flags & 4;
    pos += dict_bytes[flags & 3] + (size_t)(single ? 0 : 1);
    pos += flags >> 6 ? size_bytes[flags >> 6] : (size_t)single;
    for (;;) {
        if (!ramdisk_has(r, pos, 3))
            return ramdisk_short(r, "zstd", start);
        uint32_t head =
            r->data[pos] | (uint32_t)r->data[pos + 1] << 8 | (uint32_t)r->data[pos + 2] << 16;
        bool run = (head >> 1 & 3) == 1;
        pos += 3 + (size_t)(run ? 1 : head >> 3);
        if (head & 1)
            break;
    }
    pos += checksum ? 4 : 0;
    if (pos > r->size)
        return ramdisk_short(r, "zstd", start);
    *at = pos;
    return 0;
}

static int ramdisk_lz4(const struct ramdisk *r, size_t *at)
{
    size_t start = *at, pos = start + 4;
    while (ramdisk_has(r, pos, 4)) {
        uint32_t chunk = get32(r->data + pos);
        if (chunk == LZ4_LEGACY_MAGIC || !chunk || chunk > LZ4_LEGACY_CHUNK_MAX)
            break; // not a length: the next archive, or padding
        if (!ramdisk_has(r, pos + 4, chunk))
            return ramdisk_short(r, "lz4", start);
        pos += 4 + (size_t)chunk;
    }
    *at = pos;
    return 0;
}

// An xz stream can be told complete only from its end, so it must be the last archive.
static int ramdisk_xz(const struct ramdisk *r, size_t *at)
{
    size_t end = r->size;
    while (end >= *at + 4 && !get32(r->data + end - 4))
        end -= 4;
    if (end < *at + 24 || (end - *at) % 4 || memcmp(r->data + end - 2, "YZ", 2) != 0 ||
        crc32(0, r->data + end - 8, 6) != get32(r->data + end - 12))
        return ramdisk_short(r, "xz", *at);
    *at = r->size;
    return 0;
}

int ramdisk_check(const uint8_t *data, size_t size, const char *path, struct serai_error *err)
{
    struct ramdisk r = {data, size, path, err};
    size_t at = 0;
    while (at < size) {
        size_t left = size - at;
        const uint8_t *p = data + at;
        uint32_t magic = left >= 4 ? get32(p) : 0;
        int ret;
        if (!*p) {
            at++;
            continue;
        }
        if (left >= 6 && !memcmp(p, "07070", 5))
            ret = ramdisk_cpio(&r, &at);
        else if (left >= 2 && p[0] == 0x1f && p[1] == 0x8b)
            ret = ramdisk_gzip(&r, &at);
        else if (magic == ZSTD_MAGIC)
            ret = ramdisk_zstd(&r, &at);
        else if (magic == LZ4_LEGACY_MAGIC)
            ret = ramdisk_lz4(&r, &at);
        else if (left >= 6 && !memcmp(p,
                                      "\xfd"
                                      "7zXZ",
                                      6))
            ret = ramdisk_xz(&r, &at);
        else
            return 0; // nothing known: the guest will know
        if (ret)
            return ret;
    }
    return 0;
}
