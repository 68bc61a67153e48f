// SPDX-License-Identifier: BSD-2-Clause
// What the store does, as records: each is complete in itself, and applying all of them in order
// to an empty store gives the same store, with the same events for the same connections.
// docs/xenstore.md has the layout of each.
#pragma once

#include "buf.h"

#include <stdbool.h>
#include <stdint.h>

struct store;

enum record_type {
    RECORD_CHANGES = 1, // changes outside a transaction
    RECORD_COMMIT,      // a transaction's: its id, its changes
    RECORD_TX_START,    // of a ring
    RECORD_TX_END,      // given up, or lost to a conflict
    RECORD_WATCH,
    RECORD_UNWATCH,
    RECORD_RESET, // a ring starts anew
    RECORD_INTRODUCE,
    RECORD_RELEASE,
    RECORD_TARGET,
    RECORD_SHUTDOWN,
    RECORD_LIMIT,
    RECORD_SPECIAL, // permissions of a special watch
    // Only in snapshots:
    RECORD_NODE,
    RECORD_DOMAIN, // an introduced domain
    RECORD_SEQ,    // number of the last event of a ring
    RECORD_EVENT,  // an event that waits
    RECORD_TYPES,
};

// The ring's request that caused a record: its domain and place in the stream of requests.
struct record_origin {
    uint16_t domid; // RECORD_NO_ORIGIN: a socket, or the daemon itself
    uint32_t pos;
};
enum { RECORD_NO_ORIGIN = 0xffff };

struct record {
    uint8_t type;
    struct record_origin origin;
    const char *body;
    size_t len;
};

// How a recorded request was answered: follows from the record.
struct record_reply {
    int error;      // 0 or -errno
    uint32_t tx_id; // RECORD_TX_START: the answer
};

// Building bodies: integers as they are in memory, strings with their zero.
void record_u8(struct buf *b, uint8_t v);
void record_u16(struct buf *b, uint16_t v);
void record_u32(struct buf *b, uint32_t v);
void record_u64(struct buf *b, uint64_t v);
void record_text(struct buf *b, const char *text);
void record_bytes(struct buf *b, const void *data, size_t len); // with their number

// Reading them: past the end everything is 0 or "", and `bad` stays set.
struct record_reader {
    const char *at;
    size_t left;
    bool bad;
};
uint8_t record_get_u8(struct record_reader *r);
uint16_t record_get_u16(struct record_reader *r);
uint32_t record_get_u32(struct record_reader *r);
uint64_t record_get_u64(struct record_reader *r);
const char *record_get_text(struct record_reader *r);
const char *record_get_bytes(struct record_reader *r, size_t *len);

// Applies a record (store->loading is set meanwhile). 0, or -EINVAL when it makes no sense.
int record_apply(struct store *s, const struct record *r);
// Writes the whole store as records through `put`; its first error ends it.
int record_snapshot(struct store *s, int (*put)(void *arg, const struct record *r), void *arg);
