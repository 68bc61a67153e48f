// SPDX-License-Identifier: BSD-2-Clause
#include "request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool request_writes(const struct request *rq)
{
    return rq->log->req.operation != BLKIF_OP_READ;
}

// The arrays only grow: most requests of a queue are of the same few sizes.
static bool request_room(struct request *rq, unsigned count)
{
    if (count <= rq->room)
        return true;
    struct blk_segment *seg = reallocarray(rq->seg, count, sizeof(*seg));
    if (seg)
        rq->seg = seg;
    uint32_t *gref = reallocarray(rq->gref, count, sizeof(*gref));
    if (gref)
        rq->gref = gref;
    struct pgrant **page = reallocarray(rq->page, count, sizeof(struct pgrant *));
    if (page)
        rq->page = page;
    struct iovec *iov = reallocarray(rq->iov, count, sizeof(*iov));
    if (iov)
        rq->iov = iov;
    if (!seg || !gref || !page || !iov)
        return false;
    rq->room = count;
    return true;
}

void request_release(struct request *rq)
{
    free(rq->seg);
    free(rq->gref);
    free(rq->page);
    free(rq->iov);
}

// Copies a page of segments out of the guest, once.
static bool request_fetch_page(struct disk *d, uint32_t gref, void *page, size_t bytes)
{
    struct host *h = d->env->host;
    struct pgrant *from;
    if (d->grants && pgrant_get(d->grants, &gref, 1, &from, d->env->now_ms)) {
        memcpy(page, pgrant_address(from), bytes);
        pgrant_put(&from, 1);
        return true;
    }
    struct grant_copy piece = {.gref = gref, .length = (uint16_t)bytes, .local = page};
    return !h->ops->copy(h->ctx, d->domid, &piece, 1, false);
}

static bool request_fetch_indirect(struct request *rq)
{
    uint8_t page[BLK_PAGE] __attribute__((aligned(8)));
    unsigned done = 0;
    for (unsigned p = 0; p < blk_indirect_pages(rq->count); p++) {
        unsigned n = rq->count - done;
        if (n > BLK_SEGMENTS_PER_PAGE)
            n = BLK_SEGMENTS_PER_PAGE;
        if (!request_fetch_page(rq->queue->disk, rq->log->req.pages[p], page,
                                n * sizeof(struct blkif_request_segment)))
            return false;
        for (unsigned i = 0; i < n; i++)
            blk_segment_load(page, i, &rq->seg[done++]);
    }
    return true;
}

// Segments into rq->seg, checked. BLKIF_RSP_*.
static int request_segments(struct request *rq)
{
    const struct blk_request *r = &rq->log->req;
    rq->count = r->operation == BLKIF_OP_DISCARD ? 0 : r->nr_segments;
    if (!request_room(rq, rq->count))
        return BLKIF_RSP_ERROR;
    if (r->indirect) {
        if (!request_fetch_indirect(rq))
            return BLKIF_RSP_ERROR;
    } else if (rq->count) {
        memcpy(rq->seg, r->seg, rq->count * sizeof(rq->seg[0]));
    }
    for (unsigned i = 0; i < rq->count; i++)
        rq->gref[i] = rq->seg[i].gref;
    return blk_segments_check(rq->seg, rq->count, r->sector, &rq->queue->disk->limits, &rq->bytes);
}

static size_t segment_bytes(const struct blk_segment *s)
{
    return (size_t)(s->last - s->first + 1) * BLK_SECTOR;
}

// Moves the data between the buffer and the guest.
static bool request_copy(struct request *rq, bool to_guest)
{
    struct disk *d = rq->queue->disk;
    struct host *h = d->env->host;
    struct grant_copy piece[BLK_SEGMENTS_MAX];
    uint8_t *at = rq->bounce;
    for (unsigned i = 0; i < rq->count; i++) {
        const struct blk_segment *s = &rq->seg[i];
        size_t bytes = segment_bytes(s), offset = (size_t)s->first * BLK_SECTOR;
        if (rq->mapped) {
            uint8_t *page = (uint8_t *)pgrant_address(rq->page[i]) + offset;
            memcpy(to_guest ? page : at, to_guest ? at : page, bytes);
        } else {
            piece[i] = (struct grant_copy){.gref = s->gref,
                                           .offset = (uint16_t)offset,
                                           .length = (uint16_t)bytes,
                                           .local = at};
        }
        at += bytes;
    }
    return rq->mapped || !h->ops->copy(h->ctx, d->domid, piece, rq->count, to_guest);
}

static void request_iov_pages(struct request *rq)
{
    unsigned n = 0;
    for (unsigned i = 0; i < rq->count; i++) {
        const struct blk_segment *s = &rq->seg[i];
        uint8_t *at = (uint8_t *)pgrant_address(rq->page[i]) + (size_t)s->first * BLK_SECTOR;
        // Pages mapped together often follow each other.
        if (n && (uint8_t *)rq->iov[n - 1].iov_base + rq->iov[n - 1].iov_len == at)
            rq->iov[n - 1].iov_len += segment_bytes(s);
        else
            rq->iov[n++] = (struct iovec){at, segment_bytes(s)};
    }
    rq->io.iovcnt = n;
}

