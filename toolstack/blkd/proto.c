// SPDX-License-Identifier: BSD-2-Clause
#include "proto.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <xen/io/protocols.h>

// Where the fields of each layout are. The first four bytes are alike.
struct layout {
    uint8_t size, id, sector, seg;
    uint8_t nr_sectors;
    uint8_t pages;
    uint8_t status; // of a response
};

static const struct layout layouts[] = {
    [BLK_ABI_X86_64] = {.size = 112,
                        .id = 8,
                        .sector = 16,
                        .seg = 24,
                        .nr_sectors = 24,
                        .pages = 28,
                        .status = 10},
    [BLK_ABI_X86_32] = {.size = 108,
                        .id = 4,
                        .sector = 12,
                        .seg = 20,
                        .nr_sectors = 20,
                        .pages = 24,
                        .status = 10},
};

// The 64-bit layout is this machine's own, so the public header vouches for it.
static_assert(sizeof(struct blkif_request) == 112, "request");
static_assert(sizeof(union blkif_sring_entry) == 112, "ring entry");
static_assert(offsetof(struct blkif_request, id) == 8, "id");
static_assert(offsetof(struct blkif_request, sector_number) == 16, "sector");
static_assert(offsetof(struct blkif_request, seg) == 24, "segments");
static_assert(offsetof(struct blkif_request_discard, nr_sectors) == 24, "discard");
static_assert(offsetof(struct blkif_request_indirect, nr_segments) == 2, "indirect count");
static_assert(offsetof(struct blkif_request_indirect, id) == 8, "indirect id");
static_assert(offsetof(struct blkif_request_indirect, indirect_grefs) == 28, "indirect pages");
static_assert(offsetof(struct blkif_response, status) == 10, "status");
static_assert(sizeof(struct blkif_request_segment) == sizeof(struct blk_segment), "segment");
static_assert(offsetof(struct blkif_request_segment, gref) == offsetof(struct blk_segment, gref),
              "gref");
static_assert(offsetof(struct blkif_request_segment, first_sect) ==
                  offsetof(struct blk_segment, first),
              "first");
static_assert(offsetof(struct blkif_request_segment, last_sect) ==
                  offsetof(struct blk_segment, last),
              "last");

int blk_abi_parse(const char *protocol, enum blk_abi *out)
{
    if (!protocol || !*protocol || !strcmp(protocol, XEN_IO_PROTO_ABI_X86_64))
        *out = BLK_ABI_X86_64;
    else if (!strcmp(protocol, XEN_IO_PROTO_ABI_X86_32))
        *out = BLK_ABI_X86_32;
    else
        return -EINVAL;
    return 0;
}

size_t blk_abi_request_size(enum blk_abi abi)
{
    return layouts[abi].size;
}

static uint64_t load64(const uint8_t *from)
{
    uint64_t value;
    memcpy(&value, from, sizeof(value));
    return value;
}

static uint16_t load16(const uint8_t *from)
{
    uint16_t value;
    memcpy(&value, from, sizeof(value));
    return value;
}

void blk_segment_load(const void *page, unsigned i, struct blk_segment *out)
{
    memcpy(out, (const uint8_t *)page + (size_t)i * sizeof(*out), sizeof(*out));
}

void blk_request_parse(enum blk_abi abi, const uint8_t raw[BLK_RAW_MAX], struct blk_request *out)
{
    const struct layout *at = &layouts[abi];
    memset(out, 0, sizeof(*out));
    out->operation = raw[0];
    out->id = load64(raw + at->id);
    out->sector = load64(raw + at->sector);
    if (out->operation == BLKIF_OP_DISCARD) {
        out->nr_sectors = load64(raw + at->nr_sectors);
    } else if (out->operation == BLKIF_OP_INDIRECT) {
        out->indirect = 1;
        out->operation = raw[1];
        out->nr_segments = load16(raw + 2);
        memcpy(out->pages, raw + at->pages, sizeof(out->pages));
    } else {
        out->nr_segments = raw[1];
        memcpy(out->seg, raw + at->seg, sizeof(out->seg));
    }
}

void blk_response_store(enum blk_abi abi, uint8_t *slot, uint64_t id, uint8_t operation,
                        int16_t status)
{
    memcpy(slot, &id, sizeof(id));
    slot[8] = operation;
    memcpy(slot + layouts[abi].status, &status, sizeof(status));
}

static int range_check(uint64_t sector, uint64_t count, const struct blk_limits *limits)
{
    if (sector > limits->sectors || count > limits->sectors - sector)
        return BLKIF_RSP_ERROR;
    return BLKIF_RSP_OKAY;
}

static int indirect_check(const struct blk_request *r, const struct blk_limits *limits)
{
    if (!limits->indirect)
        return BLKIF_RSP_EOPNOTSUPP;
    if (r->operation != BLKIF_OP_READ && r->operation != BLKIF_OP_WRITE)
        return BLKIF_RSP_ERROR;
    return r->nr_segments && r->nr_segments <= limits->indirect ? BLKIF_RSP_OKAY : BLKIF_RSP_ERROR;
}

int blk_request_check(const struct blk_request *r, const struct blk_limits *limits)
{
    if (r->indirect) {
        int status = indirect_check(r, limits);
        if (status != BLKIF_RSP_OKAY)
            return status;
    } else if (r->nr_segments > BLKIF_MAX_SEGMENTS_PER_REQUEST) {
        return BLKIF_RSP_ERROR;
    }
    switch (r->operation) {
    case BLKIF_OP_READ:
        return r->nr_segments ? BLKIF_RSP_OKAY : BLKIF_RSP_ERROR;
    case BLKIF_OP_WRITE:
        return r->nr_segments && !limits->read_only ? BLKIF_RSP_OKAY : BLKIF_RSP_ERROR;
    case BLKIF_OP_WRITE_BARRIER:
    case BLKIF_OP_FLUSH_DISKCACHE: // may carry data
        return r->nr_segments && limits->read_only ? BLKIF_RSP_ERROR : BLKIF_RSP_OKAY;
    case BLKIF_OP_DISCARD:
        if (!limits->discard)
            return BLKIF_RSP_EOPNOTSUPP;
        if (limits->read_only || !r->nr_sectors)
            return BLKIF_RSP_ERROR;
        return range_check(r->sector, r->nr_sectors, limits);
    default:
        return BLKIF_RSP_EOPNOTSUPP;
    }
}

int blk_segments_check(const struct blk_segment *seg, unsigned count, uint64_t sector,
                       const struct blk_limits *limits, uint64_t *bytes)
{
    uint64_t sectors = 0;
    for (unsigned i = 0; i < count; i++) {
        if (seg[i].first > seg[i].last || seg[i].last >= BLK_PAGE_SECTORS)
            return BLKIF_RSP_ERROR;
        sectors += seg[i].last - seg[i].first + 1u;
    }
    *bytes = sectors * BLK_SECTOR;
    return count ? range_check(sector, sectors, limits) : BLKIF_RSP_OKAY;
}

unsigned blk_indirect_pages(unsigned segments)
{
    return (segments + BLK_SEGMENTS_PER_PAGE - 1) / BLK_SEGMENTS_PER_PAGE;
}
