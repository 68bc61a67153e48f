// SPDX-License-Identifier: BSD-2-Clause
/* Microcode files and initrds with such: what is found lies inside, and is for us. */
#include "fuzz.h"

#include "lib/errno.h"
#include "x86/cpu/microcode.h"

static void search(const uint8_t *blob, uint64_t size, const struct microcode_cpu *cpu)
{
    struct microcode_patch best = {.revision = cpu->revision};
    const char *why = NULL;
    int ret = microcode_search(blob, size, cpu, &best, &why);

    FUZZ_ASSERT((why != NULL) == (ret == -EINVAL));
    FUZZ_ASSERT((ret == 0) == (best.revision > cpu->revision));
    if (!ret) {
        FUZZ_ASSERT(best.data >= blob && best.size <= size &&
                    (uint64_t)(best.data - blob) <= size - best.size);
        FUZZ_ASSERT(microcode_is_blob(blob, size));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct microcode_cpu cpus[] = {
        {VENDOR_INTEL, 0x906ea, 2, 1},
        {VENDOR_INTEL, 0x10676, 0, 0},
        {VENDOR_AMD, 0x800f12, 0, 1},
        {VENDOR_AMD, 0xa20f10, 0, 0},
    };

    for (size_t i = 0; i < sizeof(cpus) / sizeof(cpus[0]); i++) {
        const uint8_t *found;
        uint64_t found_size;
        const char *why = NULL;

        search(data, size, &cpus[i]);
        if (microcode_in_cpio(data, size, cpus[i].vendor, &found, &found_size, &why) == 0) {
            FUZZ_ASSERT(found >= data && found_size <= size &&
                        (uint64_t)(found - data) <= size - found_size);
            search(found, found_size, &cpus[i]);
        }
    }
    return 0;
}
