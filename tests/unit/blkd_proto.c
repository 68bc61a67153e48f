// SPDX-License-Identifier: BSD-2-Clause
/* The block daemon's parts without I/O: requests, ring, journal, grants, the states of a device. */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <xen/io/blkif.h>

#include "backend.h"
#include "journal.h"
#include "pgrant.h"
#include "proto.h"
#include "ring.h"

static void test_native_layout(void **unused)
{
    struct blkif_request rw = {.operation = BLKIF_OP_WRITE, .nr_segments = 11, .id = 1ull << 60};
    struct blkif_request_discard *d = (void *)&rw;
    struct blkif_request_indirect *in = (void *)&rw;
    struct blk_request out;
    rw.sector_number = 0x123456789abcull;
    for (unsigned i = 0; i < 11; i++) {
        rw.seg[i] = (struct blkif_request_segment){.gref = i + 5, .first_sect = 1, .last_sect = i};
    }
    blk_request_parse(BLK_ABI_X86_64, (void *)&rw, &out);
    assert_int_equal(out.id, 1ull << 60);
    assert_int_equal(out.sector, 0x123456789abcull);
    assert_int_equal(out.nr_segments, 11);
    assert_int_equal(out.seg[10].gref, 15);
    assert_int_equal(out.seg[10].last, 10);
    d->operation = BLKIF_OP_DISCARD;
    d->nr_sectors = 1ull << 40;
    blk_request_parse(BLK_ABI_X86_64, (void *)&rw, &out);
    assert_int_equal(out.nr_sectors, 1ull << 40);
    assert_int_equal(out.nr_segments, 0);
    in->operation = BLKIF_OP_INDIRECT;
    in->indirect_op = BLKIF_OP_READ;
    in->nr_segments = 0xfffe;
    in->indirect_grefs[7] = 99;
    blk_request_parse(BLK_ABI_X86_64, (void *)&rw, &out);
    assert_true(out.indirect);
    assert_int_equal(out.operation, BLKIF_OP_READ);
    assert_int_equal(out.nr_segments, 0xfffe);
    assert_int_equal(out.pages[7], 99);
}

static void test_narrow_layout(void **unused)
{
    struct {
        uint8_t operation, nr_segments;
        uint16_t handle;
        uint64_t id, sector;
        struct blkif_request_segment seg[11];
    } __attribute__((packed, aligned(4))) rw = {BLKIF_OP_READ, 2, 3, ~0ull, 77, {{4, 1, 2}}};
    uint8_t slot[112] = {0};
    struct blk_request out;
    assert_int_equal(sizeof(rw), blk_abi_request_size(BLK_ABI_X86_32));
    memcpy(slot, &rw, sizeof(rw));
    blk_request_parse(BLK_ABI_X86_32, slot, &out);
    assert_int_equal(out.id, ~0ull);
    assert_int_equal(out.sector, 77);
    assert_int_equal(out.seg[0].gref, 4);
    assert_int_equal(out.seg[0].last, 2);
    blk_response_store(BLK_ABI_X86_32, slot, 9, BLKIF_OP_READ, -2);
    assert_int_equal(slot[0], 9);
    assert_int_equal(slot[8], BLKIF_OP_READ);
    assert_int_equal((int8_t)slot[10], -2);
    enum blk_abi abi;
    assert_int_equal(blk_abi_parse("x86_32-abi", &abi), 0);
    assert_int_equal(abi, BLK_ABI_X86_32);
    assert_int_equal(blk_abi_parse(NULL, &abi), 0);
    assert_int_equal(abi, BLK_ABI_X86_64);
    assert_int_equal(blk_abi_parse("arm-abi", &abi), -EINVAL);
}

