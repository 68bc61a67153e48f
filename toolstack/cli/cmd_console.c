// SPDX-License-Identifier: BSD-2-Clause
// The terminal's side of a guest's console.
#include "cli.h"

#include "file.h"
#include "log.h"
#include "loop.h"

#include <errno.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

enum { CONSOLE_ESCAPE = 0x1d }; // Ctrl-]

struct console {
    struct loop *loop;
    struct loop_source *input, *output;
    int fd;
    bool raw; // standard input is a terminal that we have switched
    struct termios before;
};

static void console_from_guest(void *arg, uint32_t events)
{
    struct console *c = arg;
    char bytes[4096];
    (void)events;
    ssize_t n = read(c->fd, bytes, sizeof(bytes));
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0 || file_write_all(STDOUT_FILENO, bytes, (size_t)n))
        loop_stop(c->loop, CLI_OK);
}

static void console_from_user(void *arg, uint32_t events)
{
    struct console *c = arg;
    char bytes[1024];
    (void)events;
    ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) { // no more input: go on showing output
        loop_remove(c->input);
        c->input = NULL;
        return;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (c->raw && bytes[i] == CONSOLE_ESCAPE) {
            loop_stop(c->loop, CLI_OK);
            n = i;
        }
    }
    if (file_write_all(c->fd, bytes, (size_t)n))
        loop_stop(c->loop, CLI_OK);
}

static void console_signal(void *arg, uint32_t signo)
{
    struct console *c = arg;
    (void)signo;
    loop_stop(c->loop, CLI_OK);
}

static void console_raw(struct console *c)
{
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &c->before))
        return;
    struct termios t = c->before;
    cfmakeraw(&t);
    t.c_oflag |= OPOST; // a guest in trouble may print bare newlines
    c->raw = !tcsetattr(STDIN_FILENO, TCSANOW, &t);
}

int cli_console_run(struct cli *cli, int fd)
{
    struct console c = {.fd = fd, .loop = loop_new()};
    (void)cli;
    if (!c.loop)
        return CLI_FAILED;
    signal(SIGPIPE, SIG_IGN);
    c.output = loop_add_fd(c.loop, fd, EPOLLIN, console_from_guest, &c);
    // A plain file cannot be watched: then there is no input.
    c.input = loop_add_fd(c.loop, STDIN_FILENO, EPOLLIN, console_from_user, &c);
    int code = CLI_FAILED;
    if (c.output && loop_add_signal(c.loop, SIGTERM, console_signal, &c) &&
        loop_add_signal(c.loop, SIGINT, console_signal, &c)) {
        console_raw(&c);
        if (c.raw)
            log_info("attached; leave with Ctrl-]");
        code = loop_run(c.loop);
        if (c.raw)
            tcsetattr(STDIN_FILENO, TCSADRAIN, &c.before);
    }
    loop_free(c.loop);
    return code < 0 ? CLI_FAILED : code;
}

int cmd_console(struct cli *cli, int argc, char **argv)
{
    struct serai_domain d;
    struct serai_error err;
    int fd;
    if (argc != 2 || argv[1][0] == '-')
        return cli_usage(cli, "give one name");
    int code = cli_find(cli, argv[1], &d);
    if (code != CLI_OK)
        return code;
    if (serai_console_attach(cli->s, d.id, &fd, &err))
        return cli_fail(&err);
    code = cli_console_run(cli, fd);
    close(fd);
    return code;
}
