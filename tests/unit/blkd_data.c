// SPDX-License-Identifier: BSD-2-Clause
/* The block daemon's data path and devices, from a front end's side: real files, real io_uring, no
 * hypervisor. */
#include "unit.h"

#include "blkd_fake.h"

#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint64_t MIB = 1 << 20;

static void fill(uint32_t gref, unsigned pages, uint32_t seed)
{
    uint32_t *at = fake_address(gref);
    for (unsigned i = 0; i < pages * 1024; i++) {
        at[i] = seed + i * 2654435761u;
    }
}

static bool filled(const void *data, size_t bytes, uint32_t seed)
{
    const uint32_t *at = data;
    for (unsigned i = 0; i < bytes / 4; i++) {
        if (at[i] != seed + i * 2654435761u) {
            return false;
        }
    }
    return true;
}

static uint32_t pages(unsigned n)
{
    uint32_t first = fake_page();
    while (--n) {
        fake_page();
    }
    return first;
}

static void connect_all(struct front *f, enum blk_abi abi, unsigned queues, unsigned order,
                        bool persistent)
{
    assert_true(fake_run_state(2));
    front_connect(f, abi, queues, order, persistent);
    assert_true(fake_run_state(4));
    fake_write(fake_front("state"), "4");
}

/* What the toolstack and the guest do at the end; the daemon must then hold nothing. */
static void detach(struct front *f)
{
    fake_write(fake_back("online"), "0");
    fake_write(fake_back("state"), "5");
    fake_write(fake_front("state"), "6");
    assert_true(fake_run_state(6));
    front_disconnect(f);
    fake_remove(fake_back(""));
    fake_run_ms(20);
    fake_remove(fake_front(""));
}

static void begin(const char *image, uint64_t bytes, const char *mode)
{
    fake_new();
    if (bytes) {
        fake_image(image, bytes);
    }
    fake_attach(image, mode, "disk");
    fake_start();
}

static void end(void)
{
    fake_stop();
    fake_free();
}

static void check_file(const char *name, uint64_t offset, size_t bytes, uint32_t seed)
{
    uint32_t *data = malloc(bytes);
    int fd = fake_image_fd(name, O_RDONLY);
    assert_int_equal(pread(fd, data, bytes, (off_t)offset), bytes);
    assert_true(filled(data, bytes, seed));
    close(fd);
    free(data);
}

static void round_trip(enum blk_abi abi, unsigned queues, unsigned order, bool persistent)
{
    struct front f;
    begin("disk", 8 * MIB, "w");
    connect_all(&f, abi, queues, order, persistent);
    uint32_t from = pages(11), to = pages(11);
    for (unsigned i = 0; i < 3 * f.queue[0].entries; i++) {
        struct front_queue *q = &f.queue[i % queues];
        unsigned sectors = 1 + i % 88;
        uint64_t at = (i * 97) % (8 * MIB / 512 - 88);
        fill(from, 11, i);
        memset(fake_address(to), 0, 11 * 4096);
        struct front_request w = front_io(BLKIF_OP_WRITE, at, from, sectors);
        struct front_request r = front_io(BLKIF_OP_READ, at, to, sectors);
        assert_int_equal(front_do(q, &w), BLKIF_RSP_OKAY);
        check_file("disk", at * 512, sectors * 512, i);
        assert_int_equal(front_do(q, &r), BLKIF_RSP_OKAY);
        assert_true(filled(fake_address(to), sectors * 512, i));
    }
    struct front_request flush = {.operation = BLKIF_OP_FLUSH_DISKCACHE, .id = 5, .sector = ~0ull};
    assert_int_equal(front_do(&f.queue[0], &flush), BLKIF_RSP_OKAY);
    if (persistent) {
        assert_true(fake->maps >= 22 + queues);
        assert_int_equal(fake->copies, 0);
    } else {
        assert_int_equal(fake->maps, queues << order);
        assert_true(fake->copies > 0);
    }
    detach(&f);
    end();
}

static void test_plain(void **unused)
{
    round_trip(BLK_ABI_X86_64, 1, 0, false);
}

static void test_persistent(void **unused)
{
    round_trip(BLK_ABI_X86_64, 1, 0, true);
}

static void test_narrow(void **unused)
{
    round_trip(BLK_ABI_X86_32, 1, 0, true);
    round_trip(BLK_ABI_X86_32, 1, 2, false);
}

