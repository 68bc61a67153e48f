// SPDX-License-Identifier: BSD-2-Clause
// News of domains: one line for each after "watching", until COUNT have come (or for ever).
#include <poll.h>
#include <serai.h>
#include <stdio.h>
#include <stdlib.h>

static int take(struct serai_events *e, long *left, struct serai_error *err)
{
    struct serai_event event;
    int ret;
    while (*left && (ret = serai_events_next(e, &event, err)) == 1) {
        printf("%s %u %s", serai_event_name(event.type), event.domain, event.name);
        if (event.type == SERAI_EVENT_SHUTDOWN)
            printf(" %s", serai_shutdown_name(event.reason));
        if (event.type == SERAI_EVENT_RENAMED)
            printf(" was %s", event.old_name);
        printf("\n");
        fflush(stdout);
        *left -= *left > 0;
    }
    return *left ? ret : 0;
}

int main(int argc, char **argv)
{
    struct serai *s;
    struct serai_events *e;
    struct serai_error err;
    long left = argc > 1 ? strtol(argv[1], NULL, 10) : -1;
    if (serai_open(&s, NULL, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    int ret = serai_events_open(s, &e, &err);
    if (!ret) {
        puts("watching"); // what happens from here on is told
        fflush(stdout);
        struct pollfd p = {.fd = serai_events_fd(e), .events = POLLIN};
        while (left && !ret && poll(&p, 1, -1) > 0)
            ret = take(e, &left, &err);
        serai_events_close(e);
    }
    if (ret)
        fprintf(stderr, "%s\n", err.text);
    serai_close(s);
    return ret != 0;
}
