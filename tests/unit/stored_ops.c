// SPDX-License-Identifier: BSD-2-Clause
/* Every operation of the protocol, its errors, permissions and limits. */
#include "stored_host.h"

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

static void test_write_read(void **unused)
{
    struct conn *c = h.socket;
    assert_int_equal(put(c, 0, "/a/b/c", "value"), 0);
    assert_string_equal(answer, "OK");
    assert_int_equal(answer_len, 3);
    assert_string_equal(get(c, 0, "/a/b/c"), "value");
    assert_int_equal(answer_len, 5);
    assert_string_equal(get(c, 0, "/a/b"), "");
    assert_int_equal(answer_len, 0);
    assert_string_equal(get(c, 0, "/a/x"), "!ENOENT");
    assert_int_equal(put(c, 0, "/a/b/c", ""), 0);
    assert_string_equal(get(c, 0, "/a/b/c"), "");
    assert_int_equal(put(c, 0, "relative/x", "1"), 0);
    assert_string_equal(get(c, 0, "/local/domain/0/relative/x"), "1");
    /* bytes of all kinds */
    assert_int_equal(ask_raw(c, XS_WRITE, 0, "/bin\0a\0\xff", 8), 0);
    assert_int_equal(ask(c, XS_READ, 0, "/bin", NULL), 0);
    assert_int_equal(answer_len, 3);
    assert_memory_equal(answer, "a\0\xff", 3);
}

static void test_paths(void **unused)
{
    static const char *const bad[] = {
        "",     "//",  "/a/", "/a//b", "/a b", "/a\n", "/ä", "a/", "@x", "/a:b", "@introduceDomain",
        "/a.b", "//a", "/a*"};
    struct conn *c = h.socket;
    char path[3200];
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(put(c, 0, bad[i], "x"), EINVAL);
        assert_int_equal(ask(c, XS_READ, 0, bad[i], NULL), EINVAL);
        assert_int_equal(ask(c, XS_MKDIR, 0, bad[i], NULL), EINVAL);
        assert_int_equal(ask(c, XS_RM, 0, bad[i], NULL), EINVAL);
        assert_int_equal(ask(c, XS_DIRECTORY, 0, bad[i], NULL), EINVAL);
    }
    assert_int_equal(ask(c, XS_DIRECTORY, 0, "/", NULL), 0);
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[XENSTORE_ABS_PATH_MAX] = '\0';
    assert_int_equal(put(c, 0, path, "x"), 0);
    assert_string_equal(get(c, 0, path), "x");
    path[XENSTORE_ABS_PATH_MAX] = 'x';
    path[XENSTORE_ABS_PATH_MAX + 1] = '\0';
    assert_int_equal(put(c, 0, path, "x"), EINVAL);
    path[0] = 'x';
    path[XENSTORE_REL_PATH_MAX] = '\0';
    assert_int_equal(put(c, 0, path, "x"), 0);
    path[XENSTORE_REL_PATH_MAX] = 'x';
    path[XENSTORE_REL_PATH_MAX + 1] = '\0';
    assert_int_equal(put(c, 0, path, "x"), EINVAL);
    /* the deepest path there can be */
    for (unsigned i = 0; i < XENSTORE_ABS_PATH_MAX; i += 2) {
        memcpy(path + i, "/d", 2);
    }
    path[XENSTORE_ABS_PATH_MAX] = '\0';
    assert_int_equal(put(c, 0, path, "deep"), 0);
    assert_string_equal(get(c, 0, path), "deep");
    assert_int_equal(ask(c, XS_RM, 0, "/d", NULL), 0);
}

static void test_payloads(void **unused)
{
    struct conn *c = h.socket;
    for (uint32_t type = 0; type < XS_TYPE_COUNT + 3; type++) {
        if (type == XS_TRANSACTION_START || type == XS_RESET_WATCHES) {
            continue;
        }
        int none = ask_raw(c, type, 0, "", 0);
        assert_true(none == EINVAL || none == ENOSYS);
        int unterminated = ask_raw(c, type, 0, "x", 1);
        assert_true(unterminated == EINVAL || unterminated == ENOSYS);
        ask_raw(c, type, 0, "\0", 1);
        ask_raw(c, type, 0, "\0\0\0\0", 4);
    }
    assert_int_equal(ask_raw(c, XS_INVALID, 0, "", 0), ENOSYS);
    assert_int_equal(ask_raw(c, XS_WATCH_EVENT, 0, "/a\0t", 5), ENOSYS);
    assert_int_equal(ask_raw(c, XS_READ, 0, "/local\0x", 9), EINVAL);
    assert_int_equal(ask_raw(c, XS_READ, 77, "/local", 7), ENOENT); /* no such transaction */
}