static void test_queues(void **unused)
{
    round_trip(BLK_ABI_X86_64, 4, 4, true);
    round_trip(BLK_ABI_X86_64, 3, 1, false);
}

static void test_parts_of_pages(void **unused)
{
    struct front f;
    begin("disk", MIB, "w");
    connect_all(&f, BLK_ABI_X86_64, 1, 0, false);
    uint32_t p = pages(2);
    fill(p, 2, 9);
    /* Sectors 3..4 of the second page, then 6..7 of the first. */
    struct front_request r = {.operation = BLKIF_OP_WRITE, .id = 1, .sector = 10, .count = 2};
    r.seg[0] = (struct blk_segment){p + 1, 3, 4};
    r.seg[1] = (struct blk_segment){p, 6, 7};
    assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_OKAY);
    uint8_t data[2048];
    int fd = fake_image_fd("disk", O_RDONLY);
    assert_int_equal(pread(fd, data, sizeof(data), 10 * 512), sizeof(data));
    assert_memory_equal(data, (uint8_t *)fake_address(p + 1) + 3 * 512, 1024);
    assert_memory_equal(data + 1024, (uint8_t *)fake_address(p) + 6 * 512, 1024);
    close(fd);
    detach(&f);
    end();
}

static void test_indirect(void **unused)
{
    for (int persistent = 0; persistent < 2; persistent++) {
        struct front f;
        begin("disk", 4 * MIB, "w");
        connect_all(&f, persistent ? BLK_ABI_X86_32 : BLK_ABI_X86_64, 1, 0, persistent);
        uint32_t from = pages(256), to = pages(256), page = fake_page();
        fill(from, 256, 77);
        struct front_request r = front_io(BLKIF_OP_WRITE, 16, from, 2048);
        r.indirect = true;
        r.page = page;
        assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_OKAY);
        check_file("disk", 16 * 512, MIB, 77);
        r = front_io(BLKIF_OP_READ, 16, to, 2048);
        r.indirect = true;
        r.page = page;
        assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_OKAY);
        assert_true(filled(fake_address(to), MIB, 77));
        r.count = 257;
        assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_ERROR);
        r.count = 0;
        assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_ERROR);
        r.count = 1;
        r.operation = BLKIF_OP_DISCARD;
        assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_ERROR);
        r.operation = BLKIF_OP_READ;
        fake->granted[page] = persistent; /* a mapped page stays mapped */
        assert_int_equal(front_do(&f.queue[0], &r), persistent ? BLKIF_RSP_OKAY : BLKIF_RSP_ERROR);
        detach(&f);
        end();
    }
}

static void test_bad_requests(void **unused)
{
    struct front f;
    begin("disk", MIB, "w");
    connect_all(&f, BLK_ABI_X86_64, 1, 0, true);
    struct front_queue *q = &f.queue[0];
    uint32_t p = pages(12);
    struct front_request r = front_io(BLKIF_OP_READ, 2040, p, 8);
    assert_int_equal(front_do(q, &r), BLKIF_RSP_OKAY);
    r.sector = 2041;
    assert_int_equal(front_do(q, &r), BLKIF_RSP_ERROR);
    r.sector = ~0ull;
    assert_int_equal(front_do(q, &r), BLKIF_RSP_ERROR);
    r = front_io(BLKIF_OP_WRITE, 0, p, 8);
    r.seg[0].last = 8;
    assert_int_equal(front_do(q, &r), BLKIF_RSP_ERROR);
    r.seg[0] = (struct blk_segment){p, 5, 4};
    assert_int_equal(front_do(q, &r), BLKIF_RSP_ERROR);
    r = front_io(BLKIF_OP_WRITE, 0, p, 96);
    assert_int_equal(front_do(q, &r), BLKIF_RSP_ERROR); /* 12 segments */
    r.count = 0;
    assert_int_equal(front_do(q, &r), BLKIF_RSP_ERROR);
    r = front_io(BLKIF_OP_READ, 0, FAKE_PAGES - 1, 8); /* not granted */
    assert_int_equal(front_do(q, &r), BLKIF_RSP_ERROR);
    r = front_io(BLKIF_OP_WRITE, 0, 0xfffffff0, 8);
    assert_int_equal(front_do(q, &r), BLKIF_RSP_ERROR);
    r = front_io(BLKIF_OP_RESERVED_1, 0, p, 8);
    assert_int_equal(front_do(q, &r), BLKIF_RSP_EOPNOTSUPP);
    r = front_io(200, 0, p, 8);
    assert_int_equal(front_do(q, &r), BLKIF_RSP_EOPNOTSUPP);
    r = front_io(BLKIF_OP_READ, 0, p, 88);
    assert_int_equal(front_do(q, &r), BLKIF_RSP_OKAY);
    detach(&f);
    end();
}

