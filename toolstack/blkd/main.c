// SPDX-License-Identifier: BSD-2-Clause
// blkd(8): disks for guests from image files and block devices.
#include "device.h"
#include "stats.h"
#include "xen_host.h"

#include "daemon.h"
#include "file.h"
#include "log.h"

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define BLKD_STATE_DIR "/run/serai"
#define BLKD_ROOT      "/local/domain/0/backend/serai"

enum { PORTS_AT_ONCE = 64, LOCK_MS = 5000, IMAGE_LOCK_MS = 3000 };

struct blkd {
    struct loop *loop;
    struct xen_host xen;
    struct devices devices;
    char journals[256];
    struct stats stats;
};

static void on_stats(void *arg, uint32_t count)
{
    struct blkd *b = arg;
    (void)count;
    stats_write(&b->stats, &b->devices);
}

static void on_status(void *arg, uint32_t signo)
{
    const struct blkd *b = arg;
    (void)signo;
    devices_describe(&b->devices);
}

// The descriptor gives ports as they have fired; each stays masked until its number is written.
static void on_ports(void *arg, uint32_t events)
{
    struct blkd *b = arg;
    evtchn_port_t port[PORTS_AT_ONCE];
    (void)events;
    ssize_t n = read(xenevtchn_fd(b->xen.events), port, sizeof(port));
    if (n <= 0)
        return;
    for (size_t i = 0; i < (size_t)n / sizeof(port[0]); i++) {
        xenevtchn_unmask(b->xen.events, port[i]);
        devices_on_port(&b->devices, (int)port[i]);
    }
    disk_env_run(&b->devices.env);
}

static void on_store_back(void *arg)
{
    struct blkd *b = arg;
    store_watch(b->xen.store, b->devices.options.root, "back");
    store_watch(b->xen.store, "@releaseDomain", "release");
    devices_watch_again(&b->devices);
    devices_scan(&b->devices);
    disk_env_run(&b->devices.env);
}

static void on_store_changed(void *arg, const char *path, const char *token)
{
    struct blkd *b = arg;
    devices_on_watch(&b->devices, path, token);
}

static const struct store_calls store_events = {.back = on_store_back, .changed = on_store_changed};

// Everything after the options; returns the exit code.
static int serve(struct blkd *b, const char *state_dir, struct device_options *options)
{
    // One that has just been killed may still be ending.
    if (daemon_claim(state_dir, "blkd", LOCK_MS) < 0)
        return 1;
    snprintf(b->journals, sizeof(b->journals), "%s/blkd", state_dir);
    snprintf(b->stats.path, sizeof(b->stats.path), "%s/blkd.stats", state_dir);
    int ret = file_make_dirs(b->journals, 0700);
    if (ret)
        return daemon_fail(b->journals, ret);
    options->journal_dir = b->journals;
    if (xen_host_open(&b->xen))
        return 1;
    ret = devices_init(&b->devices, &b->xen.host, b->loop, options);
    if (ret)
        return daemon_fail("io_uring", ret);
    b->xen.store = store_new(b->loop, &store_events, b);
    if (!b->xen.store || !loop_add_fd(b->loop, xenevtchn_fd(b->xen.events), EPOLLIN, on_ports, b) ||
        !loop_add_signal(b->loop, SIGUSR1, on_status, b) || !daemon_stop_on_signals(b->loop))
        return daemon_fail("event loop", -ENOMEM);
    struct loop_source *timer = loop_add_timer(b->loop, on_stats, b);
    if (timer)
        loop_arm(timer, STATS_EVERY_MS, STATS_EVERY_MS);
    daemon_ready();
    return loop_run(b->loop) ? 1 : 0;
}

static void print_usage(FILE *to)
{
    fprintf(to, "usage: blkd [--queues N] [--ring-order N] [--indirect N] [--no-persistent]\n"
                "            [--state-dir DIR] [--debug]\n"
                "Serves disks to guests; runs in the foreground. Manual: blkd(8).\n");
}

static bool number(const char *name, const char *text, unsigned long min, unsigned long max,
                   unsigned *out)
{
    uint64_t n;
    if (!daemon_number(text, min, max, &n)) {
        log_error("%s: \"%s\" is not a number from %lu to %lu", name, text, min, max);
        return false;
    }
    *out = (unsigned)n;
    return true;
}

int main(int argc, char **argv)
{
    enum { QUEUES = 256, RING_ORDER, INDIRECT, NO_PERSISTENT, STATE_DIR, DEBUG };
    static const struct option known[] = {{"queues", required_argument, NULL, QUEUES},
                                          {"ring-order", required_argument, NULL, RING_ORDER},
                                          {"indirect", required_argument, NULL, INDIRECT},
                                          {"no-persistent", no_argument, NULL, NO_PERSISTENT},
                                          {"state-dir", required_argument, NULL, STATE_DIR},
                                          {"debug", no_argument, NULL, DEBUG},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    struct device_options options = {.root = BLKD_ROOT,
                                     .queues = 4,
                                     .ring_order = DEVICE_RING_ORDER_MAX,
                                     .indirect = BLK_SEGMENTS_MAX,
                                     .persistent = true,
                                     .lock_wait_ms = IMAGE_LOCK_MS};
    struct blkd b = {0};
    const char *state_dir = BLKD_STATE_DIR;
    enum log_level level = LOG_LEVEL_INFO;
    bool ok = true;
    log_setup("blkd", level, true);
    for (int opt; ok && (opt = getopt_long(argc, argv, "h", known, NULL)) != -1;) {
        switch (opt) {
        case QUEUES:
            ok = number("queues", optarg, 1, DISK_QUEUES_MAX, &options.queues);
            break;
        case RING_ORDER:
            ok = number("ring-order", optarg, 0, DEVICE_RING_ORDER_MAX, &options.ring_order);
            break;
        case INDIRECT:
            ok = number("indirect", optarg, 0, BLK_SEGMENTS_MAX, &options.indirect);
            break;
        case NO_PERSISTENT:
            options.persistent = false;
            break;
        case STATE_DIR:
            state_dir = optarg;
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
    log_setup("blkd", level, true);
    signal(SIGPIPE, SIG_IGN);
    // Buffers of requests come and go: keep their memory instead of giving it back each time.
    mallopt(M_MMAP_THRESHOLD, 8 << 20);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
    daemon_more_descriptors();
    b.loop = loop_new();
    if (!b.loop)
        return daemon_fail("event loop", -errno);
    // What is in work stays in the journals and is carried out by the next blkd.
    return serve(&b, state_dir, &options);
}
