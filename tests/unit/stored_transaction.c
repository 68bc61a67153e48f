// SPDX-License-Identifier: BSD-2-Clause
/* Transactions: what they see, and when they fail. */
#include "stored_host.h"

#include <errno.h>

static struct host h;
static struct conn *a, *b;

static int setup(void **unused)
{
    host_start(&h, NULL);
    a = h.socket;
    b = host_connect(&h);
    put(a, 0, "/d/x", "x0");
    put(a, 0, "/d/y", "y0");
    put(a, 0, "/d/sub/z", "z0");
    return 0;
}

static int teardown(void **unused)
{
    assert_sound(&h);
    host_stop(&h);
    return 0;
}

static void test_isolation(void **unused)
{
    uint32_t tx = begin(a);
    assert_int_equal(put(a, tx, "/d/x", "x1"), 0);
    assert_int_equal(put(a, tx, "/d/new", "n"), 0);
    assert_int_equal(ask(a, XS_RM, tx, "/d/sub", NULL), 0);
    assert_string_equal(get(a, tx, "/d/x"), "x1");
    assert_string_equal(get(a, tx, "/d/sub/z"), "!ENOENT");
    assert_string_equal(get(a, 0, "/d/x"), "x0");
    assert_string_equal(get(b, 0, "/d/new"), "!ENOENT");
    assert_string_equal(get(b, 0, "/d/sub/z"), "z0");
    assert_int_equal(put(b, 0, "/d/other", "o"), 0);
    assert_int_equal(put(b, 0, "/d/y", "y1"), 0);
    uint32_t other = begin(a);
    put(a, other, "/d/p", "1");
    assert_int_equal(ask(b, XS_TRANSACTION_END, tx, "T", NULL), ENOENT); /* not b's */
    assert_int_equal(commit(a, tx), 0);
    assert_string_equal(get(b, 0, "/d/x"), "x1");
    assert_string_equal(get(b, 0, "/d/sub/z"), "!ENOENT");
    assert_string_equal(get(b, 0, "/d/other"), "o");
    assert_int_equal(commit(a, tx), ENOENT);
    assert_string_equal(get(a, other, "/d/x"), "x0"); /* still the snapshot of its beginning */
    assert_string_equal(get(a, other, "/d/other"), "o");
    assert_int_equal(commit(a, other), EAGAIN); /* x was read and has changed */
    assert_int_equal(h.store.conflicts, 1);
}

static void test_misuse(void **unused)
{
    uint32_t tx = begin(a);
    assert_int_equal(ask(a, XS_TRANSACTION_START, tx, "", NULL), EBUSY);
    assert_int_equal(ask(a, XS_TRANSACTION_END, 0, "T", NULL), ENOENT);
    assert_int_equal(ask(a, XS_TRANSACTION_END, tx, "X", NULL), EINVAL);
    assert_int_equal(ask(a, XS_TRANSACTION_END, tx, "T", "T", NULL), EINVAL);
    assert_int_equal(ask(a, XS_TRANSACTION_END, tx, "F", NULL), 0);
    assert_int_equal(ask(a, XS_TRANSACTION_END, tx, "F", NULL), ENOENT);
    a->next_tx_id = UINT32_MAX;
    assert_int_equal(begin(a), UINT32_MAX);
    assert_int_equal(begin(a), 1);
    a->next_tx_id = UINT32_MAX;
    assert_int_equal(begin(a), 2); /* those in use are passed over */
}

enum { NONE, READ_X, LIST_D, PERMS_X, WRITE_X, ADD_W, RM_SUB, READ_W, RM_W, MKDIR_SUB_N, KINDS };

static void act(struct conn *c, uint32_t tx, int what)
{
    switch (what) {
    case READ_X:
        get(c, tx, "/d/x");
        break;
    case LIST_D:
        ask(c, XS_DIRECTORY, tx, "/d", NULL);
        break;
    case PERMS_X:
        ask(c, XS_GET_PERMS, tx, "/d/x", NULL);
        break;
    case WRITE_X:
        assert_int_equal(put(c, tx, "/d/x", "x2"), 0);
        break;
    case ADD_W:
        assert_int_equal(put(c, tx, "/d/w", "w"), 0);
        break;
    case RM_SUB:
        assert_int_equal(ask(c, XS_RM, tx, "/d/sub", NULL), 0);
        break;
    case READ_W:
        get(c, tx, "/d/w");
        break;
    case RM_W:
        assert_int_equal(ask(c, XS_RM, tx, "/d/w", NULL), 0);
        break;
    case MKDIR_SUB_N:
        assert_int_equal(ask(c, XS_MKDIR, tx, "/d/sub/n", NULL), 0);
        break;
    default:
        break;
    }
}