static void test_discard_and_barrier(void **unused)
{
    struct front f;
    struct stat before, after;
    begin("disk", 4 * MIB, "w");
    connect_all(&f, BLK_ABI_X86_64, 2, 0, true);
    uint32_t p = pages(88);
    fill(p, 11, 3);
    struct front_request r = front_io(BLKIF_OP_WRITE_BARRIER, 0, p, 88);
    assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_OKAY);
    check_file("disk", 0, 88 * 512, 3);
    r = front_io(BLKIF_OP_FLUSH_DISKCACHE, 100, p, 88);
    assert_int_equal(front_do(&f.queue[1], &r), BLKIF_RSP_OKAY);
    check_file("disk", 100 * 512, 88 * 512, 3);
    r = (struct front_request){.operation = BLKIF_OP_WRITE_BARRIER, .sector = ~0ull};
    assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_OKAY);
    if (!strcmp(fake_read(fake_back("feature-discard")), "1")) {
        int fd = fake_image_fd("disk", O_RDONLY);
        assert_int_equal(fstat(fd, &before), 0);
        r = (struct front_request){.operation = BLKIF_OP_DISCARD, .nr_sectors = 8192};
        assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_OKAY);
        assert_int_equal(fstat(fd, &after), 0);
        assert_true(after.st_blocks < before.st_blocks);
        assert_int_equal(after.st_size, before.st_size);
        close(fd);
        r.nr_sectors = 8193;
        assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_ERROR);
        r.nr_sectors = ~0ull;
        r.sector = 2;
        assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_ERROR);
    }
    detach(&f);
    end();
}

struct count {
    struct front *f;
    unsigned got;
};

/* Both queues' responses, in the order in which they are seen. */
static bool got_all(void *arg)
{
    struct count *c = arg;
    struct front_response rsp;
    for (unsigned i = 0; i < c->f->queues; i++) {
        while (front_get(&c->f->queue[i], &rsp)) {
            assert_int_equal(rsp.status, BLKIF_RSP_OKAY);
            c->got++;
        }
    }
    return c->got == 96;
}

/* A barrier between writes to the same place: what comes after it wins. */
static void test_barrier_order(void **unused)
{
    struct front f;
    begin("disk", MIB, "w");
    connect_all(&f, BLK_ABI_X86_64, 1, 4, true);
    uint32_t p = pages(33);
    for (unsigned i = 0; i < 33; i++) {
        fill(p + i, 1, i * 1000);
    }
    for (unsigned i = 0; i < 32; i++) {
        struct front_request w = front_io(BLKIF_OP_WRITE, 8, p + i, 8);
        struct front_request b = {.operation = BLKIF_OP_WRITE_BARRIER, .sector = ~0ull};
        struct front_request r = front_io(BLKIF_OP_READ, 8, p + i, 8);
        w.id = i;
        front_put(&f.queue[0], &w);
        front_put(&f.queue[0], &b);
        front_put(&f.queue[0], &r); /* must see its own writer's data, or none after it */
    }
    struct count c = {&f, 0};
    front_push(&f.queue[0]);
    assert_true(fake_run(got_all, &c));
    check_file("disk", 8 * 512, 4096, 31000);
    detach(&f);
    end();
}

static void test_read_only(void **unused)
{
    struct front f;
    begin("disk", MIB, "r");
    connect_all(&f, BLK_ABI_X86_64, 1, 0, true);
    uint32_t p = pages(1);
    assert_int_equal(atoi(fake_read(fake_back("info"))) & VDISK_READONLY, VDISK_READONLY);
    struct front_request r = front_io(BLKIF_OP_READ, 0, p, 8);
    memset(fake_address(p), 1, 4096);
    assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_OKAY);
    assert_int_equal(((uint8_t *)fake_address(p))[4095], 0);
    r.operation = BLKIF_OP_WRITE;
    assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_ERROR);
    r.operation = BLKIF_OP_WRITE_BARRIER;
    assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_ERROR);
    r = (struct front_request){.operation = BLKIF_OP_FLUSH_DISKCACHE};
    assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_OKAY);
    r = (struct front_request){.operation = BLKIF_OP_DISCARD, .nr_sectors = 8};
    assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_EOPNOTSUPP);
    detach(&f);
    end();
}

