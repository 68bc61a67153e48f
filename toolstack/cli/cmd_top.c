// SPDX-License-Identifier: BSD-2-Clause
// Who uses the machine: differences between two samples of what the domains and their devices have
// done.
#include "cli.h"

#include "json.h"
#include "loop.h"
#include "table.h"

#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { TOP_BAR_MIN = 4, TOP_BAR_MAX = 20, TOP_BARS = 4, TOP_REST = 78, PAGES_PER_MB = 256 };

// One look at everything.
struct top_sample {
    struct serai_domain *list;
    size_t count;
    struct serai_usage *usage;
    size_t nr_usage;
    uint64_t when_ns;
};

struct top {
    struct cli *cli;
    struct loop *loop;
    bool batch, json;
    int rounds; // left; 0: for ever
    int round;
    uint64_t delay_ms;
    unsigned bar; // characters
    struct top_sample before;
    struct termios saved;
    bool raw;
};

// What one domain has done between two samples, per second.
struct top_rates {
    double cpu;             // one CPU being 100
    double disk[2], net[2]; // bytes in and out
    double requests[2], packets[2];
};

static uint64_t top_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static double top_rate(uint64_t before, uint64_t now, double seconds)
{
    return now > before ? (double)(now - before) / seconds : 0; // else it began anew
}

static const struct serai_usage *top_usage_before(const struct top *t, const struct serai_usage *u)
{
    for (size_t i = 0; i < t->before.nr_usage; i++) {
        const struct serai_usage *b = &t->before.usage[i];
        if (b->domain == u->domain && b->kind == u->kind && b->devid == u->devid)
            return b;
    }
    return NULL;
}

static void top_add_usage(const struct top *t, const struct serai_usage *u, double seconds,
                          struct top_rates *r)
{
    const struct serai_usage *b = top_usage_before(t, u);
    bool disk = u->kind == SERAI_USAGE_DISK;
    double *bytes = disk ? r->disk : r->net, *count = disk ? r->requests : r->packets;
    if (!b)
        return;
    bytes[0] += top_rate(b->in_bytes, u->in_bytes, seconds);
    bytes[1] += top_rate(b->out_bytes, u->out_bytes, seconds);
    count[0] += top_rate(b->in_count, u->in_count, seconds);
    count[1] += top_rate(b->out_count, u->out_count, seconds);
}

static struct top_rates top_rates(const struct top *t, const struct top_sample *now,
                                  const struct serai_domain *d)
{
    struct top_rates r = {0};
    double seconds = (double)(now->when_ns - t->before.when_ns) / 1e9;
    if (seconds <= 0)
        seconds = 1;
    const struct serai_domain *b = NULL;
    for (size_t i = 0; i < t->before.count && !b; i++)
        if (t->before.list[i].id == d->id && !memcmp(t->before.list[i].uuid, d->uuid, 16))
            b = &t->before.list[i];
    if (!b)
        return r;
    r.cpu = top_rate(b->cpu_ns, d->cpu_ns, seconds) / 1e7;
    for (size_t i = 0; i < now->nr_usage; i++)
        if (now->usage[i].domain == d->id)
            top_add_usage(t, &now->usage[i], seconds, &r);
    return r;
}

static const char *top_bar(const struct top *t, double share, char text[TOP_BAR_MAX + 1])
{
    int width = (int)t->bar, full = (int)(share * width + 0.5);
    full = full < 0 ? 0 : full > width ? width : full;
    memset(text, '#', (size_t)full);
    memset(text + full, '.', (size_t)(width - full));
    text[width] = '\0';
    return text;
}

static void top_json_domain(struct json *j, const struct serai_host *h,
                            const struct serai_domain *d, const struct top_rates *r)
{
    char text[64];
    json_begin(j, NULL, '{');
    json_number(j, "id", d->id);
    json_string(j, "name", d->name);
    json_string(j, "state", cli_state(d, text, sizeof(text)));
    json_number(j, "vcpus", d->online_vcpus);
    json_number(j, "memory_kb", d->pages * 4);
    json_number(j, "cpu_ns", d->cpu_ns);
    json_float(j, "cpu_percent", r->cpu);
    json_float(j, "machine_percent", h->nr_cpus ? r->cpu / h->nr_cpus : 0);
    json_float(j, "disk_read_bytes_per_s", r->disk[0]);
    json_float(j, "disk_written_bytes_per_s", r->disk[1]);
    json_float(j, "disk_reads_per_s", r->requests[0]);
    json_float(j, "disk_writes_per_s", r->requests[1]);
    json_float(j, "net_received_bytes_per_s", r->net[0]);
    json_float(j, "net_sent_bytes_per_s", r->net[1]);
    json_float(j, "net_received_packets_per_s", r->packets[0]);
    json_float(j, "net_sent_packets_per_s", r->packets[1]);
    json_end(j, '}');
}

