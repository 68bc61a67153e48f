// SPDX-License-Identifier: BSD-2-Clause
/* Writes valid inputs into TARGET.corpus/ under the current directory, for fuzzers to start from.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "kernel_image.h"

#define PLAIN_BYTES 3000

static uint8_t plain[PLAIN_BYTES], packed[1 << 16];

/* The prefix is what the target wants before the data (its output size), if anything. */
static void seed(const char *target, const char *name, const void *prefix, size_t prefix_len,
                 const void *data, size_t len)
{
    char path[200];
    FILE *f;

    snprintf(path, sizeof(path), "%s.corpus/%s", target, name);
    f = fopen(path, "wb");
    if (!f || fwrite(prefix, 1, prefix_len, f) != prefix_len || fwrite(data, 1, len, f) != len ||
        fclose(f) != 0) {
        perror(path);
        exit(1);
    }
}

static size_t pack_lzma2(const uint8_t *in, size_t len, bool container)
{
    lzma_options_lzma opt;
    lzma_filter filters[2] = {{.id = LZMA_FILTER_LZMA2, .options = &opt}, {.id = LZMA_VLI_UNKNOWN}};
    lzma_filter both[3] = {{.id = LZMA_FILTER_X86},
                           {.id = LZMA_FILTER_LZMA2, .options = &opt},
                           {.id = LZMA_VLI_UNKNOWN}};
    size_t at = 0;
    lzma_ret rc;

    lzma_lzma_preset(&opt, 6);
    opt.dict_size = 1 << 16;
    rc = container ? lzma_stream_buffer_encode(both, LZMA_CHECK_CRC32, NULL, in, len, packed, &at,
                                               sizeof(packed))
                   : lzma_raw_buffer_encode(filters, NULL, in, len, packed, &at, sizeof(packed));
    return rc == LZMA_OK ? at : 0;
}

static size_t pack_gzip(const uint8_t *in, size_t len)
{
    z_stream z = {0};

    deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY);
    z.next_in = (uint8_t *)in;
    z.avail_in = (uInt)len;
    z.next_out = packed;
    z.avail_out = sizeof(packed);
    deflate(&z, Z_FINISH);
    deflateEnd(&z);
    return z.total_out;
}

static size_t pack_lz4(const uint8_t *in, size_t len)
{
    uint32_t magic = 0x184c2102;
    uint32_t n = (uint32_t)LZ4_compress_default((const char *)in, (char *)packed + 8, (int)len,
                                                sizeof(packed) - 8);

    memcpy(packed, &magic, 4);
    memcpy(packed + 4, &n, 4);
    return n + 8;
}

static void seed_unpackers(void)
{
    const uint8_t size[3] = {1, PLAIN_BYTES & 0xff, PLAIN_BYTES >> 8};

    seed("unpack_lzma", "plain", size + 1, 2, packed, pack_lzma2(plain, PLAIN_BYTES, false));
    seed("unpack_xz", "container", size, 3, packed, pack_lzma2(plain, PLAIN_BYTES, true));
    seed("unpack_xz", "content", "\0\x83", 2, plain, 1000);
    seed("unpack_gzip", "plain", size + 1, 2, packed, pack_gzip(plain, PLAIN_BYTES));
    seed("unpack_lz4", "plain", size + 1, 2, packed, pack_lz4(plain, PLAIN_BYTES));
    seed("unpack_zstd", "plain", size + 1, 2, packed,
         ZSTD_compress(packed, sizeof(packed), plain, PLAIN_BYTES, 19));
}

static void seed_kernels(void)
{
    struct kernel_image k = kernel_image_make(kernel_notes_stock, kernel_notes_stock_count, NULL);
    struct kernel_image old = kernel_image_make(
        NULL, 0, "XEN_VER=xen-3.0,VIRT_BASE=0xffffffff80000000,ELF_PADDR_OFFSET=0,LOADER=generic");
    uint32_t bytes = (uint32_t)k.len;
    struct kernel_image bz;
    size_t len;

    seed("elf_notes", "stock", "", 0, k.data, k.len);
    seed("elf_notes", "legacy", "", 0, old.data, old.len);
    len = pack_lzma2(k.data, k.len, true);
    memcpy(packed + len, &bytes, 4);
    bz = kernel_image_bz(packed, len + 4);
    seed("bzimage", "xz", "", 0, bz.data, bz.len);
    free(bz.data);
    bz = kernel_image_bz(packed, pack_gzip(k.data, k.len));
    seed("bzimage", "gzip", "", 0, bz.data, bz.len);
    free(bz.data);
    free(old.data);
    free(k.data);
}

static void seed_vif(void)
{
    static const char *const texts[] = {
        "mac=00:16:3e:74:3d:76,bridge=xenbr0,vifname=web0,devid=1,mtu=9000,untrusted",
        "script=vif-route,ip=10.0.0.5 192.168.7.0/24;2001:db8::5,gatewaydev=eth0,rate=10Mb/s@20ms",
        "script=/etc/xen/scripts/vif-nat,type=vif,backend=0,isolated=1,guard=mac,model=e1000",
    };
    char name[16];

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        snprintf(name, sizeof(name), "full%zu", i);
        seed("vif", name, "", 0, texts[i], strlen(texts[i]));
    }
}

int main(void)
{
    /* Repetitive, with some call opcodes, and without any random source. */
    for (unsigned i = 0; i < PLAIN_BYTES; i++) {
        plain[i] = i % 29 == 0 ? 0xe8 : i % 29 == 4 ? 0 : (uint8_t)((i * i) >> 7);
    }
    seed_unpackers();
    seed_kernels();
    seed_vif();
    return 0;
}
