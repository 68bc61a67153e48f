// SPDX-License-Identifier: BSD-2-Clause
// Shares of CPU time.
#include "cli.h"

#include "json.h"
#include "table.h"

#include <getopt.h>
#include <stdlib.h>

static int sched_show(struct cli *cli, const struct serai_domain *list, size_t count, bool json)
{
    static const char *const heads[] = {"NAME", ">ID", ">WEIGHT", ">CAP(%)", NULL};
    BUF_AUTO text = {0};
    struct json j = {.out = &text};
    struct table t = {.heads = heads, .colour = cli->colour};
    json_begin(&j, NULL, '[');
    for (size_t i = 0; i < count; i++) {
        struct serai_sched p;
        struct serai_error err;
        if (list[i].flags & SERAI_DOMAIN_DYING)
            continue;
        if (serai_sched_get(cli->s, list[i].id, &p, &err)) {
            buf_free(&t.cells);
            return cli_fail(&err);
        }
        json_begin(&j, NULL, '{');
        json_number(&j, "domain", list[i].id);
        json_string(&j, "name", list[i].name);
        json_number(&j, "weight", (uint64_t)p.weight);
        json_number(&j, "cap", (uint64_t)p.cap);
        json_end(&j, '}');
        table_cell(&t, 0, "%s", list[i].name);
        table_cell(&t, 0, "%u", list[i].id);
        table_cell(&t, 0, "%d", p.weight);
        table_cell(&t, 0, "%d", p.cap);
    }
    json_end(&j, ']');
    if (json) {
        buf_free(&t.cells);
        fputs(text.data, stdout);
        return CLI_OK;
    }
    return table_print(&t, stdout) ? CLI_FAILED : CLI_OK;
}

static int sched_show_all(struct cli *cli, bool json)
{
    struct serai_domain *list;
    size_t count;
    struct serai_error err;
    if (serai_domain_list(cli->s, &list, &count, &err))
        return cli_fail(&err);
    int code = sched_show(cli, list, count, json);
    free(list);
    return code;
}

int cmd_sched(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {
        {"domain", required_argument, NULL, 'd'}, {"weight", required_argument, NULL, 'w'},
        {"cap", required_argument, NULL, 'c'},    {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},         {0}};
    struct serai_sched set = {SERAI_SCHED_KEEP, SERAI_SCHED_KEEP};
    const char *name = NULL;
    bool json = false;
    for (int opt; (opt = cli_getopt(cli, argc, argv, "d:w:c:h", options)) != -1;) {
        switch (opt) {
        case 'd':
            name = optarg;
            break;
        case 'w':
            if (!cli_number(cli, "weight", optarg, 1, 65535, &set.weight))
                return CLI_USAGE;
            break;
        case 'c':
            if (!cli_number(cli, "cap", optarg, 0, 65534, &set.cap))
                return CLI_USAGE;
            break;
        case 'j':
            json = true;
            break;
        default:
            return cli_option(cli, opt);
        }
    }
    if (optind < argc)
        name = argv[optind++];
    bool change = set.weight != SERAI_SCHED_KEEP || set.cap != SERAI_SCHED_KEEP;
    if (optind < argc || (change && !name))
        return cli_usage(cli, "give one name");
    if (!name)
        return sched_show_all(cli, json);

    struct serai_domain d;
    struct serai_error err;
    int code = cli_find(cli, name, &d);
    if (code != CLI_OK)
        return code;
    if (!change)
        return sched_show(cli, &d, 1, json);
    return serai_sched_set(cli->s, d.id, &set, &err) ? cli_fail(&err) : CLI_OK;
}
