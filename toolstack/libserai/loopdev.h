// SPDX-License-Identifier: BSD-2-Clause
// Image files as block devices of the control domain.
#pragma once

#include "internal.h"

struct loopdev {
    int fd; // of the loop device; keeps it until loopdev_release
    unsigned major, minor;
    char path[32];
};

// Attaches the file to a free loop device.
int loopdev_attach(const char *file, bool readonly, struct loopdev *out, struct serai_error *err);
// Lets go of it: the kernel frees it when its last user closes it, which is now if there is none.
void loopdev_release(struct loopdev *l);
