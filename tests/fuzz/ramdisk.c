// SPDX-License-Identifier: BSD-2-Clause
/* The structure check of ramdisks: no crash, no endless walk, every refusal has its text. */
#include "fuzz.h"

#include "image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct serai_error err = {0};

    if (ramdisk_check(data, size, "R", &err)) {
        FUZZ_ASSERT(err.text[0]);
    }
    return 0;
}
