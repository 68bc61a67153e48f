// SPDX-License-Identifier: BSD-2-Clause
/* Configuration texts: no crash; every refusal says where; what parses survives writing. */
#include "fuzz.h"

#include "buf.h"
#include "cfg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cfg *c = cfg_new(), *again = cfg_new();
    struct cfg_error err = {""};
    BUF_AUTO first = {0}, second = {0};
    int ret = cfg_parse(c, "f", (const char *)data, size, &err);

    if (ret) {
        FUZZ_ASSERT(!strncmp(err.text, "f:", 2));
    }
    cfg_write(c, &first);
    if (first.data) {
        FUZZ_ASSERT(cfg_parse(again, "f", first.data, first.len, &err) == 0 ||
                    first.len > CFG_SIZE_MAX);
        cfg_write(again, &second);
        FUZZ_ASSERT(first.len > CFG_SIZE_MAX ||
                    (first.len == second.len && !memcmp(first.data, second.data, first.len)));
    }
    cfg_free(again);
    cfg_free(c);
    return 0;
}