/* A ring with more requests than it holds: this frontend is let go, with an error. */
static void test_broken_ring(void **unused)
{
    struct front f;
    begin("disk", MIB, "w");
    connect_all(&f, BLK_ABI_X86_64, 1, 0, true);
    f.queue[0].req_prod = 33;
    front_push(&f.queue[0]);
    assert_true(fake_run_state(6));
    assert_non_null(strstr(fake_read(fake_back("error")), "nonsense"));
    assert_int_equal(fake->maps, fake->unmaps);
    fake_write(fake_front("state"), "6"); /* it notices and begins again */
    fake_run_ms(20);
    front_disconnect(&f);
    fake_write(fake_front("state"), "1");
    connect_all(&f, BLK_ABI_X86_64, 1, 0, true);
    assert_string_equal(fake_read(fake_back("error")), "");
    struct front_request r = front_io(BLKIF_OP_READ, 0, pages(1), 8);
    assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_OKAY);
    detach(&f);
    end();
}

/* A frontend that comes and goes without end is opened for now and then only. */
static void test_restless_frontend(void **unused)
{
    struct front f;
    begin("disk", MIB, "w");
    unsigned opened = 0;
    uint64_t until = loop_now_ms() + 1500;
    assert_true(fake_run_state(2));
    while (loop_now_ms() < until) {
        fake_write(fake_front("state"), "6");
        fake_run_ms(5);
        assert_int_equal(fake_back_state(), 6);
        fake_write(fake_front("state"), "1");
        fake_run_ms(5);
        opened += fake_back_state() == 2;
    }
    assert_true(opened >= 20 && opened <= 25);
    /* and served when it has calmed down */
    connect_all(&f, BLK_ABI_X86_64, 1, 0, true);
    struct front_request r = front_io(BLKIF_OP_READ, 0, pages(1), 8);
    assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_OKAY);
    detach(&f);
    end();
}

/* No room for the journal: the frontend waits until there is some. */
static void test_full_state_directory(void **unused)
{
    struct front f;
    char dir[160], fill[180];
    fake_new();
    snprintf(dir, sizeof(dir), "%s/state", fake_dir);
    assert_int_equal(mkdir(dir, 0700), 0);
    if (mount("none", dir, "tmpfs", 0, "size=64k")) {
        fake_free();
        skip();
    }
    snprintf(fill, sizeof(fill), "%s/fill", dir);
    int fd = open(fill, O_RDWR | O_CREAT, 0600);
    assert_int_equal(posix_fallocate(fd, 0, 64 << 10), 0);
    const char *before = fake_options.journal_dir;
    fake_options.journal_dir = dir;
    fake_image("disk", MIB);
    fake_attach("disk", "w", "disk");
    fake_start();
    assert_true(fake_run_state(2));
    front_connect(&f, BLK_ABI_X86_64, 1, 0, true);
    fake_run_ms(100);
    assert_int_equal(fake_back_state(), 2);
    assert_non_null(strstr(fake_read(fake_back("error")), "no room for the journal"));
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_true(fake_run_state(4));
    fake_write(fake_front("state"), "4");
    struct front_request r = front_io(BLKIF_OP_READ, 0, pages(1), 8);
    assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_OKAY);
    detach(&f);
    fake_run_ms(10);
    fake_stop();
    close(fd);
    fake_options.journal_dir = before;
    assert_int_equal(umount(dir), 0);
    fake_free();
}

static void refused(const char *image, const char *mode, const char *text)
{
    fake_attach(image, mode, "disk");
    fake_start();
    assert_true(fake_run_state(6));
    if (!strstr(fake_read(fake_back("error")), text)) {
        fail_msg("error is \"%s\", not \"%s\"", fake_read(fake_back("error")), text);
    }
    fake_remove(fake_back(""));
    fake_run_ms(10);
    fake_stop();
}

