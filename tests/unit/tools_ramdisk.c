// SPDX-License-Identifier: BSD-2-Clause
/* Ramdisks: every format, whole and cut at every byte, alone and in a row. */
#include "unit.h"

#include <errno.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "image.h"

static struct serai_error err;

static int check(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len + !len); /* exact, so that reading on is seen */
    int ret;

    memcpy(copy, data, len);
    ret = ramdisk_check(copy, len, "R", &err);
    free(copy);
    return ret;
}

static size_t cpio_entry(uint8_t *to, const char *name, const char *data)
{
    char head[160];
    size_t len = strlen(data), at;

    snprintf(head, sizeof(head), "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x", 1,
             0100644, 0, 0, 1, 0, len, 0, 0, 0, 0, strlen(name) + 1, 0);
    memcpy(to, head, 110);
    memcpy(to + 110, name, strlen(name) + 1);
    at = (110 + strlen(name) + 1 + 3) & ~3ul;
    memcpy(to + at, data, len);
    return (at + len + 3) & ~3ul;
}

static size_t cpio(uint8_t *to)
{
    size_t at = cpio_entry(to, "init", "#!/bin/sh\necho hello\n");

    at += cpio_entry(to + at, "etc/empty", "");
    return at + cpio_entry(to + at, "TRAILER!!!", "");
}

static size_t pack_gzip(uint8_t *to, size_t room, const uint8_t *data, size_t len)
{
    z_stream z = {.next_in = (uint8_t *)data, .avail_in = len, .next_out = to, .avail_out = room};

    deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
    deflate(&z, Z_FINISH);
    deflateEnd(&z);
    return z.total_out;
}

static size_t pack_xz(uint8_t *to, size_t room, const uint8_t *data, size_t len)
{
    size_t at = 0;

    assert_int_equal(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL, data, len, to, &at, room),
                     LZMA_OK);
    return at;
}

static size_t pack_zstd(uint8_t *to, size_t room, const uint8_t *data, size_t len)
{
    ZSTD_CCtx *ctx = ZSTD_createCCtx();
    size_t n;

    ZSTD_CCtx_setParameter(ctx, ZSTD_c_checksumFlag, 1);
    n = ZSTD_compress2(ctx, to, room, data, len);
    ZSTD_freeCCtx(ctx);
    return n;
}

static size_t pack_lz4(uint8_t *to, size_t room, const uint8_t *data, size_t len)
{
    int n = LZ4_compress_default((const char *)data, (char *)to + 8, len, room - 8);
    const uint32_t head[2] = {0x184c2102, n};

    memcpy(to, head, 8);
    return 8 + n;
}

/* Whole and with padding: fine. Cut anywhere after its magic: refused. */
static void complete_and_cut(const uint8_t *data, size_t len, size_t magic, size_t last)
{
    uint8_t padded[8192] = {0};

    if (check(data, len)) {
        fail_msg("%s", err.text);
    }
    memcpy(padded, data, len);
    assert_int_equal(check(padded, (len + 515) & ~3ul), 0);
    for (size_t cut = magic; cut < last; cut++) {
        if (check(data, cut) != -EINVAL) {
            fail_msg("cut at %zu of %zu was not noticed", cut, len);
        }
        assert_non_null(strstr(err.text, "ramdisk R: "));
    }
}

static void test_cpio(void **unused)
{
    uint8_t data[1024] = {0};
    size_t len = cpio(data);

    /* The padding after the last header is not missed. */
    complete_and_cut(data, len, 6, len - 3);
    data[20] = 'x';
    data[110 + 8 + 24] = 'x'; /* the second header's magic */
    assert_int_equal(check(data, len), -EINVAL);
    assert_non_null(strstr(err.text, "damaged"));
}

typedef size_t pack_fn(uint8_t *to, size_t room, const uint8_t *data, size_t len);

static void packed(pack_fn *pack, size_t magic)
{
    uint8_t plain[1024] = {0}, data[4096];
    size_t len = pack(data, sizeof(data), plain, cpio(plain));

    complete_and_cut(data, len, magic, len);
}

static void test_packed(void **unused)
{
    packed(pack_gzip, 2);
    packed(pack_zstd, 4);
    packed(pack_xz, 6);
}

static void test_lz4(void **unused)
{
    uint8_t plain[1024] = {0}, data[4096];
    size_t len = pack_lz4(data, sizeof(data), plain, cpio(plain));

    complete_and_cut(data, len, 8, len);
}

static void test_damaged_gzip(void **unused)
{
    uint8_t plain[1024] = {0}, data[4096];
    size_t len = pack_gzip(data, sizeof(data), plain, cpio(plain));

    data[len - 6] ^= 1; /* its check sum */
    assert_int_equal(check(data, len), -EINVAL);
    assert_non_null(strstr(err.text, "damaged"));
}

/* As distributions do it: microcode in plain cpio, then the rest packed. */
static void test_row(void **unused)
{
    uint8_t plain[1024] = {0}, data[8192] = {0};
    size_t len = cpio(plain), at = len, n;

    memcpy(data, plain, len);
    at = (at + 511) & ~511ul;
    n = pack_zstd(data + at, 2048, plain, len);
    assert_int_equal(check(data, at + n), 0);
    assert_int_equal(check(data, at + n - 1), -EINVAL);
    assert_non_null(strstr(err.text, "zstd"));
    at += n;
    n = pack_gzip(data + at, 2048, plain, len);
    assert_int_equal(check(data, at + n), 0);
    assert_int_equal(check(data, at + n - 1), -EINVAL);
    assert_non_null(strstr(err.text, "gzip"));
}

static void test_unknown(void **unused)
{
    assert_int_equal(check((const uint8_t *)"anything else", 13), 0);
    assert_int_equal(check((const uint8_t *)"\0\0\0", 3), 0);
    assert_int_equal(check((const uint8_t *)"", 0), 0);
    assert_int_equal(check((const uint8_t *)"0", 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpio), cmocka_unit_test(test_packed),
        cmocka_unit_test(test_lz4),  cmocka_unit_test(test_damaged_gzip),
        cmocka_unit_test(test_row),  cmocka_unit_test(test_unknown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
