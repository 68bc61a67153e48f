// SPDX-License-Identifier: BSD-2-Clause
// Who uses the CPUs: differences between two samples of the domains' CPU time.
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

enum { TOP_BAR = 30, PAGES_PER_MB = 256 };

struct top {
    struct cli *cli;
    struct loop *loop;
    bool batch, json;
    int rounds; // left; 0: for ever
    int round;
    uint64_t delay_ms;
    struct serai_domain *before; // the sample before this one
    size_t before_count;
    uint64_t before_ns;
    struct termios saved;
    bool raw;
};

static uint64_t top_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// CPU use of a domain since the sample before, one CPU being 100.
static double top_percent(const struct top *t, const struct serai_domain *d, uint64_t elapsed_ns)
{
    for (size_t i = 0; i < t->before_count; i++) {
        const struct serai_domain *b = &t->before[i];
        if (b->id == d->id && !memcmp(b->uuid, d->uuid, 16) && d->cpu_ns > b->cpu_ns)
            return (double)(d->cpu_ns - b->cpu_ns) * 100 / (double)elapsed_ns;
    }
    return 0;
}

static const char *top_bar(double share, char text[TOP_BAR + 3])
{
    int full = (int)(share * TOP_BAR + 0.5);
    full = full < 0 ? 0 : full > TOP_BAR ? TOP_BAR : full;
    text[0] = '[';
    memset(text + 1, '#', (size_t)full);
    memset(text + 1 + full, '.', (size_t)(TOP_BAR - full));
    text[TOP_BAR + 1] = ']';
    text[TOP_BAR + 2] = '\0';
    return text;
}

static void top_json(const struct top *t, const struct serai_host *h,
                     const struct serai_domain *list, size_t count, uint64_t elapsed_ns)
{
    BUF_AUTO out = {0};
    struct json j = {.out = &out};
    char text[64];
    json_begin(&j, NULL, '{');
    json_number(&j, "round", (uint64_t)t->round);
    json_float(&j, "seconds", (double)elapsed_ns / 1e9);
    json_number(&j, "cpus", h->nr_cpus);
    json_number(&j, "free_kb", h->free_pages * 4);
    json_begin(&j, "domains", '[');
    for (size_t i = 0; i < count; i++) {
        double percent = top_percent(t, &list[i], elapsed_ns);
        json_begin(&j, NULL, '{');
        json_number(&j, "id", list[i].id);
        json_string(&j, "name", list[i].name);
        json_string(&j, "state", cli_state(&list[i], text, sizeof(text)));
        json_number(&j, "vcpus", list[i].online_vcpus);
        json_number(&j, "memory_kb", list[i].pages * 4);
        json_number(&j, "cpu_ns", list[i].cpu_ns);
        json_float(&j, "cpu_percent", percent);
        json_float(&j, "machine_percent", h->nr_cpus ? percent / h->nr_cpus : 0);
        json_end(&j, '}');
    }
    json_end(&j, ']');
    json_end(&j, '}');
    fputs(out.data, stdout);
}

static void top_table(const struct top *t, const struct serai_host *h,
                      const struct serai_domain *list, size_t count, uint64_t elapsed_ns)
{
    static const char *const heads[] = {
        "NAME", ">ID", "STATE", ">VCPUS", ">MEM(MB)", ">CPU%", "SHARE OF THE MACHINE", NULL};
    struct table table = {.heads = heads, .colour = t->cli->colour};
    double busy = 0, cpus = h->nr_cpus ? h->nr_cpus : 1;
    for (size_t i = 0; i < count; i++) {
        const struct serai_domain *d = &list[i];
        char text[64], bar[TOP_BAR + 3];
        double percent = top_percent(t, d, elapsed_ns);
        int colour = percent > 75 ? 31 : percent > 25 ? 33 : 32;
        busy += percent;
        table_cell(&table, 0, "%s", d->name);
        table_cell(&table, 0, "%u", d->id);
        table_cell(&table, cli_state_colour(d), "%s", cli_state(d, text, sizeof(text)));
        table_cell(&table, 0, "%u", d->online_vcpus);
        table_cell(&table, 0, "%llu", (unsigned long long)(d->pages / PAGES_PER_MB));
        table_cell(&table, 0, "%.1f", percent);
        table_cell(&table, colour, "%s", top_bar(percent / 100 / cpus, bar));
    }
    printf("%u CPUs %.0f%% busy, %zu domains, memory %llu of %llu MB free\n", h->nr_cpus,
           busy / cpus > 100 ? 100 : busy / cpus, count,
           (unsigned long long)(h->free_pages / PAGES_PER_MB),
           (unsigned long long)(h->total_pages / PAGES_PER_MB));
    table_print(&table, stdout);
}

// The domains and when that was: the middle of the call, taken again when it took long.
static int top_list(struct top *t, struct serai_domain **list, size_t *count, uint64_t *when)
{
    enum { TRIES = 5, LONG_NS = 10000000 };
    struct serai_error err;
    for (unsigned i = 1;; i++) {
        uint64_t before = top_clock_ns();
        if (serai_domain_list(t->cli->s, list, count, &err))
            return cli_fail(&err);
        uint64_t took = top_clock_ns() - before;
        *when = before + took / 2;
        if (took < LONG_NS || i == TRIES)
            return CLI_OK;
        free(*list);
    }
}

// Takes a sample; shows it unless it is the first, which has nothing to be compared with.
static int top_sample(struct top *t, bool show)
{
    struct serai_domain *list = NULL;
    size_t count = 0;
    struct serai_host host;
    struct serai_error err;
    uint64_t now = 0;
    if (serai_host_get(t->cli->s, &host, &err))
        return cli_fail(&err);
    int code = top_list(t, &list, &count, &now);
    if (code != CLI_OK)
        return code;
    if (show) {
        t->round++;
        if (!t->batch)
            printf("\033[H\033[J");
        else if (t->round > 1 && !t->json)
            putchar('\n');
        uint64_t elapsed = now - t->before_ns ? now - t->before_ns : 1;
        if (t->json)
            top_json(t, &host, list, count, elapsed);
        else
            top_table(t, &host, list, count, elapsed);
        fflush(stdout);
    }
    free(t->before);
    t->before = list;
    t->before_count = count;
    t->before_ns = now;
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
    free(t->before);
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
