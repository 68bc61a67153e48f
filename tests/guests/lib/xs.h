// SPDX-License-Identifier: BSD-2-Clause
// Xenstore for guests: one request after the other, waiting for each answer. What it shares with
// the daemon is open to those who want to break it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xen/io/xs_wire.h>

extern struct xenstore_domain_interface *xs_ring;

void xs_init(void);
// Tells the daemon.
void xs_notify(void);
// Puts bytes into the ring; false when the daemon makes no room in time.
bool xs_push(const void *data, size_t len);
// Takes bytes from the ring, likewise.
bool xs_pull(void *data, size_t len);
// Throws away what the daemon has answered.
void xs_drop(void);
// Asks the daemon to begin anew, with empty rings. False when it does not in time.
bool xs_reconnect(void);

enum { XS_LOST = -1 };
// One request. The answer's length, its text in `reply` (XENSTORE_PAYLOAD_MAX + 1 bytes, or NULL);
// minus an error's number, XS_LOST for those that are not told apart and for a broken ring.
int xs_call(uint32_t type, uint32_t tx, const void *data, size_t len, char *reply);
// Short ones. 0 or as above.
int xs_write(const char *path, const char *value);
int xs_write_number(const char *path, unsigned long value);
int xs_read(const char *path, char *reply);
// A number at `path`, or `other`.
unsigned long xs_number(const char *path, unsigned long other);

// Sleeps; events wake it early.
void xs_nap(unsigned int us);