/* What a transaction does, what another does meanwhile, and whether they get into each other's
 * way. The transaction always writes something of its own too: one that only reads cannot fail. */
static void test_conflicts(void **unused)
{
    enum { X_WRITTEN, X_PERMS, X_GONE, D_GROWN, Y_WRITTEN, SUB_Z, W_MADE, SUB_GONE, OTHERS };
    static const bool conflict[KINDS][OTHERS] = {
        /*               x wr  perms gone  grown y wr  sub/z w     sub gone */
        [NONE] = {0, 0, 0, 0, 0, 0, 0, 0},    [READ_X] = {1, 0, 1, 0, 0, 0, 0, 0},
        [LIST_D] = {0, 0, 1, 1, 0, 0, 1, 1},  [PERMS_X] = {0, 1, 1, 0, 0, 0, 0, 0},
        [WRITE_X] = {1, 1, 1, 0, 0, 0, 0, 0}, [ADD_W] = {0, 0, 0, 0, 0, 0, 1, 0},
        [RM_SUB] = {0, 0, 0, 0, 0, 1, 0, 1},  [READ_W] = {0, 0, 0, 0, 0, 0, 1, 0},
        [RM_W] = {0, 0, 0, 0, 0, 0, 1, 0},    [MKDIR_SUB_N] = {0, 0, 0, 0, 0, 0, 0, 1},
    };
    for (int kind = 0; kind < KINDS; kind++) {
        for (int other = 0; other < OTHERS; other++) {
            ask(b, XS_RM, 0, "/d", NULL);
            put(b, 0, "/d/x", "x0");
            put(b, 0, "/d/y", "y0");
            put(b, 0, "/d/sub/z", "z0");
            uint32_t tx = begin(a);
            act(a, tx, kind);
            assert_int_equal(put(a, tx, "/own/node", "1"), 0);
            switch (other) {
            case X_WRITTEN:
                put(b, 0, "/d/x", "x0");
                break; /* the same value is a write too */
            case X_PERMS:
                ask(b, XS_SET_PERMS, 0, "/d/x", "r0", NULL);
                break;
            case X_GONE:
                ask(b, XS_RM, 0, "/d/x", NULL);
                break;
            case D_GROWN:
                put(b, 0, "/d/grown", "1");
                break;
            case Y_WRITTEN:
                put(b, 0, "/d/y", "1");
                break;
            case SUB_Z:
                put(b, 0, "/d/sub/z", "1");
                break;
            case W_MADE:
                put(b, 0, "/d/w", "other");
                break;
            default:
                ask(b, XS_RM, 0, "/d/sub", NULL);
                break;
            }
            int ret = commit(a, tx);
            if (ret != (conflict[kind][other] ? EAGAIN : 0)) {
                fail_msg("kind %d with other %d: %d", kind, other, ret);
            }
            ask(b, XS_RM, 0, "/own", NULL);
        }
    }
}

/* Made anew is not the same. */
static void test_recreated(void **unused)
{
    uint32_t tx = begin(a);
    assert_string_equal(get(a, tx, "/d/x"), "x0");
    put(a, tx, "/own", "1");
    ask(b, XS_RM, 0, "/d/x", NULL);
    put(b, 0, "/d/x", "x0");
    assert_int_equal(commit(a, tx), EAGAIN);
    /* the directory that something is made in must be the same */
    tx = begin(a);
    put(a, tx, "/d/sub/n", "1");
    ask(b, XS_RM, 0, "/d/sub", NULL);
    put(b, 0, "/d/sub/z", "1");
    assert_int_equal(commit(a, tx), EAGAIN);
}

static void test_only_reading(void **unused)
{
    uint32_t tx = begin(a);
    assert_string_equal(get(a, tx, "/d/x"), "x0");
    put(b, 0, "/d/x", "x1");
    put(b, 0, "/d/y", "y1");
    assert_string_equal(get(a, tx, "/d/y"), "y0"); /* both of one moment */
    assert_int_equal(commit(a, tx), 0);
}

static void test_permissions(void **unused)
{
    struct conn *g = host_guest(&h, 1);
    ask(a, XS_SET_PERMS, 0, "/d/x", "b0", NULL);
    uint32_t tx = begin(g);
    assert_int_equal(put(g, tx, "/d/x", "g"), 0);
    assert_int_equal(put(g, tx, "/d/y", "g"), EACCES);
    ask(a, XS_SET_PERMS, 0, "/d/x", "r0", NULL); /* taken away meanwhile */
    assert_int_equal(commit(g, tx), EAGAIN);
    assert_string_equal(get(a, 0, "/d/x"), "x0");
    /* permissions set inside hold inside */
    ask(a, XS_SET_PERMS, 0, "/d/x", "n1", NULL);
    tx = begin(g);
    assert_int_equal(ask(g, XS_SET_PERMS, tx, "/d/x", "n1", "r2", NULL), 0);
    assert_int_equal(ask(g, XS_GET_PERMS, tx, "/d/x", NULL), 0);
    assert_memory_equal(answer, "n1\0r2", 6);
    assert_int_equal(commit(g, tx), 0);
    assert_int_equal(ask(g, XS_GET_PERMS, 0, "/d/x", NULL), 0);
    assert_memory_equal(answer, "n1\0r2", 6);
}

