// SPDX-License-Identifier: BSD-2-Clause
// A device that shows console output. Functions are called with the console lock held, interrupts
// off; after a panic without the lock.
#pragma once

#include "lib/types.h"

struct console_device {
    const char *name; // as in console=
    void (*write)(const char *s, size_t len);
    void (*flush)(void); // may be NULL
};

// Show what the ring holds already and everything from now on. `dev` must stay.
void console_add_device(const struct console_device *dev);
// console= names it.
bool console_wanted(const char *name);