static void test_mkdir_rm(void **unused)
{
    struct conn *c = h.socket;
    assert_int_equal(ask(c, XS_MKDIR, 0, "/m/n", NULL), 0);
    assert_int_equal(put(c, 0, "/m/n", "keep"), 0);
    assert_int_equal(ask(c, XS_MKDIR, 0, "/m/n", NULL), 0);
    assert_string_equal(get(c, 0, "/m/n"), "keep");
    assert_int_equal(ask(c, XS_RM, 0, "/m/x", NULL), 0); /* not there, its parent is */
    assert_int_equal(ask(c, XS_RM, 0, "/no/x", NULL), ENOENT);
    assert_int_equal(ask(c, XS_RM, 0, "/", NULL), EINVAL);
    assert_int_equal(ask(c, XS_RM, 0, "/m", NULL), 0);
    assert_string_equal(get(c, 0, "/m/n"), "!ENOENT");
    assert_string_equal(get(c, 0, "/m"), "!ENOENT");
}

static void test_directory(void **unused)
{
    struct conn *c = h.socket;
    char path[64];
    put(c, 0, "/dir/b", "");
    put(c, 0, "/dir/a", "");
    put(c, 0, "/dir/a-b", "");
    assert_int_equal(ask(c, XS_DIRECTORY, 0, "/dir", NULL), 0);
    assert_int_equal(answer_len, 8);
    assert_memory_equal(answer, "a\0a-b\0b", 8);
    assert_int_equal(ask(c, XS_DIRECTORY, 0, "/dir/a", NULL), 0);
    assert_int_equal(answer_len, 0);
    for (unsigned i = 0; i < 600; i++) {
        snprintf(path, sizeof(path), "/dir/child-%03u", i);
        put(c, 0, path, "");
    }
    assert_int_equal(ask(c, XS_DIRECTORY, 0, "/dir", NULL), E2BIG);
    /* in parts: the same generation, whole names, an empty one at the end */
    char all[8192], gen[32] = "";
    size_t at = 0;
    for (bool last = false; !last;) {
        snprintf(path, sizeof(path), "%zu", at);
        assert_int_equal(ask(c, XS_DIRECTORY_PART, 0, "/dir", path, NULL), 0);
        assert_true(answer_len <= XENSTORE_PAYLOAD_MAX);
        size_t head = strlen(answer) + 1;
        if (at) {
            assert_string_equal(gen, answer);
        }
        strcpy(gen, answer);
        last = answer_len == head + 1 || !memcmp(answer + answer_len - 2, "\0", 2);
        memcpy(all + at, answer + head, answer_len - head);
        at += answer_len - head - last;
    }
    assert_int_equal(at, 8 + 600 * 10);
    put(c, 0, "/dir/new", "");
    assert_int_equal(ask(c, XS_DIRECTORY_PART, 0, "/dir", "0", NULL), 0);
    assert_string_not_equal(gen, answer);
    assert_int_equal(ask(c, XS_DIRECTORY_PART, 0, "/dir", "99999", NULL), EINVAL);
    assert_int_equal(ask(c, XS_DIRECTORY_PART, 0, "/dir", "x", NULL), EINVAL);
    assert_int_equal(ask(c, XS_DIRECTORY_PART, 0, "/dir", NULL), EINVAL);
}

