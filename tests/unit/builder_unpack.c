// SPDX-License-Identifier: BSD-2-Clause
/* Decompressors against the libraries' own compressors, and against damage. */
#include "unit.h"

#include <lzma.h>
#include <lz4.h>
#include <lz4hc.h>
#include <zlib.h>
#include <zstd.h>

#include "builder/bzimage.h"
#include "builder/unpack.h"
#include "kernel_image.h"

struct bytes {
    uint8_t *data;
    size_t len;
};

static uint64_t random_state = 88172645463325252ull;

static uint32_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 16);
}

/* Kinds of content: like code with branches, repetitive text, noise, mixtures. */
static struct bytes content(size_t len, unsigned kind)
{
    static const uint8_t branchy[] = {0xe8, 0xe9, 0x00, 0xff, 0xe8, 0x00, 0x01, 0xfe};
    struct bytes b = {malloc(len + 1), len};

    for (size_t i = 0; i < len; i++) {
        uint32_t r = random_next();

        switch (kind % 4) {
        case 0:
            b.data[i] = branchy[r % 8];
            break;
        case 1:
            b.data[i] = i > 100 && r % 16 ? b.data[i - 1 - r % 100] : (uint8_t)(r >> 8);
            break;
        case 2:
            b.data[i] = (uint8_t)(r >> 8);
            break;
        default:
            b.data[i] = r % 64 == 0 ? 0xe8 : r % 3 ? (uint8_t)((i >> 6) * 31) : 0;
            break;
        }
    }
    return b;
}

static struct bytes pack_xz(struct bytes in, unsigned lc, unsigned lp, unsigned pb, bool x86)
{
    lzma_options_lzma opt;
    lzma_filter filters[3] = {{.id = LZMA_FILTER_X86},
                              {.id = LZMA_FILTER_LZMA2, .options = &opt},
                              {.id = LZMA_VLI_UNKNOWN}};
    struct bytes out = {malloc(lzma_stream_buffer_bound(in.len)), 0};

    assert_false(lzma_lzma_preset(&opt, 6));
    opt.dict_size = in.len < 100000 ? 1 << 16 : 1 << 22;
    opt.lc = lc;
    opt.lp = lp;
    opt.pb = pb;
    assert_int_equal(lzma_stream_buffer_encode(x86 ? filters : filters + 1, LZMA_CHECK_CRC32, NULL,
                                               in.data, in.len, out.data, &out.len,
                                               lzma_stream_buffer_bound(in.len)),
                     LZMA_OK);
    return out;
}

static struct bytes pack_gzip(struct bytes in)
{
    z_stream z = {0};
    struct bytes out = {malloc(in.len + in.len / 100 + 1000), 0};

    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = in.data;
    z.avail_in = (uInt)in.len;
    z.next_out = out.data;
    z.avail_out = (uInt)(in.len + in.len / 100 + 1000);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    out.len = z.total_out;
    deflateEnd(&z);
    return out;
}

static struct bytes pack_zstd(struct bytes in)
{
    struct bytes out = {malloc(ZSTD_compressBound(in.len)), 0};

    out.len = ZSTD_compress(out.data, ZSTD_compressBound(in.len), in.data, in.len, 19);
    return out;
}

static struct bytes pack_lz4(struct bytes in)
{
    struct bytes out = {malloc((size_t)LZ4_compressBound((int)in.len) + 8), 0};
    uint32_t magic = 0x184c2102, len;

    len = (uint32_t)LZ4_compress_HC((char *)in.data, (char *)out.data + 8, (int)in.len,
                                    LZ4_compressBound((int)in.len), 9);
    memcpy(out.data, &magic, 4);
    memcpy(out.data + 4, &len, 4);
    out.len = len + 8;
    return out;
}

/* Runs unpack() with buffers of exact size, so that the sanitizer sees any step outside. */
static int run(enum unpack_format format, struct bytes in, size_t out_len, struct bytes *out,
               struct builder_error *err)
{
    size_t scratch_len = (unpack_scratch_bytes(format) + 15) & ~(size_t)15;
    void *scratch = aligned_alloc(16, scratch_len ? scratch_len : 16);
    uint8_t *copy = malloc(in.len + (in.len == 0));
    int rc;

    memcpy(copy, in.data, in.len);
    memset(scratch, 0x5a, scratch_len);
    *out = (struct bytes){malloc(out_len + (out_len == 0)), out_len};
    rc = unpack(format, (struct builder_blob){copy, in.len}, out->data, out_len, scratch,
                unpack_scratch_bytes(format), err);
    free(scratch);
    free(copy);
    return rc;
}

