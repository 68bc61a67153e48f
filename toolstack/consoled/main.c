// SPDX-License-Identifier: BSD-2-Clause
// consoled(8): serves the consoles of guests.
#include "consoled.h"

#include "daemon.h"
#include "log.h"
#include "pty.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

#define CONSOLED_LOG_DIR "/var/log/serai/console"

enum { CHECK_MS = 2000, KIB = 1024 };

static void on_check(void *arg, uint32_t count)
{
    (void)count;
    guests_check(arg);
    ptys_tell(arg);
}

struct watch {
    struct consoled *daemon;
    int fd;
};

// Records came or went: the names do not matter, the directory is read anew.
static void on_records(void *arg, uint32_t events)
{
    struct watch *w = arg;
    char sink[4096] __attribute__((aligned(8)));
    (void)events;
    while (read(w->fd, sink, sizeof(sink)) > 0) {
    }
    guests_rescan(w->daemon);
}

static void print_note(void *ctx, enum serai_log_level level, const char *text)
{
    (void)ctx;
    log_message(level == SERAI_LOG_WARNING ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "%s", text);
}

// Everything after the options; returns the exit code.
static int serve(struct consoled *d, const char *state_dir)
{
    struct watch w = {.daemon = d};
    // The directory must exist before it can be watched.
    struct serai_error err;
    if (serai_sweep(d->s, &err) < 0)
        log_warn("%s", err.text);
    if (daemon_claim(state_dir, "consoled", 0) < 0)
        return 1;
    snprintf(d->mark_dir, sizeof(d->mark_dir), "%s/consoled", state_dir);

    d->evtchn = xenevtchn_open(NULL, 0);
    if (!d->evtchn)
        return daemon_fail("cannot open /dev/xen/evtchn (is module xen-evtchn loaded?)", -errno);
    d->memory = xenforeignmemory_open(NULL, 0);
    if (!d->memory)
        return daemon_fail("cannot open /dev/xen/privcmd", -errno);
    int ret = viewers_listen(d, serai_console_socket(d->s));
    if (ret)
        return daemon_fail(serai_console_socket(d->s), ret);
    ret = ptys_begin(d);
    if (ret)
        return daemon_fail("inotify", ret);
    w.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (w.fd < 0 ||
        inotify_add_watch(w.fd, serai_domain_dir(d->s), IN_MOVED_TO | IN_DELETE | IN_ONLYDIR) < 0)
        return daemon_fail(serai_domain_dir(d->s), -errno);

    struct loop_source *check = loop_add_timer(d->loop, on_check, d);
    if (!check || !loop_add_fd(d->loop, w.fd, EPOLLIN, on_records, &w) ||
        !loop_add_fd(d->loop, xenevtchn_fd(d->evtchn), EPOLLIN, guests_on_event, d) ||
        !daemon_stop_on_signals(d->loop))
        return daemon_fail("event loop", -ENOMEM);
    loop_arm(check, CHECK_MS, CHECK_MS);
    guests_begin(d);
    daemon_ready();
    return loop_run(d->loop) ? 1 : 0;
}

static void print_usage(FILE *to)
{
    fprintf(to, "usage: consoled [--log-dir DIR] [--log-size KIB] [--log-keep N] [--rate KIB]\n"
                "                [--state-dir DIR] [--debug]\n"
                "Serves the consoles of guests; runs in the foreground. Manual: consoled(8).\n");
}

static bool number(const char *name, const char *text, uint64_t max, uint64_t *out)
{
    if (!daemon_number(text, 0, max, out)) {
        log_error("%s: \"%s\" is not a number up to %llu", name, text, (unsigned long long)max);
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    enum { LOG_DIR = 256, LOG_SIZE, LOG_KEEP, RATE, STATE_DIR, DEBUG };
    static const struct option options[] = {{"log-dir", required_argument, NULL, LOG_DIR},
                                            {"log-size", required_argument, NULL, LOG_SIZE},
                                            {"log-keep", required_argument, NULL, LOG_KEEP},
                                            {"rate", required_argument, NULL, RATE},
                                            {"state-dir", required_argument, NULL, STATE_DIR},
                                            {"debug", no_argument, NULL, DEBUG},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct consoled d = {.log_dir = CONSOLED_LOG_DIR, .listen_fd = -1, .pty_watch_fd = -1};
    struct serai_options open = {.state_dir = SERAI_STATE_DIR, .log = print_note};
    uint64_t size_kib = 4096, keep = 4, rate_kib = 256;
    enum log_level level = LOG_LEVEL_INFO;
    bool ok = true;
    log_setup("consoled", level, true);
    for (int opt; ok && (opt = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (opt) {
        case LOG_DIR:
            d.log_dir = optarg;
            break;
        case LOG_SIZE:
            ok = number("log-size", optarg, 1u << 30, &size_kib);
            break;
        case LOG_KEEP:
            ok = number("log-keep", optarg, 1000, &keep);
            break;
        case RATE:
            ok = number("rate", optarg, 1u << 20, &rate_kib) && rate_kib > 0;
            break;
        case STATE_DIR:
            open.state_dir = optarg;
            break;
        case DEBUG:
            level = LOG_LEVEL_DEBUG;
            break;
        default:
            print_usage(opt == 'h' ? stdout : stderr);
            return opt == 'h' ? 0 : 2;
        }
    }
    if (!ok || optind < argc) {
        print_usage(stderr);
        return 2;
    }
    log_setup("consoled", level, true);
    d.log_limit = size_kib * KIB;
    d.log_keep = (unsigned)keep;
    d.rate_bytes = rate_kib * KIB;
    signal(SIGPIPE, SIG_IGN);
    daemon_more_descriptors();

    struct serai_error err;
    d.loop = loop_new();
    if (!d.loop)
        return daemon_fail("event loop", -errno);
    if (serai_open(&d.s, &open, &err)) {
        log_error("%s", err.text);
        return 1;
    }
    int code = serve(&d, open.state_dir);
    viewers_close(&d);
    guests_close(&d);
    ptys_end(&d);
    if (d.memory)
        xenforeignmemory_close(d.memory);
    if (d.evtchn)
        xenevtchn_close(d.evtchn);
    serai_close(d.s);
    loop_free(d.loop);
    return code;
}
