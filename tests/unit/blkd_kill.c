// SPDX-License-Identifier: BSD-2-Clause
/* The block daemon in a child that is killed with SIGKILL, again and again, while a front end keeps
 * its rings full: every request is answered once, nothing is lost, nothing comes back. */
#include "unit.h"

#include "blkd_fake.h"

#include "log.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

enum { BLOCKS = 2048, BLOCK = 4096, MOST = 8, KILLS = 25, SLOTS = 2 * 64 };

/* One request in flight. */
struct slot {
    bool used;
    uint8_t operation;
    unsigned block, count; /* of BLOCK bytes */
    uint32_t version;
    uint32_t gref; /* MOST pages of its own */
    uint32_t page; /* and one for indirect segments */
};

static struct front front;
static struct slot slots[SLOTS];
static uint32_t version[BLOCKS]; /* what the disk must hold */
static bool busy[BLOCKS];
static uint32_t next_version;
static unsigned in_flight, answered;

static void stamp(uint8_t *at, unsigned block, uint32_t v)
{
    uint32_t *word = (uint32_t *)(void *)at;
    for (unsigned i = 0; i < BLOCK / 4; i++) {
        word[i] = v ? v * 7919 + block * 31 + i : 0;
    }
}

static void check_stamp(const uint8_t *at, unsigned block, uint32_t v, const char *where)
{
    uint8_t want[BLOCK];
    stamp(want, block, v);
    if (memcmp(at, want, BLOCK) != 0) {
        fail_msg("%s: block %u does not hold version %u", where, block, v);
    }
}

static bool block_range(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        if (i >= BLOCKS || busy[i]) {
            return false;
        }
    }
    return true;
}

static void put(unsigned queue, unsigned id)
{
    struct slot *s = &slots[id];
    unsigned block = (unsigned)rand() % BLOCKS, count = 1 + (unsigned)rand() % MOST;
    unsigned dice = (unsigned)rand() % 100;
    if (!block_range(block, count)) {
        return;
    }
    struct front_request r = front_io(BLKIF_OP_READ, block * 8, s->gref, count * 8);
    r.operation = dice < 45   ? BLKIF_OP_READ
                  : dice < 94 ? BLKIF_OP_WRITE
                  : dice < 98 ? BLKIF_OP_FLUSH_DISKCACHE
                              : BLKIF_OP_WRITE_BARRIER;
    r.indirect = r.operation <= BLKIF_OP_WRITE && dice % 3 == 0;
    r.page = s->page;
    if (r.operation == BLKIF_OP_FLUSH_DISKCACHE) {
        r.count = count = 0;
    }
    r.id = id;
    s->used = true;
    s->operation = r.operation;
    s->block = block;
    s->count = count;
    s->version = ++next_version;
    for (unsigned i = 0; i < count; i++) {
        busy[block + i] = true;
        uint8_t *page = fake_address(s->gref + i);
        if (r.operation == BLKIF_OP_READ) {
            memset(page, 0xee, BLOCK);
        } else {
            stamp(page, block + i, s->version);
        }
    }
    front_put(&front.queue[queue], &r);
    in_flight++;
}

static void take(unsigned queue)
{
    struct front_response r;
    while (front_get(&front.queue[queue], &r)) {
        assert_true(r.id < SLOTS && slots[r.id].used);
        struct slot *s = &slots[r.id];
        assert_int_equal(r.operation, s->operation);
        assert_int_equal(r.status, BLKIF_RSP_OKAY);
        for (unsigned i = 0; i < s->count; i++) {
            unsigned b = s->block + i;
            if (s->operation == BLKIF_OP_READ) {
                check_stamp(fake_address(s->gref + i), b, version[b], "read");
            } else {
                version[b] = s->version;
            }
            /* Whoever writes to our page from now on does wrong. */
            stamp(fake_address(s->gref + i), b, ~0u);
            busy[b] = false;
        }
        s->used = false;
        in_flight--;
        answered++;
    }
}

static void work(unsigned ms, bool more)
{
    uint64_t end = loop_now_ms() + ms;
    while (loop_now_ms() < end && (more || in_flight)) {
        for (unsigned q = 0; q < front.queues; q++) {
            unsigned room = SLOTS / front.queues;
            take(q);
            for (unsigned i = q * room; more && i < (q + 1) * room; i++) {
                if (!slots[i].used && rand() % 3) {
                    put(q, i);
                }
            }
            front_push(&front.queue[q]);
        }
        poll(NULL, 0, 1);
    }
}

static void wait_state(int state)
{
    for (unsigned i = 0; i < 1000 && fake_back_state() != state; i++) {
        poll(NULL, 0, 10);
    }
    assert_int_equal(fake_back_state(), state);
}

