// SPDX-License-Identifier: BSD-2-Clause
// Making a guest takes two programs: the first builds it and leaves its frames mapped, the
// second starts it. A guest cannot run while its frames are mapped here, and having the
// kernel remove all mappings with the first program is ten times cheaper than removing them
// one by one.
#include "cli.h"

#include "json.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct create_options {
    bool console, dry, paused, quiet;
};

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

static void create_json(uint32_t id, const char *name, bool paused)
{
    BUF_AUTO out = {0};
    struct json j = {.out = &out};
    json_begin(&j, NULL, '{');
    json_number(&j, "domain", id);
    json_string(&j, "name", name);
    json_string(&j, "state", paused ? "paused" : "started");
    json_end(&j, '}');
    fputs(out.data ? out.data : "", stdout);
}

static bool create_on_progress(void *ctx, const char *step, unsigned percent)
{
    cli_progress(ctx, "making the guest", step, percent);
    return true;
}

// What follows when the guest is there and nothing of it is mapped.
static int create_finish(struct cli *cli, uint32_t id, const char *name,
                         const struct create_options *o)
{
    struct serai_error err;
    if (!o->paused && serai_domain_unpause(cli->s, id, &err))
        return cli_fail(&err);
    if (cli->json && !o->console)
        create_json(id, name, o->paused);
    else if (!o->quiet && !o->console)
        printf("domain %u (\"%s\") %s\n", id, name, o->paused ? "made, paused" : "started");
    return o->console ? create_attach(cli, id) : CLI_OK;
}

int cmd_create_finish(struct cli *cli, int argc, char **argv)
{
    struct create_options o = {.paused = true};
    int id;
    if (argc < 3 || !cli_number(cli, "ID", argv[1], 1, 0x7fff, &id))
        return CLI_USAGE;
    for (int i = 3; i < argc; i++) {
        o.paused &= strcmp(argv[i], "start") != 0;
        o.console |= !strcmp(argv[i], "console");
        o.quiet |= !strcmp(argv[i], "quiet");
    }
    return create_finish(cli, (uint32_t)id, argv[2], &o);
}

// Becomes the second program. Where that is not to be had, unmaps and goes on here.
static int create_exec(struct cli *cli, uint32_t id, const char *name,
                       const struct create_options *o)
{
    char number[16];
    char *state_dir = strdup(cli->state_dir ? cli->state_dir : SERAI_STATE_DIR);
    char *copy = strdup(name);
    snprintf(number, sizeof(number), "%u", id);
    char *const argv[] = {"serai",
                          "--state-dir",
                          state_dir,
                          "create-finish",
                          number,
                          copy,
                          o->paused ? "" : "start",
                          o->console ? "console" : "",
                          o->quiet ? "quiet" : "",
                          cli->json ? "--json" : NULL,
                          NULL};
    if (state_dir && copy && !fflush(stdout))
        execv("/proc/self/exe", argv);
    free(state_dir);
    free(copy);

    struct serai_options open = {.state_dir = cli->state_dir};
    struct serai_error err;
    serai_close(cli->s);
    if (serai_open(&cli->s, &open, &err))
        return cli_fail(&err);
    return create_finish(cli, id, name, o);
}

static int create_run(struct cli *cli, const struct serai_config *config, const char *file,
                      const struct create_options *o)
{
    struct serai_create how = {.exiting = true};
    if (!o->quiet) {
        how.progress = create_on_progress;
        how.progress_ctx = cli;
    }
    struct serai_error err;
    uint32_t id;
    if (o->dry) {
        if (!o->quiet)
            printf("%s: no mistakes found (guest \"%s\")\n", file, config->name);
        return CLI_OK;
    }
    int ret = serai_domain_create(cli->s, config, &how, &id, &err);
    cli_progress_end(cli);
    if (ret)
        return cli_fail(&err);
    if (o->paused && !o->console)
        return create_finish(cli, id, config->name, o);
    return create_exec(cli, id, config->name, o);
}

int cmd_create(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {
        {"console", no_argument, NULL, 'c'}, {"dry-run", no_argument, NULL, 'n'},
        {"paused", no_argument, NULL, 'p'},  {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},    {0}};
    struct create_options o = {0};
    for (int opt; (opt = cli_getopt(cli, argc, argv, "cnpqh", options)) != -1;) {
        switch (opt) {
        case 'c':
            o.console = true;
            break;
        case 'n':
            o.dry = true;
            break;
        case 'p':
            o.paused = true;
            break;
        case 'q':
            o.quiet = true;
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
    int code = create_run(cli, config, argv[optind], &o);
    serai_config_free(config);
    return code;
}
