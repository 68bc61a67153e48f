// SPDX-License-Identifier: BSD-2-Clause
// Verbs that ask a guest to do something itself.
#include "cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum { NOTICE_MS = 20000, END_SECONDS = 300, DAY_SECONDS = 86400 };

struct request {
    enum serai_request what;
    bool all, wait;
    int seconds;
};

static int request_one(struct cli *cli, const struct serai_domain *d, const struct request *r)
{
    struct serai_error err;
    if (serai_domain_request(cli->s, d->id, r->what, NOTICE_MS, &err))
        return cli_fail(&err);
    return CLI_OK;
}

// Those that can be asked: the control domain and what has ended or cannot hear are left out.
static bool request_applies(const struct request *r, const struct serai_domain *d)
{
    return !r->all ||
           (d->id &&
            !(d->flags & (SERAI_DOMAIN_SHUTDOWN | SERAI_DOMAIN_DYING | SERAI_DOMAIN_PAUSED)));
}

static int request_each(struct cli *cli, const struct serai_domain *list, size_t count,
                        const struct request *r)
{
    int result = CLI_OK;
    for (size_t i = 0; i < count; i++) {
        int code = request_applies(r, &list[i]) ? request_one(cli, &list[i], r) : CLI_OK;
        result = result == CLI_OK ? code : result;
    }
    return result;
}

// All of them at once; each operation ends when its guest has.
static int request_wait_each(struct cli *cli, const struct serai_domain *list, size_t count,
                             const struct request *r)
{
    struct serai_error err;
    char what[SERAI_NAME_MAX + 16];
    struct serai_op **op = calloc(count + 1, sizeof(struct serai_op *));
    int result = op ? CLI_OK : CLI_FAILED;
    for (size_t i = 0; op && i < count; i++)
        if (request_applies(r, &list[i]) &&
            serai_request_start(cli->s, list[i].id, r->what, (unsigned)r->seconds * 1000, &op[i],
                                &err))
            result = cli_fail(&err);
    for (size_t i = 0; op && i < count; i++) {
        snprintf(what, sizeof(what), "waiting for %s", list[i].name);
        if (op[i] && cli_finish(cli, what, op[i], NULL, &err))
            result = cli_fail(&err);
    }
    free(op);
    return result;
}

int cmd_shutdown(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {
        {"all", no_argument, NULL, 'a'},        {"wait", no_argument, NULL, 'w'},
        {"force-acpi", no_argument, NULL, 'F'}, {"timeout", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},       {0}};
    struct request r = {.seconds = END_SECONDS};
    r.what = !strcmp(cli->command->name, "reboot") ? SERAI_REQUEST_REBOOT : SERAI_REQUEST_POWEROFF;
    for (int opt; (opt = cli_getopt(cli, argc, argv, "awFt:h", options)) != -1;) {
        if (opt == 'a')
            r.all = true;
        else if (opt == 'w')
            r.wait = true;
        else if (opt == 't') {
            if (!cli_number(cli, "timeout", optarg, 1, DAY_SECONDS, &r.seconds))
                return CLI_USAGE;
        } else if (opt != 'F') // PV guests have no ACPI button to fall back to
            return cli_option(cli, opt);
    }
    if (r.all == (optind < argc))
        return cli_usage(cli, "give names, or --all");
    struct serai_domain *list;
    size_t count;
    int code = cli_select(cli, argv + optind, (size_t)(argc - optind), &list, &count);
    if (code != CLI_OK)
        return code;
    code = r.wait ? request_wait_each(cli, list, count, &r) : request_each(cli, list, count, &r);
    free(list);
    return code;
}

int cmd_sysrq(struct cli *cli, int argc, char **argv)
{
    struct serai_domain d;
    struct serai_error err;
    if (argc != 3 || strlen(argv[2]) != 1)
        return cli_usage(cli, "give a guest's name and one letter");
    int code = cli_find(cli, argv[1], &d);
    if (code == CLI_OK && serai_domain_sysrq(cli->s, d.id, argv[2][0], &err))
        code = cli_fail(&err);
    return code;
}

int cmd_domname(struct cli *cli, int argc, char **argv)
{
    struct serai_domain d;
    struct serai_error err;
    int id;
    if (argc != 2)
        return cli_usage(cli, "give one number");
    if (!cli_number(cli, "ID", argv[1], 0, 0x7fef, &id))
        return CLI_USAGE;
    if (serai_domain_get(cli->s, (uint32_t)id, &d, &err))
        return cli_fail(&err);
    printf("%s\n", d.name);
    return CLI_OK;
}