static void test_bad_images(void **unused)
{
    fake_new();
    refused("missing", "w", "missing: cannot be opened: No such file or directory");
    fake_image("empty", 0);
    refused("empty", "w", "empty: is empty");
    fake_image("tiny", 511);
    refused("tiny", "w", "is empty");
    refused("/dev/null", "w", "is neither a file nor a block device");
    refused("/tmp", "r", "is neither a file nor a block device");
    refused("", "w", "names no image");
    fake_image("good", MIB);
    refused("good", "rw", "\"mode\"");
    int fd = fake_image_fd("good", O_RDWR);
    struct image *img;
    char why[IMAGE_WHY];
    /* Somebody else has it: after a while that is an error. */
    struct loop *l = loop_new();
    struct uring *u = uring_new(l, 4, (void (*)(void *))free, NULL);
    char path[160];
    snprintf(path, sizeof(path), "%s/good", fake_dir);
    assert_int_equal(image_open("raw", &(struct image_request){.ring = u, .path = path}, &img, why),
                     0);
    refused("good", "w", "is in use");
    assert_int_equal(image_open("vhd", &(struct image_request){.ring = u, .path = path}, &img, why),
                     -EINVAL);
    image_close(img);
    /* On the administrator's word several may write, but each of them once. */
    struct image_request shared = {.ring = u, .path = path, .shared = true, .identity = 1};
    struct image *two;
    assert_int_equal(image_open(NULL, &shared, &img, why), 0);
    assert_int_equal(image_open(NULL, &shared, &two, why), -EAGAIN);
    shared.identity = 2;
    assert_int_equal(image_open(NULL, &shared, &two, why), 0);
    image_close(two);
    shared.shared = false;
    assert_int_equal(image_open(NULL, &shared, &two, why), -EAGAIN);
    image_close(img);
    uring_free(u);
    loop_free(l);
    close(fd);
    fake_free();
}

static void test_short_image(void **unused)
{
    struct front f;
    begin("disk", MIB, "w");
    connect_all(&f, BLK_ABI_X86_64, 1, 0, false);
    int fd = fake_image_fd("disk", O_RDWR);
    assert_int_equal(ftruncate(fd, 4096), 0);
    close(fd);
    uint32_t p = pages(2);
    struct front_request r = front_io(BLKIF_OP_READ, 8, p, 8);
    assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_ERROR);
    assert_non_null(strstr(fake_read(fake_back("error")), "shorter than it says"));
    r = front_io(BLKIF_OP_READ, 0, p, 8);
    assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_OKAY);
    r = front_io(BLKIF_OP_READ, 0, p, 16);
    assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_ERROR);
    detach(&f);
    end();
}

/* A file system of 256 KiB below a sparse image of 1 MiB. */
static void test_full_disk(void **unused)
{
    struct front f;
    char dir[160];
    fake_new();
    snprintf(dir, sizeof(dir), "%s/small", fake_dir);
    assert_int_equal(mkdir(dir, 0700), 0);
    if (mount("none", dir, "tmpfs", 0, "size=256k")) {
        fake_free();
        skip();
    }
    fake_image("small/disk", MIB);
    fake_attach("small/disk", "w", "disk");
    fake_start();
    connect_all(&f, BLK_ABI_X86_64, 1, 0, false);
    uint32_t p = pages(11);
    int status = 0;
    for (unsigned at = 0; at < 2048 - 88 && !status; at += 88) {
        struct front_request r = front_io(BLKIF_OP_WRITE, at, p, 88);
        status = front_do(&f.queue[0], &r);
    }
    assert_int_equal(status, BLKIF_RSP_ERROR);
    assert_non_null(strstr(fake_read(fake_back("error")), "write: No space left on device"));
    struct front_request r = front_io(BLKIF_OP_READ, 0, p, 88);
    assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_OKAY);
    detach(&f);
    fake_run_ms(10);
    fake_stop();
    assert_int_equal(umount(dir), 0);
    fake_free();
}