static void test_permissions(void **unused)
{
    struct conn *c = h.socket, *g1 = host_guest(&h, 1), *g2 = host_guest(&h, 2);
    put(c, 0, "/p/secret", "x");
    assert_string_equal(get(g1, 0, "/p/secret"), "!EACCES");
    assert_string_equal(get(g1, 0, "/p/none"), "!EACCES"); /* nor whether it exists */
    assert_int_equal(put(g1, 0, "/p/secret", "y"), EACCES);
    assert_int_equal(put(g1, 0, "/p/new/er", "y"), EACCES);
    assert_int_equal(ask(g1, XS_RM, 0, "/p/secret", NULL), EACCES);
    assert_int_equal(ask(g1, XS_MKDIR, 0, "/p/secret", NULL), EACCES);
    assert_int_equal(ask(g1, XS_GET_PERMS, 0, "/p/secret", NULL), EACCES);
    assert_int_equal(ask(g1, XS_SET_PERMS, 0, "/p/secret", "b1", NULL), EACCES);
    /* exceptions for one */
    assert_int_equal(ask(c, XS_SET_PERMS, 0, "/p/secret", "n0", "r1", "w2", NULL), 0);
    assert_int_equal(ask(g1, XS_GET_PERMS, 0, "/p/secret", NULL), 0);
    assert_int_equal(answer_len, 9);
    assert_memory_equal(answer, "n0\0r1\0w2", 9);
    assert_string_equal(get(g1, 0, "/p/secret"), "x");
    assert_int_equal(put(g1, 0, "/p/secret", "y"), EACCES);
    assert_string_equal(get(g2, 0, "/p/secret"), "!EACCES");
    assert_int_equal(put(g2, 0, "/p/secret", "z"), 0);
    /* the default for all; what is below inherits; the owner of what a guest makes is the guest */
    assert_int_equal(ask(c, XS_SET_PERMS, 0, "/p", "b0", NULL), 0);
    assert_int_equal(put(g1, 0, "/p/mine/deep", "1"), 0);
    assert_int_equal(ask(g1, XS_GET_PERMS, 0, "/p/mine", NULL), 0);
    assert_string_equal(answer, "b1");
    assert_int_equal(ask(g1, XS_SET_PERMS, 0, "/p/mine/deep", "n1", NULL), 0);
    assert_string_equal(get(g2, 0, "/p/mine/deep"), "!EACCES");
    assert_string_equal(get(c, 0, "/p/mine/deep"), "1");
    assert_int_equal(ask(g1, XS_SET_PERMS, 0, "/p/mine", "n2", NULL), EPERM);
    assert_int_equal(ask(c, XS_SET_PERMS, 0, "/p/mine", "n2", NULL), 0);
    assert_int_equal(domain_find(&h.store, 1)->use.nodes, 1);
    assert_int_equal(domain_find(&h.store, 2)->use.nodes, 1);
    /* what is no list */
    static const char *const bad[] = {"", "x1", "r", "r1x", "r99999", "r32752", "rr1", "1"};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(ask(c, XS_SET_PERMS, 0, "/p", bad[i], NULL), EINVAL);
    }
    assert_int_equal(ask(c, XS_SET_PERMS, 0, "/p", NULL), EINVAL);
    assert_int_equal(ask(c, XS_SET_PERMS, 0, "/nope", "n0", NULL), ENOENT);
}

static void test_privileged_only(void **unused)
{
    struct conn *g = host_guest(&h, 1);
    assert_int_equal(ask(g, XS_INTRODUCE, 0, "3", "1", "1", NULL), EACCES);
    assert_int_equal(ask(g, XS_RELEASE, 0, "1", NULL), EACCES);
    assert_int_equal(ask(g, XS_RESUME, 0, "1", NULL), EACCES);
    assert_int_equal(ask(g, XS_SET_TARGET, 0, "1", "2", NULL), EACCES);
    assert_int_equal(ask(g, XS_CONTROL, 0, "check", NULL), EACCES);
    assert_int_equal(ask(g, XS_SET_PERMS, 0, "@releaseDomain", "n0", "r1", NULL), EACCES);
    assert_int_equal(ask(g, XS_IS_DOMAIN_INTRODUCED, 0, "1", NULL), 0);
    assert_string_equal(answer, "T");
    assert_int_equal(ask(g, XS_GET_DOMAIN_PATH, 0, "007", NULL), 0);
    assert_string_equal(answer, "/local/domain/7");
}

