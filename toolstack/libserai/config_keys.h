// SPDX-License-Identifier: BSD-2-Clause
// The keys of a guest configuration: those that have an effect, and those of xl.cfg(5) that
// are known by name only.
#pragma once

#include "cfg.h"

// All keys of a user's file; then, after them in the table, those of records.
extern const struct cfg_key config_keys[];
extern const size_t config_keys_user, config_keys_all;

#define CONFIG_KEYS             config_keys_user
#define CONFIG_KEYS_WITH_RECORD config_keys_all
