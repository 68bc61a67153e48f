// SPDX-License-Identifier: BSD-2-Clause
#include "unpack_one.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return unpack_one_input(&unpack_lz4, data, size);
}
