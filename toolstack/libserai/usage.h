// SPDX-License-Identifier: BSD-2-Clause
// What backends have counted: the kernel's in sysfs, blkd's in its file of numbers.
#pragma once

#include "serai.h"

// `backends`: the directory of the kernel's backend devices; `blkd`: the file, one line for each
// disk: domain devid reads writes flushes discards bytes-read bytes-written. What is not there
// counts nothing. Release *list with free().
int usage_read(const char *backends, const char *blkd, struct serai_usage **list, size_t *count,
               struct serai_error *err);
