// SPDX-License-Identifier: BSD-2-Clause
// Verbs about virtual CPUs.
#include "cli.h"

#include "json.h"
#include "table.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum { MAP_TEXT = 1024 };

struct vcpu_out {
    bool json;
    struct json j;
    struct table t;
    unsigned nr_cpus;
};

static void vcpu_row(struct vcpu_out *o, const struct serai_domain *d, const struct serai_vcpu *v)
{
    char hard[MAP_TEXT], soft[MAP_TEXT];
    const char *state = !v->online   ? "offline"
                        : v->running ? "running"
                        : v->blocked ? "idle"
                                     : "ready";
    serai_cpumap_format(&v->hard, o->nr_cpus, hard, sizeof(hard));
    serai_cpumap_format(&v->soft, o->nr_cpus, soft, sizeof(soft));
    if (o->json) {
        json_begin(&o->j, NULL, '{');
        json_number(&o->j, "domain", d->id);
        json_string(&o->j, "name", d->name);
        json_number(&o->j, "vcpu", v->id);
        json_string(&o->j, "state", state);
        json_bool(&o->j, "online", v->online);
        json_number(&o->j, "cpu", v->cpu);
        json_number(&o->j, "cpu_ns", v->cpu_ns);
        json_string(&o->j, "hard_affinity", hard);
        json_string(&o->j, "soft_affinity", soft);
        json_end(&o->j, '}');
        return;
    }
    table_cell(&o->t, 0, "%s", d->name);
    table_cell(&o->t, 0, "%u", d->id);
    table_cell(&o->t, 0, "%u", v->id);
    if (v->online)
        table_cell(&o->t, 0, "%u", v->cpu);
    else
        table_cell(&o->t, 0, "-");
    table_cell(&o->t, v->running ? 32 : 0, "%s", state);
    table_cell(&o->t, 0, "%.1f", (double)v->cpu_ns / 1e9);
    table_cell(&o->t, 0, "%s / %s", hard, soft);
}

static int vcpu_rows(struct cli *cli, struct vcpu_out *o, const struct serai_domain *d)
{
    struct serai_vcpu *list;
    size_t count;
    struct serai_error err;
    if (serai_vcpu_list(cli->s, d->id, &list, &count, &err))
        return cli_fail(&err);
    for (size_t i = 0; i < count; i++)
        vcpu_row(o, d, &list[i]);
    free(list);
    return CLI_OK;
}

static int vcpu_rows_all(struct cli *cli, struct vcpu_out *o)
{
    struct serai_domain *list;
    size_t count;
    struct serai_error err;
    if (serai_domain_list(cli->s, &list, &count, &err))
        return cli_fail(&err);
    for (size_t i = 0; i < count; i++)
        if (!(list[i].flags & SERAI_DOMAIN_DYING))
            (void)vcpu_rows(cli, o, &list[i]); // one that is gone meanwhile is no failure
    free(list);
    return CLI_OK;
}

int cmd_vcpu_list(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
    static const char *const heads[] = {
        "NAME", ">ID", ">VCPU", ">CPU", "STATE", ">CPU(s)", "MAY / SHOULD RUN ON", NULL};
    BUF_AUTO text = {0};
    struct vcpu_out o = {.j.out = &text, .t = {.heads = heads, .colour = cli->colour}};
    for (int opt; (opt = cli_getopt(cli, argc, argv, "h", options)) != -1;) {
        if (opt != 'j')
            return cli_option(cli, opt);
        o.json = true;
    }
    struct serai_host host;
    struct serai_error err;
    if (serai_host_get(cli->s, &host, &err))
        return cli_fail(&err);
    o.nr_cpus = host.max_cpu_id + 1;
    if (o.json)
        json_begin(&o.j, NULL, '[');
    int code = optind < argc ? CLI_OK : vcpu_rows_all(cli, &o);
    for (int i = optind; i < argc && code == CLI_OK; i++) {
        struct serai_domain d;
        code = cli_find(cli, argv[i], &d);
        if (code == CLI_OK)
            code = vcpu_rows(cli, &o, &d);
    }
    if (o.json) {
        json_end(&o.j, ']');
        if (code == CLI_OK)
            fputs(text.data, stdout);
    } else if (code == CLI_OK) {
        table_print(&o.t, stdout);
    }
    buf_free(&o.t.cells);
    return code;
}

// A set of CPUs from the command line; "-" gives no set.
static int pin_map(const char *text, struct serai_cpumap *map, const struct serai_cpumap **out)
{
    struct serai_error err;
    *out = NULL;
    if (!strcmp(text, "-"))
        return CLI_OK;
    if (serai_cpumap_parse(text, map, &err))
        return cli_fail(&err);
    *out = map;
    return CLI_OK;
}

int cmd_vcpu_pin(struct cli *cli, int argc, char **argv)
{
    if (argc < 4 || argc > 5)
        return cli_usage(cli, "give a name, a virtual CPU and a set of CPUs");
    struct serai_domain d;
    struct serai_cpumap hard_map, soft_map;
    const struct serai_cpumap *hard, *soft;
    int code = cli_find(cli, argv[1], &d);
    if (code == CLI_OK)
        code = pin_map(argv[3], &hard_map, &hard);
    if (code == CLI_OK)
        code = pin_map(argc == 5 ? argv[4] : "-", &soft_map, &soft);
    if (code != CLI_OK)
        return code;

    int first = 0, last = d.max_vcpus ? (int)d.max_vcpus - 1 : 0;
    if (strcmp(argv[2], "all") != 0) {
        if (!cli_number(cli, "VCPU", argv[2], 0, last, &first))
            return CLI_USAGE;
        last = first;
    }
    for (int v = first; v <= last; v++) {
        struct serai_error err;
        if (serai_vcpu_pin(cli->s, d.id, (unsigned)v, hard, soft, &err))
            return cli_fail(&err);
    }
    return CLI_OK;
}