static void top_json(const struct top *t, const struct serai_host *h, const struct top_sample *now)
{
    BUF_AUTO out = {0};
    struct json j = {.out = &out};
    json_begin(&j, NULL, '{');
    json_number(&j, "round", (uint64_t)t->round);
    json_float(&j, "seconds", (double)(now->when_ns - t->before.when_ns) / 1e9);
    json_number(&j, "cpus", h->nr_cpus);
    json_number(&j, "free_kb", h->free_pages * 4);
    json_begin(&j, "domains", '[');
    for (size_t i = 0; i < now->count; i++) {
        struct top_rates r = top_rates(t, now, &now->list[i]);
        top_json_domain(&j, h, &now->list[i], &r);
    }
    json_end(&j, ']');
    json_end(&j, '}');
    fputs(out.data ? out.data : "", stdout);
}

// Disk and network have no natural full scale: the busiest guest's bar is full, but not for less
// than this.
static const double top_full_scale = 1e6;

static double top_most(double a, double b)
{
    return a > b ? a : b;
}

static void top_row(const struct top *t, struct table *table, const struct serai_host *h,
                    const struct serai_domain *d, const struct top_rates *r, const double most[2])
{
    double cpus = h->nr_cpus ? h->nr_cpus : 1, memory = h->total_pages ? h->total_pages : 1;
    double disk = r->disk[0] + r->disk[1], net = r->net[0] + r->net[1];
    char text[64], bar[TOP_BAR_MAX + 1];
    table_cell(table, 0, "%s", d->name);
    table_cell(table, 0, "%u", d->id);
    table_cell(table, cli_state_colour(d), "%s", cli_state(d, text, sizeof(text)));
    table_cell(table, 0, "%.1f", r->cpu);
    table_cell(table,
               r->cpu > 75   ? 31
               : r->cpu > 25 ? 33
                             : 32,
               "%s", top_bar(t, r->cpu / 100 / cpus, bar));
    table_cell(table, 0, "%llu", (unsigned long long)(d->pages / PAGES_PER_MB));
    table_cell(table, 34, "%s", top_bar(t, (double)d->pages / memory, bar));
    table_cell(table, 0, "%.0f/%.0f", r->disk[0] / 1000, r->disk[1] / 1000);
    table_cell(table, 35, "%s", top_bar(t, disk / most[0], bar));
    table_cell(table, 0, "%.0f/%.0f", r->net[0] / 1000, r->net[1] / 1000);
    table_cell(table, 36, "%s", top_bar(t, net / most[1], bar));
}

static void top_table(const struct top *t, const struct serai_host *h, const struct top_sample *now)
{
    static const char *const heads[] = {"NAME", ">ID",          "STATE",   ">CPU%",
                                        "CPU",  ">MEM(MB)",     "MEMORY",  ">RD/WR(kB/s)",
                                        "DISK", ">RX/TX(kB/s)", "NETWORK", NULL};
    struct table table = {.heads = heads, .colour = t->cli->colour};
    double busy = 0, cpus = h->nr_cpus ? h->nr_cpus : 1, most[2] = {top_full_scale, top_full_scale};
    for (size_t i = 0; i < now->count; i++) {
        struct top_rates r = top_rates(t, now, &now->list[i]);
        busy += r.cpu;
        most[0] = top_most(most[0], r.disk[0] + r.disk[1]);
        most[1] = top_most(most[1], r.net[0] + r.net[1]);
    }
    for (size_t i = 0; i < now->count; i++) {
        struct top_rates r = top_rates(t, now, &now->list[i]);
        top_row(t, &table, h, &now->list[i], &r, most);
    }
    printf("%u CPUs %.0f%% busy, %zu domains, memory %llu of %llu MB free\n", h->nr_cpus,
           busy / cpus > 100 ? 100 : busy / cpus, now->count,
           (unsigned long long)(h->free_pages / PAGES_PER_MB),
           (unsigned long long)(h->total_pages / PAGES_PER_MB));
    table_print(&table, stdout);
}

static void top_sample_free(struct top_sample *s)
{
    free(s->list);
    free(s->usage);
}

// The domains and when that was: the middle of the call, taken again when it took long.
static int top_list(struct top *t, struct top_sample *now)
{
    enum { TRIES = 5, LONG_NS = 10000000 };
    struct serai_error err;
    for (unsigned i = 1;; i++) {
        uint64_t before = top_clock_ns();
        if (serai_domain_list(t->cli->s, &now->list, &now->count, &err))
            return cli_fail(&err);
        uint64_t took = top_clock_ns() - before;
        now->when_ns = before + took / 2;
        if (took < LONG_NS || i == TRIES)
            return CLI_OK;
        free(now->list);
    }
}