static void test_domains(void **unused)
{
    struct conn *c = h.socket;
    assert_int_equal(ask(c, XS_IS_DOMAIN_INTRODUCED, 0, "5", NULL), 0);
    assert_string_equal(answer, "F");
    assert_int_equal(ask(c, XS_INTRODUCE, 0, "0", "1", "1", NULL), EINVAL);
    assert_int_equal(ask(c, XS_INTRODUCE, 0, "32752", "1", "1", NULL), EINVAL);
    assert_int_equal(ask(c, XS_INTRODUCE, 0, "5", "x", "1", NULL), EINVAL);
    assert_int_equal(ask(c, XS_INTRODUCE, 0, "5", "1", "0", NULL), EINVAL);
    assert_int_equal(ask(c, XS_INTRODUCE, 0, "5", "1", NULL), EINVAL);
    assert_int_equal(ask(c, XS_INTRODUCE, 0, "5", "1", "666", NULL), EINVAL); /* unreachable */
    assert_null(domain_find(&h.store, 5));
    assert_int_equal(ask(c, XS_INTRODUCE, 0, "5", "-1", "4", "", NULL), 0);
    assert_int_equal(ask(c, XS_IS_DOMAIN_INTRODUCED, 0, "5", NULL), 0);
    assert_string_equal(answer, "T");
    /* again: the same is nothing new, another port is a new connection */
    struct conn *g = domain_find(&h.store, 5)->conn;
    assert_int_equal(ask(g, XS_WATCH, 0, "x", "t", NULL), 0);
    assert_int_equal(ask(c, XS_INTRODUCE, 0, "5", "-1", "4", NULL), 0);
    assert_non_null(domain_find(&h.store, 5)->conn->watches);
    assert_int_equal(ask(c, XS_INTRODUCE, 0, "5", "-1", "8", NULL), 0);
    assert_null(domain_find(&h.store, 5)->conn->watches);
    assert_int_equal(ask(c, XS_RESUME, 0, "5", NULL), 0);
    assert_int_equal(ask(c, XS_RESUME, 0, "6", NULL), ENOENT);
    assert_int_equal(ask(c, XS_RELEASE, 0, "6", NULL), ENOENT);
    assert_int_equal(ask(c, XS_RELEASE, 0, "0", NULL), EINVAL);
    assert_int_equal(ask(c, XS_RELEASE, 0, "5", NULL), 0);
    assert_int_equal(ask(c, XS_RELEASE, 0, "5", NULL), ENOENT);
}

static void test_target(void **unused)
{
    struct conn *c = h.socket, *g = host_guest(&h, 1), *dm = host_guest(&h, 2);
    put(c, 0, "/t", "1");
    assert_int_equal(ask(c, XS_SET_PERMS, 0, "/t", "n1", NULL), 0);
    assert_string_equal(get(g, 0, "/t"), "1");
    assert_string_equal(get(dm, 0, "/t"), "!EACCES");
    assert_int_equal(ask(c, XS_SET_TARGET, 0, "2", "9", NULL), ENOENT);
    assert_int_equal(ask(c, XS_SET_TARGET, 0, "9", "1", NULL), ENOENT);
    assert_int_equal(ask(c, XS_SET_TARGET, 0, "2", "1", NULL), 0);
    assert_string_equal(get(dm, 0, "/t"), "1");
    assert_int_equal(ask(dm, XS_SET_PERMS, 0, "/t", "r1", NULL), 0);
    assert_int_equal(ask(dm, XS_SET_PERMS, 0, "/t", "r2", NULL), EPERM);
}

