// SPDX-License-Identifier: BSD-2-Clause
// What every daemon does at its start.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct loop;

// Makes sure that only one process serves: holds DIR/NAME.lock (created, with the directory)
// until the process ends, however it ends. The descriptor, or -EWOULDBLOCK when another
// process has it, or another -errno.
int daemon_lock(const char *dir, const char *name);
// The same, trying again for up to wait_ms when another process has it, with what is wrong in the
// log.
int daemon_claim(const char *dir, const char *name, unsigned wait_ms);
// SIGTERM and SIGINT end the loop with 0. False without memory.
bool daemon_stop_on_signals(struct loop *l);
// Logs that the daemon serves, tells systemd if it has started us (the protocol of sd_notify(3)),
// and gives back memory that only the start needed.
void daemon_ready(void);
// As many descriptors as the system lets us have: some for each guest.
void daemon_more_descriptors(void);
// Logs "WHAT: text of errno number -code"; returns 1, the exit code.
int daemon_fail(const char *what, int code);
// A decimal number without a sign, from min to max, and nothing behind it.
bool daemon_number(const char *text, uint64_t min, uint64_t max, uint64_t *out);
