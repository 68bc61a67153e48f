// SPDX-License-Identifier: BSD-2-Clause
/* How memory is shared between guests, decided in numbers alone. */
#include "unit.h"

#include "balance.h"

#define MB 1024ull

static uint64_t out[64];

static struct balance_guest guest(uint64_t min, uint64_t max, uint64_t has)
{
    return (struct balance_guest){
        .min = min * MB, .max = max * MB, .actual = has * MB, .target = has * MB, .last = has * MB};
}

/* Does as decided, in steps of what is free, until nothing changes. Returns what is free then. */
static uint64_t settle(struct balance_guest *g, size_t n, uint64_t free_kib, uint64_t keep)
{
    for (unsigned round = 0; round < 100; round++) {
        bool quiet = true;

        balance_share(g, n, free_kib, keep, out);
        for (size_t i = 0; i < n; i++) {
            assert_in_range(out[i], g[i].min, g[i].max);
            quiet &= out[i] == g[i].target;
            g[i].target = out[i];
        }
        if (quiet) {
            return free_kib;
        }
        for (size_t i = 0; i < n; i++) {
            if (g[i].waiting) {
                continue; /* deaf */
            }
            if (g[i].target > g[i].actual) {
                assert_true(g[i].target - g[i].actual <= free_kib); /* never more than there is */
                free_kib -= g[i].target - g[i].actual;
            } else {
                free_kib += g[i].actual - g[i].target;
            }
            g[i].actual = g[i].target;
        }
    }
    fail_msg("it never settles");
    return 0;
}

static void test_plenty(void **unused)
{
    struct balance_guest g[] = {guest(100, 400, 200), guest(50, 100, 60)};

    settle(g, 2, 4000 * MB, 64 * MB);
    assert_int_equal(g[0].target, 400 * MB);
    assert_int_equal(g[1].target, 100 * MB);
}

static void test_fair(void **unused)
{
    struct balance_guest g[] = {guest(100, 300, 300), guest(100, 300, 100), guest(200, 600, 200)};
    uint64_t left = settle(g, 3, 200 * MB, 100 * MB);

    /* 700 MB for them: 400 are the minima, 300 of the 800 in the ranges remain. */
    assert_in_range(g[0].target, 170 * MB, 176 * MB);
    assert_in_range(g[1].target, 170 * MB, 176 * MB);
    assert_in_range(g[2].target, 344 * MB, 351 * MB);
    assert_in_range(left, 95 * MB, 115 * MB);
}

/* Somebody wants memory: all give, none more than it may. */
static void test_wanted(void **unused)
{
    struct balance_guest g[] = {guest(100, 300, 300), guest(200, 300, 300)};

    assert_true(settle(g, 2, 10 * MB, 10 * MB + 150 * MB) >= 155 * MB);
    assert_true(g[0].target < 210 * MB && g[1].target < 256 * MB);
    settle(g, 2, 10 * MB, 5000 * MB);
    assert_int_equal(g[0].target, 100 * MB);
    assert_int_equal(g[1].target, 200 * MB);
}

static void test_deaf(void **unused)
{
    struct balance_guest g[] = {guest(100, 500, 500), guest(100, 500, 300)};

    g[0].target = 300 * MB;
    for (unsigned i = 0; i < BALANCE_PATIENCE; i++) {
        assert_false(i + 1 < BALANCE_PATIENCE && g[0].waiting >= BALANCE_PATIENCE);
        assert_int_equal(balance_stuck(&g[0]), i + 1 == BALANCE_PATIENCE);
    }
    assert_false(balance_stuck(&g[1]));
    /* 100 MB are free: the other gets them although the first sits on what it was to give. */
    settle(g, 2, 100 * MB, 0);
    assert_in_range(g[1].target, 395 * MB, 400 * MB);
    assert_true(g[0].target <= 500 * MB);
    /* It listens again: at once it counts like the others. */
    g[0].actual = g[0].target = 300 * MB;
    assert_false(balance_stuck(&g[0]));
    settle(g, 2, 200 * MB, 0);
    assert_in_range(g[0].target + 8 * MB - g[1].target, 0, 16 * MB);
}

static void test_steps(void **unused)
{
    struct balance_guest g[] = {guest(100, 300, 200), guest(100, 300, 200)};

    /* Small changes of what is free move nobody. */
    balance_share(g, 2, 3 * MB, 0, out);
    assert_int_equal(out[0], 200 * MB);
    assert_int_equal(out[1], 200 * MB);
    /* What one is growing into cannot be given to the other. */
    g[0].target = 280 * MB;
    balance_share(g, 2, 100 * MB, 0, out);
    assert_true(out[0] + out[1] <= 500 * MB);
    balance_share(g, 0, 100, 100, out);
}

static void test_any(void **unused)
{
    srandom(7);
    for (unsigned run = 0; run < 3000; run++) {
        struct balance_guest g[64];
        size_t n = (size_t)random() % 64;
        uint64_t free_kib = (uint64_t)(random() % 100000) * MB / 100;

        for (size_t i = 0; i < n; i++) {
            uint64_t min = 1 + (uint64_t)random() % 1000, max = min + (uint64_t)random() % 1000;

            g[i] = guest(min, max, min + (uint64_t)random() % (max - min + 1));
            g[i].waiting = random() % 8 ? 0 : BALANCE_PATIENCE;
        }
        settle(g, n, free_kib, (uint64_t)(random() % 500) * MB);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plenty), cmocka_unit_test(test_fair),  cmocka_unit_test(test_wanted),
        cmocka_unit_test(test_deaf),   cmocka_unit_test(test_steps), cmocka_unit_test(test_any),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
