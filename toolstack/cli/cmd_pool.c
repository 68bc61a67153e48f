// SPDX-License-Identifier: BSD-2-Clause
// Verbs about CPU pools.
#include "cli.h"

#include "json.h"
#include "table.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum { POOL_CPUS_TEXT = 1024 };

static void pool_row(struct json *j, struct table *t, const struct serai_pool *p)
{
    char cpus[POOL_CPUS_TEXT];
    serai_cpumap_format(&p->cpus, 0, cpus, sizeof(cpus));
    json_begin(j, NULL, '{');
    json_number(j, "id", p->id);
    json_string(j, "name", p->name);
    json_string(j, "scheduler", p->scheduler);
    json_number(j, "domains", p->domains);
    json_string(j, "cpus", cpus);
    json_end(j, '}');
    table_cell(t, 0, "%s", p->name);
    table_cell(t, 0, "%u", p->id);
    table_cell(t, 0, "%s", p->scheduler);
    table_cell(t, 0, "%u", p->domains);
    table_cell(t, 0, "%s", cpus);
}

int cmd_pool_list(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"cpus", no_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    static const char *const heads[] = {"NAME", ">ID", "SCHEDULER", ">GUESTS", "CPUS", NULL};
    BUF_AUTO text = {0};
    struct json j = {.out = &text};
    struct table t = {.heads = heads, .colour = cli->colour};
    struct serai_pool *list;
    struct serai_error err;
    size_t count;
    for (int opt; (opt = cli_getopt(cli, argc, argv, "ch", options)) != -1;)
        if (opt != 'j' && opt != 'c') // they are shown in any case
            return cli_option(cli, opt);
    if (serai_pool_list(cli->s, &list, &count, &err))
        return cli_fail(&err);
    json_begin(&j, NULL, '[');
    for (size_t i = 0; i < count; i++)
        if (optind >= argc || !strcmp(list[i].name, argv[optind]))
            pool_row(&j, &t, &list[i]);
    json_end(&j, ']');
    free(list);
    if (!cli->json)
        return table_print(&t, stdout) ? CLI_FAILED : CLI_OK;
    buf_free(&t.cells);
    fputs(text.data ? text.data : "", stdout);
    return CLI_OK;
}

static int pool_find(struct cli *cli, const char *name, struct serai_pool *out)
{
    struct serai_error err;
    return serai_pool_find(cli->s, name, out, &err) ? cli_fail(&err) : CLI_OK;
}

// name=NAME and cpus=SET, in any order; quotes as in a configuration may stand around values.
int cmd_pool_create(struct cli *cli, int argc, char **argv)
{
    struct serai_cpumap map;
    struct serai_error err;
    char name[SERAI_NAME_MAX + 1] = "";
    bool has_cpus = false;
    uint32_t id;
    for (int i = 1; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value)
            return cli_usage(cli, "\"%s\" is not KEY=VALUE", argv[i]);
        *value++ = '\0';
        size_t len = strlen(value);
        if (len > 1 && (*value == '"' || *value == '\'') && value[len - 1] == *value) {
            value[len - 1] = '\0';
            value++;
        }
        if (!strcmp(argv[i], "name"))
            snprintf(name, sizeof(name), "%s", value);
        else if (strcmp(argv[i], "cpus") != 0)
            return cli_usage(cli, "unknown key \"%s\" (name and cpus are known)", argv[i]);
        else if (serai_cpumap_parse(value, &map, &err))
            return cli_fail(&err);
        else
            has_cpus = true;
    }
    if (!*name)
        return cli_usage(cli, "give name=NAME");
    if (serai_pool_create(cli->s, name, has_cpus ? &map : NULL, &id, &err))
        return cli_fail(&err);
    return CLI_OK;
}

int cmd_pool_destroy(struct cli *cli, int argc, char **argv)
{
    struct serai_pool p;
    struct serai_error err;
    if (argc != 2)
        return cli_usage(cli, "give a pool");
    int code = pool_find(cli, argv[1], &p);
    if (code == CLI_OK && serai_pool_destroy(cli->s, p.id, &err))
        code = cli_fail(&err);
    return code;
}

int cmd_pool_rename(struct cli *cli, int argc, char **argv)
{
    struct serai_pool p;
    struct serai_error err;
    if (argc != 3)
        return cli_usage(cli, "give a pool and its new name");
    int code = pool_find(cli, argv[1], &p);
    if (code == CLI_OK && serai_pool_rename(cli->s, p.id, argv[2], &err))
        code = cli_fail(&err);
    return code;
}

int cmd_pool_cpus(struct cli *cli, int argc, char **argv)
{
    bool add = !strcmp(cli->command->name, "cpupool-cpu-add");
    struct serai_pool p;
    struct serai_cpumap map;
    struct serai_error err;
    if (argc != 3)
        return cli_usage(cli, "give a pool and a set of CPUs");
    int code = pool_find(cli, argv[1], &p);
    if (code != CLI_OK)
        return code;
    int ret = serai_cpumap_parse(argv[2], &map, &err);
    if (!ret)
        ret = serai_pool_change(cli->s, p.id, &map, add, &err);
    return ret ? cli_fail(&err) : CLI_OK;
}

int cmd_pool_migrate(struct cli *cli, int argc, char **argv)
{
    struct serai_domain d;
    struct serai_pool p;
    struct serai_error err;
    if (argc != 3)
        return cli_usage(cli, "give a guest and a pool");
    int code = cli_find(cli, argv[1], &d);
    if (code == CLI_OK)
        code = pool_find(cli, argv[2], &p);
    if (code == CLI_OK && serai_pool_move(cli->s, d.id, p.id, &err))
        code = cli_fail(&err);
    return code;
}
