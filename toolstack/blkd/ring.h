// SPDX-License-Identifier: BSD-2-Clause
// The back end of a block ring in memory that a guest may write at any time: shared words are
// read once, slots are copied once, and nothing of ours is read back from it.
#pragma once

#include "proto.h"

struct blk_ring {
    enum blk_abi abi;
    unsigned entries; // a power of two
    uint8_t *shared;  // the header, 64 bytes, then the slots
    uint32_t req_cons;
    uint32_t rsp_prod; // ours; what the guest sees lags behind until blk_ring_publish
};

// How many slots fit in `bytes` of memory.
unsigned blk_ring_entries(enum blk_abi abi, size_t bytes);
// Takes up a ring at the position where the guest has seen responses. -EPROTO when its indexes make
// no sense.
int blk_ring_attach(struct blk_ring *r, enum blk_abi abi, void *shared, size_t bytes);
// What the guest has seen, for taking up a ring after a restart.
uint32_t blk_ring_seen(const struct blk_ring *r);
// How many requests wait, at most `entries`. -EPROTO: the guest has produced more than the ring
// holds, which it must never do.
int blk_ring_pending(const struct blk_ring *r);
// Copies the request at req_cons; blk_ring_advance then goes on to the next.
void blk_ring_copy(const struct blk_ring *r, struct blk_request *out);
void blk_ring_advance(struct blk_ring *r);
// Writes a response into the next slot. The guest does not see it yet.
void blk_ring_respond(struct blk_ring *r, uint64_t id, uint8_t operation, int16_t status);
// Shows the responses; true when the guest wants an event for it.
bool blk_ring_publish(struct blk_ring *r);
// Asks for an event with the next request; true when one has come in the meantime.
bool blk_ring_sleep(struct blk_ring *r);
