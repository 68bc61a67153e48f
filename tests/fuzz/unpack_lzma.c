// SPDX-License-Identifier: BSD-2-Clause
/* LZMA2 without a container; liblzma must agree with every result that we accept. */
#include "fuzz.h"

#include <lzma.h>

#include "builder/unpack_lzma.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct lzma lz;
    lzma_options_lzma opt = {.dict_size = 1 << 20};
    const lzma_filter filters[2] = {{.id = LZMA_FILTER_LZMA2, .options = &opt},
                                    {.id = LZMA_VLI_UNKNOWN}};
    size_t used = 0, made = 0, in_pos = 0, out_pos = 0, room;
    struct builder_error err = {0};
    uint8_t *out, *reference;

    if (size < 2) {
        return 0;
    }
    room = builder_get16(data) * 4u;
    out = malloc(room + 1);
    memset(&lz, 0xa5, sizeof(lz));
    if (lzma2_decode(&lz, (struct builder_blob){data + 2, size - 2}, out, room, &used, &made,
                     &err) == 0) {
        reference = malloc(room + 1);
        FUZZ_ASSERT(lzma_raw_buffer_decode(filters, NULL, data + 2, &in_pos, size - 2, reference,
                                           &out_pos, room) == LZMA_OK);
        FUZZ_ASSERT(in_pos == used && out_pos == made && memcmp(out, reference, made) == 0);
        free(reference);
    } else {
        FUZZ_ASSERT(err.what);
    }
    free(out);
    return 0;
}
