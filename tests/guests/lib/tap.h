// SPDX-License-Identifier: BSD-2-Clause
// Test Anything Protocol. Each check prints one line; the plan comes last, so a guest that died
// half way is seen to have failed.
#pragma once

#include <stdbool.h>

// Report one check; the detail is printed only when it failed.
void tap(bool good, const char *name, const char *detail, ...)
    __attribute__((format(printf, 3, 4)));
void tap_skip(const char *name, const char *why);
void tap_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void tap_done(void);

#define ok(good, name) tap((good), (name), "%s:%d: %s", __FILE__, __LINE__, #good)

// got must equal want; both are shown otherwise.
#define is(got, want, name)                                                                    \
    do {                                                                                       \
        long got_ = (long)(got), want_ = (long)(want);                                         \
        tap(got_ == want_, (name), "line %d: got %ld (%lx), wanted %ld (%lx)", __LINE__, got_, \
            (unsigned long)got_, want_, (unsigned long)want_);                                 \
    } while (0)

// got must be one of two values.
#define is_either(got, a, b, name)                                                         \
    do {                                                                                   \
        long got_ = (long)(got), a_ = (long)(a), b_ = (long)(b);                           \
        tap(got_ == a_ || got_ == b_, (name), "line %d: got %ld (%lx), wanted %ld or %ld", \
            __LINE__, got_, (unsigned long)got_, a_, b_);                                  \
    } while (0)

// got must be an error, whichever.
#define is_error(got, name)                                                         \
    do {                                                                            \
        long got_ = (long)(got);                                                    \
        tap(got_ < 0, (name), "line %d: got %ld, wanted an error", __LINE__, got_); \
    } while (0)
