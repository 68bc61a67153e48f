// SPDX-License-Identifier: BSD-2-Clause
/* The console daemon's ring, against guests that keep to the rules and guests that do not; and its
 * log files. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "logfile.h"
#include "mark.h"
#include "ring.h"

static struct xencons_interface ring;
static char bytes[4096];

static int take(size_t size)
{
    uint32_t cons = 0;
    int n = ring_peek(&ring, bytes, size, &cons);

    if (n > 0) {
        ring_taken(&ring, cons + (uint32_t)n);
    }
    return n;
}

static void guest_writes(const char *text)
{
    for (; *text; text++) {
        ring.out[MASK_XENCONS_IDX(ring.out_prod++, ring.out)] = *text;
    }
}

static void test_output(void **unused)
{
    memset(&ring, 0, sizeof(ring));
    ring.out_prod = ring.out_cons = UINT32_MAX - 5; /* wraps below */
    assert_int_equal(take(sizeof(bytes)), 0);
    guest_writes("hello, world");
    assert_int_equal(take(5), 5);
    assert_memory_equal(bytes, "hello", 5);
    assert_int_equal(take(sizeof(bytes)), 7);
    assert_memory_equal(bytes, ", world", 7);
    assert_int_equal(ring.out_cons, ring.out_prod);
    for (unsigned i = 0; i < sizeof(ring.out); i++) {
        guest_writes("x");
    }
    assert_int_equal(take(sizeof(bytes)), sizeof(ring.out));
}

static void test_input(void **unused)
{
    memset(&ring, 0, sizeof(ring));
    memset(bytes, 'i', sizeof(bytes));
    assert_int_equal(ring_give(&ring, "ls\n", 3), 3);
    assert_memory_equal(ring.in, "ls\n", 3);
    assert_int_equal(ring_give(&ring, bytes, sizeof(bytes)), sizeof(ring.in) - 3);
    assert_int_equal(ring_give(&ring, bytes, 1), 0);
    ring.in_cons += 2;
    assert_int_equal(ring_give(&ring, bytes, 5), 2);
}

/* Random indexes: nothing outside the ring is touched (the sanitizer watches), no endless work. */
static void test_nonsense(void **unused)
{
    memset(&ring, 0, sizeof(ring));
    ring.out_prod = sizeof(ring.out) + 1;
    assert_int_equal(take(sizeof(bytes)), -EIO);
    assert_int_equal(take(sizeof(bytes)), 0);
    ring.in_cons = 1;
    assert_int_equal(ring_give(&ring, "x", 1), 0);
    srand(7);
    for (unsigned i = 0; i < 100000; i++) {
        ring.out_prod = (uint32_t)rand() * 5;
        ring.out_cons = rand() & 1 ? ring.out_prod - (rand() & 4095) : (uint32_t)rand() * 5;
        ring.in_prod = (uint32_t)rand() * 5;
        ring.in_cons = rand() & 1 ? ring.in_prod - (rand() & 2047) : (uint32_t)rand() * 5;
        assert_true(take(sizeof(bytes)) <= (int)sizeof(ring.out));
        assert_true(ring_give(&ring, bytes, sizeof(bytes)) <= sizeof(ring.in));
    }
}

static void test_log(void **unused)
{
    char dir[] = "/tmp/serai-unit-XXXXXX", path[80];
    struct logfile f;
    BUF_AUTO tail = {0};

    assert_non_null(mkdtemp(dir));
    assert_int_equal(logfile_open(&f, dir, "g", 10, 2), 0);
    for (char ch = 'a'; ch < 'g'; ch++) {
        char line[6];

        memset(line, ch, sizeof(line));
        assert_int_equal(logfile_write(&f, line, sizeof(line)), 0);
    }
    logfile_tail(&f, 8, &tail);
    assert_string_equal(tail.data, "eeffffff");
    logfile_close(&f);
    for (unsigned i = 1; i <= 3; i++) {
        snprintf(path, sizeof(path), "%s/g.log.%u", dir, i);
        assert_int_equal(access(path, R_OK), i <= 2 ? 0 : -1);
    }
    assert_int_equal(logfile_open(&f, dir, "g", 100, 0), 0);
    assert_int_equal(f.size, 12); /* appended to */
    logfile_close(&f);
    snprintf(path, sizeof(path), "rm -r %s", dir);
    assert_int_equal(system(path), 0);
}

/* A full disk, first without room for bytes, then without room for another file: what can be
 * written is, and all of it again when there is room. */
