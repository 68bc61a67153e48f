// SPDX-License-Identifier: BSD-2-Clause
// Assertions. BUG_ON: our own state is broken, stop the machine. ASSERT: debug builds only.
#pragma once

#include "lib/types.h"

// Print file, line, registers and a back trace, then reboot or halt. Never returns. Any context.
__noreturn void bug_report(const char *what, const char *file, int line);
// Log one line "file:line: what" (rate-limited) and carry on.
void warn_report(const char *what, const char *file, int line);

#define BUG() bug_report("BUG", __FILE__, __LINE__)
#define BUG_ON(c)                                       \
    do {                                                \
        if (unlikely(c))                                \
            bug_report("BUG: " #c, __FILE__, __LINE__); \
    } while (0)
#define WARN_ON(c)                                        \
    ({                                                    \
        bool warn_c_ = (c);                               \
        if (unlikely(warn_c_))                            \
            warn_report("WARN: " #c, __FILE__, __LINE__); \
        warn_c_;                                          \
    })
#ifdef SERAI_DEBUG
#define ASSERT(c)                                          \
    do {                                                   \
        if (unlikely(!(c)))                                \
            bug_report("ASSERT: " #c, __FILE__, __LINE__); \
    } while (0)
#else
#define ASSERT(c) ((void)sizeof(c))
#endif
#define ASSERT_UNREACHABLE() ASSERT(!"reached")
