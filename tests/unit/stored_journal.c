// SPDX-License-Identifier: BSD-2-Clause
/* The journal: whatever was done is there after a restart, whatever happened to its end. */
#include "stored_host.h"

#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

enum { STEPS_MAX = 64 };

static struct host h;
static char path[64];
static struct {
    uint64_t size;
    char *text;
} steps[STEPS_MAX];
static unsigned step_count;

static int setup(void **unused)
{
    strcpy(path, "/tmp/serai-unit-XXXXXX");
    close(mkstemp(path));
    step_count = 0;
    return 0;
}

static int teardown(void **unused)
{
    unlink(path);
    for (unsigned i = 0; i < step_count; i++) {
        free(steps[i].text);
    }
    return 0;
}

static void step(void)
{
    assert_true(step_count < STEPS_MAX);
    steps[step_count].size = h.journal.size;
    steps[step_count++].text = dump(&h.store);
}

/* A bit of everything that is recorded. */
static void do_everything(void)
{
    struct conn *c = h.socket;
    step();
    put(c, 0, "/a/b", "value"), step();
    ask(c, XS_MKDIR, 0, "/a/c/d", NULL), step();
    ask(c, XS_SET_PERMS, 0, "/a", "b0", "r2", NULL), step();
    struct conn *g = host_guest(&h, 1);
    step();
    ask(g, XS_WATCH, 0, "/a", "token", NULL), step();
    ask(g, XS_WATCH, 0, "relative", "t2", NULL), step();
    ask(g, XS_WATCH, 0, "@releaseDomain", "t3", NULL), step();
    ask(c, XS_SET_PERMS, 0, "@releaseDomain", "n0", "r1", NULL), step();
    put(g, 0, "/a/guest", "1"), step();
    uint32_t tx = begin(g);
    step();
    put(g, tx, "/a/tx", "1");
    put(g, tx, "/a/tx2", "2");
    commit(g, tx), step();
    begin(g), step(); /* stays open */
    host_guest(&h, 2), step();
    ask(c, XS_SET_TARGET, 0, "2", "1", NULL), step();
    ask(g, XS_UNWATCH, 0, "/a", "token", NULL), step();
    tx = begin(c);
    put(c, tx, "/socket/tx", "1");
    ask(c, XS_RM, tx, "/a/c", NULL);
    commit(c, tx), step();
    ask(c, XS_CONTROL, 0, "quota", "set", "nodes", "77", NULL), step();
    domain_set_shutdown(&h.store, 2, true), step();
    ask(c, XS_RELEASE, 0, "2", NULL), step();
    host_guest(&h, 3), step();
    ask(domain_find(&h.store, 3)->conn, XS_WATCH, 0, "x", "y", NULL), step();
    ask(domain_find(&h.store, 3)->conn, XS_RESET_WATCHES, 0, "", NULL), step();
    ask(c, XS_RM, 0, "/a/b", NULL), step();
    put(c, 0, "/last", "1"), step();
}

static void restart(void)
{
    host_stop(&h);
    host_start(&h, path);
    assert_sound(&h);
}

static void assert_step(unsigned n)
{
    char *text = dump(&h.store);
    assert_string_equal(text, steps[n].text);
    free(text);
}

static void test_restart(void **unused)
{
    host_start(&h, path);
    do_everything();
    restart();
    assert_step(step_count - 1);
    restart();
    assert_step(step_count - 1);
    /* the transaction that was open can be ended, and did not succeed */
    struct conn *g = domain_find(&h.store, 1)->conn;
    uint32_t tx = g->transactions->id;
    assert_int_equal(put(g, tx, "/a/late", "1"), 0);
    assert_string_equal(get(g, tx, "/a/late"), "1");
    assert_int_equal(commit(g, tx), EAGAIN);
    assert_int_equal(commit(g, tx), ENOENT);
    assert_int_not_equal(begin(g), tx);
    host_stop(&h);
}

static void write_file(const char *data, size_t len)
{
    FD_AUTO fd = open(path, O_WRONLY | O_TRUNC | O_CREAT, 0600);
    assert_int_equal(file_write_all(fd, data, len), 0);
}

static unsigned last_step_within(size_t len)
{
    unsigned n = 0;
    while (n + 1 < step_count && steps[n + 1].size <= len) {
        n++;
    }
    return n;
}

/* Cut at every byte: everything up to there is there, and more can be added. */
static void test_truncated(void **unused)
{
    BUF_AUTO whole = {0};
    host_start(&h, path);
    do_everything();
    host_stop(&h);
    assert_int_equal(file_read(path, 1 << 20, &whole), 0);
    assert_int_equal(whole.len, steps[step_count - 1].size);
    for (size_t len = 0; len <= whole.len; len++) {
        unsigned n = last_step_within(len);
        write_file(whole.data, len);
        host_start(&h, path);
        assert_step(n);
        assert_int_equal(h.journal.size, steps[n].size);
        if (len % 16 == 0) {
            assert_int_equal(put(h.socket, 0, "/after/the/cut", "1"), 0);
            restart();
            assert_string_equal(get(h.socket, 0, "/after/the/cut"), "1");
        }
        host_stop(&h);
    }
}

