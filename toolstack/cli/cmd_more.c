// SPDX-License-Identifier: BSD-2-Clause
// Verbs that tell about guests: since when they run, what memory is claimed for them; and the one
// that gives a guest another configuration.
#include "cli.h"

#include "json.h"
#include "table.h"

#include <getopt.h>
#include <stdlib.h>
#include <time.h>

enum { MINUTE = 60, HOUR = 3600, DAY = 86400, PAGES_PER_MB = 256 };

static void uptime_text(int64_t seconds, char *text, size_t size)
{
    long long days = seconds / DAY, rest = seconds % DAY;
    if (days)
        snprintf(text, size, "%lld day%s, %lld:%02lld:%02lld", days, days == 1 ? "" : "s",
                 rest / HOUR, rest % HOUR / MINUTE, rest % MINUTE);
    else
        snprintf(text, size, "%lld:%02lld:%02lld", rest / HOUR, rest % HOUR / MINUTE,
                 rest % MINUTE);
}

// Without xenstore nobody knows since when a guest runs.
static int uptime_row(struct cli *cli, struct json *j, struct table *t,
                      const struct serai_domain *d)
{
    char text[64] = "unknown";
    int64_t started;
    bool known = !serai_domain_started(cli->s, d->id, &started, NULL);
    int64_t seconds = known ? time(NULL) - started : 0;
    if (known)
        uptime_text(seconds > 0 ? seconds : 0, text, sizeof(text));
    if (!j) {
        table_cell(t, 0, "%s", d->name);
        table_cell(t, 0, "%u", d->id);
        table_cell(t, 0, "%s", text);
        return CLI_OK;
    }
    json_begin(j, NULL, '{');
    json_number(j, "domain", d->id);
    json_string(j, "name", d->name);
    if (known) {
        json_number(j, "started", (uint64_t)started);
        json_number(j, "uptime_seconds", (uint64_t)(seconds > 0 ? seconds : 0));
    }
    json_end(j, '}');
    return CLI_OK;
}

static int claims_row(struct cli *cli, struct json *j, struct table *t,
                      const struct serai_domain *d)
{
    (void)cli;
    if (!j) {
        table_cell(t, 0, "%s", d->name);
        table_cell(t, 0, "%u", d->id);
        table_cell(t, 0, "%llu", (unsigned long long)(d->pages / PAGES_PER_MB));
        table_cell(t, 0, "%llu", (unsigned long long)(d->claimed_pages / PAGES_PER_MB));
        return CLI_OK;
    }
    json_begin(j, NULL, '{');
    json_number(j, "domain", d->id);
    json_string(j, "name", d->name);
    json_number(j, "memory_kb", d->pages * 4);
    json_number(j, "claimed_kb", d->claimed_pages * 4);
    json_end(j, '}');
    return CLI_OK;
}

int cmd_uptime(struct cli *cli, int argc, char **argv)
{
    static const char *const heads[] = {"NAME", ">ID", ">UPTIME", NULL};
    return cli_list_rows(cli, argc, argv, heads, uptime_row);
}

int cmd_claims(struct cli *cli, int argc, char **argv)
{
    static const char *const heads[] = {"NAME", ">ID", ">MEM(MB)", ">CLAIMED(MB)", NULL};
    return cli_list_rows(cli, argc, argv, heads, claims_row);
}

int cmd_config_update(struct cli *cli, int argc, char **argv)
{
    struct serai_domain d;
    struct serai_config *config;
    struct serai_error err;
    if (argc < 3)
        return cli_usage(cli, "give a guest's name and a configuration file");
    int code = cli_find(cli, argv[1], &d);
    if (code != CLI_OK)
        return code;
    const char *const *overrides = (const char *const *)argv + 3;
    if (serai_config_load(cli->s, argv[2], overrides, (size_t)(argc - 3), &config, &err))
        return cli_fail(&err);
    if (serai_domain_set_config(cli->s, d.id, config, &err))
        code = cli_fail(&err);
    serai_config_free(config);
    return code;
}
