// SPDX-License-Identifier: BSD-2-Clause
/* The boot image header and what it makes of the payload. */
#include "fuzz.h"

#include "builder/bzimage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct builder_blob blob = {data, size};
    struct builder_error err = {0};
    size_t bytes, scratch_bytes;
    struct elf_image elf;
    void *out, *scratch;

    if (bzimage_measure(blob, &bytes, &scratch_bytes, &err) != 0) {
        FUZZ_ASSERT(err.what);
        return 0;
    }
    if (bytes > 1 << 22) {
        return 0;
    }
    out = malloc(bytes + !bytes);
    scratch = aligned_alloc(16, (scratch_bytes + 31) & ~(size_t)15);
    if (bzimage_unpack(blob, out, bytes, scratch, scratch_bytes, &elf, &err) != 0) {
        FUZZ_ASSERT(err.what);
    }
    free(scratch);
    free(out);
    return 0;
}