static void test_checks(void **unused)
{
    const struct blk_limits all = {.sectors = 100, .indirect = 64, .discard = true};
    const struct blk_limits none = {.sectors = 100, .read_only = true};
    struct blk_request r = {.operation = BLKIF_OP_READ, .nr_segments = 11};
    assert_int_equal(blk_request_check(&r, &none), BLKIF_RSP_OKAY);
    r.nr_segments = 12;
    assert_int_equal(blk_request_check(&r, &all), BLKIF_RSP_ERROR);
    r = (struct blk_request){.operation = BLKIF_OP_WRITE, .nr_segments = 64, .indirect = 1};
    assert_int_equal(blk_request_check(&r, &all), BLKIF_RSP_OKAY);
    assert_int_equal(blk_request_check(&r, &none), BLKIF_RSP_EOPNOTSUPP);
    r.nr_segments = 65;
    assert_int_equal(blk_request_check(&r, &all), BLKIF_RSP_ERROR);
    r = (struct blk_request){.operation = BLKIF_OP_DISCARD, .sector = 100, .nr_sectors = 1};
    assert_int_equal(blk_request_check(&r, &all), BLKIF_RSP_ERROR);
    r.sector = 99;
    assert_int_equal(blk_request_check(&r, &all), BLKIF_RSP_OKAY);
    r.nr_sectors = UINT64_MAX;
    assert_int_equal(blk_request_check(&r, &all), BLKIF_RSP_ERROR);

    struct blk_segment seg[2] = {{1, 0, 7}, {2, 7, 7}};
    uint64_t bytes;
    assert_int_equal(blk_segments_check(seg, 2, 91, &all, &bytes), BLKIF_RSP_OKAY);
    assert_int_equal(bytes, 9 * 512);
    assert_int_equal(blk_segments_check(seg, 2, 92, &all, &bytes), BLKIF_RSP_ERROR);
    assert_int_equal(blk_segments_check(seg, 2, UINT64_MAX, &all, &bytes), BLKIF_RSP_ERROR);
    seg[1].last = 8;
    assert_int_equal(blk_segments_check(seg, 2, 0, &all, &bytes), BLKIF_RSP_ERROR);
    seg[1] = (struct blk_segment){2, 3, 2};
    assert_int_equal(blk_segments_check(seg, 2, 0, &all, &bytes), BLKIF_RSP_ERROR);
    assert_int_equal(blk_segments_check(seg, 0, UINT64_MAX, &all, &bytes), BLKIF_RSP_OKAY);
    assert_int_equal(blk_indirect_pages(1), 1);
    assert_int_equal(blk_indirect_pages(512), 1);
    assert_int_equal(blk_indirect_pages(513), 2);
}

static union {
    struct blkif_sring sring;
    uint8_t bytes[4096];
} ring_page;

static void test_ring(void **unused)
{
    struct blk_ring r;
    struct blkif_sring *s = &ring_page.sring;
    struct blk_request req;
    assert_int_equal(blk_ring_entries(BLK_ABI_X86_64, 4096), 32);
    assert_int_equal(blk_ring_entries(BLK_ABI_X86_32, 4096), 32);
    assert_int_equal(blk_ring_entries(BLK_ABI_X86_64, 65536), 512);
    assert_int_equal(blk_ring_entries(BLK_ABI_X86_64, 64), 0);
    memset(&ring_page, 0, sizeof(ring_page));
    s->req_prod = s->rsp_prod = s->req_event = s->rsp_event = UINT32_MAX - 3; /* wraps below */
    assert_int_equal(blk_ring_attach(&r, BLK_ABI_X86_64, s, 4096), 0);
    for (unsigned round = 0; round < 100; round++) {
        unsigned n = 1 + round % 32;
        for (unsigned i = 0; i < n; i++) {
            s->ring[(s->req_prod + i) & 31].req.id = round * 100 + i;
        }
        s->req_prod += n;
        assert_int_equal(blk_ring_pending(&r), n);
        for (unsigned i = 0; i < n; i++) {
            blk_ring_copy(&r, &req);
            assert_int_equal(req.id, round * 100 + i);
            blk_ring_advance(&r);
        }
        assert_false(blk_ring_sleep(&r));
        assert_int_equal(s->req_event, s->req_prod + 1);
        for (unsigned i = 0; i < n; i++) {
            blk_ring_respond(&r, i, 1, -1);
        }
        s->rsp_event = s->rsp_prod + (round % 2 ? 1 : n + 1);
        assert_int_equal(blk_ring_publish(&r), round % 2);
        assert_int_equal(s->rsp_prod, s->req_prod);
        assert_int_equal(s->ring[(s->rsp_prod - 1) & 31].rsp.id, n - 1);
    }
    s->req_prod++;
    assert_true(blk_ring_sleep(&r));
    s->req_prod += 32;
    assert_int_equal(blk_ring_pending(&r), -EPROTO);
    assert_int_equal(blk_ring_attach(&r, BLK_ABI_X86_64, s, 4096), -EPROTO);
    s->req_prod = r.req_cons - 1;
    assert_int_equal(blk_ring_pending(&r), -EPROTO);
}

/* Every moment at which the daemon can be killed: a copy of the journal and of the ring's rsp_prod
 * is recovered, and must name exactly the requests that the guest has no answer for. */
enum { ENTRIES = 8 };
static uint64_t journal_memory[512], journal_copy[512];
static bool unanswered[4096];

