// SPDX-License-Identifier: BSD-2-Clause
// What every daemon does at its start.
#pragma once

// Makes sure that only one process serves: holds DIR/NAME.lock (created, with the directory)
// until the process ends, however it ends. The descriptor, or -EWOULDBLOCK when another
// process has it, or another -errno.
int daemon_lock(const char *dir, const char *name);