static void round_trip(enum unpack_format format, struct bytes packed, struct bytes plain)
{
    struct builder_error err = {"", 0};
    struct bytes out;

    assert_int_equal(unpack_detect((struct builder_blob){packed.data, packed.len}), format);
    if (run(format, packed, plain.len, &out, &err) != 0) {
        fail_msg("%s at %#lx", err.what, (unsigned long)err.where);
    }
    assert_memory_equal(out.data, plain.data, plain.len);
    free(out.data);
    assert_int_not_equal(run(format, packed, plain.len + 1, &out, &err), 0);
    free(out.data);
    assert_int_not_equal(run(format, packed, plain.len - 1, &out, &err), 0);
    free(out.data);
}

static void xz_round_trips(void **state)
{
    static const size_t sizes[] = {1, 4, 5, 9, 100, 4096, 65537, 300000, 2500000};
    static const uint8_t props[][3] = {{3, 0, 2}, {0, 0, 0}, {4, 0, 4}, {0, 4, 1}, {2, 2, 2}};

    for (unsigned i = 0; i < 9; i++) {
        for (unsigned kind = 0; kind < 4; kind++) {
            const uint8_t *p = props[(i + kind) % 5];
            struct bytes plain = content(sizes[i], kind);

            for (unsigned x86 = 0; x86 < 2; x86++) {
                struct bytes packed = pack_xz(plain, p[0], p[1], p[2], x86);

                round_trip(UNPACK_XZ, packed, plain);
                free(packed.data);
            }
            free(plain.data);
        }
    }
}

/* Many small branchy inputs: the filter's rules for overlapping opcode bytes. */
static void xz_branch_filter_agrees(void **state)
{
    for (unsigned i = 0; i < 1500; i++) {
        struct bytes plain = content(20 + i % 200, i % 2 ? 0 : 3);
        struct bytes packed = pack_xz(plain, 3, 0, 2, true);
        struct builder_error err = {"", 0};
        struct bytes out;

        assert_int_equal(run(UNPACK_XZ, packed, plain.len, &out, &err), 0);
        assert_memory_equal(out.data, plain.data, plain.len);
        free(out.data);
        free(packed.data);
        free(plain.data);
    }
}

static void others_round_trip(void **state)
{
    for (unsigned kind = 0; kind < 4; kind++) {
        struct bytes plain = content(300000, kind);
        struct bytes gz = pack_gzip(plain), zst = pack_zstd(plain), lz = pack_lz4(plain);

        round_trip(UNPACK_GZIP, gz, plain);
        round_trip(UNPACK_ZSTD, zst, plain);
        round_trip(UNPACK_LZ4, lz, plain);
        free(gz.data);
        free(zst.data);
        free(lz.data);
        free(plain.data);
    }
}

/* Truncation always fails; a flipped byte fails wherever the format has a check. */
static void damage_is_found(enum unpack_format format, struct bytes packed, size_t plain_len,
                            bool checked)
{
    struct builder_error err;
    struct bytes out;

    for (size_t cut = 0; cut < packed.len; cut += 1 + packed.len / 61) {
        err.what = NULL;
        assert_int_not_equal(run(format, (struct bytes){packed.data, cut}, plain_len, &out, &err),
                             0);
        assert_non_null(err.what);
        free(out.data);
    }
    for (size_t at = 0; at < packed.len; at += 1 + packed.len / 397) {
        int rc;

        packed.data[at] ^= 0x21;
        err.what = NULL;
        rc = run(format, packed, plain_len, &out, &err);
        /* gzip's time stamp and system fields carry no meaning. */
        if (checked && !(format == UNPACK_GZIP && at < 10)) {
            assert_int_not_equal(rc, 0);
        }
        if (rc) {
            assert_non_null(err.what);
        }
        packed.data[at] ^= 0x21;
        free(out.data);
    }
}

static void damage_is_named(void **state)
{
    struct bytes plain = content(20000, 3);
    struct bytes xz = pack_xz(plain, 3, 0, 2, true), gz = pack_gzip(plain);
    struct bytes zst = pack_zstd(plain), lz = pack_lz4(plain);

    damage_is_found(UNPACK_XZ, xz, plain.len, true);
    damage_is_found(UNPACK_GZIP, gz, plain.len, true);
    damage_is_found(UNPACK_ZSTD, zst, plain.len, false);
    damage_is_found(UNPACK_LZ4, lz, plain.len, false);
    free(xz.data);
    free(gz.data);
    free(zst.data);
    free(lz.data);
    free(plain.data);
}

