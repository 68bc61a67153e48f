// SPDX-License-Identifier: BSD-2-Clause
#include "cli.h"

#include "metrics.h"

#include <stdlib.h>

int cmd_export_metrics(struct cli *cli, int argc, char **argv)
{
    struct serai_host host;
    struct serai_domain *domains = NULL;
    struct serai_usage *usage = NULL;
    struct serai_error err;
    struct metrics m = {.host = &host};
    BUF_AUTO out = {0};
    (void)argv;
    if (argc > 1)
        return cli_usage(cli, "takes no arguments");
    int ret = serai_host_get(cli->s, &host, &err);
    if (!ret)
        ret = serai_domain_list(cli->s, &domains, &m.nr_domains, &err);
    if (!ret)
        ret = serai_usage_list(cli->s, &usage, &m.nr_usage, &err);
    m.domains = domains;
    m.usage = usage;
    if (!ret)
        metrics_write(&m, &out);
    free(domains);
    free(usage);
    if (ret)
        return cli_fail(&err);
    if (!out.data || out.failed)
        return CLI_FAILED;
    fwrite(out.data, 1, out.len, stdout);
    return CLI_OK;
}