/* What is left of a dead domain: nothing that a later one of its number could use. */
static void test_gone(void **unused)
{
    struct conn *c = h.socket, *g = host_guest(&h, 3);
    put(c, 0, "/local/domain/3/name", "x");
    ask(c, XS_SET_PERMS, 0, "/local/domain/3", "n0", "b3", NULL);
    assert_int_equal(put(g, 0, "data/a", "1"), 0);
    assert_int_equal(put(g, 0, "data/a/b", "1"), 0);
    assert_int_equal(ask(c, XS_SET_PERMS, 0, "/tool", "n0", "r3", "r4", NULL), 0);
    assert_int_equal(ask(c, XS_WATCH, 0, "/local/domain/3/data/a/b", "w", NULL), 0);
    no_events(c);
    h.dead[3] = true;
    assert_int_equal(domain_gone(&h.store, 3), 0);
    assert_string_equal(event(c), "/local/domain/3/data/a/b w");
    assert_string_equal(get(c, 0, "/local/domain/3/data"), "!ENOENT");
    assert_string_equal(get(c, 0, "/local/domain/3/name"), "x"); /* the toolstack's */
    assert_int_equal(ask(c, XS_GET_PERMS, 0, "/tool", NULL), 0);
    assert_memory_equal(answer, "n0\0r4", 6);
    assert_int_equal(ask(c, XS_GET_PERMS, 0, "/local/domain/3", NULL), 0);
    assert_int_equal(answer_len, 3);
    assert_null(domain_find(&h.store, 3));
    /* RELEASE of a living one takes nothing from it */
    g = host_guest(&h, 4);
    ask(c, XS_SET_PERMS, 0, "/tool", "b0", NULL);
    assert_int_equal(put(g, 0, "/tool/of4", "1"), 0);
    assert_int_equal(ask(c, XS_RELEASE, 0, "4", NULL), 0);
    assert_string_equal(get(c, 0, "/tool/of4"), "1");
    assert_int_equal(domain_gone(&h.store, 4), 0);
    assert_string_equal(get(c, 0, "/tool/of4"), "!ENOENT");
    assert_int_equal(domain_gone(&h.store, 4), -ENOENT);
}

static void test_quotas(void **unused)
{
    struct conn *c = h.socket, *g = host_guest(&h, 1);
    char text[4096];
    ask(c, XS_MKDIR, 0, "/q", NULL);
    ask(c, XS_SET_PERMS, 0, "/q", "b0", NULL);
    assert_int_equal(ask(c, XS_CONTROL, 0, "quota", "set", "nodes", "10", NULL), 0);
    for (unsigned i = 0; i < 8; i++) {
        snprintf(text, sizeof(text), "/q/%u", i);
        assert_int_equal(put(g, 0, text, "x"), 0);
    }
    assert_int_equal(put(g, 0, "/q/a/b/c", "x"), ENOSPC); /* three more */
    assert_int_equal(put(g, 0, "/q/a/b", "x"), 0);
    assert_int_equal(put(g, 0, "/q/z", "x"), ENOSPC);
    assert_int_equal(ask(g, XS_MKDIR, 0, "/q/z", NULL), ENOSPC);
    assert_int_equal(put(g, 0, "/q/1", "changes are fine"), 0);
    assert_int_equal(put(c, 0, "/q/z", "the control domain has no limit"), 0);
    /* a transaction counts what it will add, and what it takes away */
    uint32_t tx = begin(g);
    assert_int_equal(ask(g, XS_RM, tx, "/q/a", NULL), 0);
    assert_int_equal(put(g, tx, "/q/y1", "x"), 0);
    assert_int_equal(put(g, tx, "/q/y2", "x"), 0);
    assert_int_equal(put(g, tx, "/q/y3", "x"), ENOSPC);
    assert_int_equal(commit(g, tx), 0);
    assert_int_equal(domain_find(&h.store, 1)->use.nodes, 10);
    /* two that are fine alone */
    ask(g, XS_RM, 0, "/q/y1", NULL);
    uint32_t tx2 = begin(g);
    tx = begin(g);
    assert_int_equal(put(g, tx, "/q/y1", "x"), 0);
    assert_int_equal(put(g, tx2, "/q/y9", "x"), 0);
    assert_int_equal(commit(g, tx), 0);
    assert_int_equal(commit(g, tx2), ENOSPC);
    /* size of one */
    memset(text, 'x', sizeof(text));
    text[2040] = '\0';
    assert_int_equal(put(g, 0, "/q/1", text), 0);
    text[2040] = 'x';
    text[2060] = '\0';
    assert_int_equal(put(g, 0, "/q/1", text), ENOSPC);
    assert_int_equal(ask(g, XS_SET_PERMS, 0, "/q/2", "n1", "r2", "r3", "r4", "r5", "r6", NULL),
                     ENOSPC);
    assert_int_equal(ask(g, XS_SET_PERMS, 0, "/q/2", "n1", "r2", "r3", "r4", "r5", NULL), 0);
    /* transactions and watches */
    for (unsigned i = 0; i < 10; i++) {
        begin(g);
    }
    assert_int_equal(ask(g, XS_TRANSACTION_START, 0, "", NULL), ENOSPC);
    for (unsigned i = 0; i < 128; i++) {
        snprintf(text, sizeof(text), "%u", i);
        assert_int_equal(ask(g, XS_WATCH, 0, "x", text, NULL), 0);
    }
    assert_int_equal(ask(g, XS_WATCH, 0, "x", "one more", NULL), E2BIG);
    assert_sound(&h);
    assert_int_equal(ask(g, XS_RESET_WATCHES, 0, "", NULL), 0);
    assert_int_equal(domain_find(&h.store, 1)->use.watches, 0);
    assert_int_equal(domain_find(&h.store, 1)->use.transactions, 0);
    /* memory */
    assert_int_equal(ask(c, XS_CONTROL, 0, "quota", "set", "memory", "1500", NULL), 0);
    assert_int_equal(put(g, 0, "/q/1", "x"), ENOMEM);
    assert_int_equal(ask(g, XS_WATCH, 0, "x", "t", NULL), ENOMEM);
    assert_int_equal(ask(g, XS_TRANSACTION_START, 0, "", NULL), ENOMEM);
    assert_int_equal(ask(g, XS_RM, 0, "/q/1", NULL), 0);
}