static void scratch_is_checked(void **state)
{
    struct builder_error err;
    uint8_t byte = 0;

    assert_int_equal(unpack(UNPACK_XZ, (struct builder_blob){&byte, 1}, &byte, 1, &byte, 1, &err),
                     -XEN_ENOMEM);
    assert_int_equal(
        unpack(UNPACK_UNKNOWN, (struct builder_blob){&byte, 1}, &byte, 1, NULL, 0, &err),
        -XEN_EOPNOTSUPP);
}

static struct kernel_image make_bz(struct bytes elf, unsigned kind)
{
    struct bytes packed = kind == 0   ? pack_xz(elf, 3, 0, 2, true)
                          : kind == 1 ? pack_gzip(elf)
                          : kind == 2 ? pack_zstd(elf)
                                      : pack_lz4(elf);
    struct kernel_image payload = {.data = packed.data, .len = packed.len}, bz;

    if (kind != 1) {
        kernel_image_append_size(&payload, (uint32_t)elf.len);
    }
    bz = kernel_image_bz(payload.data, payload.len);
    free(payload.data);
    return bz;
}

static void bzimage_unpacks(void **state)
{
    struct kernel_image k = kernel_image_make(kernel_notes_stock, kernel_notes_stock_count, NULL);

    for (unsigned kind = 0; kind < 4; kind++) {
        struct kernel_image bz = make_bz((struct bytes){k.data, k.len}, kind);
        struct builder_blob blob = {bz.data, bz.len};
        struct builder_error err;
        struct elf_image elf;
        size_t bytes, scratch_bytes;
        void *out, *scratch;

        assert_int_equal(bzimage_measure(blob, &bytes, &scratch_bytes, &err), 0);
        assert_int_equal(bytes, k.len);
        out = malloc(bytes);
        scratch = aligned_alloc(16, (scratch_bytes + 31) & ~(size_t)15);
        assert_int_equal(bzimage_unpack(blob, out, bytes, scratch, scratch_bytes, &elf, &err), 0);
        assert_int_equal(elf.nr_segments, 2);
        assert_memory_equal(out, k.data, k.len);
        free(scratch);
        free(out);
        free(bz.data);
    }
    free(k.data);
}

static void plain_elf_needs_no_unpacking(void **state)
{
    struct kernel_image k = kernel_image_make(NULL, 0, NULL);
    struct builder_blob blob = {k.data, k.len};
    struct builder_error err;
    struct elf_image elf;
    size_t bytes = 1, scratch_bytes = 1;

    assert_int_equal(bzimage_measure(blob, &bytes, &scratch_bytes, &err), 0);
    assert_int_equal(bytes + scratch_bytes, 0);
    assert_int_equal(bzimage_unpack(blob, NULL, 0, NULL, 0, &elf, &err), 0);
    free(k.data);
}

static void bz_error(struct builder_blob blob, const char *expected)
{
    struct builder_error err = {"none", 0};
    size_t bytes, scratch_bytes;

    assert_int_not_equal(bzimage_measure(blob, &bytes, &scratch_bytes, &err), 0);
    assert_string_equal(err.what, expected);
}

static void bzimage_damage_is_named(void **state)
{
    struct kernel_image k = kernel_image_make(NULL, 0, NULL);
    struct kernel_image bz = make_bz((struct bytes){k.data, k.len}, 0);
    struct builder_blob blob = {bz.data, bz.len};
    uint8_t keep;

    bz_error((struct builder_blob){bz.data, 0x200}, "kernel is neither a bzImage nor an ELF image");
    bz_error((struct builder_blob){bz.data, bz.len - 1},
             "bzImage payload lies outside the file (truncated?)");
    keep = bz.data[0x206];
    bz.data[0x206] = 7;
    bz_error(blob, "bzImage is older than boot protocol 2.08");
    bz.data[0x206] = keep;
    bz.data[bz.text_at] = 0;
    bz_error(blob, "bzImage payload has an unknown packing");
    bz.data[bz.text_at] = 0xfd;
    memset(bz.data + bz.len - 4, 0xff, 4);
    bz_error(blob, "bzImage states an implausible unpacked size");
    free(bz.data);
    free(k.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(xz_round_trips),
        cmocka_unit_test(xz_branch_filter_agrees),
        cmocka_unit_test(others_round_trip),
        cmocka_unit_test(damage_is_named),
        cmocka_unit_test(scratch_is_checked),
        cmocka_unit_test(bzimage_unpacks),
        cmocka_unit_test(plain_elf_needs_no_unpacking),
        cmocka_unit_test(bzimage_damage_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