static void survive(uint32_t seen, uint32_t req_cons)
{
    struct journal *j = (void *)journal_copy;
    unsigned found = 0, want = 0;
    memcpy(journal_copy, journal_memory, sizeof(journal_copy));
    assert_int_equal(journal_recover(j, ENTRIES, seen), 0);
    assert_true(j->req_cons == req_cons || j->req_cons == req_cons + 1);
    for (unsigned i = 0; i < ENTRIES; i++) {
        if (j->entry[i].state == JOURNAL_TAKEN) {
            assert_true(unanswered[j->entry[i].req.id]);
            assert_int_equal(j->entry[i].req.id, j->entry[i].index);
            found++;
        }
    }
    for (uint32_t i = 0; i < j->req_cons; i++) {
        want += unanswered[i];
    }
    assert_int_equal(found, want);
    /* Doing it twice, as when the next one is killed at once, changes nothing. */
    assert_int_equal(journal_recover(j, ENTRIES, seen), 0);
}

static void test_journal(void **unused)
{
    struct journal *j = (void *)journal_memory;
    uint32_t rsp = 0, seen = 0, taken = 0;
    unsigned state[ENTRIES] = {0};
    srand(3);
    memset(unanswered, true, sizeof(unanswered));
    journal_reset(j, ENTRIES, 0);
    for (unsigned step = 0; step < 20000 && taken < 4000; step++) {
        unsigned i = (unsigned)rand() % ENTRIES;
        struct journal_entry *e = &j->entry[i];
        if (state[i] == 0) {
            e->req.id = taken;
            survive(seen, taken);
            e->index = taken;
            survive(seen, taken);
            __atomic_store_n(&e->state, JOURNAL_TAKEN, __ATOMIC_RELEASE);
            survive(seen, taken); /* in the entry, but req_cons has not moved */
            journal_take(j, e, taken++);
            state[i] = 1;
        } else if (state[i] == 1 && rand() % 2) {
            e->response = rsp;
            survive(seen, taken);
            journal_done(e, rsp++);
            state[i] = 2;
        } else if (rand() % 3 == 0) { /* publish */
            for (unsigned k = 0; k < ENTRIES; k++) {
                if (state[k] == 2) {
                    unanswered[j->entry[k].req.id] = false;
                }
            }
            seen = rsp;
            for (unsigned k = 0; k < ENTRIES; k++) {
                survive(seen, taken);
                if (state[k] == 2) {
                    journal_free(&j->entry[k]);
                    state[k] = 0;
                }
            }
        }
        survive(seen, taken);
    }
    assert_true(taken >= 1000);
    assert_int_equal(journal_recover(j, ENTRIES * 2, seen), -EINVAL);
    assert_int_equal(journal_recover(j, ENTRIES, seen + 1000), -EINVAL);
    j->magic++;
    assert_int_equal(journal_recover(j, ENTRIES, seen), -EINVAL);
}

static void test_states(void **unused)
{
    static const struct {
        unsigned own, front;
        bool opened, served, failed;
        enum backend_action want;
    } rows[] = {
        {0, 0, false, false, false, BACKEND_OPEN},
        {1, 1, false, false, false, BACKEND_OPEN},
        {1, 1, false, false, true, BACKEND_NONE},
        {2, 1, true, false, false, BACKEND_NONE},
        {2, 1, false, false, false, BACKEND_OPEN},
        {2, 0, true, false, false, BACKEND_NONE},
        {2, 3, true, false, false, BACKEND_CONNECT},
        {2, 4, true, false, false, BACKEND_CONNECT},
        {2, 5, true, false, false, BACKEND_CLOSING},
        {2, 6, true, false, false, BACKEND_CLOSE},
        {4, 3, true, true, false, BACKEND_NONE},
        {4, 4, true, true, false, BACKEND_NONE},
        {4, 4, false, false, false, BACKEND_REATTACH},
        {4, 3, false, false, false, BACKEND_REATTACH},
        {4, 5, true, true, false, BACKEND_CLOSING},
        {4, 6, true, true, false, BACKEND_CLOSE},
        {4, 0, true, true, false, BACKEND_CLOSE},
        {4, 1, true, true, false, BACKEND_CLOSE},
        {5, 5, true, true, false, BACKEND_NONE},
        {5, 4, true, true, false, BACKEND_NONE},
        {5, 6, true, true, false, BACKEND_CLOSE},
        {5, 1, true, true, false, BACKEND_CLOSE},
        {5, 0, false, false, false, BACKEND_CLOSE},
        {5, 4, false, false, false, BACKEND_REATTACH}, /* killed while it was to go */
        {5, 5, true, false, false, BACKEND_REATTACH},
        {5, 4, false, false, true, BACKEND_NONE},
        {6, 6, false, false, false, BACKEND_NONE},
        {6, 1, false, false, false, BACKEND_OPEN},
        {6, 1, false, false, true, BACKEND_NONE},
        {6, 4, false, false, false, BACKEND_NONE},
        {7, 4, true, true, false, BACKEND_NONE},
        {99, 99, true, true, false, BACKEND_NONE},
        {4, 77, true, true, false, BACKEND_NONE},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct backend_view v = {.own = rows[i].own,
                                 .front = rows[i].front,
                                 .online = true,
                                 .opened = rows[i].opened,
                                 .served = rows[i].served,
                                 .failed = rows[i].failed};
        if (backend_step(&v) != rows[i].want) {
            fail_msg("row %zu: own %u, front %u: %d", i, v.own, v.front, backend_step(&v));
        }
    }
    struct backend_view off = {.own = XenbusStateClosed, .front = XenbusStateInitialising};
    assert_int_equal(backend_step(&off), BACKEND_NONE); /* not online */
}