static void test_full_log(void **unused)
{
    char dir[] = "/tmp/serai-unit-XXXXXX", fill[80], block[4096];
    struct logfile f;
    int ret = 0;

    assert_non_null(mkdtemp(dir));
    if (mount("none", dir, "tmpfs", 0, "size=64k,nr_inodes=4")) {
        rmdir(dir);
        skip();
    }
    memset(block, 'x', sizeof(block));
    assert_int_equal(logfile_open(&f, dir, "g", 16384, 1), 0);
    assert_int_equal(logfile_write(&f, block, sizeof(block)), 0);
    snprintf(fill, sizeof(fill), "%s/fill", dir);
    int fd = open(fill, O_RDWR | O_CREAT, 0600);
    while (write(fd, block, sizeof(block)) > 0) {
    }
    assert_int_equal(logfile_write(&f, block, sizeof(block)), -ENOSPC);
    assert_int_equal(logfile_write(&f, block, 100), -ENOSPC);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(logfile_write(&f, block, 100), 0);
    /* one file more than there may be, when it is to be rotated */
    snprintf(fill, sizeof(fill), "%s/more", dir);
    int more = open(fill, O_RDWR | O_CREAT, 0600);
    for (unsigned i = 0; i < 8 && !ret; i++) {
        ret = logfile_write(&f, block, sizeof(block));
    }
    assert_int_equal(ret, -ENOSPC);
    assert_int_equal(logfile_write(&f, block, 100), -ENOSPC);
    assert_int_equal(unlink(fill), 0);
    close(more);
    assert_int_equal(logfile_write(&f, block, 100), 0);
    assert_int_equal(f.size, 100);
    logfile_close(&f);
    close(fd);
    assert_int_equal(umount(dir), 0);
    rmdir(dir);
}

static bool is_seven(void *arg, uint32_t id)
{
    return id == 7;
}

/* A daemon is killed at every step; what is in the log and what the next one puts there is all that
 * the guest wrote, once. */
static void test_mark(void **unused)
{
    static const uint8_t uuid[16] = {1, 2, 3}, other[16] = {4};
    char dir[] = "/tmp/serai-unit-XXXXXX", path[80];
    uint32_t cons = 0;
    struct logfile f;

    assert_non_null(mkdtemp(dir));
    for (unsigned written = 0; written <= 6; written++) {
        for (unsigned taken = 0; taken <= 1; taken++) {
            BUF_AUTO all = {0};
            struct mark *m = mark_open(dir, 7, uuid);

            snprintf(path, sizeof(path), "%s/g.log", dir);
            unlink(path);
            memset(&ring, 0, sizeof(ring));
            ring.out_prod = ring.out_cons = UINT32_MAX - 2;
            guest_writes("abcdef");
            assert_non_null(m);
            assert_int_equal(logfile_open(&f, dir, "g", 100, 0), 0);
            assert_int_equal(logfile_write(&f, "before ", 7), 0);
            assert_int_equal(ring_peek(&ring, bytes, sizeof(bytes), &cons), 6);
            mark_begin(m, &f, cons, 6);
            logfile_write(&f, bytes, written);
            if (taken && written == 6) {
                ring_taken(&ring, cons + 6);
            }
            mark_close(m); /* killed */
            logfile_close(&f);
            guest_writes("gh");

            m = mark_open(dir, 7, uuid);
            assert_int_equal(logfile_open(&f, dir, "g", 100, 0), 0);
            assert_true(ring_peek(&ring, bytes, sizeof(bytes), &cons) > 0);
            uint32_t done = mark_written(m, &f, cons);
            assert_int_equal(done, taken && written == 6 ? 0 : written);
            ring_taken(&ring, cons + done);
            mark_end(m);
            assert_int_equal(mark_written(m, &f, cons), 0);
            int n = ring_peek(&ring, bytes, sizeof(bytes), &cons);
            logfile_write(&f, bytes, (size_t)n);
            logfile_tail(&f, 100, &all);
            assert_string_equal(all.data, "before abcdefgh");
            logfile_close(&f);
            mark_close(m);
        }
    }
    /* Another domain with the number of one that is gone. */
    struct mark *m = mark_open(dir, 7, uuid);
    assert_int_equal(logfile_open(&f, dir, "g", 100, 0), 0);
    mark_begin(m, &f, 5, 3);
    mark_close(m);
    m = mark_open(dir, 7, other);
    assert_int_equal(mark_written(m, &f, 5), 0);
    mark_close(m);
    logfile_close(&f);
    mark_close(mark_open(dir, 8, uuid));
    mark_sweep(dir, is_seven, NULL);
    snprintf(path, sizeof(path), "%s/7", dir);
    assert_int_equal(access(path, F_OK), 0);
    snprintf(path, sizeof(path), "%s/8", dir);
    assert_int_equal(access(path, F_OK), -1);
    mark_forget(dir, 7);
    snprintf(path, sizeof(path), "rm -r %s", dir);
    assert_int_equal(system(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output),   cmocka_unit_test(test_input),
        cmocka_unit_test(test_nonsense), cmocka_unit_test(test_log),
        cmocka_unit_test(test_mark),     cmocka_unit_test(test_full_log),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
