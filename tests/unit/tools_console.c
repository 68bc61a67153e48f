// SPDX-License-Identifier: BSD-2-Clause
/* The console daemon's ring, against guests that keep to the rules and guests that do not; and its
 * log files. */
#include "unit.h"

#include <errno.h>
#include <unistd.h>

#include "logfile.h"
#include "ring.h"

static struct xencons_interface ring;
static char bytes[4096];

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
    assert_int_equal(ring_take(&ring, bytes, sizeof(bytes)), 0);
    guest_writes("hello, world");
    assert_int_equal(ring_take(&ring, bytes, 5), 5);
    assert_memory_equal(bytes, "hello", 5);
    assert_int_equal(ring_take(&ring, bytes, sizeof(bytes)), 7);
    assert_memory_equal(bytes, ", world", 7);
    assert_int_equal(ring.out_cons, ring.out_prod);
    for (unsigned i = 0; i < sizeof(ring.out); i++) {
        guest_writes("x");
    }
    assert_int_equal(ring_take(&ring, bytes, sizeof(bytes)), sizeof(ring.out));
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
    assert_int_equal(ring_take(&ring, bytes, sizeof(bytes)), -EIO);
    assert_int_equal(ring_take(&ring, bytes, sizeof(bytes)), 0);
    ring.in_cons = 1;
    assert_int_equal(ring_give(&ring, "x", 1), 0);
    srand(7);
    for (unsigned i = 0; i < 100000; i++) {
        ring.out_prod = (uint32_t)rand() * 5;
        ring.out_cons = rand() & 1 ? ring.out_prod - (rand() & 4095) : (uint32_t)rand() * 5;
        ring.in_prod = (uint32_t)rand() * 5;
        ring.in_cons = rand() & 1 ? ring.in_prod - (rand() & 2047) : (uint32_t)rand() * 5;
        assert_true(ring_take(&ring, bytes, sizeof(bytes)) <= (int)sizeof(ring.out));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output),
        cmocka_unit_test(test_input),
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_log),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
