// SPDX-License-Identifier: BSD-2-Clause
/* Watches: what fires, for whom, in which order, and what happens to one who does not read. */
#include "stored_host.h"

#include "watch.h"

#include <errno.h>

static struct host h;

static int setup(void **unused)
{
    host_start(&h, NULL);
    return 0;
}

static int teardown(void **unused)
{
    assert_sound(&h);
    host_stop(&h);
    return 0;
}

static void watch(struct conn *c, const char *path, const char *token)
{
    char first[4096];
    assert_int_equal(ask(c, XS_WATCH, 0, path, token, NULL), 0);
    assert_string_equal(answer, "OK");
    snprintf(first, sizeof(first), "%s %s", path, token);
    assert_string_equal(event(c), first);
}

static void test_basic(void **unused)
{
    struct conn *c = h.socket;
    watch(c, "/w", "t1");
    watch(c, "/w/x", "t2");
    watch(c, "/", "root");
    assert_int_equal(ask(c, XS_WATCH, 0, "/w", "t1", NULL), EEXIST);
    assert_int_equal(put(c, 0, "/w/x/y", "1"), 0);
    /* from the root down, each once, with the changed path */
    assert_string_equal(event(c), "/w/x/y root");
    assert_string_equal(event(c), "/w/x/y t1");
    assert_string_equal(event(c), "/w/x/y t2");
    assert_string_equal(event(c), "");
    put(c, 0, "/w/xx", "1");
    assert_string_equal(event(c), "/w/xx root");
    assert_string_equal(event(c), "/w/xx t1");
    assert_string_equal(event(c), "");
    put(c, 0, "/wx", "1");
    assert_string_equal(event(c), "/wx root");
    assert_string_equal(event(c), "");
    ask(c, XS_MKDIR, 0, "/w/x", NULL); /* is there: nothing happens */
    assert_string_equal(event(c), "");
    ask(c, XS_SET_PERMS, 0, "/w/xx", "r0", NULL);
    assert_string_equal(event(c), "/w/xx root");
    assert_string_equal(event(c), "/w/xx t1");
    assert_int_equal(ask(c, XS_UNWATCH, 0, "/w", "t2", NULL), ENOENT);
    assert_int_equal(ask(c, XS_UNWATCH, 0, "/", "root", NULL), 0);
    assert_int_equal(ask(c, XS_UNWATCH, 0, "/", "root", NULL), ENOENT);
    assert_int_equal(ask(c, XS_UNWATCH, 0, "//", "root", NULL), EINVAL);
    put(c, 0, "/w/x", "2");
    assert_string_equal(event(c), "/w/x t1");
    assert_string_equal(event(c), "/w/x t2");
    /* events of a watch that goes are not sent any more */
    put(c, 0, "/w/x", "3");
    assert_int_equal(ask(c, XS_UNWATCH, 0, "/w", "t1", NULL), 0);
    assert_string_equal(event(c), "/w/x t2");
    assert_string_equal(event(c), "");
    assert_int_equal(ask(c, XS_RESET_WATCHES, 0, "", NULL), 0);
    put(c, 0, "/w/x", "4");
    assert_string_equal(event(c), "");
}

static void test_removal(void **unused)
{
    struct conn *c = h.socket;
    put(c, 0, "/r/a/b", "1");
    put(c, 0, "/r/c", "1");
    watch(c, "/r", "top");
    watch(c, "/r/a/b", "deep");
    watch(c, "/r/a/none", "none");
    watch(c, "/r/c", "c");
    no_events(c);
    ask(c, XS_RM, 0, "/r", NULL);
    assert_string_equal(event(c), "/r top");
    assert_string_equal(event(c), "/r/a/b deep");
    assert_string_equal(event(c), "/r/c c");
    assert_string_equal(event(c), "");
    ask(c, XS_RM, 0, "/r", NULL); /* is gone */
    assert_string_equal(event(c), "");
}

