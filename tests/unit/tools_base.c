// SPDX-License-Identifier: BSD-2-Clause
/* The toolstack's small tools: buffers, words, JSON, CPU sets, UUIDs, tables, files, the loop. */
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "buf.h"
#include "file.h"
#include "json.h"
#include "loop.h"
#include "serai.h"
#include "suggest.h"
#include "table.h"

static void test_buf(void **unused)
{
    struct buf b = {0};
    char *text;

    for (int i = 0; i < 1000; i++) {
        buf_printf(&b, "%d,", i);
    }
    assert_int_equal(b.len, 10 * 2 + 90 * 3 + 900 * 4);
    buf_consume(&b, 4);
    assert_memory_equal(b.data, "2,3,", 4);
    buf_consume(&b, 100000);
    assert_int_equal(b.len, 0);
    buf_puts(&b, "end");
    text = buf_take(&b);
    assert_string_equal(text, "end");
    free(text);
    text = buf_take(&b);
    assert_string_equal(text, "");
    free(text);
}

static void test_suggest(void **unused)
{
    struct suggest s = {.word = "crate"}, none = {.word = "xyz"};

    assert_int_equal(suggest_distance("abc", "abc"), 0);
    assert_int_equal(suggest_distance("abc", "acb"), 1);
    assert_int_equal(suggest_distance("", "abc"), 3);
    assert_int_equal(suggest_distance("kitten", "sitting"), 3);
    suggest_offer(&s, "console");
    suggest_offer(&s, "create");
    suggest_offer(&s, "list");
    assert_string_equal(s.best, "create");
    suggest_offer(&none, "list");
    assert_null(none.best);
}

static void test_json(void **unused)
{
    BUF_AUTO out = {0};
    struct json j = {.out = &out};

    json_begin(&j, NULL, '{');
    json_string(&j, "a\"b", "tab\there");
    json_begin(&j, "list", '[');
    json_number(&j, NULL, UINT64_MAX);
    json_bool(&j, NULL, false);
    json_end(&j, ']');
    json_begin(&j, "empty", '[');
    json_end(&j, ']');
    json_float(&j, "f", 1.256);
    json_end(&j, '}');
    assert_string_equal(out.data, "{\n  \"a\\\"b\": \"tab\\u0009here\",\n  \"list\": [\n"
                                  "    18446744073709551615,\n    false\n  ],\n"
                                  "  \"empty\": [],\n  \"f\": 1.26\n}\n");
}

static void test_cpumap(void **unused)
{
    static const char *const bad[] = {"", "x", "1-", "3-1", "1,,2", "4096", "1 2", "^", "-1", "1,"};
    struct serai_cpumap m;
    struct serai_error err;
    char text[64];

    assert_int_equal(serai_cpumap_parse("0-3,7,^2", &m, &err), 0);
    assert_string_equal(serai_cpumap_format(&m, 8, text, sizeof(text)), "0-1,3,7");
    assert_int_equal(serai_cpumap_parse("all,^0", &m, &err), 0);
    assert_string_equal(serai_cpumap_format(&m, 4, text, sizeof(text)), "1-3");
    assert_int_equal(serai_cpumap_parse("all", &m, &err), 0);
    assert_string_equal(serai_cpumap_format(&m, 4, text, sizeof(text)), "all");
    assert_int_equal(serai_cpumap_parse("none", &m, &err), 0);
    assert_string_equal(serai_cpumap_format(&m, 0, text, sizeof(text)), "none");
    assert_int_equal(serai_cpumap_parse(" 1 , 4095 ", &m, &err), 0);
    assert_true(serai_cpumap_has(&m, 4095));
    assert_int_equal(serai_cpumap_parse("0,2,4,6,8,10,12", &m, &err), 0);
    assert_string_equal(serai_cpumap_format(&m, 0, text, 12), "0,2,4,6...");
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(serai_cpumap_parse(bad[i], &m, &err), -EINVAL);
    }
}

static void test_uuid(void **unused)
{
    uint8_t u[16], v[16];
    char text[SERAI_UUID_TEXT];

    assert_int_equal(serai_uuid_random(u, NULL), 0);
    assert_int_equal(u[6] >> 4, 4);
    assert_true(serai_uuid_parse(serai_uuid_format(u, text), v));
    assert_memory_equal(u, v, 16);
    text[8] = '0';
    assert_false(serai_uuid_parse(text, v));
    assert_false(serai_uuid_parse("", v));
    assert_false(serai_uuid_parse("01234567-89ab-cdef-0123-456789abcdef0", v));
}

static void test_table(void **unused)
{
    static const char *const heads[] = {"Name", ">N", NULL};
    struct table t = {.heads = heads};
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);

    table_cell(&t, 0, "a");
    table_cell(&t, 31, "%d", 1);
    table_cell(&t, 0, "longer");
    table_cell(&t, 0, "%d", 234);
    assert_int_equal(table_print(&t, f), 0);
    fclose(f);
    assert_string_equal(text, "Name      N\na         1\nlonger  234\n");
    free(text);
}

static void test_file(void **unused)
{
    char dir[] = "/tmp/serai-unit-XXXXXX", path[64];
    BUF_AUTO b = {0}, small = {0};

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/x/y", dir);
    assert_int_equal(file_make_dirs(path, 0700), 0);
    assert_int_equal(file_make_dirs(path, 0700), 0);
    strcat(path, "/f");
    assert_int_equal(file_write_atomic(path, "hello", 5, 0600), 0);
    assert_int_equal(file_write_atomic(path, "again", 5, 0600), 0);
    assert_int_equal(file_read(path, 100, &b), 0);
    assert_string_equal(b.data, "again");
    assert_int_equal(file_read(path, 3, &small), -EFBIG);
    snprintf(path, sizeof(path), "rm -r %s", dir);
    assert_int_equal(system(path), 0);
    assert_int_equal(file_read(dir, 3, &small), -ENOENT);
}

static struct loop *loop;
static struct loop_source *pipe_source, *timer;
static int fds[2], seen;

static void on_readable(void *arg, uint32_t events)
{
    char byte;

    assert_int_equal(read(fds[0], &byte, 1), 1);
    seen |= 1;
    loop_remove(pipe_source); /* its own */
    kill(getpid(), SIGUSR1);
}

static void on_signal(void *arg, uint32_t signo)
{
    assert_int_equal(signo, SIGUSR1);
    seen |= 2;
    loop_arm(timer, 1, 0);
}

static void on_timer(void *arg, uint32_t count)
{
    seen |= 4;
    loop_stop(loop, 17);
}

static void test_loop(void **unused)
{
    loop = loop_new();
    assert_int_equal(pipe(fds), 0);
    pipe_source = loop_add_fd(loop, fds[0], EPOLLIN, on_readable, NULL);
    timer = loop_add_timer(loop, on_timer, NULL);
    assert_non_null(loop_add_signal(loop, SIGUSR1, on_signal, NULL));
    assert_non_null(pipe_source);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(loop_run(loop), 17);
    assert_int_equal(seen, 7);
    loop_free(loop);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf),    cmocka_unit_test(test_suggest), cmocka_unit_test(test_json),
        cmocka_unit_test(test_cpumap), cmocka_unit_test(test_uuid),    cmocka_unit_test(test_table),
        cmocka_unit_test(test_file),   cmocka_unit_test(test_loop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
