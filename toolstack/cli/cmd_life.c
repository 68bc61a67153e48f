// SPDX-License-Identifier: BSD-2-Clause
// Verbs that change whether and under which name a domain runs.
#include "cli.h"

typedef int life_fn(struct serai *s, uint32_t id, struct serai_error *err);

// Does it to every domain named; the first failure decides the exit code, the others still go.
static int life_each(struct cli *cli, int argc, char **argv, life_fn *fn)
{
    if (argc < 2)
        return cli_usage(cli, "give a name");
    int result = CLI_OK;
    for (int i = 1; i < argc; i++) {
        struct serai_domain d;
        struct serai_error err;
        int code = cli_find(cli, argv[i], &d);
        if (code == CLI_OK && fn(cli->s, d.id, &err))
            code = cli_fail(&err);
        if (result == CLI_OK)
            result = code;
    }
    return result;
}

int cmd_pause(struct cli *cli, int argc, char **argv)
{
    return life_each(cli, argc, argv, serai_domain_pause);
}

int cmd_unpause(struct cli *cli, int argc, char **argv)
{
    return life_each(cli, argc, argv, serai_domain_unpause);
}

int cmd_destroy(struct cli *cli, int argc, char **argv)
{
    return life_each(cli, argc, argv, serai_domain_destroy);
}

int cmd_rename(struct cli *cli, int argc, char **argv)
{
    struct serai_domain d;
    struct serai_error err;
    if (argc != 3)
        return cli_usage(cli, "give the present name and the new one");
    int code = cli_find(cli, argv[1], &d);
    if (code == CLI_OK && serai_domain_rename(cli->s, d.id, argv[2], &err))
        code = cli_fail(&err);
    return code;
}
