// SPDX-License-Identifier: BSD-2-Clause
// Requests of the block ring (xen/io/blkif.h): from the bytes of either x86 layout to one form of
// ours, and the checks that make it safe to use. No I/O, no state.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xen/io/blkif.h>

enum {
    BLK_SECTOR = 512,       // bytes; the unit of every sector number on the ring
    BLK_PAGE = 4096,        // bytes behind one grant
    BLK_PAGE_SECTORS = 8,   // sectors of one page
    BLK_RAW_MAX = 112,      // bytes of the larger layout's request
    BLK_SEGMENTS_MAX = 256, // segments of an indirect request that we ever offer
    BLK_SEGMENTS_PER_PAGE = BLK_PAGE / sizeof(struct blkif_request_segment),
};

// The layout of a ring: 64-bit guests align 64-bit fields to 8 bytes, 32-bit guests to 4.
enum blk_abi { BLK_ABI_X86_64, BLK_ABI_X86_32 };

// What the frontend's `protocol` node says (NULL or "": native). 0 or -EINVAL.
int blk_abi_parse(const char *protocol, enum blk_abi *out);
size_t blk_abi_request_size(enum blk_abi abi);

struct blk_segment {
    uint32_t gref;
    uint8_t first, last; // sectors of the page, both included
};

// A request in our own form. It contains no pointer: it also lives in the journal.
struct blk_request {
    uint64_t id;
    uint64_t sector;     // meaningless for an empty flush
    uint64_t nr_sectors; // discard only
    uint16_t nr_segments;
    uint8_t operation; // BLKIF_OP_*; that of the data for an indirect request
    uint8_t indirect;  // 1: the segments are in the pages granted by `pages`
    union {
        struct blk_segment seg[BLKIF_MAX_SEGMENTS_PER_REQUEST];
        uint32_t pages[BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST];
    };
};

// Reads a request out of `raw`, which no one else can write. Every value is possible in the result;
// nr_segments is what the guest said, however large.
void blk_request_parse(enum blk_abi abi, const uint8_t raw[BLK_RAW_MAX], struct blk_request *out);
// Writes a response in the ring's layout; `slot` has room for a request.
void blk_response_store(enum blk_abi abi, uint8_t *slot, uint64_t id, uint8_t operation,
                        int16_t status);
// Segment `i` of a page of segments, both layouts alike.
void blk_segment_load(const void *page, unsigned i, struct blk_segment *out);

// What a device allows.
struct blk_limits {
    uint64_t sectors;
    unsigned indirect; // most segments of an indirect request; 0: none
    bool read_only;
    bool discard;
};

// Checks all but the segments. BLKIF_RSP_OKAY, or what to answer.
int blk_request_check(const struct blk_request *r, const struct blk_limits *limits);
// Checks the segments against each other, the page and the device's end; `bytes` becomes their sum.
int blk_segments_check(const struct blk_segment *seg, unsigned count, uint64_t sector,
                       const struct blk_limits *limits, uint64_t *bytes);
// How many pages hold that many indirect segments.
unsigned blk_indirect_pages(unsigned segments);