/* A guest that makes others' transactions fail is held back. */
static void test_throttle(void **unused)
{
    struct conn *g = host_guest(&h, 1);
    ask(a, XS_SET_PERMS, 0, "/d/x", "n1", NULL);
    uint32_t tx = begin(a);
    put(a, tx, "/d/x", "1");
    put(g, 0, "/d/x", "2");
    assert_int_equal(commit(a, tx), EAGAIN);
    assert_int_equal(h.throttled, 1);
}

/* A transaction that stays open for long lets go of the old tree, and cannot succeed. */
static void test_hold(void **unused)
{
    struct conn *g = host_guest(&h, 1);
    ask(a, XS_SET_PERMS, 0, "/tool", "b0", NULL);
    uint32_t tx = begin(g), mine = begin(a);
    assert_int_equal(put(g, tx, "/tool/t", "1"), 0);
    put(a, mine, "/d/m", "1");
    store_housekeep(&h.store, 1000);
    put(a, 0, "/tool/u", "1");
    store_housekeep(&h.store, 50000);
    assert_string_equal(get(g, tx, "/tool/u"), "!ENOENT");
    store_housekeep(&h.store, 62000);
    assert_string_equal(get(g, tx, "/tool/u"), "1");
    assert_string_equal(get(g, tx, "/tool/t"), "1");
    assert_sound(&h);
    assert_int_equal(commit(g, tx), EAGAIN);
    assert_string_equal(get(a, 0, "/tool/t"), "!ENOENT");
    assert_int_equal(commit(a, mine), 0); /* the control domain's may take its time */
}

/* Many at once, at random, against a plain copy of what the store should be. */
static void test_random(void **unused)
{
    enum { PATHS = 12, OPEN = 6 };
    struct {
        uint32_t tx;
        char seen[PATHS], wrote[PATHS];
        bool reads[PATHS];
    } open[OPEN] = {0};
    char truth[PATHS];
    memset(truth, '0', sizeof(truth));
    srand(11);
    for (unsigned i = 0; i < PATHS; i++) {
        char path[16];
        snprintf(path, sizeof(path), "/r/%u", i);
        put(a, 0, path, "0");
    }
    for (unsigned round = 0; round < 20000; round++) {
        unsigned n = (unsigned)rand() % OPEN, p = (unsigned)rand() % PATHS;
        char path[16], value[2] = {(char)('a' + rand() % 26), '\0'};
        snprintf(path, sizeof(path), "/r/%u", p);
        if (!open[n].tx) {
            memset(&open[n], 0, sizeof(open[n]));
            open[n].tx = begin(a);
            memcpy(open[n].seen, truth, PATHS);
        }
        switch (rand() % 6) {
        case 0:
        case 1:
            assert_int_equal(get(a, open[n].tx, path)[0],
                             open[n].wrote[p] ? open[n].wrote[p] : open[n].seen[p]);
            open[n].reads[p] = true;
            break;
        case 2:
            put(a, open[n].tx, path, value);
            open[n].wrote[p] = value[0];
            break;
        case 3:
            put(b, 0, path, value);
            truth[p] = value[0];
            break;
        default: {
            int ret = commit(a, open[n].tx);
            bool wrote = false, stale = false;
            for (unsigned i = 0; i < PATHS; i++) {
                wrote |= open[n].wrote[i] != 0;
                stale |= (open[n].reads[i] || open[n].wrote[i]) && open[n].seen[i] != truth[i];
            }
            /* what it relied on has another value now: it must fail. (The same value written
             * again makes it fail too.) */
            if (wrote && stale) {
                assert_int_equal(ret, EAGAIN);
            }
            for (unsigned i = 0; i < PATHS && !ret; i++) {
                truth[i] = open[n].wrote[i] ? open[n].wrote[i] : truth[i];
            }
            open[n].tx = 0;
            break;
        }
        }
    }
    for (unsigned i = 0; i < PATHS; i++) {
        char path[16];
        snprintf(path, sizeof(path), "/r/%u", i);
        assert_int_equal(get(b, 0, path)[0], truth[i]);
    }
    assert_true(h.store.conflicts > 100);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_isolation), T(test_misuse),       T(test_conflicts),
        T(test_recreated), T(test_only_reading), T(test_permissions),
        T(test_throttle),  T(test_hold),         T(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