// As wide as the terminal allows.
static unsigned top_bar_width(void)
{
    struct winsize size;
    int columns = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_col ? 110 : size.ws_col;
    int width = (columns - TOP_REST) / TOP_BARS;
    return (unsigned)(width < TOP_BAR_MIN   ? TOP_BAR_MIN
                      : width > TOP_BAR_MAX ? TOP_BAR_MAX
                                            : width);
}

// Takes a sample; shows it unless it is the first, which has nothing to be compared with.
static int top_sample(struct top *t, bool show)
{
    struct top_sample now = {0};
    struct serai_host host;
    struct serai_error err;
    if (serai_host_get(t->cli->s, &host, &err))
        return cli_fail(&err);
    int code = top_list(t, &now);
    if (code != CLI_OK)
        return code;
    if (serai_usage_list(t->cli->s, &now.usage, &now.nr_usage, &err)) {
        top_sample_free(&now);
        return cli_fail(&err);
    }
    if (show) {
        t->round++;
        t->bar = top_bar_width();
        if (!t->batch)
            printf("\033[H\033[J");
        else if (t->round > 1 && !t->json)
            putchar('\n');
        if (t->json)
            top_json(t, &host, &now);
        else
            top_table(t, &host, &now);
        fflush(stdout);
    }
    top_sample_free(&t->before);
    t->before = now;
    return CLI_OK;
}

static void top_tick(void *arg, uint32_t count)
{
    struct top *t = arg;
    (void)count;
    int code = top_sample(t, true);
    if (code != CLI_OK || (t->rounds && t->round >= t->rounds))
        loop_stop(t->loop, code);
}

static void top_key(void *arg, uint32_t events)
{
    struct top *t = arg;
    char key;
    (void)events;
    if (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q')
        loop_stop(t->loop, CLI_OK);
}

static void top_signal(void *arg, uint32_t signo)
{
    struct top *t = arg;
    (void)signo;
    loop_stop(t->loop, CLI_OK);
}

static void top_screen(struct top *t, bool on)
{
    if (t->batch)
        return;
    if (on && isatty(STDIN_FILENO) && !tcgetattr(STDIN_FILENO, &t->saved)) {
        struct termios raw = t->saved;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        t->raw = !tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    if (!on && t->raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &t->saved);
    // The alternate screen, without a cursor, and back.
    fputs(on ? "\033[?1049h\033[?25l" : "\033[?25h\033[?1049l", stdout);
    fflush(stdout);
}

static int top_run(struct top *t)
{
    t->loop = loop_new();
    struct loop_source *timer = t->loop ? loop_add_timer(t->loop, top_tick, t) : NULL;
    if (!timer || !loop_add_signal(t->loop, SIGINT, top_signal, t) ||
        !loop_add_signal(t->loop, SIGTERM, top_signal, t)) {
        loop_free(t->loop);
        return CLI_FAILED;
    }
    if (!t->batch && isatty(STDIN_FILENO))
        loop_add_fd(t->loop, STDIN_FILENO, EPOLLIN, top_key, t);
    int code = top_sample(t, false);
    if (code == CLI_OK) {
        top_screen(t, true);
        loop_arm(timer, t->delay_ms, t->delay_ms);
        code = loop_run(t->loop);
        top_screen(t, false);
    }
    loop_free(t->loop);
    top_sample_free(&t->before);
    return code < 0 ? CLI_FAILED : code;
}

int cmd_top(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {
        {"batch", no_argument, NULL, 'b'},       {"count", required_argument, NULL, 'n'},
        {"delay", required_argument, NULL, 'd'}, {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},        {0}};
    struct top t = {.cli = cli, .delay_ms = 1000, .batch = !isatty(STDOUT_FILENO)};
    for (int opt; (opt = cli_getopt(cli, argc, argv, "bn:d:h", options)) != -1;) {
        switch (opt) {
        case 'b':
            t.batch = true;
            break;
        case 'j':
            t.batch = t.json = true;
            break;
        case 'n':
            if (!cli_number(cli, "count", optarg, 1, 1000000, &t.rounds))
                return CLI_USAGE;
            break;
        case 'd': {
            char *end;
            double seconds = strtod(optarg, &end);
            if (end == optarg || *end || !(seconds >= 0.05 && seconds <= 3600))
                return cli_usage(cli, "delay: \"%s\" is not a number from 0.05 to 3600", optarg);
            t.delay_ms = (uint64_t)(seconds * 1000);
            break;
        }
        default:
            return cli_option(cli, opt);
        }
    }
    if (optind < argc)
        return cli_usage(cli, "takes no names");
    return top_run(&t);
}