static void test_transaction_size(void **unused)
{
    struct conn *c = h.socket, *g = host_guest(&h, 1);
    char path[32];
    ask(c, XS_SET_PERMS, 0, "/tool", "b0", NULL);
    ask(c, XS_CONTROL, 0, "quota", "set", "transaction-nodes", "100", NULL);
    uint32_t tx = begin(g);
    int ret = 0;
    unsigned i = 0;
    for (; i < 200 && !ret; i++) {
        snprintf(path, sizeof(path), "/tool/%u", i);
        ret = ask(g, XS_READ, tx, path, NULL) == ENOENT ? 0 : ENOSPC;
    }
    assert_int_equal(ret, ENOSPC);
    assert_int_equal(i, 101);
}

/* What a guest makes the daemon remember is within its memory, also what is not nodes. */
static void test_memory(void **unused)
{
    struct conn *c = h.socket, *g = host_guest(&h, 1);
    long limit = 4 << 20, seen = 0;
    char path[3001], token[16];
    ask(c, XS_SET_PERMS, 0, "/tool", "b0", NULL);
    uint32_t ids[10];
    for (unsigned tx = 0; tx < 10; tx++) {
        ids[tx] = begin(g);
    }
    for (unsigned tx = 0; tx < 10; tx++) {
        for (unsigned i = 0; i < 1000; i++) {
            memset(path, 'p', sizeof(path) - 1);
            memcpy(path, "/tool/", 6);
            path[6 + snprintf(path + 6, 16, "%u", i)] = '-';
            path[sizeof(path) - 1] = '\0';
            ask(g, XS_READ, ids[tx], path, NULL);
            long bytes = domain_find(&h.store, 1)->use.bytes;
            seen = bytes > seen ? bytes : seen;
        }
    }
    assert_true(seen > limit / 2 && seen < limit + (64 << 10));
    assert_sound(&h);
    assert_int_equal(ask(g, XS_RESET_WATCHES, 0, "", NULL), 0);
    /* paths of many short components, nothing in common */
    unsigned watches = 0;
    for (unsigned i = 0; i < 128; i++) {
        snprintf(path, sizeof(path), "/%u", i);
        size_t len = strlen(path);
        for (; len < 2900; len += 2) {
            memcpy(path + len, "/a", 3);
        }
        snprintf(token, sizeof(token), "%u", i);
        watches += !ask(g, XS_WATCH, 0, path, token, NULL);
    }
    assert_true(watches > 4 && watches < 40);
    assert_true(domain_find(&h.store, 1)->use.bytes <= limit + (64 << 10));
    assert_sound(&h);
    assert_int_equal(ask(g, XS_RESET_WATCHES, 0, "", NULL), 0);
}

