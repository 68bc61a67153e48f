// SPDX-License-Identifier: BSD-2-Clause
/* The client of the xenstore daemon, against a daemon that says what each test wants. */
#include "unit.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "internal.h"
#include "store.h"
#include "xsclient.h"

/* What the daemon answers, one after another; type 0 ends the connection. */
struct answer {
    uint32_t type;
    const char *body;
    size_t len;
};

static char dir[64], path[96];
static int listener;
static pthread_t thread;
static const struct answer *script; /* ended by .body == NULL */
static uint32_t seen[256];          /* types of the requests */
static unsigned nr_seen;

static bool read_all(int fd, void *to, size_t len)
{
    for (size_t got = 0; got < len;) {
        ssize_t n = read(fd, (char *)to + got, len - got);

        if (n <= 0) {
            return false;
        }
        got += (size_t)n;
    }
    return true;
}

static void say(int fd, const struct answer *a, uint32_t id)
{
    struct xsd_sockmsg head = {.type = a->type, .req_id = id, .len = (uint32_t)a->len};

    /* When the client is gone, the test says so. */
    if (send(fd, &head, sizeof(head), MSG_NOSIGNAL) > 0 && a->len) {
        send(fd, a->body, a->len, MSG_NOSIGNAL);
    }
}

/* One connection: false when the script is at its end. */
static bool serve_one(int fd)
{
    struct xsd_sockmsg head;
    char body[XENSTORE_PAYLOAD_MAX];

    while (read_all(fd, &head, sizeof(head)) && read_all(fd, body, head.len)) {
        seen[nr_seen++] = head.type;
        for (; script->body && script->type == XS_WATCH_EVENT; script++) {
            say(fd, script, 0);
        }
        if (!script->body) {
            return false;
        }
        if (!script->type) {
            script++;
            return true;
        }
        say(fd, script++, head.req_id);
    }
    return script->body != NULL;
}

static void *serve(void *unused)
{
    bool more = true;

    while (more) {
        int fd = accept(listener, NULL, NULL);

        if (fd < 0) {
            break;
        }
        more = serve_one(fd);
        close(fd);
    }
    return NULL;
}

static void start(const struct answer *answers)
{
    script = answers;
    assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
}

static int setup(void **unused)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    strcpy(dir, "/tmp/serai-unit-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/socket", dir);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    setenv("XENSTORED_PATH", path, 1);
    nr_seen = 0;
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
    return listen(listener, 4);
}