static void test_relative(void **unused)
{
    struct conn *c = h.socket, *g = host_guest(&h, 12);
    put(c, 0, "/local/domain/12/device", "");
    ask(c, XS_SET_PERMS, 0, "/local/domain/12", "n12", NULL);
    ask(c, XS_SET_PERMS, 0, "/local/domain/12/device", "n12", NULL);
    watch(g, "device", "rel");
    watch(g, "/local/domain/12/device", "abs");
    put(c, 0, "/local/domain/12/device/vif/0", "1");
    assert_string_equal(event(g), "device/vif/0 rel");
    assert_string_equal(event(g), "/local/domain/12/device/vif/0 abs");
    ask(c, XS_RM, 0, "/local/domain/12", NULL);
    assert_string_equal(event(g), "device rel");
    assert_string_equal(event(g), "/local/domain/12/device abs");
    assert_string_equal(event(g), "");
    assert_int_equal(ask(g, XS_UNWATCH, 0, "device", "rel", NULL), 0);
}

static void test_transactions(void **unused)
{
    struct conn *c = h.socket;
    watch(c, "/t", "w");
    uint32_t tx = begin(c);
    put(c, tx, "/t/a", "1");
    put(c, tx, "/t/b", "1");
    ask(c, XS_RM, tx, "/t/a", NULL);
    assert_string_equal(event(c), "");
    assert_int_equal(commit(c, tx), 0);
    assert_string_equal(event(c), "/t/a w");
    assert_string_equal(event(c), "/t/b w");
    assert_string_equal(event(c), "/t/a w");
    tx = begin(c);
    put(c, tx, "/t/c", "1");
    assert_int_equal(ask(c, XS_TRANSACTION_END, tx, "F", NULL), 0);
    assert_string_equal(event(c), "");
}

/* A guest hears of what it may read, or could until now. */
static void test_permissions(void **unused)
{
    struct conn *c = h.socket, *g = host_guest(&h, 1);
    put(c, 0, "/s/secret", "1");
    put(c, 0, "/s/open", "1");
    ask(c, XS_SET_PERMS, 0, "/s/open", "n0", "r1", NULL);
    watch(g, "/s", "w");
    put(c, 0, "/s/secret", "2");
    put(c, 0, "/s/new", "2");
    assert_string_equal(event(g), "");
    put(c, 0, "/s/open", "2");
    assert_string_equal(event(g), "/s/open w");
    ask(c, XS_SET_PERMS, 0, "/s/open", "n0", NULL);
    assert_string_equal(event(g), "/s/open w");
    put(c, 0, "/s/open", "3");
    assert_string_equal(event(g), "");
    ask(c, XS_SET_PERMS, 0, "/s/open", "r0", NULL);
    assert_string_equal(event(g), "/s/open w");
    ask(c, XS_RM, 0, "/s/open", NULL);
    assert_string_equal(event(g), "/s/open w");
    ask(c, XS_RM, 0, "/s/secret", NULL);
    assert_string_equal(event(g), "");
    /* who may list the parent learns of its children anyhow */
    ask(c, XS_SET_PERMS, 0, "/s", "r0", NULL);
    assert_string_equal(event(g), "/s w");
    put(c, 0, "/s/more", "1");
    assert_string_equal(event(g), "/s/more w");
}

static void test_special(void **unused)
{
    struct conn *c = h.socket, *g = host_guest(&h, 1);
    watch(c, "@introduceDomain", "i");
    watch(c, "@releaseDomain", "r");
    watch(c, "@whatever", "x");
    watch(g, "@introduceDomain", "g");
    host_guest(&h, 2);
    assert_string_equal(event(c), "@introduceDomain i");
    assert_string_equal(event(c), "");
    assert_string_equal(event(g), ""); /* it may not know */
    assert_int_equal(ask(c, XS_SET_PERMS, 0, "@introduceDomain", "n0", "r1", NULL), 0);
    assert_int_equal(ask(c, XS_GET_PERMS, 0, "@introduceDomain", NULL), 0);
    assert_memory_equal(answer, "n0\0r1", 6);
    assert_int_equal(ask(g, XS_GET_PERMS, 0, "@introduceDomain", NULL), EINVAL);
    host_guest(&h, 3);
    assert_string_equal(event(c), "@introduceDomain i");
    assert_string_equal(event(g), "@introduceDomain g");
    /* shut down: told once; gone: once more */
    assert_int_equal(domain_set_shutdown(&h.store, 2, true), 0);
    assert_int_equal(domain_set_shutdown(&h.store, 2, true), 0);
    assert_string_equal(event(c), "@releaseDomain r");
    assert_string_equal(event(c), "");
    assert_int_equal(ask(c, XS_RESUME, 0, "2", NULL), 0);
    assert_int_equal(domain_set_shutdown(&h.store, 2, true), 0);
    assert_string_equal(event(c), "@releaseDomain r");
    assert_int_equal(domain_gone(&h.store, 2), 0);
    assert_string_equal(event(c), "@releaseDomain r");
    assert_int_equal(ask(c, XS_RELEASE, 0, "3", NULL), 0);
    assert_string_equal(event(c), "@releaseDomain r");
    assert_int_equal(ask(c, XS_UNWATCH, 0, "@releaseDomain", "r", NULL), 0);
    assert_int_equal(ask(c, XS_UNWATCH, 0, "@whatever", "x", NULL), 0);
}

