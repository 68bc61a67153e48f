// SPDX-License-Identifier: BSD-2-Clause
// The verb that writes a guest's memory into a file.
#include "cli.h"

#include <getopt.h>
#include <unistd.h>

struct dump_progress {
    bool shown;
    unsigned percent;
};

// One line that is drawn over, for people.
static bool dump_step(void *ctx, const char *step, unsigned percent)
{
    struct dump_progress *p = ctx;
    (void)step;
    if (p->shown && percent != p->percent) {
        fprintf(stderr, "\r%3u %%", percent);
        p->percent = percent;
    }
    return true;
}

int cmd_dump_core(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {
        {"quiet", no_argument, NULL, 'q'}, {"help", no_argument, NULL, 'h'}, {0}};
    struct dump_progress p = {.shown = isatty(STDERR_FILENO)};
    for (int opt; (opt = cli_getopt(cli, argc, argv, "qh", options)) != -1;) {
        if (opt != 'q')
            return cli_option(cli, opt);
        p.shown = false;
    }
    if (argc - optind != 2)
        return cli_usage(cli, "give a guest's name and a file");
    struct serai_domain d;
    struct serai_error err;
    int code = cli_find(cli, argv[optind], &d);
    if (code != CLI_OK)
        return code;
    int ret = serai_domain_dump(cli->s, d.id, argv[optind + 1], dump_step, &p, &err);
    if (p.shown)
        fputs("\r     \r", stderr);
    return ret ? cli_fail(&err) : CLI_OK;
}
