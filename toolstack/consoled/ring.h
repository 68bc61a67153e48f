// SPDX-License-Identifier: BSD-2-Clause
// The console ring a guest shares with us (struct xencons_interface of xen/io/console.h).
// The guest may write anything into it at any time: every index is read once and checked.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <xen/io/console.h>

// Takes up to `size` bytes of the guest's output. -EIO when its indexes make no sense; the
// ring is then brought back in order, what was in it is lost.
int ring_take(struct xencons_interface *ring, char *to, size_t size);
// Gives the guest up to `len` bytes of input; returns how many went in.
size_t ring_give(struct xencons_interface *ring, const char *from, size_t len);
