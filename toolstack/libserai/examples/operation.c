// SPDX-License-Identifier: BSD-2-Clause
// An operation: makes a guest in the background, shows how far it is, and gives it up when it
// takes longer than SECONDS. Nothing is left behind then.
#include <poll.h>
#include <serai.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int follow(struct serai_op *op, time_t end, struct serai_error *err)
{
    struct pollfd p = {.fd = serai_op_fd(op), .events = POLLIN};
    struct serai_progress now = {.finished = false};
    struct serai_op_result result;
    while (!now.finished) {
        poll(&p, 1, 100);
        serai_op_progress(op, &now);
        printf("%3u%% %s\n", now.percent, now.step);
        if (end && time(NULL) >= end)
            serai_op_cancel(op);
    }
    int ret = serai_op_finish(op, &result, err);
    if (!ret)
        printf("domain %u\n", result.domain);
    return ret;
}

int main(int argc, char **argv)
{
    struct serai *s;
    struct serai_config *config;
    struct serai_op *op;
    struct serai_error err;
    struct serai_create how = {.start = true};
    if (argc < 2) {
        fprintf(stderr, "usage: operation CONFIGURATION [SECONDS]\n");
        return 2;
    }
    time_t end = argc > 2 ? time(NULL) + strtol(argv[2], NULL, 10) : 0;
    if (serai_open(&s, NULL, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    int ret = serai_config_load(s, argv[1], NULL, 0, &config, &err);
    if (!ret) {
        ret = serai_create_start(s, config, &how, &op, &err);
        serai_config_free(config);
        if (!ret)
            ret = follow(op, end, &err);
    }
    if (ret)
        fprintf(stderr, "%s\n", err.text);
    serai_close(s);
    return ret != 0;
}