/* A wrong byte anywhere: what is before its record counts, nothing after. */
static void test_damaged(void **unused)
{
    BUF_AUTO whole = {0};
    host_start(&h, path);
    do_everything();
    host_stop(&h);
    assert_int_equal(file_read(path, 1 << 20, &whole), 0);
    for (size_t at = 0; at < whole.len; at++) {
        whole.data[at] ^= 0x10;
        write_file(whole.data, whole.len);
        host_start(&h, path);
        assert_step(at < steps[0].size ? 0 : last_step_within(at));
        host_stop(&h);
        whole.data[at] ^= 0x10;
    }
}

/* Sound records with nonsense in them have no effect, or any; nothing breaks. */
static void test_nonsense(void **unused)
{
    srand(9);
    for (unsigned round = 0; round < 300; round++) {
        host_start(&h, path);
        host_guest(&h, 1);
        for (unsigned i = 0; i < 50; i++) {
            char body[64];
            size_t len = (size_t)rand() % sizeof(body);
            for (size_t n = 0; n < len; n++) {
                body[n] = (char)(rand() % 3 ? rand() % 4 : "/a1@r"[rand() % 5]);
            }
            struct record r = {.type = (uint8_t)(rand() % (RECORD_TYPES + 2)),
                               .origin = {.domid = (uint16_t)(rand() % 3), .pos = 0},
                               .body = body,
                               .len = len};
            assert_int_equal(journal_append(&h.journal, &r), 0);
        }
        restart();
        host_stop(&h);
        unlink(path);
    }
}

/* Snapshots: after each step the store is written anew, and nothing is different. */
static void test_compaction(void **unused)
{
    host_start(&h, path);
    do_everything();
    uint64_t before = h.journal.size;
    h.journal.threshold = 1;
    journal_compact(&h.journal, &h.store);
    assert_true(h.journal.size != before);
    assert_step(step_count - 1);
    restart();
    assert_step(step_count - 1);
    /* it goes on behind the snapshot */
    put(h.socket, 0, "/behind", "1");
    restart();
    assert_string_equal(get(h.socket, 0, "/behind"), "1");
    /* and does not grow for ever */
    h.journal.threshold = 4096;
    for (unsigned i = 0; i < 2000; i++) {
        put(h.socket, 0, "/behind", "an often changing value");
        journal_compact(&h.journal, &h.store);
    }
    assert_true(h.journal.size < 16384);
    restart();
    assert_string_equal(get(h.socket, 0, "/behind"), "an often changing value");
    host_stop(&h);
}

/* Events that a guest has not read wait for it, over restarts and snapshots. */
static void test_events(void **unused)
{
    host_start(&h, path);
    struct conn *g = host_guest(&h, 1);
    ask(h.socket, XS_SET_PERMS, 0, "/tool", "b0", NULL);
    ask(g, XS_WATCH, 0, "/tool", "w", NULL);
    put(h.socket, 0, "/tool/a", "1");
    put(h.socket, 0, "/tool/b", "1");
    uint64_t seq = g->event_seq;
    for (unsigned i = 0; i < 3; i++) {
        if (i == 1) {
            h.journal.threshold = 1;
            journal_compact(&h.journal, &h.store);
        }
        restart();
        g = domain_find(&h.store, 1)->conn;
        assert_int_equal(g->event_count, 3);
        assert_int_equal(g->event_seq, seq);
        assert_int_equal(g->events_tail->seq, seq);
        assert_int_equal(g->events->seq, seq - 2);
    }
    assert_string_equal(event(g), "/tool w");
    assert_string_equal(event(g), "/tool/a w");
    assert_string_equal(event(g), "/tool/b w");
    host_stop(&h);
}

/* A full disk: changes are refused, half a record is taken back, and later all is well. */
static void test_full(void **unused)
{
    struct rlimit old, small;
    host_start(&h, path);
    put(h.socket, 0, "/before", "1");
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = h.journal.size + 20;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int ret = put(h.socket, 0, "/full", "1");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(ret, ENOSPC);
    assert_string_equal(get(h.socket, 0, "/full"), "!ENOENT");
    assert_int_equal(put(h.socket, 0, "/after", "1"), 0);
    restart();
    assert_string_equal(get(h.socket, 0, "/before"), "1");
    assert_string_equal(get(h.socket, 0, "/after"), "1");
    assert_string_equal(get(h.socket, 0, "/full"), "!ENOENT");
    /* no room for a snapshot: the journal stays */
    h.journal.threshold = 1;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){16, old.rlim_max}), 0);
    journal_compact(&h.journal, &h.store);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(put(h.socket, 0, "/more", "1"), 0);
    restart();
    assert_string_equal(get(h.socket, 0, "/more"), "1");
    host_stop(&h);
}

static void test_not_ours(void **unused)
{
    write_file("something else entirely", 23);
    host_start(&h, path);
    assert_int_equal(put(h.socket, 0, "/x", "1"), 0);
    restart();
    assert_string_equal(get(h.socket, 0, "/x"), "1");
    host_stop(&h);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_restart),    T(test_truncated), T(test_damaged), T(test_nonsense),
        T(test_compaction), T(test_events),    T(test_full),    T(test_not_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
