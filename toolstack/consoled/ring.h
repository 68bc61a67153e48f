// SPDX-License-Identifier: BSD-2-Clause
// The console ring a guest shares with us (struct xencons_interface of xen/io/console.h).
// The guest may write anything into it at any time: every index is read once and checked.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <xen/io/console.h>

// Copies up to `size` bytes of the guest's output, which stay in the ring; they begin at *cons.
// -EIO when its indexes make no sense; the ring is then brought back in order, what was in it is
// lost.
int ring_peek(struct xencons_interface *ring, char *to, size_t size, uint32_t *cons);
// What is before `cons` is taken: the guest may write there again.
void ring_taken(struct xencons_interface *ring, uint32_t cons);
// Gives the guest up to `len` bytes of input; returns how many went in.
size_t ring_give(struct xencons_interface *ring, const char *from, size_t len);
