// SPDX-License-Identifier: BSD-2-Clause
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

static const char *log_prefix = "serai";
static enum log_level log_max = LOG_LEVEL_WARN;
static bool log_stamps;

void log_setup(const char *prefix, enum log_level max, bool stamps)
{
    log_prefix = prefix;
    log_max = max;
    log_stamps = stamps;
}

void log_message(enum log_level level, const char *fmt, ...)
{
    static const char *const names[] = {"error: ", "warning: ", "", "debug: "};
    if (level > log_max)
        return;

    // One buffer and one write, so that lines of several processes do not interleave.
    char line[1024];
    size_t len = 0;
    if (log_stamps) {
        struct timespec now;
        struct tm tm;
        clock_gettime(CLOCK_REALTIME, &now);
        localtime_r(&now.tv_sec, &tm);
        len = strftime(line, sizeof(line), "%Y-%m-%d %H:%M:%S ", &tm);
    }
    int n = snprintf(line + len, sizeof(line) - len, "%s: %s", log_prefix, names[level]);
    len += n > 0 ? (size_t)n : 0;

    va_list ap;
    va_start(ap, fmt);
    n = vsnprintf(line + len, sizeof(line) - len, fmt, ap);
    va_end(ap);
    len += n > 0 ? (size_t)n : 0;
    if (len > sizeof(line) - 2)
        len = sizeof(line) - 2;
    line[len++] = '\n';
    fwrite(line, 1, len, stderr);
}
