// SPDX-License-Identifier: BSD-2-Clause
// stored(8): serves xenstore.
#include "stored.h"
#include "xen.h"

#include "daemon.h"
#include "file.h"
#include "log.h"
#include "mem.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STORED_SOCKET    "/run/xenstored/socket"
#define STORED_STATE_DIR "/run/serai/stored"

enum { SOCKETS_MAX = 8, LIMITS_MAX = 32, HOUSEKEEP_MS = 1000 };

struct options {
    const char *sockets[SOCKETS_MAX];
    unsigned socket_count;
    const char *state_dir, *pid_file;
    const char *limits[LIMITS_MAX][2]; // name, value
    unsigned limit_count;
    bool no_xen;
};

// ---- hooks --------------------------------------------------------------------------------

static int host_record(void *arg, const struct record *r)
{
    struct stored *d = arg;
    int ret = journal_append(&d->journal, r);
    if (journal_is_large(&d->journal))
        turn_queue(&d->turns, &d->compaction);
    return ret;
}

static void on_compaction(struct turn *t)
{
    struct stored *d = (struct stored *)((char *)t - offsetof(struct stored, compaction));
    journal_compact(&d->journal, &d->store);
}

static bool host_exists(void *arg, unsigned domid)
{
    const struct stored *d = arg;
    return !d->xen || xen_look(d->xen) || xen_domain_state(d->xen, domid) != XEN_DOMAIN_NONE;
}

static void host_wake(void *arg, struct conn *c)
{
    struct stored *d = arg;
    if (c->ring)
        rings_wake(d, c);
    else
        sockets_wake(d, c);
}

static const struct store_host store_hooks = {.record = host_record,
                                              .connect = rings_connect,
                                              .rebind = rings_rebind,
                                              .disconnect = rings_disconnect,
                                              .exists = host_exists,
                                              .wake = host_wake,
                                              .throttle = rings_throttle};

static void on_port(void *arg, unsigned port)
{
    rings_on_event(arg, port);
}

static void look_at_domain(struct stored *d, const struct domain *dom)
{
    enum xen_domain state = xen_domain_state(d->xen, dom->id);
    unsigned id = dom->id;
    if (state == XEN_DOMAIN_NONE) {
        log_debug("domain %u: gone", id);
        domain_gone(&d->store, id);
    } else if (dom->introduced) {
        domain_set_shutdown(&d->store, id, state == XEN_DOMAIN_SHUT_DOWN);
    }
}

static void on_domains(void *arg)
{
    struct stored *d = arg;
    int ret = xen_look(d->xen);
    if (ret) {
        log_warn("cannot ask which domains there are: %s", strerror(-ret));
        return;
    }
    // From the end, because those that are gone leave the list.
    for (unsigned i = d->store.domain_count; i > 0; i--)
        if (i <= d->store.domain_count && d->store.domains[i - 1]->id)
            look_at_domain(d, d->store.domains[i - 1]);
    rings_retry(d);
}

static const struct xen_hooks xen_hooks = {.event = on_port, .domains_changed = on_domains};

static void on_housekeep(void *arg, uint32_t count)
{
    struct stored *d = arg;
    (void)count;
    store_housekeep(&d->store, loop_now_ms());
}

// ---- start --------------------------------------------------------------------------------

static int write_pid_file(const char *path)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    char dir[PATH_MAX];
    snprintf(dir, sizeof(dir), "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash && slash != dir) {
        *slash = '\0';
        file_make_dirs(dir, 0755);
    }
    return file_write_atomic(path, text, (size_t)len, 0644);
}

// Order matters: the journal names connections, which must be there; whoever connects by a
// socket must find everything there.
static int start(struct stored *d, const struct options *o)
{
    char path[PATH_MAX];
    if (daemon_claim(d->state_dir, "stored", 0) < 0)
        return 1;
    turns_init(&d->turns, d->loop);
    if (!o->no_xen) {
        d->xen = xen_open(d->loop, &xen_hooks, d);
        if (!d->xen)
            return 1;
        rings_open_control(d);
    }
    snprintf(path, sizeof(path), "%s/journal", d->state_dir);
    int ret = journal_open(&d->journal, path, &d->store);
    if (ret)
        return daemon_fail(path, ret);
    for (unsigned i = 0; i < o->limit_count; i++)
        limits_set(&d->store.limits, o->limits[i][0], o->limits[i][1]);
    if (d->xen) {
        rings_attach_all(d);
        on_domains(d);
    }
    for (unsigned i = 0; i < o->socket_count; i++) {
        ret = strcmp(o->sockets[i], "none") != 0 ? sockets_listen(d, o->sockets[i]) : 0;
        if (ret)
            return daemon_fail(o->sockets[i], ret);
    }
    struct loop_source *timer = loop_add_timer(d->loop, on_housekeep, d);
    if (!timer || !daemon_stop_on_signals(d->loop))
        return daemon_fail("event loop", -ENOMEM);
    loop_arm(timer, HOUSEKEEP_MS, HOUSEKEEP_MS);
    if (o->pid_file) {
        ret = write_pid_file(o->pid_file);
        if (ret)
            return daemon_fail(o->pid_file, ret);
    }
    return 0;
}

