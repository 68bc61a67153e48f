// SPDX-License-Identifier: BSD-2-Clause
// lifed(8): does what guests' on_poweroff, on_reboot, on_crash and on_watchdog ask for when they
// end.
//
// It keeps nothing in memory that matters: what ended is read from the hypervisor, what is to
// be done from the records. It may be killed and started again at any time.
#include "lifed.h"

#include "daemon.h"
#include "log.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <xen/xen.h>

enum { POLL_MS = 5000, POLL_ALONE_MS = 500, SWEEP_MS = 60000, DUMPS_KEPT = 5 };
enum { SHARE_MS = 2000, SHARE_IDLE_MS = 10000, KEEP_FREE_MB = 128 };

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
    lifed_forget_ends(l);
    if (serai_sweep(l->s, &err) < 0)
        log_warn("%s", err.text);
}

// Often while there are guests that share memory.
static void on_share(void *arg, uint32_t count)
{
    struct lifed *l = arg;
    struct serai_error err;
    (void)count;
    int guests = serai_balance_round(l->balance, l->keep_free_kib, &err);
    if (guests < 0)
        log_warn("%s", err.text);
    loop_arm(l->share, guests > 0 ? SHARE_MS : SHARE_IDLE_MS, 0);
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

// The hypervisor may tell another program.
static void stop_listening(struct lifed *l)
{
    loop_remove(l->virq_fd);
    if (l->evtchn)
        xenevtchn_close(l->evtchn);
    l->virq_fd = NULL;
    l->evtchn = NULL;
    l->virq = false;
}

// The xenstore daemon, which may be started and restarted at any time, tells of ended domains.
static void listen_to_store(struct lifed *l)
{
    if (l->events || serai_events_open(l->s, &l->events, NULL))
        return;
    // Started together with us, it came later: it is the one that has to be told.
    stop_listening(l);
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
    l->virq_fd = loop_add_fd(l->loop, xenevtchn_fd(l->evtchn), EPOLLIN, on_event, l);
    return l->virq_fd;
}

static int serve(struct lifed *l)
{
    l->loop = loop_new();
    if (!l->loop)
        return daemon_fail("event loop", -errno);
    if (daemon_claim(l->state_dir, "lifed", 0) < 0)
        return 1;
    l->poll = loop_add_timer(l->loop, on_look, l);
    struct loop_source *sweep = loop_add_timer(l->loop, on_sweep, l);
    l->later = loop_add_timer(l->loop, on_later, l);
    l->share = loop_add_timer(l->loop, on_share, l);
    if (!l->poll || !sweep || !l->later || !l->share || !daemon_stop_on_signals(l->loop) ||
        !loop_add_signal(l->loop, SIGCHLD, worker_on_exit, l))
        return daemon_fail("event loop", -ENOMEM);
    listen_to_store(l);
    // The hypervisor tells one program only, and a xenstore daemon cannot do without.
    l->virq = !l->events && listen_for_ends(l);
    set_pace(l);
    struct serai_error err;
    if (serai_balance_open(l->s, &l->balance, &err))
        return daemon_fail("memory of guests", err.code);
    loop_arm(l->share, SHARE_MS, 0);
    loop_arm(sweep, SWEEP_MS, SWEEP_MS);
    on_sweep(l, 0);
    lifed_look(l);
    daemon_ready();
    return loop_run(l->loop) ? 1 : 0;
}

static const char usage[] =
    "usage: lifed [--state-dir DIR] [--dump-dir DIR] [--keep-dumps N]\n"
    "             [--keep-free MB]\n"
    "Acts on on_poweroff, on_reboot, on_crash and on_watchdog; runs in the foreground.\n"
    "Manual: lifed(8).\n";

// -1 to go on, or an exit code. *act: the domain that a worker is for, -1: this is the daemon.
static int parse(int argc, char **argv, struct lifed *l, int64_t *act)
{
    enum { STATE_DIR = 256, DUMP_DIR, KEEP_DUMPS, KEEP_FREE, ACT, NUMBER_MAX = 1000000 };
    static const struct option options[] = {{"state-dir", required_argument, NULL, STATE_DIR},
                                            {"dump-dir", required_argument, NULL, DUMP_DIR},
                                            {"keep-dumps", required_argument, NULL, KEEP_DUMPS},
                                            {"keep-free", required_argument, NULL, KEEP_FREE},
                                            {"act", required_argument, NULL, ACT},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    for (int opt; (opt = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        uint64_t n = 0;
        if (opt == STATE_DIR) {
            l->state_dir = optarg;
        } else if (opt == DUMP_DIR) {
            l->dump_dir = optarg;
        } else if (opt == 'h' || opt == '?') {
            fputs(usage, opt == 'h' ? stdout : stderr);
            return opt == 'h' ? 0 : 2;
        } else if (!daemon_number(optarg, 0, NUMBER_MAX, &n)) {
            log_error("\"%s\" is not a number from 0 to %d", optarg, NUMBER_MAX);
            return 2;
        } else if (opt == KEEP_DUMPS) {
            l->dumps_kept = (unsigned)n;
        } else if (opt == KEEP_FREE) {
            l->keep_free_kib = n << 10;
        } else {
            *act = (int64_t)n;
        }
    }
    if (optind >= argc)
        return -1;
    log_error("takes no arguments");
    return 2;
}

int main(int argc, char **argv)
{
    struct lifed l = {.state_dir = SERAI_STATE_DIR,
                      .dump_dir = SERAI_DUMP_DIR,
                      .dumps_kept = DUMPS_KEPT,
                      .keep_free_kib = KEEP_FREE_MB << 10};
    int64_t act = -1;
    log_setup("lifed", LOG_LEVEL_INFO, true);
    int code = parse(argc, argv, &l, &act);
    if (code >= 0)
        return code;
    struct serai_options open = {.state_dir = l.state_dir, .log = print_note};
    struct serai_error err;
    if (serai_open(&l.s, &open, &err)) {
        log_error("%s", err.text);
        return 1;
    }
    code = act >= 0 ? lifed_act(&l, (uint32_t)act) : serve(&l);
    if (l.evtchn)
        xenevtchn_close(l.evtchn);
    serai_events_close(l.events);
    serai_balance_close(l.balance);
    serai_close(l.s);
    loop_free(l.loop);
    return code;
}
