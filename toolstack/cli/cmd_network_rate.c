// SPDX-License-Identifier: BSD-2-Clause
#include "cli.h"

int cmd_network_rate(struct cli *cli, int argc, char **argv)
{
    struct serai_domain d;
    struct serai_error err;
    uint64_t bytes;
    uint32_t usec;
    int devid;
    if (argc != 4)
        return cli_usage(cli, "give a guest's name, an interface's number and a rate");
    if (!cli_number(cli, "interface", argv[2], 0, SERAI_VIF_DEVID_MAX, &devid))
        return CLI_USAGE;
    if (serai_rate_parse(argv[3], &bytes, &usec, &err))
        return cli_usage(cli, "%s", err.text);
    int code = cli_find(cli, argv[1], &d);
    if (code == CLI_OK && serai_vif_set_rate(cli->s, d.id, (unsigned)devid, bytes, usec, &err))
        code = cli_fail(&err);
    return code;
}
