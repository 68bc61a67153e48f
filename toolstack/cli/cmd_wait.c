// SPDX-License-Identifier: BSD-2-Clause
// The verbs that wait for guests and end all of them.
#include "cli.h"

#include "suggest.h"

#include <getopt.h>
#include <string.h>

enum { DAY_SECONDS = 86400, STOP_SECONDS = 120 };

static const char *const wait_words[] = {"running", "shutdown", "crashed", "rebooted", "destroyed"};
enum { WAIT_WORDS = sizeof(wait_words) / sizeof(wait_words[0]) };

int cmd_wait(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {
        {"timeout", required_argument, NULL, 't'}, {"help", no_argument, NULL, 'h'}, {0}};
    struct serai_error err;
    int seconds = -1, what = 0;
    for (int opt; (opt = cli_getopt(cli, argc, argv, "t:h", options)) != -1;) {
        if (opt != 't')
            return cli_option(cli, opt);
        if (!cli_number(cli, "timeout", optarg, 1, DAY_SECONDS, &seconds))
            return CLI_USAGE;
    }
    if (argc - optind != 2)
        return cli_usage(cli, "give a guest's name and what to wait for");
    struct suggest hint = {.word = argv[optind + 1]};
    for (; what < WAIT_WORDS && strcmp(wait_words[what], argv[optind + 1]) != 0; what++)
        suggest_offer(&hint, wait_words[what]);
    if (what == WAIT_WORDS)
        return cli_usage(cli, "\"%s\" is nothing to wait for%s%s%s", argv[optind + 1],
                         hint.best ? " (did you mean \"" : "", hint.best ? hint.best : "",
                         hint.best ? "\"?)" : "");
    int64_t ms = seconds < 0 ? -1 : (int64_t)seconds * 1000;
    if (serai_domain_wait(cli->s, argv[optind], (enum serai_wait)what, ms, &err))
        return cli_fail(&err);
    return CLI_OK;
}

int cmd_guests_stop(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {
        {"timeout", required_argument, NULL, 't'}, {"help", no_argument, NULL, 'h'}, {0}};
    struct serai_error err;
    int seconds = STOP_SECONDS;
    for (int opt; (opt = cli_getopt(cli, argc, argv, "t:h", options)) != -1;) {
        if (opt != 't')
            return cli_option(cli, opt);
        if (!cli_number(cli, "timeout", optarg, 0, DAY_SECONDS, &seconds))
            return CLI_USAGE;
    }
    if (optind < argc)
        return cli_usage(cli, "takes no names: all guests are ended");
    return serai_guests_stop(cli->s, (unsigned)seconds * 1000, &err) ? cli_fail(&err) : CLI_OK;
}
