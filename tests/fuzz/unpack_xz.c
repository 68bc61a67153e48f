// SPDX-License-Identifier: BSD-2-Clause
/*
 * The XZ container. Its checksums keep a fuzzer out, so most inputs are first packed by liblzma,
 * with parameters and content from the input, then perhaps damaged.
 */
#include "unpack_one.h"

#include <lzma.h>

static size_t pack(const uint8_t *data, size_t size, uint8_t props, uint8_t *out, size_t room)
{
    lzma_options_lzma opt;
    lzma_filter filters[3] = {{.id = LZMA_FILTER_X86},
                              {.id = LZMA_FILTER_LZMA2, .options = &opt},
                              {.id = LZMA_VLI_UNKNOWN}};
    size_t len = 0;

    FUZZ_ASSERT(!lzma_lzma_preset(&opt, 1));
    opt.dict_size = 4096;
    opt.lc = props % 5;
    opt.lp = props / 5 % (5 - opt.lc);
    opt.pb = props % 4;
    FUZZ_ASSERT(lzma_stream_buffer_encode(props & 0x80 ? filters : filters + 1, LZMA_CHECK_CRC32,
                                          NULL, data, size, out, &len, room) == LZMA_OK);
    return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t room = lzma_stream_buffer_bound(size), len;
    uint8_t *packed, *out;

    if (size < 4) {
        return 0;
    }
    if (data[0] & 1) {
        return unpack_one_input(&unpack_xz, data + 1, size - 1);
    }
    packed = malloc(room);
    len = pack(data + 4, size - 4, data[1], packed, room);
    FUZZ_ASSERT(unpack_one(&unpack_xz, packed, len, size - 4, &out) == 0);
    FUZZ_ASSERT(memcmp(out, data + 4, size - 4) == 0);
    free(out);
    packed[(data[2] * 257u + data[3]) % len] ^= data[0] | 1;
    /* Some damage is without effect, such as other parameters for the same few symbols. */
    if (unpack_one(&unpack_xz, packed, len, size - 4, &out) == 0) {
        FUZZ_ASSERT(memcmp(out, data + 4, size - 4) == 0);
    }
    free(out);
    free(packed);
    return 0;
}