static void test_medium_change(void **unused)
{
    struct front f;
    fake_new();
    fake_image("one", MIB);
    fake_image("two", 2 * MIB);
    fake_attach("one", "r", "cdrom");
    fake_start();
    connect_all(&f, BLK_ABI_X86_64, 1, 0, true);
    uint32_t p = pages(1);
    struct front_request r = front_io(BLKIF_OP_READ, 3000, p, 8);
    assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_ERROR);
    fake_write(fake_back("params"), "%s/two", fake_dir);
    fake_run_ms(50);
    assert_string_equal(fake_read(fake_back("sectors")), "4096");
    assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_OKAY);
    fake_write(fake_back("params"), "%s", "");
    fake_run_ms(50);
    assert_string_equal(fake_read(fake_back("sectors")), "0");
    assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_ERROR);
    fake_write(fake_back("params"), "%s/nothing", fake_dir);
    fake_run_ms(50);
    assert_non_null(strstr(fake_read(fake_back("error")), "nothing: cannot be opened"));
    assert_string_equal(fake_read(fake_back("medium")), "");
    // Whoever tries once more is told once more.
    fake_write(fake_back("params"), "%s", "");
    fake_run_ms(50);
    fake_write(fake_back("error"), "%s", "");
    fake_write(fake_back("params"), "%s/nothing", fake_dir);
    fake_run_ms(50);
    assert_non_null(strstr(fake_read(fake_back("error")), "nothing: cannot be opened"));
    fake_write(fake_back("params"), "%s/one", fake_dir);
    fake_run_ms(50);
    assert_string_equal(fake_read(fake_back("sectors")), "2048");
    assert_non_null(strstr(fake_read(fake_back("medium")), "/one"));
    r.sector = 5;
    assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_OKAY);
    detach(&f);
    end();
}

/* The bucket alone, with requests of any size and a clock that jumps. */
static void test_rate_arithmetic(void **unused)
{
    static const uint32_t sizes[] = {512, 4096, 45056, 1 << 20, 32 << 20};
    struct disk_rate r;
    uint64_t bytes, requests;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint64_t now = 12345, start = now, sum = 0;
        disk_rate_set(&r, 3000000, 0, now);
        while (now < start + 200000) {
            uint64_t wait = disk_rate_wait(&r, now);
            if (wait) {
                now += wait + (now % 3);
            } else {
                disk_rate_use(&r, sizes[i]);
                sum += sizes[i];
            }
        }
        assert_in_range(sum, 3000000ull * 199, 3000000ull * 200 + 300000 + sizes[i]);
    }
    disk_rate_set(&r, 0, 0, 0);
    assert_int_equal(disk_rate_wait(&r, 5), 0);
    disk_rate_set(&r, 1, 1, 0);
    disk_rate_use(&r, 32 << 20);
    assert_in_range(disk_rate_wait(&r, UINT64_MAX / 2), 1, 500);
    disk_rate_set(&r, UINT64_MAX, DISK_RATE_MAX, 0); /* no limit at all */
    disk_rate_use(&r, 1 << 30);
    assert_int_equal(disk_rate_wait(&r, 1), 0);
    assert_true(disk_rate_parse("1000 20", &bytes, &requests));
    assert_true(bytes == 1000 && requests == 20);
    static const char *const bad[] = {
        "", "5", "5 ", " 5 5", "5 5 ", "-1 5", "5,5", "5 x", "99999999999999999999 1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(disk_rate_parse(bad[i], &bytes, &requests));
    }
}

static uint64_t rate_ms(struct front *f, uint32_t p, unsigned count, unsigned segments)
{
    struct front_request r = front_io(BLKIF_OP_WRITE, 0, p, segments * 8);
    uint64_t start = loop_now_ms();
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(front_do(&f->queue[i % f->queues], &r), BLKIF_RSP_OKAY);
    }
    return loop_now_ms() - start;
}

static void test_rate(void **unused)
{
    struct front f;
    fake_new();
    fake_image("disk", MIB);
    fake_attach("disk", "w", "disk");
    fake_write(fake_back("rate-limit"), "%s", "4000000 0");
    fake_start();
    connect_all(&f, BLK_ABI_X86_64, 2, 0, true);
    uint32_t p = pages(8);
    /* 1.3 MB, of which 0.4 at once. */
    assert_in_range(rate_ms(&f, p, 40, 8), 220, 5000);
    fake_write(fake_back("rate-limit"), "%s", "0 100");
    fake_run_ms(20);
    assert_in_range(rate_ms(&f, p, 30, 1), 180, 5000);
    fake_write(fake_back("rate-limit"), "%s", "10 1");
    fake_run_ms(20);
    assert_in_range(rate_ms(&f, p, 1, 8), 0, 400);
    /* The debt of this one would be an hour's: lifting the limit forgives it. */
    fake_write(fake_back("rate-limit"), "%s", "0 0");
    fake_run_ms(20);
    assert_in_range(rate_ms(&f, p, 100, 8), 0, 2000);
    fake_write(fake_back("rate-limit"), "%s", "fast");
    fake_run_ms(20);
    assert_non_null(strstr(fake_read(fake_back("error")), "rate-limit"));
    assert_int_equal(fake_back_state(), 4);
    /* A disk that waits can go. */
    fake_write(fake_back("rate-limit"), "%s", "10 1");
    fake_run_ms(20);
    rate_ms(&f, p, 1, 8);
    detach(&f);
    end();
}