static void print_usage(FILE *to)
{
    fprintf(to, "usage: stored [--socket PATH|@NAME|none]... [--state-dir DIR] [--pid-file FILE]\n"
                "              [--limit NAME=VALUE]... [--no-xen] [--debug] [--no-fork]\n"
                "Serves xenstore; runs in the foreground. Manual: stored(8).\n");
}

static bool option_limit(struct options *o, char *text)
{
    struct limits trial;
    char *value = strchr(text, '=');
    if (value)
        *value++ = '\0';
    limits_init(&trial);
    if (value && !limits_set(&trial, text, value) && o->limit_count < LIMITS_MAX) {
        o->limits[o->limit_count][0] = text;
        o->limits[o->limit_count++][1] = value;
        return true;
    }
    if (limits_find(&trial, text)) {
        log_error("limit %s: \"%s\" is no number", text, value ? value : "");
    } else {
        log_error("there is no limit \"%s\"; there are:", text);
        const char *name;
        for (unsigned n = 0; (name = limits_name(n)); n++)
            fprintf(stderr, "  %s=%u\n", name, *limits_find(&trial, name));
    }
    return false;
}

// -1 to go on, otherwise the exit code.
static int parse(int argc, char **argv, struct options *o)
{
    enum { SOCKET = 256, STATE_DIR, PID_FILE, LIMIT, NO_XEN, DEBUG, NO_FORK };
    static const struct option options[] = {{"socket", required_argument, NULL, SOCKET},
                                            {"state-dir", required_argument, NULL, STATE_DIR},
                                            {"pid-file", required_argument, NULL, PID_FILE},
                                            {"limit", required_argument, NULL, LIMIT},
                                            {"no-xen", no_argument, NULL, NO_XEN},
                                            {"debug", no_argument, NULL, DEBUG},
                                            {"no-fork", no_argument, NULL, NO_FORK},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    bool ok = true;
    for (int opt; ok && (opt = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (opt) {
        case SOCKET:
            ok = o->socket_count < SOCKETS_MAX;
            if (ok)
                o->sockets[o->socket_count++] = optarg;
            break;
        case STATE_DIR:
            o->state_dir = optarg;
            break;
        case PID_FILE:
            o->pid_file = optarg;
            break;
        case LIMIT:
            if (!option_limit(o, optarg))
                return 2;
            break;
        case NO_XEN:
            o->no_xen = true;
            break;
        case DEBUG:
            log_setup("stored", LOG_LEVEL_DEBUG, true);
            break;
        case NO_FORK: // what others need to be told
            break;
        default:
            print_usage(opt == 'h' ? stdout : stderr);
            return opt == 'h' ? 0 : 2;
        }
    }
    if (ok && optind == argc)
        return -1;
    print_usage(stderr);
    return 2;
}

int main(int argc, char **argv)
{
    struct options o = {.state_dir = STORED_STATE_DIR};
    log_setup("stored", LOG_LEVEL_INFO, true);
    int code = parse(argc, argv, &o);
    if (code >= 0)
        return code;
    if (!o.socket_count)
        o.sockets[o.socket_count++] = STORED_SOCKET;
    signal(SIGPIPE, SIG_IGN);
    daemon_more_descriptors();

    struct stored *d = mem_alloc(sizeof(*d));
    d->state_dir = o.state_dir;
    d->journal.fd = -1;
    d->compaction.serve = on_compaction;
    d->loop = loop_new();
    if (!d->loop)
        return daemon_fail("event loop", -errno);
    store_init(&d->store, &store_hooks, d);
    code = start(d, &o);
    if (!code) {
        daemon_ready();
        code = loop_run(d->loop) ? 1 : 0;
    }
    sockets_close(d);
    rings_close(d);
    xen_close(d->xen);
    journal_close(&d->journal);
    store_free(&d->store);
    loop_free(d->loop);
    free(d);
    return code;
}
