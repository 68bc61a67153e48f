// SPDX-License-Identifier: BSD-2-Clause
#include "cli.h"

#include "json.h"
#include "table.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum { PAGES_PER_MB = 256 };

static void list_json(const struct serai_domain *list, size_t count)
{
    static const struct {
        unsigned flag;
        const char *name;
    } flags[] = {
        {SERAI_DOMAIN_RUNNING, "running"}, {SERAI_DOMAIN_BLOCKED, "blocked"},
        {SERAI_DOMAIN_PAUSED, "paused"},   {SERAI_DOMAIN_SHUTDOWN, "shutdown"},
        {SERAI_DOMAIN_DYING, "dying"},     {SERAI_DOMAIN_HVM, "hvm"},
        {SERAI_DOMAIN_MANAGED, "managed"},
    };
    BUF_AUTO out = {0};
    struct json j = {.out = &out};
    char text[64];
    json_begin(&j, NULL, '[');
    for (size_t i = 0; i < count; i++) {
        const struct serai_domain *d = &list[i];
        json_begin(&j, NULL, '{');
        json_number(&j, "id", d->id);
        json_string(&j, "name", d->name);
        json_string(&j, "uuid", serai_uuid_format(d->uuid, text));
        json_string(&j, "state", cli_state(d, text, sizeof(text)));
        for (size_t f = 0; f < sizeof(flags) / sizeof(flags[0]); f++)
            json_bool(&j, flags[f].name, d->flags & flags[f].flag);
        if (d->flags & SERAI_DOMAIN_SHUTDOWN)
            json_string(&j, "shutdown_reason", serai_shutdown_name(d->shutdown_reason));
        json_number(&j, "memory_kb", d->pages * 4);
        json_number(&j, "memory_max_kb", d->max_pages == UINT64_MAX ? 0 : d->max_pages * 4);
        json_number(&j, "vcpus", d->online_vcpus);
        json_number(&j, "vcpus_max", d->max_vcpus);
        json_number(&j, "cpu_ns", d->cpu_ns);
        json_end(&j, '}');
    }
    json_end(&j, ']');
    fputs(out.data, stdout);
}

static int list_table(struct cli *cli, const struct serai_domain *list, size_t count, bool verbose)
{
    static const char *const heads[] = {"Name", ">ID", ">Mem", ">VCPUs", "State", ">Time(s)", NULL};
    static const char *const more[] = {"Name",     ">ID",     ">Mem", ">VCPUs", "State",
                                       ">Time(s)", ">MaxMem", "UUID", NULL};
    struct table t = {.heads = verbose ? more : heads, .colour = cli->colour};
    char text[64];
    for (size_t i = 0; i < count; i++) {
        const struct serai_domain *d = &list[i];
        table_cell(&t, 0, "%s", d->name);
        table_cell(&t, 0, "%u", d->id);
        table_cell(&t, 0, "%llu", (unsigned long long)(d->pages / PAGES_PER_MB));
        table_cell(&t, 0, "%u", d->online_vcpus);
        table_cell(&t, cli_state_colour(d), "%s", cli_state(d, text, sizeof(text)));
        table_cell(&t, 0, "%.1f", (double)d->cpu_ns / 1e9);
        if (!verbose)
            continue;
        if (d->max_pages >> 40) // the control domain's "as much as there is"
            table_cell(&t, 0, "-");
        else
            table_cell(&t, 0, "%llu", (unsigned long long)(d->max_pages / PAGES_PER_MB));
        table_cell(&t, 0, "%s", serai_uuid_format(d->uuid, text));
    }
    return table_print(&t, stdout) ? CLI_FAILED : CLI_OK;
}

int cli_select(struct cli *cli, char **names, size_t count, struct serai_domain **list,
               size_t *found)
{
    struct serai_error err;
    if (!count)
        return serai_domain_list(cli->s, list, found, &err) ? cli_fail(&err) : CLI_OK;
    *list = calloc(count, sizeof(**list));
    *found = count;
    int code = *list ? CLI_OK : CLI_FAILED;
    for (size_t i = 0; i < count && code == CLI_OK; i++)
        code = cli_find(cli, names[i], &(*list)[i]);
    if (code != CLI_OK)
        free(*list);
    return code;
}

int cli_list_rows(struct cli *cli, int argc, char **argv, const char *const *heads, cli_rows *rows)
{
    struct table t = {.heads = heads, .colour = cli->colour};
    struct serai_domain *list;
    BUF_AUTO out = {0};
    struct json j = {.out = &out};
    size_t count;
    bool json;
    int code = cli_device_options(cli, argc, argv, true, &json);
    if (code >= 0)
        return code;
    code = cli_select(cli, argv + optind, (size_t)(argc - optind), &list, &count);
    if (code != CLI_OK)
        return code;
    if (json)
        json_begin(&j, NULL, '[');
    for (size_t i = 0; i < count && code == CLI_OK; i++)
        code = rows(cli, json ? &j : NULL, &t, &list[i]);
    free(list);
    if (json) {
        json_end(&j, ']');
        if (code == CLI_OK)
            fputs(out.data, stdout);
    }
    if (code == CLI_OK && !json)
        return table_print(&t, stdout) ? CLI_FAILED : CLI_OK;
    buf_free(&t.cells);
    return code;
}

int cmd_list(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"verbose", no_argument, NULL, 'v'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    bool json = false, verbose = false;
    for (int opt; (opt = cli_getopt(cli, argc, argv, "vh", options)) != -1;) {
        if (opt == 'j')
            json = true;
        else if (opt == 'v')
            verbose = true;
        else
            return cli_option(cli, opt);
    }
    struct serai_domain *list;
    size_t count;
    int code = cli_select(cli, argv + optind, (size_t)(argc - optind), &list, &count);
    if (code != CLI_OK)
        return code;
    if (json)
        list_json(list, count);
    else
        code = list_table(cli, list, count, verbose);
    free(list);
    return code;
}

int cmd_domid(struct cli *cli, int argc, char **argv)
{
    struct serai_domain d;
    if (argc != 2)
        return cli_usage(cli, "give one name");
    int code = cli_find(cli, argv[1], &d);
    if (code == CLI_OK)
        printf("%u\n", d.id);
    return code;
}
