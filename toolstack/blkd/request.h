// SPDX-License-Identifier: BSD-2-Clause
// One request in work (disk.c takes and answers them, request.c carries them out).
#pragma once

#include "disk.h"

struct queue {
    struct disk *disk;
    unsigned number;
    struct blk_ring ring;
    struct journal *journal;
    int port;
    bool marked;
    struct queue *next_marked;
    struct request *requests; // one for each entry of the journal
    struct request *free;
    struct request *done; // answered, not yet shown
    struct request *redo; // left by another process, in the ring's order
};

enum request_stage { STAGE_FLUSH_BEFORE, STAGE_DATA, STAGE_FLUSH_AFTER };

struct request {
    struct queue *queue;
    struct request *next;
    struct journal_entry *log;
    enum request_stage stage;
    bool mapped;  // `page` are in the table of persistent grants, in use
    bool counted; // in disk->running
    uint64_t bytes;
    uint8_t *bounce;
    struct blk_segment *seg; // copies, checked; arrays of `room` elements that are kept
    uint32_t *gref;
    struct pgrant **page;
    struct iovec *iov;
    unsigned room, count; // count: segments
    struct image_io io;
};

// Starts it. It ends, at once or later, with request_end.
void request_start(struct request *rq);
// A barrier, when nothing else runs.
void request_start_barrier(struct request *rq);
void request_release(struct request *rq);

// disk.c: answers; `status` is BLKIF_RSP_*.
void request_end(struct request *rq, int status);
