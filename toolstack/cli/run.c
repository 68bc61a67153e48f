// SPDX-License-Identifier: BSD-2-Clause
// Around each verb: its options, and with --json its output and errors as one JSON text.
#include "cli.h"

#include "json.h"
#include "log.h"
#include "suggest.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The last error, for programs.
static struct serai_error last_error;

int cli_fail(const struct serai_error *err)
{
    log_error("%s", err->text);
    last_error = *err;
    return err->code == -ESRCH ? CLI_NO_DOMAIN : CLI_FAILED;
}

int cli_usage(const struct cli *cli, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(last_error.text, sizeof(last_error.text), fmt, ap);
    va_end(ap);
    last_error.code = -EINVAL;
    log_error("%s: %s", cli->command->name, last_error.text);
    fprintf(stderr, "usage: serai %s %s\n", cli->command->name, cli->command->usage);
    return CLI_USAGE;
}

int cli_getopt(struct cli *cli, int argc, char **argv, const char *letters,
               const struct option *options)
{
    cli->options = options;
    cli->argv = argv;
    opterr = 0;
    return getopt_long(argc, argv, letters, options, NULL);
}

// The word that getopt_long has just refused, without its value.
static void refused_option(const struct cli *cli, char *word, size_t size)
{
    const struct option *o = cli->options;
    const char *given = cli->argv && optind > 0 ? cli->argv[optind - 1] : "";
    if (!strncmp(given, "--", 2)) {
        snprintf(word, size, "%.*s", (int)strcspn(given, "="), given);
        return;
    }
    while (o && o->name && (o->val != optopt || !optopt))
        o++;
    if (o && o->name && optopt > 0xff)
        snprintf(word, size, "--%s", o->name);
    else
        snprintf(word, size, "-%c", optopt);
}

static bool option_known(const struct cli *cli, const char *word)
{
    for (const struct option *o = cli->options; o && o->name; o++)
        if ((!strncmp(word, "--", 2) && !strcmp(word + 2, o->name)) ||
            (word[1] == o->val && !word[2]))
            return true;
    return false;
}

int cli_option(const struct cli *cli, int opt)
{
    char word[64];
    if (opt == 'h') {
        cli_print_help(cli->command, stdout);
        return CLI_OK;
    }
    refused_option(cli, word, sizeof(word));
    if (option_known(cli, word))
        return cli_usage(cli, "option %s: a value is missing, or one too many", word);
    struct suggest hint = {.word = word + 2};
    for (const struct option *o = cli->options; o && o->name && word[1] == '-'; o++)
        suggest_offer(&hint, o->name);
    if (word[1] == '-' && hint.best)
        return cli_usage(cli, "unknown option %s; did you mean --%s?", word, hint.best);
    return cli_usage(cli, "unknown option %s", word);
}

static void print_error(int code)
{
    BUF_AUTO out = {0};
    struct json j = {.out = &out};
    json_begin(&j, NULL, '{');
    json_begin(&j, "error", '{');
    json_number(&j, "exit", (uint64_t)code);
    json_number(&j, "errno", (uint64_t)-last_error.code);
    json_string(&j, "text", last_error.text);
    json_end(&j, '}');
    json_end(&j, '}');
    fputs(out.data ? out.data : "{}\n", stdout);
}

// What a verb has printed that knows of no JSON: the text, or that all went well.
static void print_text(char *text, size_t len)
{
    BUF_AUTO out = {0};
    struct json j = {.out = &out};
    while (len && text[len - 1] == '\n')
        text[--len] = '\0';
    json_begin(&j, NULL, '{');
    if (len)
        json_string(&j, "output", text);
    else
        json_string(&j, "result", "ok");
    json_end(&j, '}');
    fputs(out.data ? out.data : "{}\n", stdout);
}

// Takes --json from arguments of verbs that do not know it themselves.
static int json_argument(struct cli *cli, int argc, char **argv)
{
    bool knows = strstr(cli->command->usage, "--json");
    int kept = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") != 0 || (i > 1 && !strcmp(argv[i - 1], "--"))) {
            argv[kept++] = argv[i];
            continue;
        }
        cli->json = true;
        if (knows)
            argv[kept++] = argv[i];
    }
    argv[kept] = NULL;
    return kept;
}

static int open_and_run(struct cli *cli, const struct serai_options *open, int argc, char **argv)
{
    struct serai_error err;
    if (!cli->command->offline && serai_open(&cli->s, open, &err))
        return cli_fail(&err);
    return cli->command->run(cli, argc, argv);
}

int cli_run(struct cli *cli, const struct serai_options *open, int argc, char **argv)
{
    const struct cli_command *c = cli->command;
    argc = json_argument(cli, argc, argv);
    optind = 0;
    bool streams = c->run == cmd_top || c->run == cmd_console; // they print as they go
    if (!cli->json || streams) {
        int code = open_and_run(cli, open, argc, argv);
        if (cli->json && code != CLI_OK)
            print_error(code);
        return code;
    }
    FILE *real = stdout;
    char *text = NULL;
    size_t len = 0;
    FILE *kept = open_memstream(&text, &len);
    if (!kept)
        return open_and_run(cli, open, argc, argv);
    stdout = kept;
    int code = open_and_run(cli, open, argc, argv);
    stdout = real;
    fclose(kept);
    if (code != CLI_OK)
        print_error(code);
    else if (len && (*text == '{' || *text == '['))
        fwrite(text, 1, len, stdout);
    else
        print_text(text, len);
    free(text);
    return code;
}
