// SPDX-License-Identifier: BSD-2-Clause
// What one queue has taken off its ring and not yet answered, in memory that outlives the
// process (a file in /run, mapped). Responses are given in the order in which I/O ends and
// each goes into the slot of an older request, so the ring alone cannot tell a new process
// what is still to be done; the journal and the ring's rsp_prod together can, at every
// instruction at which the old one may have been killed:
//
//   entry FREE  -> copy of the request -> TAKEN          then journal.req_cons moves
//   entry TAKEN -> response in a slot, its index -> DONE  then, by the ring's rsp_prod, shown
//   entry DONE  -> FREE                                   after rsp_prod has been moved
//
// After a restart an entry DONE whose response was shown is free, one whose response was not
// is TAKEN again: its request is carried out once more, which reads, writes of the same data,
// flushes and discards all allow. Stores are by one thread and in program order, which is
// enough against the end of a process (not against that of the machine, which takes the
// guests along).
#pragma once

#include "proto.h"

enum journal_state { JOURNAL_FREE, JOURNAL_TAKEN, JOURNAL_DONE };

struct journal_entry {
    uint32_t state;    // enum journal_state
    uint32_t index;    // of the request on the ring
    uint32_t response; // DONE: index of the response
    uint32_t reserved;
    struct blk_request req;
};

struct journal {
    uint64_t magic;
    uint32_t entries; // as many as the ring has
    uint32_t req_cons;
    struct journal_entry entry[];
};

// Bytes of a journal for a ring of that many entries, a multiple of 64.
size_t journal_bytes(unsigned entries);
// An empty journal that starts at request `req_cons`.
void journal_reset(struct journal *j, unsigned entries, uint32_t req_cons);
// Brings a journal that another process left in order, `seen` being the ring's rsp_prod: afterwards
// its entries are FREE or TAKEN. -EINVAL when it is not a journal of this shape, or the guest has
// meanwhile written nonsense into rsp_prod.
int journal_recover(struct journal *j, unsigned entries, uint32_t seen);
// The entry, whose `req` has been filled in, is request `index`.
void journal_take(struct journal *j, struct journal_entry *e, uint32_t index);
void journal_done(struct journal_entry *e, uint32_t response);
void journal_free(struct journal_entry *e);