static void run(enum blk_abi abi, unsigned queues, bool persistent)
{
    memset(slots, 0, sizeof(slots));
    memset(version, 0, sizeof(version));
    memset(busy, 0, sizeof(busy));
    in_flight = 0;
    fake_new();
    fake_options.lock_wait_ms = 5000;
    fake_image("disk", (uint64_t)BLOCKS * BLOCK);
    fake_attach("disk", "w", "disk");
    fake_spawn();
    wait_state(2);
    front_connect(&front, abi, queues, queues == 1 ? 2 : 1, persistent);
    wait_state(4);
    fake_write(fake_front("state"), "4");
    for (unsigned i = 0; i < SLOTS; i++) {
        slots[i].page = fake_page();
        slots[i].gref = fake_page();
        for (unsigned p = 1; p < MOST; p++) {
            fake_page();
        }
    }
    unsigned sum = 0;
    for (unsigned k = 0; k < KILLS; k++) {
        answered = 0;
        work(30 + (unsigned)rand() % 60, true);
        sum += answered;
        fake_kill();
        assert_int_equal(fake_back_state(), 4);
        fake_spawn();
    }
    work(20000, false);
    printf("%u requests answered between the kills\n", sum);
    assert_true(sum > KILLS);
    assert_int_equal(in_flight, 0);
    for (unsigned i = 0; i < SLOTS; i++) {
        for (unsigned p = 0; p < slots[i].count; p++) {
            check_stamp(fake_address(slots[i].gref + p), slots[i].block + p, ~0u, "page");
        }
    }
    uint8_t data[BLOCK];
    int fd = fake_image_fd("disk", O_RDONLY);
    for (unsigned b = 0; b < BLOCKS; b++) {
        assert_int_equal(pread(fd, data, BLOCK, (off_t)b * BLOCK), BLOCK);
        check_stamp(data, b, version[b], "image");
    }
    close(fd);
    fake_write(fake_front("state"), "6");
    wait_state(6);
    fake_kill();
    fake_free();
}

static void test_mapped(void **unused)
{
    run(BLK_ABI_X86_64, 2, true);
}

static void test_copied(void **unused)
{
    run(BLK_ABI_X86_32, 1, false);
}

/* A CD that was changed while no daemon ran: the frontend and the toolstack are told by the next.
 */
static void test_medium_changed_meanwhile(void **unused)
{
    fake_new();
    fake_image("one", 1 << 20);
    fake_image("two", 1 << 21);
    fake_attach("one", "r", "cdrom");
    fake_spawn();
    wait_state(2);
    front_connect(&front, BLK_ABI_X86_64, 1, 0, true);
    wait_state(4);
    assert_string_equal(fake_read(fake_back("sectors")), "2048");
    fake_kill();
    fake_write(fake_back("params"), "%s/two", fake_dir);
    fake_spawn();
    for (unsigned i = 0; i < 1000 && strcmp(fake_read(fake_back("sectors")), "4096") != 0; i++) {
        poll(NULL, 0, 10);
    }
    assert_string_equal(fake_read(fake_back("sectors")), "4096");
    assert_non_null(strstr(fake_read(fake_back("medium")), "/two"));
    assert_int_equal(fake_back_state(), 4);
    fake_kill();
    fake_free();
}

/* A journal that is gone or damaged: an error and a closed disk, rather than wrong data. */
static void test_lost_journal(void **unused)
{
    for (int damage = 0; damage < 3; damage++) {
        char path[160];
        fake_new();
        fake_image("disk", 1 << 20);
        fake_attach("disk", "w", "disk");
        fake_spawn();
        wait_state(2);
        front_connect(&front, BLK_ABI_X86_64, 1, 0, true);
        wait_state(4);
        fake_kill();
        snprintf(path, sizeof(path), "%s/%d-%d", fake_dir, FAKE_DOMID, FAKE_DEVID);
        int fd = open(path, O_RDWR);
        assert_true(fd >= 0);
        if (damage == 0) {
            unlink(path);
        } else if (damage == 1) {
            assert_int_equal(ftruncate(fd, 100), 0);
        } else {
            assert_int_equal(pwrite(fd, "damaged", 7, 10), 7);
        }
        close(fd);
        fake_spawn();
        wait_state(6);
        assert_non_null(strstr(fake_read(fake_back("error")), "journal"));
        fake_kill();
        fake_free();
    }
}

/* Killed between its states: the next one goes on from what the store says. */
static void test_early_kill(void **unused)
{
    fake_new();
    fake_image("disk", 1 << 20);
    fake_attach("disk", "w", "disk");
    fake_spawn();
    wait_state(2);
    fake_kill();
    fake_spawn();
    front_connect(&front, BLK_ABI_X86_64, 1, 0, true);
    wait_state(4);
    fake_kill();
    fake_write(fake_front("state"), "5");
    fake_spawn();
    wait_state(5);
    fake_kill();
    fake_write(fake_front("state"), "6");
    fake_spawn();
    wait_state(6);
    fake_kill();
    fake_free();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mapped),
        cmocka_unit_test(test_copied),
        cmocka_unit_test(test_medium_changed_meanwhile),
        cmocka_unit_test(test_lost_journal),
        cmocka_unit_test(test_early_kill),
    };
    log_setup("blkd", LOG_LEVEL_WARN, false);
    unsigned seed = (unsigned)loop_now_ms();
    printf("seed %u\n", seed);
    srand(seed);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fake_direct = true;
    return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
