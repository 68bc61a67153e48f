// SPDX-License-Identifier: BSD-2-Clause
/* core/rangeset.c against an array of flags. */
#include "unit.h"

#include "core/rangeset.h"
#include "lib/bug.h"
#include "memory/heap.h"

enum { SPACE = 64 };

void *heap_alloc(size_t size)
{
    return calloc(1, size);
}

void *heap_alloc_array(size_t n, size_t size)
{
    return calloc(n, size);
}

void heap_free(void *p)
{
    free(p);
}

void bug_report(const char *what, const char *file, int line)
{
    fail_msg("%s at %s:%d", what, file, line);
    abort();
}

static bool all(const bool *model, uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i <= last; i++)
        if (!model[i])
            return false;
    return true;
}

static bool any(const bool *model, uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i <= last; i++)
        if (model[i])
            return true;
    return false;
}

static int clear_seen(uint64_t first, uint64_t last, void *arg)
{
    bool *left = arg;

    for (uint64_t i = first; i <= last; i++) {
        assert_true(left[i]);
        left[i] = false;
    }
    return 0;
}

static void agrees_with_flags(void **state)
{
    struct rangeset *r = rangeset_new("test");
    bool model[SPACE] = {false}, left[SPACE];

    assert_non_null(r);
    srand(1);
    for (int round = 0; round < 20000; round++) {
        uint64_t first = (uint64_t)rand() % SPACE,
                 last = first + (uint64_t)rand() % (SPACE - first);
        bool add = rand() & 1;

        if (rand() % 3 == 0)
            last = first;
        assert_int_equal((add ? rangeset_add : rangeset_remove)(r, first, last), 0);
        for (uint64_t i = first; i <= last; i++)
            model[i] = add;
        first = (uint64_t)rand() % SPACE;
        last = first + (uint64_t)rand() % (SPACE - first);
        assert_int_equal(rangeset_contains(r, first, last), all(model, first, last));
        assert_int_equal(rangeset_overlaps(r, first, last), any(model, first, last));
        memcpy(left, model, sizeof(left));
        assert_int_equal(rangeset_for_each(r, 0, SPACE - 1, clear_seen, left), 0);
        assert_false(any(left, 0, SPACE - 1));
    }
    rangeset_free(r);
}

static void ends_of_the_number_line(void **state)
{
    struct rangeset *r = rangeset_new("test");

    assert_int_equal(rangeset_add(r, 0, UINT64_MAX), 0);
    assert_true(rangeset_contains(r, 5, UINT64_MAX));
    assert_int_equal(rangeset_remove(r, UINT64_MAX, UINT64_MAX), 0);
    assert_int_equal(rangeset_remove(r, 0, 0), 0);
    assert_false(rangeset_contains(r, 0, 1));
    assert_true(rangeset_contains(r, 1, UINT64_MAX - 1));
    assert_int_equal(rangeset_add(r, UINT64_MAX, UINT64_MAX), 0);
    assert_true(rangeset_contains(r, 1, UINT64_MAX));
    rangeset_free(r);
    rangeset_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_flags),
        cmocka_unit_test(ends_of_the_number_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