// Decides where the kernel transfers from or to, and fetches the data of a write.
static int request_buffers(struct request *rq)
{
    struct disk *d = rq->queue->disk;
    rq->mapped = d->grants && pgrant_get(d->grants, rq->gref, rq->count, rq->page, d->env->now_ms);
    if (rq->mapped && (request_writes(rq) || !d->image->read_only)) {
        request_iov_pages(rq);
        return BLKIF_RSP_OKAY;
    }
    rq->bounce = aligned_alloc(BLK_PAGE, (rq->bytes + BLK_PAGE - 1) & ~(uint64_t)(BLK_PAGE - 1));
    if (!rq->bounce)
        return BLKIF_RSP_ERROR;
    d->env->bounce += rq->bytes;
    if (request_writes(rq) && !request_copy(rq, false))
        return BLKIF_RSP_ERROR;
    rq->iov[0] = (struct iovec){rq->bounce, rq->bytes};
    rq->io.iovcnt = 1;
    return BLKIF_RSP_OKAY;
}

static void request_finish(struct request *rq, int status)
{
    struct disk *d = rq->queue->disk;
    if (rq->mapped)
        pgrant_put(rq->page, rq->count);
    if (rq->bounce)
        d->env->bounce -= rq->bytes;
    free(rq->bounce);
    rq->mapped = false;
    rq->bounce = NULL;
    request_end(rq, status);
}

static void request_next_stage(struct request *rq);

static void request_failed(const struct request *rq, int err)
{
    static const char *const names[] = {"read", "write", "write", "flush", "", "discard"};
    struct disk *d = rq->queue->disk;
    unsigned op = rq->log->req.operation;
    const char *name = op < sizeof(names) / sizeof(names[0]) ? names[op] : "";
    d->calls->failed(d->arg, rq->stage == STAGE_DATA ? name : "flush", err);
}

static void request_on_io(struct image_io *io, int result)
{
    struct request *rq = (struct request *)((char *)io - offsetof(struct request, io));
    if (result == -EOPNOTSUPP && rq->log->req.operation == BLKIF_OP_DISCARD) {
        request_finish(rq, BLKIF_RSP_EOPNOTSUPP);
    } else if (result) {
        request_failed(rq, -result);
        request_finish(rq, BLKIF_RSP_ERROR);
    } else if (rq->bounce && !request_writes(rq) && !request_copy(rq, true)) {
        request_finish(rq, BLKIF_RSP_ERROR);
    } else {
        request_next_stage(rq);
    }
}

static void request_data(struct request *rq)
{
    struct image *img = rq->queue->disk->image;
    int status = request_buffers(rq);
    if (status != BLKIF_RSP_OKAY) {
        request_finish(rq, status);
        return;
    }
    rq->io.offset = rq->log->req.sector * BLK_SECTOR;
    rq->io.length = rq->bytes;
    rq->io.iov = rq->iov;
    if (request_writes(rq))
        image_write(img, &rq->io);
    else
        image_read(img, &rq->io);
}

// A barrier, and a flush with data: flush, write, flush. Without data one flush is all.
static void request_next_stage(struct request *rq)
{
    bool ordered = rq->log->req.operation == BLKIF_OP_WRITE_BARRIER ||
                   rq->log->req.operation == BLKIF_OP_FLUSH_DISKCACHE;
    if (rq->stage == STAGE_FLUSH_BEFORE && rq->count) {
        rq->stage = STAGE_DATA;
        request_data(rq);
    } else if (rq->stage == STAGE_DATA && ordered) {
        rq->stage = STAGE_FLUSH_AFTER;
        image_flush(rq->queue->disk->image, &rq->io);
    } else {
        request_finish(rq, BLKIF_RSP_OKAY);
    }
}

static void request_count(struct request *rq)
{
    struct disk *d = rq->queue->disk;
    rq->counted = true;
    d->running++;
    d->bytes += rq->bytes;
    disk_rate_use(&d->rate, rq->bytes);
}

static void request_run(struct request *rq)
{
    struct disk *d = rq->queue->disk;
    const struct blk_request *r = &rq->log->req;
    request_count(rq);
    rq->io.done = request_on_io;
    rq->stage = STAGE_DATA;
    if (r->operation == BLKIF_OP_DISCARD) {
        rq->io.offset = r->sector * BLK_SECTOR;
        rq->io.length = r->nr_sectors * BLK_SECTOR;
        image_discard(d->image, &rq->io);
    } else if (r->operation == BLKIF_OP_READ || r->operation == BLKIF_OP_WRITE) {
        request_data(rq);
    } else if (d->image->read_only) { // nothing that could be flushed
        request_finish(rq, BLKIF_RSP_OKAY);
    } else {
        rq->stage = STAGE_FLUSH_BEFORE;
        image_flush(d->image, &rq->io);
    }
}

void request_start_barrier(struct request *rq)
{
    rq->queue->disk->barrier_runs = true;
    request_run(rq);
}

void request_start(struct request *rq)
{
    struct disk *d = rq->queue->disk;
    rq->bytes = 0;
    rq->count = 0;
    int status = d->image ? blk_request_check(&rq->log->req, &d->limits) : BLKIF_RSP_ERROR;
    if (status == BLKIF_RSP_OKAY)
        status = request_segments(rq);
    if (status != BLKIF_RSP_OKAY) {
        request_end(rq, status);
    } else if (rq->log->req.operation != BLKIF_OP_WRITE_BARRIER) {
        request_run(rq);
    } else {
        d->barrier = rq;
        if (!d->running)
            request_start_barrier(rq);
    }
}