static void test_control(void **unused)
{
    struct conn *c = h.socket;
    assert_int_equal(ask(c, XS_CONTROL, 0, "check", NULL), 0);
    assert_string_equal(answer, "OK");
    assert_int_equal(ask(c, XS_CONTROL, 0, "help", NULL), 0);
    assert_non_null(strstr(answer, "memreport"));
    assert_int_equal(ask(c, XS_CONTROL, 0, "quota", NULL), 0);
    assert_non_null(strstr(answer, "watches: 128"));
    assert_int_equal(ask(c, XS_CONTROL, 0, "quota", "0", NULL), 0);
    assert_int_equal(ask(c, XS_CONTROL, 0, "quota", "9", NULL), ENOENT);
    assert_int_equal(ask(c, XS_CONTROL, 0, "quota", "set", "bogus", "1", NULL), EINVAL);
    assert_int_equal(ask(c, XS_CONTROL, 0, "quota", "set", "nodes", "-1", NULL), EINVAL);
    assert_int_equal(ask(c, XS_CONTROL, 0, "memreport", NULL), 0);
    assert_non_null(strstr(answer, "domain 0"));
    assert_int_equal(ask(c, XS_CONTROL, 0, "memreport", "/dev/null", NULL), 0);
    assert_int_equal(ask(c, XS_CONTROL, 0, "memreport", "/no/such/dir", NULL), EIO);
    assert_int_equal(ask(c, XS_CONTROL, 0, "log", "maybe", NULL), EINVAL);
    assert_int_equal(ask(c, XS_CONTROL, 0, "logfile", "/dev/null", NULL), 0);
    assert_int_equal(ask(c, XS_CONTROL, 0, "log", "on", NULL), 0);
    assert_int_equal(put(c, 0, "/logged", "\x01\x02"), 0);
    assert_int_equal(ask(c, XS_CONTROL, 0, "log", "off", NULL), 0);
    assert_int_equal(ask(c, XS_CONTROL, 0, "bogus", NULL), EINVAL);
    assert_int_equal(ask(c, XS_CONTROL, 0, "print", "a", "b", "c", "d", "e", NULL), EINVAL);
}

/* When the journal cannot be written nothing happens, and it is said. */
static void test_no_journal(void **unused)
{
    struct conn *c = h.socket, *g = host_guest(&h, 1);
    ask(c, XS_SET_PERMS, 0, "/tool", "b0", NULL);
    char *before = dump(&h.store);
    uint32_t tx = begin(g);
    assert_int_equal(put(g, tx, "/tool/n", "1"), 0);
    h.refuse = true;
    assert_int_equal(put(c, 0, "/n", "1"), ENOSPC);
    assert_int_equal(ask(c, XS_MKDIR, 0, "/n", NULL), ENOSPC);
    assert_int_equal(ask(c, XS_RM, 0, "/tool", NULL), ENOSPC);
    assert_int_equal(ask(c, XS_SET_PERMS, 0, "/tool", "n0", NULL), ENOSPC);
    assert_int_equal(ask(c, XS_SET_PERMS, 0, "@releaseDomain", "n0", "r1", NULL), ENOSPC);
    assert_int_equal(ask(c, XS_INTRODUCE, 0, "2", "1", "1", NULL), ENOSPC);
    assert_int_equal(ask(c, XS_SET_TARGET, 0, "1", "1", NULL), ENOSPC);
    assert_int_equal(ask(c, XS_CONTROL, 0, "quota", "set", "nodes", "10", NULL), ENOSPC);
    assert_int_equal(ask(g, XS_WATCH, 0, "x", "t", NULL), ENOSPC);
    assert_int_equal(ask(g, XS_TRANSACTION_START, 0, "", NULL), ENOSPC);
    assert_int_equal(ask(g, XS_RESET_WATCHES, 0, "", NULL), ENOSPC);
    assert_int_equal(commit(g, tx), ENOSPC);
    h.refuse = false;
    assert_int_equal(ask(g, XS_TRANSACTION_END, tx, "F", NULL), 0);
    char *after = dump(&h.store);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_write_read),       T(test_paths),       T(test_payloads),        T(test_mkdir_rm),
        T(test_directory),        T(test_permissions), T(test_privileged_only), T(test_domains),
        T(test_target),           T(test_gone),        T(test_quotas),          T(test_memory),
        T(test_transaction_size), T(test_control),     T(test_no_journal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
