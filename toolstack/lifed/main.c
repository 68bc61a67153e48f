// SPDX-License-Identifier: BSD-2-Clause
// lifed(8): does what guests' on_poweroff, on_reboot and on_crash ask for when they end.
//
// It keeps nothing in memory that matters: what ended is read from the hypervisor, what is to
// be done from the records. It may be killed and started again at any time.
#include "lifed.h"

#include "daemon.h"
#include "log.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <xen/xen.h>

enum { POLL_MS = 5000, POLL_ALONE_MS = 500, SWEEP_MS = 60000 };

static void on_later(void *arg, uint32_t count)
{
    (void)count;
    lifed_look(arg);
}

static void on_sweep(void *arg, uint32_t count)
{
    struct lifed *l = arg;
    struct serai_error err;
    (void)count;
    if (serai_sweep(l->s, &err) < 0)
        log_warn("%s", err.text);
}

// Looks rarely when it is told of what happens, else often.
static void set_pace(struct lifed *l)
{
    uint64_t every = l->virq || l->events ? POLL_MS : POLL_ALONE_MS;
    loop_arm(l->poll, every, every);
}

static void on_store_event(void *arg, uint32_t events)
{
    struct lifed *l = arg;
    (void)events;
    if (serai_events_take(l->events) < 0) {
        loop_remove(l->events_fd);
        serai_events_close(l->events);
        l->events = NULL;
        set_pace(l);
    }
    lifed_look(l);
}

// The xenstore daemon, which may be started and restarted at any time, tells of ended domains.
static void listen_to_store(struct lifed *l)
{
    if (l->events || serai_events_open(l->s, &l->events, NULL))
        return;
    l->events_fd = loop_add_fd(l->loop, serai_events_fd(l->events), EPOLLIN, on_store_event, l);
    if (!l->events_fd) {
        serai_events_close(l->events);
        l->events = NULL;
    }
    set_pace(l);
}

static void on_look(void *arg, uint32_t count)
{
    (void)count;
    listen_to_store(arg);
    lifed_look(arg);
}

static void on_event(void *arg, uint32_t events)
{
    struct lifed *l = arg;
    (void)events;
    int port = xenevtchn_pending(l->evtchn);
    if (port < 0)
        return;
    xenevtchn_unmask(l->evtchn, (evtchn_port_t)port);
    lifed_look(l);
}

static void print_note(void *ctx, enum serai_log_level level, const char *text)
{
    (void)ctx;
    log_message(level == SERAI_LOG_WARNING ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "%s", text);
}

// When another program is the listener, or events are not to be had, looking often has to do.
static bool listen_for_ends(struct lifed *l)
{
    l->evtchn = xenevtchn_open(NULL, 0);
    if (!l->evtchn) {
        log_warn("cannot open /dev/xen/evtchn: %s", strerror(errno));
        return false;
    }
    if (xenevtchn_bind_virq(l->evtchn, VIRQ_DOM_EXC) < 0) {
        log_info("another program is told of ended guests");
        return false;
    }
    return loop_add_fd(l->loop, xenevtchn_fd(l->evtchn), EPOLLIN, on_event, l);
}

static int serve(struct lifed *l, const char *state_dir)
{
    if (daemon_claim(state_dir, "lifed", 0) < 0)
        return 1;
    l->poll = loop_add_timer(l->loop, on_look, l);
    struct loop_source *sweep = loop_add_timer(l->loop, on_sweep, l);
    l->later = loop_add_timer(l->loop, on_later, l);
    if (!l->poll || !sweep || !l->later || !daemon_stop_on_signals(l->loop))
        return daemon_fail("event loop", -ENOMEM);
    listen_to_store(l);
    // The hypervisor tells one program only, and a xenstore daemon cannot do without.
    l->virq = !l->events && listen_for_ends(l);
    set_pace(l);
    loop_arm(sweep, SWEEP_MS, SWEEP_MS);
    on_sweep(l, 0);
    lifed_look(l);
    daemon_ready();
    return loop_run(l->loop) ? 1 : 0;
}

int main(int argc, char **argv)
{
    enum { STATE_DIR = 256 };
    static const struct option options[] = {
        {"state-dir", required_argument, NULL, STATE_DIR}, {"help", no_argument, NULL, 'h'}, {0}};
    struct serai_options open = {.state_dir = SERAI_STATE_DIR, .log = print_note};
    struct lifed l = {0};
    log_setup("lifed", LOG_LEVEL_INFO, true);
    for (int opt; (opt = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (opt != STATE_DIR) {
            fprintf(opt == 'h' ? stdout : stderr,
                    "usage: lifed [--state-dir DIR]\n"
                    "Acts on on_poweroff, on_reboot and on_crash; runs in the foreground. "
                    "Manual: lifed(8).\n");
            return opt == 'h' ? 0 : 2;
        }
        open.state_dir = optarg;
    }
    if (optind < argc) {
        log_error("takes no arguments");
        return 2;
    }
    struct serai_error err;
    l.loop = loop_new();
    if (!l.loop)
        return daemon_fail("event loop", -errno);
    if (serai_open(&l.s, &open, &err)) {
        log_error("%s", err.text);
        return 1;
    }
    int code = serve(&l, open.state_dir);
    if (l.evtchn)
        xenevtchn_close(l.evtchn);
    serai_events_close(l.events);
    serai_close(l.s);
    loop_free(l.loop);
    return code;
}
