// SPDX-License-Identifier: BSD-2-Clause
// Free memory: blocks of 2^order frames, by node, address zone, order and cleanliness. Internal to
// memory/; everybody else uses memory/frame.h and memory/heap.h.
#pragma once

#include "lib/types.h"

struct frame;

#define BUDDY_MAX_ORDER 18

// A free block of that node with all its addresses below 2^bits (0: any), or NULL. *dirty: it holds
// what a guest left there. The frames' state words are undefined.
struct frame *buddy_alloc(unsigned int node, unsigned int order, unsigned int bits, bool *dirty);
// Give back a block; the frames' count words must be 0 apart from FRAME_STAMPED.
void buddy_free(struct frame *f, unsigned int order, bool dirty);
// Give frames [first, end), of one or several online sections.
void buddy_free_range(uint64_t first, uint64_t end, bool dirty);
// Clean a few dirty frames, of `node` if it has some. False: nothing was dirty.
bool buddy_scrub_some(unsigned int node);
// Make the other nodes' pools. After nodes_finish(), while boot_alloc() works.
void buddy_init(void);

uint64_t buddy_free_pages(void);
uint64_t buddy_node_free_pages(unsigned int node);
uint64_t buddy_dirty_pages(void);
