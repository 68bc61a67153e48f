// SPDX-License-Identifier: BSD-2-Clause
// What the parser and the reader of configurations share.
#pragma once

#include "cfg.h"

struct cfg {
    struct cfg_entry *entries;
    size_t count, cap;
    char **sources;
    unsigned source_count;
};

void cfg_value_free(struct cfg_value *v);
// Takes over *v (also on failure). `append` joins it to a value the key already has.
// -ENOMEM, or -EINVAL when the two cannot be joined.
int cfg_put(struct cfg *c, const char *key, size_t key_len, struct cfg_pos pos, unsigned source,
            struct cfg_value *v, bool append);