/* The same event waits once. */
static void test_coalesce(void **unused)
{
    struct conn *c = h.socket;
    watch(c, "/", "w");
    for (unsigned i = 0; i < 1000; i++) {
        put(c, 0, "/x", "1");
    }
    assert_int_equal(c->event_count, 1);
    put(c, 0, "/y", "1");
    put(c, 0, "/x", "1");
    assert_string_equal(event(c), "/x w");
    assert_string_equal(event(c), "/y w");
    assert_string_equal(event(c), "/x w");
    assert_string_equal(event(c), "");
}

/* One who does not read keeps a bounded number; in the end each of its watches says "look". */
static void test_overflow(void **unused)
{
    struct conn *c = h.socket, *g = host_guest(&h, 1);
    char path[64];
    ask(c, XS_CONTROL, 0, "quota", "set", "outstanding", "10", NULL);
    ask(c, XS_SET_PERMS, 0, "/tool", "r0", NULL);
    watch(g, "/tool", "a");
    watch(g, "/tool/x", "b");
    for (unsigned i = 0; i < 100; i++) {
        snprintf(path, sizeof(path), "/tool/%u", i);
        put(c, 0, path, "");
    }
    put(c, 0, "/tool/x", "");
    assert_int_equal(g->event_count, 10);
    assert_true(domain_find(&h.store, 1)->use.bytes < 4000);
    for (unsigned i = 0; i < 10; i++) {
        snprintf(path, sizeof(path), "/tool/%u a", i);
        assert_string_equal(event(g), path);
    }
    assert_string_equal(event(g), "/tool/x b");
    assert_string_equal(event(g), "/tool a");
    assert_string_equal(event(g), "");
}

static void test_tokens(void **unused)
{
    struct conn *c = h.socket;
    char token[3000];
    memset(token, 't', sizeof(token));
    token[1000] = '\0';
    watch(c, "/x", token);
    token[1000] = 't';
    token[1100] = '\0';
    assert_int_equal(ask(c, XS_WATCH, 0, "/x", token, NULL), EINVAL);
    assert_int_equal(ask(c, XS_WATCH, 0, "/x", NULL), EINVAL);
    watch(c, "/x", "");
    assert_int_equal(ask(c, XS_WATCH, 0, "bad//path", "t", NULL), EINVAL);
    watch(c, "/not/there/at/all", "t");
    assert_int_equal(ask(c, XS_UNWATCH, 0, "/not/there/at/all", "t", NULL), 0);
    assert_int_equal(ask(c, XS_UNWATCH, 0, "/x", "", NULL), 0);
}

/* A connection that ends takes its watches along. */
static void test_end(void **unused)
{
    struct conn *one = host_connect(&h);
    watch(one, "/a/b/c", "t");
    put(h.socket, 0, "/a/b/c", "1");
    host_disconnect(one);
    put(h.socket, 0, "/a/b/c", "2");
    assert_int_equal(domain_find(&h.store, 0)->use.watches, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_basic),       T(test_removal), T(test_relative), T(test_transactions),
        T(test_permissions), T(test_special), T(test_coalesce), T(test_overflow),
        T(test_tokens),      T(test_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
