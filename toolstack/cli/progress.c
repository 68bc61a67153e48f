// SPDX-License-Identifier: BSD-2-Clause
// Bars for people on a terminal while something takes long, and operations that can be
// interrupted.
#include "cli.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

enum { BAR_WIDTH = 30, QUIET_MS = 300 };

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void cli_progress(struct cli *cli, const char *what, const char *step, unsigned percent)
{
    char bar[BAR_WIDTH + 1];
    if (!cli->bars)
        return;
    if (!cli->bar_since)
        cli->bar_since = now_ms();
    if (now_ms() - cli->bar_since < QUIET_MS)
        return;
    unsigned full = (percent < 100 ? percent : 100) * BAR_WIDTH / 100;
    memset(bar, '#', full);
    memset(bar + full, '.', BAR_WIDTH - full);
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r%s [%s] %3u%% %-12s\033[K", what, bar, percent, step);
    cli->bar_shown = true;
}

void cli_progress_end(struct cli *cli)
{
    if (cli->bar_shown)
        fputs("\r\033[K", stderr);
    cli->bar_shown = false;
    cli->bar_since = 0;
}

int cli_finish(struct cli *cli, const char *what, struct serai_op *op,
               struct serai_op_result *result, struct serai_error *err)
{
    sigset_t set, before;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, &before);
    int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    struct pollfd p[] = {{.fd = serai_op_fd(op), .events = POLLIN},
                         {.fd = signals, .events = POLLIN}};
    struct serai_progress now = {0};
    while (!now.finished) {
        // Now and then also without news: a bar begins late.
        poll(p, 2, cli->bars ? QUIET_MS : -1);
        struct signalfd_siginfo info;
        if (signals >= 0 && read(signals, &info, sizeof(info)) > 0)
            serai_op_cancel(op);
        serai_op_progress(op, &now);
        cli_progress(cli, what, now.step, now.percent);
    }
    cli_progress_end(cli);
    int ret = serai_op_finish(op, result, err);
    if (signals >= 0)
        close(signals);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return ret;
}