static unsigned mapped;
static uint8_t pages[64][4096];

static void *map(void *ctx, uint32_t domid, const uint32_t *grefs, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (grefs[i] >= 64) {
            return NULL;
        }
    }
    mapped += count;
    return pages[grefs[0]];
}

static void unmap(void *ctx, void *address, unsigned count)
{
    mapped -= count;
}

static void test_grants(void **unused)
{
    static const struct host_ops ops = {.map = map, .unmap = unmap};
    struct host h = {.ops = &ops};
    struct pgrant_table *t = pgrant_new(&h, 1, 8);
    struct pgrant *a[4], *b[6];
    uint32_t some[] = {3, 4, 3, 5}, bad[] = {3, 6, 64}, many[] = {10, 11, 12, 13, 14, 15};
    assert_non_null(t);
    assert_true(pgrant_get(t, some, 4, a, 100));
    assert_int_equal(mapped, 3);
    assert_ptr_equal(pgrant_address(a[3]), pages[5]);
    assert_ptr_equal(a[0], a[2]);
    assert_false(pgrant_get(t, bad, 3, b, 100));
    assert_int_equal(pgrant_count(t), 3);
    assert_false(pgrant_get(t, many, 6, b, 100)); /* over the limit */
    assert_true(pgrant_get(t, many, 5, b, 200));
    pgrant_purge(t, 1000);
    assert_int_equal(pgrant_count(t), 8); /* all in use */
    pgrant_put(a, 4);
    pgrant_purge(t, 150);
    assert_int_equal(pgrant_count(t), 5);
    assert_true(pgrant_get(t, some, 1, a, 300));
    pgrant_put(a, 1);
    pgrant_put(b, 5);
    pgrant_purge(t, 250);
    assert_int_equal(pgrant_count(t), 1);
    pgrant_free(t);
    assert_int_equal(mapped, 0);
}

static void *map_any(void *ctx, uint32_t domid, const uint32_t *grefs, unsigned count)
{
    mapped += count;
    return pages[0];
}

/* One table cannot take the mappings that all the others need. */
static void test_grants_of_many(void **unused)
{
    static const struct host_ops ops = {.map = map_any, .unmap = unmap};
    enum { TABLES = 12, LIMIT = 4000 };
    struct host h = {.ops = &ops};
    struct pgrant_table *t[TABLES];
    unsigned first = 0, last = 0;
    for (unsigned n = 0; n < TABLES; n++) {
        t[n] = pgrant_new(&h, n, LIMIT);
        for (uint32_t i = 0; i < LIMIT; i++) {
            uint32_t ref = 1000 * (i + 1) + 7;
            struct pgrant *page;
            if (pgrant_get(t[n], &ref, 1, &page, 1)) {
                pgrant_put(&page, 1);
            }
        }
        first += n < 5 ? pgrant_count(t[n]) : 0;
        last += n >= 5 ? pgrant_count(t[n]) : 0;
    }
    assert_int_equal(first, 5 * LIMIT);
    assert_int_equal(last, 7 * 256);
    for (unsigned n = 0; n < TABLES; n++) {
        pgrant_free(t[n]);
    }
    assert_int_equal(mapped, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_native_layout), cmocka_unit_test(test_narrow_layout),
        cmocka_unit_test(test_checks),        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_journal),       cmocka_unit_test(test_states),
        cmocka_unit_test(test_grants),        cmocka_unit_test(test_grants_of_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
