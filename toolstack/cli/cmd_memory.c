// SPDX-License-Identifier: BSD-2-Clause
// Verbs that change how much memory and how many virtual CPUs a guest has.
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum { MEMORY_WAIT_MS = 30000 };

// "512", "512m", "2g", "131072k": in KiB; plain numbers are megabytes.
static bool memory_size(struct cli *cli, const char *text, uint64_t *kib)
{
    static const struct {
        char letter;
        int shift;
    } units[] = {{'k', 0}, {'m', 10}, {'g', 20}, {'t', 30}, {'\0', 10}};
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    bool good = !errno && isdigit((unsigned char)*text) && strlen(end) < 2;
    for (size_t i = 0; good && i < sizeof(units) / sizeof(units[0]); i++)
        if (tolower((unsigned char)*end) == units[i].letter) {
            if (n >> (44 - units[i].shift))
                break;
            *kib = (uint64_t)n << units[i].shift;
            return true;
        }
    cli_usage(cli, "\"%s\" is not a size (like 512, 512m or 2g)", text);
    return false;
}

static int memory_set_and_wait(struct cli *cli, uint32_t id, uint64_t kib, struct serai_error *err)
{
    struct serai_op *op;
    int ret = serai_target_start(cli->s, id, kib, MEMORY_WAIT_MS, &op, err);
    return ret ? ret : cli_finish(cli, "waiting for memory", op, NULL, err);
}

int cmd_mem(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {
        {"wait", no_argument, NULL, 'w'}, {"help", no_argument, NULL, 'h'}, {0}};
    bool most = !strcmp(cli->command->name, "mem-max"), wait = false;
    struct serai_domain d;
    struct serai_error err;
    uint64_t kib = 0;
    for (int opt; (opt = cli_getopt(cli, argc, argv, most ? "h" : "wh", options)) != -1;) {
        if (opt != 'w')
            return cli_option(cli, opt);
        wait = true;
    }
    if (argc - optind != 2)
        return cli_usage(cli, "give a guest's name and a size");
    bool automatic = !most && !strcmp(argv[optind + 1], "auto");
    if (!automatic && !memory_size(cli, argv[optind + 1], &kib))
        return CLI_USAGE;
    int code = cli_find(cli, argv[optind], &d);
    if (code != CLI_OK)
        return code;
    int ret = automatic ? serai_domain_set_automatic(cli->s, d.id, &err)
              : most    ? serai_domain_set_max(cli->s, d.id, kib, &err)
              : wait    ? memory_set_and_wait(cli, d.id, kib, &err)
                        : serai_domain_set_target(cli->s, d.id, kib, &err);
    return ret ? cli_fail(&err) : CLI_OK;
}

int cmd_vcpu_set(struct cli *cli, int argc, char **argv)
{
    struct serai_domain d;
    struct serai_error err;
    int count;
    if (argc != 3)
        return cli_usage(cli, "give a guest's name and a number of virtual CPUs");
    if (!cli_number(cli, "virtual CPUs", argv[2], 1, 8192, &count))
        return CLI_USAGE;
    int code = cli_find(cli, argv[1], &d);
    if (code == CLI_OK && serai_domain_set_vcpus(cli->s, d.id, (unsigned)count, &err))
        code = cli_fail(&err);
    return code;
}
