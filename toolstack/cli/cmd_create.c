// SPDX-License-Identifier: BSD-2-Clause
#include "cli.h"

#include <getopt.h>
#include <unistd.h>

static int create_attach(struct cli *cli, uint32_t id)
{
    struct serai_error err;
    int fd;
    if (serai_console_attach(cli->s, id, &fd, &err))
        return cli_fail(&err);
    int code = cli_console_run(cli, fd);
    close(fd);
    return code;
}

int cmd_create(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {
        {"console", no_argument, NULL, 'c'}, {"dry-run", no_argument, NULL, 'n'},
        {"paused", no_argument, NULL, 'p'},  {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},    {0}};
    bool console = false, dry = false, paused = false, quiet = false;
    for (int opt; (opt = getopt_long(argc, argv, "cnpqh", options, NULL)) != -1;) {
        switch (opt) {
        case 'c':
            console = true;
            break;
        case 'n':
            dry = true;
            break;
        case 'p':
            paused = true;
            break;
        case 'q':
            quiet = true;
            break;
        default:
            return cli_option(cli, opt);
        }
    }
    if (optind >= argc)
        return cli_usage(cli, "give a configuration file");

    struct serai_error err;
    struct serai_config *config;
    const char *const *overrides = (const char *const *)argv + optind + 1;
    if (serai_config_load(cli->s, argv[optind], overrides, (size_t)(argc - optind - 1), &config,
                          &err))
        return cli_fail(&err);
    int code = CLI_OK;
    uint32_t id = 0;
    struct serai_create how = {.start = !paused, .exiting = !console};
    if (!dry && serai_domain_create(cli->s, config, &how, &id, &err))
        code = cli_fail(&err);
    else if (!quiet && dry)
        printf("%s: no mistakes found (guest \"%s\")\n", argv[optind], config->name);
    else if (!quiet && !console)
        printf("domain %u (\"%s\") %s\n", id, config->name, paused ? "made, paused" : "started");
    serai_config_free(config);
    if (code == CLI_OK && console && !dry)
        code = create_attach(cli, id);
    return code;
}
