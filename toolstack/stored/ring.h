// SPDX-License-Identifier: BSD-2-Clause
// A ring: two queues of bytes in a page that a guest shares with us, and a request in progress
// that survives us.
//
// The guest may write anything into the page at any time: indexes that are ours are kept here,
// its own are read once and checked, requests are copied before they are looked at.
//
// A request is done exactly once, also when the daemon dies in the middle: struct ring_state is
// in a file that is mapped, so it outlives the process as the page does. Each step ends with one
// store that makes it final, and what was half done is found out from the two:
//
//   assemble   bytes in[0 .. req_cons - msg_start) have been taken; final with req_cons
//   execute    the journal's record names msg_start; then out[] and phase = RING_REPLY
//   answer     out[0 .. rsp_prod - out_start) has been given; final with rsp_prod
//   finish     req_cons = msg_next, msg_start = msg_next, phase = RING_IDLE: may be repeated
//
// The last bytes of a request are taken only at the end, after its answer is in the ring.
#pragma once

#include "store.h"

#include <stdbool.h>
#include <stdint.h>

enum { RING_STATE_MAGIC = 0x53585231 }; // changes with the layout
enum ring_phase { RING_IDLE, RING_EVENT, RING_REPLY };

struct ring_state {
    uint32_t magic;
    uint32_t phase;
    uint32_t msg_start; // where the request begins in the stream of requests
    uint32_t msg_next;  // and the next one, while RING_REPLY
    uint32_t out_start; // where out[] begins in the stream of answers
    uint32_t out_len;
    uint64_t seq_sent; // number of the last event given
    uint64_t seq_out;  // and of the one in out[], while RING_EVENT
    char in[MESSAGE_MAX];
    char out[MESSAGE_MAX];
};

struct ring {
    struct xenstore_domain_interface *shared;
    struct ring_state *state;
    struct conn *conn;
    uint32_t req_cons, rsp_prod; // ours, as last written to the page
    bool broken;                 // the guest broke the rules: nothing until it reconnects
    bool redo;                   // the request in hand has been executed: the journal says so
    bool notify;                 // the guest is to be told (cleared by whoever does)
};

// Begins with `shared` and `state`; with `fresh` whatever the state holds is forgotten, otherwise
// it is continued, if it fits the ring. After conn_init().
void ring_attach(struct ring *r, struct conn *c, struct xenstore_domain_interface *shared,
                 struct ring_state *state, bool fresh);
// Does up to `budget` steps (a request or an event each). True when more could be done now.
bool ring_serve(struct ring *r, unsigned budget);

#ifdef RING_TEST
void ring_point(void); // between any two steps: a test may "die" here
#else
static inline void ring_point(void) {}
#endif
