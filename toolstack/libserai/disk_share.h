// SPDX-License-Identifier: BSD-2-Clause
// Who uses the same disk.
#pragma once

#include "internal.h"

#include <sys/stat.h>

// May a guest use the disk, whose target has been looked at (`st`)? -EBUSY when a guest or the
// control domain uses it so that somebody's data would be destroyed. Call with the state lock
// held until the disk has its nodes, or two at once are not seen.
int disk_share_check(struct serai *s, const struct serai_disk *disk, const struct stat *st,
                     struct serai_error *err);
