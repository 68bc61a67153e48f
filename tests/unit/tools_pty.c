// SPDX-License-Identifier: BSD-2-Clause
/* Terminals of guests for other programs, with the kernel's own pseudo terminals. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include "pty.h"

static struct consoled d;
static struct guest g;
static char told[64], typed[65536];
static size_t typed_len;
static int told_result;

/* What pty.c wants of others. */
int serai_console_set_tty(struct serai *s, uint32_t id, const char *path, struct serai_error *err)
{
    if (!told_result) {
        snprintf(told, sizeof(told), "%s", path);
    }
    return told_result;
}

size_t guest_type(struct guest *guest, const char *data, size_t len)
{
    assert_true(guest == &g && guest->input.len + len <= GUEST_INPUT_MAX);
    buf_add(&guest->input, data, len);
    memcpy(typed + typed_len, data, len);
    typed_len += len;
    return len;
}

static void on_stop(void *arg, uint32_t count)
{
    loop_stop(d.loop, 0);
}

/* Lets the loop handle all that has happened. */
static void run(void)
{
    struct loop_source *t = loop_add_timer(d.loop, on_stop, NULL);

    loop_arm(t, 20, 0);
    assert_int_equal(loop_run(d.loop), 0);
    loop_remove(t);
}

static int setup(void **unused)
{
    d = (struct consoled){.loop = loop_new()};
    assert_int_equal(ptys_begin(&d), 0);
    g = (struct guest){.daemon = &d, .id = 7, .name = "g"};
    d.guests = &g;
    typed_len = 0;
    told[0] = '\0';
    told_result = 0;
    g.pty = pty_open(&g);
    assert_non_null(g.pty);
    run();
    return 0;
}

static int teardown(void **unused)
{
    pty_close(g.pty);
    ptys_end(&d);
    loop_free(d.loop);
    buf_free(&g.backlog);
    buf_free(&g.input);
    return 0;
}

static int open_tty(void)
{
    int fd = open(told, O_RDWR | O_NOCTTY | O_NONBLOCK);

    assert_true(fd >= 0);
    run();
    return fd;
}

/* All that is to be read now. */
static size_t read_all(int fd, char *to, size_t size)
{
    size_t len = 0;

    for (;;) {
        ssize_t n;

        run();
        n = read(fd, to + len, size - len - 1);
        if (n <= 0) {
            break;
        }
        len += (size_t)n;
    }
    to[len] = '\0';
    return len;
}

static void test_backlog_and_bytes(void **unused)
{
    char text[256];
    struct termios t;
    int fd;

    buf_puts(&g.backlog, "before\n");
    pty_show(g.pty, "before\n", 7); /* nobody is there */
    fd = open_tty();
    assert_int_equal(tcgetattr(fd, &t), 0);
    assert_false(t.c_lflag & (ECHO | ICANON));
    read_all(fd, text, sizeof(text));
    assert_string_equal(text, "before\n");
    pty_show(g.pty, "live\3\n", 6);
    read_all(fd, text, sizeof(text));
    assert_string_equal(text, "live\3\n");
    assert_int_equal(write(fd, "ls\r", 3), 3);
    run();
    assert_int_equal(typed_len, 3);
    assert_memory_equal(typed, "ls\r", 3);

    /* Whoever comes after those who left begins anew. */
    close(fd);
    run();
    pty_show(g.pty, "unseen\n", 7);
    fd = open_tty();
    read_all(fd, text, sizeof(text));
    assert_string_equal(text, "before\n");
    close(fd);
}

static void test_slow_reader(void **unused)
{
    static char line[1000], all[300000];
    int fd = open_tty();
    size_t len;

    memset(line, 'x', sizeof(line));
    for (unsigned i = 0; i < 200; i++) {
        pty_show(g.pty, line, sizeof(line)); /* never waits */
    }
    len = read_all(fd, all, sizeof(all));
    assert_true(len > 60000 && len < 190000); /* the kernel keeps some as well */
    assert_non_null(strstr(all, "bytes of output lost]"));
    pty_show(g.pty, "after", 5);
    read_all(fd, all, sizeof(all));
    assert_string_equal(all, "after");
    close(fd);
}

/* A guest that takes no input: what is typed waits, nothing is lost. */
static void test_slow_guest(void **unused)
{
    char bytes[1000];
    size_t written = 0;
    int fd = open_tty();

    memset(bytes, 'k', sizeof(bytes));
    for (unsigned i = 0; i < 100; i++) {
        ssize_t n = write(fd, bytes, sizeof(bytes));

        written += n > 0 ? (size_t)n : 0;
        run();
        if (n < 0) {
            break;
        }
    }
    assert_int_equal(typed_len, GUEST_INPUT_MAX);
    assert_true(written > GUEST_INPUT_MAX);
    for (unsigned i = 0; i < 100 && typed_len < written; i++) {
        buf_consume(&g.input, g.input.len);
        pty_resume(g.pty);
        run();
    }
    assert_int_equal(typed_len, written);
    close(fd);
}

static void test_told_later(void **unused)
{
    pty_close(g.pty);
    told[0] = '\0';
    told_result = -ENOTCONN;
    g.pty = pty_open(&g);
    assert_string_equal(told, "");
    told_result = 0;
    ptys_tell(&d);
    assert_int_equal(strncmp(told, "/dev/pts/", 9), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_backlog_and_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_reader, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_guest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_told_later, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
