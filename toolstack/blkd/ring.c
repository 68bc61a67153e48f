// SPDX-License-Identifier: BSD-2-Clause
#include "ring.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum { RING_REQ_PROD = 0, RING_REQ_EVENT = 4, RING_RSP_PROD = 8, RING_RSP_EVENT = 12 };
enum { RING_HEADER = 64 };

static_assert(offsetof(struct blkif_sring, req_event) == RING_REQ_EVENT, "req_event");
static_assert(offsetof(struct blkif_sring, rsp_prod) == RING_RSP_PROD, "rsp_prod");
static_assert(offsetof(struct blkif_sring, rsp_event) == RING_RSP_EVENT, "rsp_event");
static_assert(offsetof(struct blkif_sring, ring) == RING_HEADER, "slots");

static uint32_t *ring_word(const struct blk_ring *r, unsigned offset)
{
    return (uint32_t *)(void *)(r->shared + offset);
}

static uint8_t *ring_slot(const struct blk_ring *r, uint32_t index)
{
    size_t size = blk_abi_request_size(r->abi);
    return r->shared + RING_HEADER + (index & (r->entries - 1)) * size;
}

unsigned blk_ring_entries(enum blk_abi abi, size_t bytes)
{
    size_t fit = bytes > RING_HEADER ? (bytes - RING_HEADER) / blk_abi_request_size(abi) : 0;
    unsigned entries = 1;
    while (entries * 2 <= fit)
        entries *= 2;
    return fit ? entries : 0;
}

uint32_t blk_ring_seen(const struct blk_ring *r)
{
    return __atomic_load_n(ring_word(r, RING_RSP_PROD), __ATOMIC_ACQUIRE);
}

int blk_ring_attach(struct blk_ring *r, enum blk_abi abi, void *shared, size_t bytes)
{
    *r = (struct blk_ring){
        .abi = abi, .entries = blk_ring_entries(abi, bytes), .shared = (uint8_t *)shared};
    r->rsp_prod = r->req_cons = blk_ring_seen(r);
    int pending = blk_ring_pending(r);
    return pending < 0 ? pending : 0;
}

int blk_ring_pending(const struct blk_ring *r)
{
    uint32_t prod = __atomic_load_n(ring_word(r, RING_REQ_PROD), __ATOMIC_ACQUIRE);
    // Behind req_cons is as wrong as too far ahead: both show as a large difference.
    if (prod - r->rsp_prod > r->entries || prod - r->req_cons > r->entries)
        return -EPROTO;
    return (int)(prod - r->req_cons);
}

void blk_ring_copy(const struct blk_ring *r, struct blk_request *out)
{
    uint8_t raw[BLK_RAW_MAX] __attribute__((aligned(8)));
    memcpy(raw, ring_slot(r, r->req_cons), blk_abi_request_size(r->abi));
    // The compiler must not read the slot again later: from here on it knows only the copy.
    __asm__ volatile("" : : "r"(raw) : "memory");
    blk_request_parse(r->abi, raw, out);
}

void blk_ring_advance(struct blk_ring *r)
{
    r->req_cons++;
}

void blk_ring_respond(struct blk_ring *r, uint64_t id, uint8_t operation, int16_t status)
{
    blk_response_store(r->abi, ring_slot(r, r->rsp_prod), id, operation, status);
    r->rsp_prod++;
}

bool blk_ring_publish(struct blk_ring *r)
{
    uint32_t *prod = ring_word(r, RING_RSP_PROD);
    uint32_t old = __atomic_load_n(prod, __ATOMIC_RELAXED);
    __atomic_store_n(prod, r->rsp_prod, __ATOMIC_RELEASE);
    // The guest sets rsp_event before it looks at rsp_prod a last time; we do the reverse.
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    uint32_t event = __atomic_load_n(ring_word(r, RING_RSP_EVENT), __ATOMIC_RELAXED);
    return r->rsp_prod - event < r->rsp_prod - old;
}

bool blk_ring_sleep(struct blk_ring *r)
{
    __atomic_store_n(ring_word(r, RING_REQ_EVENT), r->req_cons + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return blk_ring_pending(r) != 0;
}
