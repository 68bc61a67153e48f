// SPDX-License-Identifier: BSD-2-Clause
// Messages of the programs (not of the library, which hands them to its caller): one line
// each, to standard error. Daemons add a time stamp. One thread.
#pragma once

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

// `prefix` is kept, not copied; messages above `max` are dropped.
void log_setup(const char *prefix, enum log_level max, bool stamps);
void log_message(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_message(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_message(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_message(LOG_LEVEL_DEBUG, __VA_ARGS__)
