// SPDX-License-Identifier: BSD-2-Clause
#include "guest.h"

static unsigned int count;

void tap(bool good, const char *name, const char *detail, ...)
{
    char text[256];
    va_list ap;

    count++;
    if (good) {
        print("ok %u - %s\n", count, name);
        return;
    }
    va_start(ap, detail);
    format(text, sizeof(text), detail, ap);
    va_end(ap);
    print("not ok %u - %s # %s\n", count, name, text);
}

void tap_skip(const char *name, const char *why)
{
    print("ok %u - %s # SKIP %s\n", ++count, name, why);
}

void tap_note(const char *fmt, ...)
{
    char text[400];
    va_list ap;

    va_start(ap, fmt);
    format(text, sizeof(text), fmt, ap);
    va_end(ap);
    print("# %s\n", text);
}

void tap_done(void)
{
    print("1..%u\n", count);
}