static int teardown(void **unused)
{
    shutdown(listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(listener);
    unlink(path);
    return rmdir(dir);
}

#define TEXT(type, text)             \
    {                                \
        type, text, sizeof(text) - 1 \
    }
#define STRINGS(type, text)      \
    {                            \
        type, text, sizeof(text) \
    }

static void test_answers(void **unused)
{
    static const struct answer answers[] = {
        TEXT(XS_READ, "value"),
        STRINGS(XS_ERROR, "ENOENT"),
        STRINGS(XS_ERROR, "EWHATEVER"),
        STRINGS(XS_WATCH_EVENT, "/a/b\0token"),
        STRINGS(XS_WATCH_EVENT, "@releaseDomain\0other"),
        TEXT(XS_READ, ""),
        {0},
    };
    struct serai s = {0};
    char *value, *event;

    start(answers);
    value = store_read(&s, "/x");
    assert_string_equal(value, "value");
    free(value);
    assert_null(store_read(&s, "/x"));
    assert_int_equal(errno, ENOENT);
    assert_null(store_read(&s, "/x"));
    assert_int_equal(errno, EIO);
    value = store_read(&s, "/x");
    assert_string_equal(value, "");
    free(value);
    assert_int_equal(xsc_event(s.store, 0, &event), 1);
    assert_string_equal(event, "/a/b");
    assert_string_equal(event + 5, "token");
    free(event);
    assert_int_equal(xsc_event(s.store, 0, &event), 1);
    assert_string_equal(event, "@releaseDomain");
    free(event);
    assert_int_equal(xsc_event(s.store, 10, &event), 0);
    store_close(&s);
}

/* What is no answer ends the connection; one that was lost is made again, also several times. */
static void test_broken(void **unused)
{
    static const char huge[XENSTORE_PAYLOAD_MAX + 1];
    static const struct answer answers[] = {
        {XS_READ, huge, sizeof(huge)},
        TEXT(XS_READ, "again"),
        TEXT(XS_WRITE, "OK"),
        TEXT(XS_READ, "new"),
        {0, "", 0},
        TEXT(XS_READ, "newer"),
        {0, "", 0},
        {0, "", 0},
        TEXT(XS_WRITE, "OK"),
        {0, "", 0},
        TEXT(XS_READ, "newest"),
        {0},
    };
    static const char *const values[] = {"again", "new", "newer", "newest"};
    struct serai s = {0};

    start(answers);
    for (unsigned i = 0; i < 4; i++) {
        char *value = store_read(&s, "/x");

        assert_non_null(value);
        assert_string_equal(value, values[i]);
        free(value);
    }
    store_close(&s);
}

/* A daemon that never answers what was asked: an error in the end. */
static void test_always_broken(void **unused)
{
    static struct answer answers[40];
    struct serai s = {0};

    for (unsigned i = 0; i < 39; i++) {
        answers[i] = (struct answer){0, "", 0};
    }
    start(answers);
    assert_null(store_read(&s, "/x"));
    assert_int_equal(errno, ECONNRESET);
    assert_true(nr_seen < 39);
    store_close(&s);
}

static void write_one(struct store_tx *t, void *arg)
{
    ++*(unsigned *)arg;
    tx_write(t, "/a", "b", "%s", "c");
}

static void test_transactions(void **unused)
{
    static const struct answer answers[] = {
        TEXT(XS_TRANSACTION_START, "7"),
        STRINGS(XS_WRITE, "OK"),
        STRINGS(XS_ERROR, "EAGAIN"),
        TEXT(XS_TRANSACTION_START, "8"),
        {0, "", 0},
        {0, "", 0}, /* twice before the next begins */
        {0, "", 0},
        TEXT(XS_TRANSACTION_START, "9"),
        STRINGS(XS_WRITE, "OK"),
        STRINGS(XS_TRANSACTION_END, "OK"),
        TEXT(XS_TRANSACTION_START, "10"),
        STRINGS(XS_ERROR, "EACCES"),
        STRINGS(XS_TRANSACTION_END, "OK"),
        {0},
    };
    struct serai s = {0};
    struct serai_error err;
    unsigned runs = 0;

    start(answers);
    assert_int_equal(store_transaction(&s, write_one, &runs, &err), 0);
    assert_int_equal(runs, 3);
    assert_int_equal(store_transaction(&s, write_one, &runs, &err), -EACCES);
    assert_non_null(strstr(err.text, "/a"));
    store_close(&s);
}

static void test_large_directory(void **unused)
{
    static const struct answer answers[] = {
        STRINGS(XS_DIRECTORY, "one\0two"),
        {XS_DIRECTORY, "", 0},
        STRINGS(XS_ERROR, "E2BIG"),
        {XS_DIRECTORY_PART, "5\0a\0bb", 7},
        {XS_DIRECTORY_PART, "5\0ccc\0", 7},
        STRINGS(XS_ERROR, "E2BIG"),
        {XS_DIRECTORY_PART, "5\0a\0bb", 7},
        {XS_DIRECTORY_PART, "6\0ccc\0", 7}, /* it changed meanwhile */
        {XS_DIRECTORY_PART, "6\0d\0", 5},
        {0},
    };
    struct serai s = {0};
    unsigned count;
    char **names;

    start(answers);
    names = store_list(&s, &count, "/x");
    assert_int_equal(count, 2);
    assert_string_equal(names[1], "two");
    assert_null(names[2]);
    free(names);
    names = store_list(&s, &count, "/x");
    assert_non_null(names);
    assert_int_equal(count, 0);
    free(names);
    names = store_list(&s, &count, "/x");
    assert_non_null(names);
    assert_int_equal(count, 3);
    assert_string_equal(names[0], "a");
    assert_string_equal(names[1], "bb");
    assert_string_equal(names[2], "ccc");
    free(names);
    names = store_list(&s, &count, "/x");
    assert_non_null(names);
    assert_int_equal(count, 1);
    assert_string_equal(names[0], "d");
    free(names);
    store_close(&s);
}

/* Many at once: each gets its own answer, whatever comes between and when the connection is lost in
 * the middle. */
static void test_many(void **unused)
{
    enum { MANY = 60, FIRST = 30 };
    static struct answer answers[FIRST + 1 + MANY + 8];
    static char text[MANY][8];
    struct serai s = {0};
    char *paths[MANY], *values[MANY], *event;
    unsigned n = 0;

    for (unsigned i = 0; i < FIRST; i++) {
        answers[n++] = (struct answer){XS_READ, "lost", 4};
    }
    answers[n++] = (struct answer){0, "", 0};
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(text[i], sizeof(text[i]), "%u", i);
        if (i == 7) {
            answers[n++] = (struct answer){XS_WATCH_EVENT, "/a\0t", 5};
        }
        answers[n++] = i % 9 == 8 ? (struct answer){XS_ERROR, "ENOENT", 7}
                                  : (struct answer){XS_READ, text[i], strlen(text[i])};
        paths[i] = (char *)"/x";
    }
    answers[n++] = (struct answer){XS_DIRECTORY, "one\0two", 8};
    answers[n++] = (struct answer){XS_ERROR, "ENOENT", 7};
    answers[n] = (struct answer){0};
    start(answers);
    assert_int_equal(store_read_many(&s, paths, MANY, values), 0);
    for (unsigned i = 0; i < MANY; i++) {
        if (i % 9 == 8) {
            assert_null(values[i]);
        } else {
            assert_string_equal(values[i], text[i]);
        }
        free(values[i]);
    }
    assert_int_equal(xsc_event(s.store, 0, &event), 1);
    assert_string_equal(event, "/a");
    free(event);
    assert_int_equal(store_list_many(&s, paths, 2, values), 0);
    assert_string_equal(values[0] + 4, "two");
    assert_string_equal(values[0] + 8, ""); /* the end */
    assert_null(values[1]);
    free(values[0]);
    store_close(&s);
}

static void *listen_late(void *unused)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    char fresh[100];

    usleep(200000);
    snprintf(fresh, sizeof(fresh), "%s.new", path);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", fresh);
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(listener, 4), 0);
    assert_int_equal(rename(fresh, path), 0);
    return serve(NULL);
}

/* A daemon that is just being started again is waited for; one that never was is not. */
static void test_restarting(void **unused)
{
    static const struct answer answers[] = {TEXT(XS_READ, "here"), {0}};
    struct serai s = {0};
    char *value;

    close(listener); /* its socket stays, as after a kill */
    script = answers;
    assert_int_equal(pthread_create(&thread, NULL, listen_late, NULL), 0);
    value = store_read(&s, "/x");
    assert_string_equal(value, "here");
    free(value);
    store_close(&s);
    setenv("XENSTORED_PATH", "/nowhere/socket", 1);
    assert_false(store_served(&s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_always_broken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_transactions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_directory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_restarting, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