static void test_bad_frontends(void **unused)
{
    static const char *const bad[][2] = {
        {"ring-ref", "none"},       {"ring-ref", "-1"},
        {"ring-ref", "4095"},       {"event-channel", "99999999999999999999"},
        {"event-channel", "31337"}, {"protocol", "z80-abi"},
        {"ring-page-order", "5"},   {"multi-queue-num-queues", "0"},
        {"num-ring-pages", "3"},    {"multi-queue-num-queues", "17"},
        {"ring-page-order", "2"},   {"multi-queue-num-queues", "2"}};
    struct front f;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        begin("disk", MIB, "w");
        assert_true(fake_run_state(2));
        front_connect(&f, BLK_ABI_X86_64, 1, 0, true);
        fake_write(fake_front(bad[i][0]), "%s", bad[i][1]);
        assert_true(fake_run_state(6));
        assert_true(*fake_read(fake_back("error")) != '\0');
        fake_remove(fake_back(""));
        fake_run_ms(10);
        end();
    }
}

/* A domain that vanishes, with I/O in work or without: nothing of it is held any longer. */
static void test_dead_domain(void **unused)
{
    for (int nodes = 0; nodes < 2; nodes++) {
        struct front f;
        begin("disk", 8 * MIB, "w");
        connect_all(&f, BLK_ABI_X86_64, 4, 0, true);
        uint32_t p = pages(88);
        for (unsigned i = 0; i < 32; i++) {
            struct front_request w = front_io(BLKIF_OP_WRITE, i * 88, p, 88);
            front_put(&f.queue[i % 4], &w);
        }
        for (unsigned i = 0; i < 4; i++) {
            front_push(&f.queue[i]);
        }
        if (nodes) {
            fake_remove(fake_front(""));
            fake_remove(fake_back(""));
        } else {
            fake->dead = true;
            fake_write(fake_back("online"), "1"); /* any event */
            assert_true(fake_run_state(6));
            fake_remove(fake_back(""));
        }
        fake_run_ms(100);
        end();
    }
}

/* The device is removed and made anew, with other rings and another image, before anybody looks. */
static void test_replaced(void **unused)
{
    struct front f;
    begin("disk", MIB, "w");
    fake_image("other", 2 * MIB);
    connect_all(&f, BLK_ABI_X86_64, 2, 0, true);
    front_disconnect(&f);
    fake_remove(fake_front(""));
    fake_remove(fake_back(""));
    fake_attach("other", "w", "disk");
    connect_all(&f, BLK_ABI_X86_64, 1, 0, true);
    struct front_request r = front_io(BLKIF_OP_READ, 4000, pages(1), 8);
    assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_OKAY);
    detach(&f);
    end();
}

static void test_old_page_count(void **unused)
{
    struct front f;
    begin("disk", MIB, "w");
    assert_true(fake_run_state(2));
    front_connect(&f, BLK_ABI_X86_64, 1, 2, false);
    fake_remove(fake_front("ring-page-order"));
    fake_write(fake_front("num-ring-pages"), "4");
    assert_true(fake_run_state(4));
    struct front_request r = front_io(BLKIF_OP_READ, 0, pages(1), 8);
    for (unsigned i = 0; i < 2 * f.queue[0].entries; i++) {
        assert_int_equal(front_do(&f.queue[0], &r), BLKIF_RSP_OKAY);
    }
    detach(&f);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_persistent),
        cmocka_unit_test(test_narrow),
        cmocka_unit_test(test_queues),
        cmocka_unit_test(test_parts_of_pages),
        cmocka_unit_test(test_indirect),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_discard_and_barrier),
        cmocka_unit_test(test_barrier_order),
        cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_broken_ring),
        cmocka_unit_test(test_bad_images),
        cmocka_unit_test(test_short_image),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_rate_arithmetic),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_medium_change),
        cmocka_unit_test(test_bad_frontends),
        cmocka_unit_test(test_dead_domain),
        cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_old_page_count),
        cmocka_unit_test(test_restless_frontend),
        cmocka_unit_test(test_full_state_directory),
    };
    log_setup("blkd", LOG_LEVEL_DEBUG, false);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fake_direct = true;
    return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
