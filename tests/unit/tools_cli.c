// SPDX-License-Identifier: BSD-2-Clause
/* What surrounds each verb of serai(1): options, and exactly one JSON text with --json. */
#include "unit.h"

#include <errno.h>
#include <getopt.h>
#include <unistd.h>

#include "cli.h"

static int verb_silent(struct cli *cli, int argc, char **argv)
{
    return CLI_OK;
}

static int verb_text(struct cli *cli, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        printf("%s\n", argv[i]);
    }
    return CLI_OK;
}

static int verb_knows(struct cli *cli, int argc, char **argv)
{
    printf("[ %d, \"%s\" ]\n", argc, argv[argc - 1]);
    return CLI_OK;
}

static int verb_fails(struct cli *cli, int argc, char **argv)
{
    struct serai_error err = {-ESRCH, "there is no \"x\""};

    printf("{ half of it");
    return cli_fail(&err);
}

static int verb_options(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"timeout", required_argument, NULL, 't'},
                                            {"wait", no_argument, NULL, 'w'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};

    for (int opt; (opt = cli_getopt(cli, argc, argv, "t:wh", options)) != -1;) {
        if (opt != 't' && opt != 'w') {
            return cli_option(cli, opt);
        }
    }
    return CLI_OK;
}

/* Of the program's other files. */
int cmd_top(struct cli *cli, int argc, char **argv)
{
    fputs("as it goes\n", stdout);
    return argc > 2 ? cli_usage(cli, "takes no names") : CLI_OK;
}

int cmd_console(struct cli *cli, int argc, char **argv)
{
    return CLI_OK;
}

void cli_print_help(const struct cli_command *c, FILE *to)
{
    fprintf(to, "usage: %s\n", c->name);
}

/* Runs a verb with these words behind its name; what it prints on standard output. */
static int run(const struct cli_command *c, const char *words, char *out, size_t size)
{
    char copy[256], path[] = "/tmp/serai-unit-XXXXXX";
    char *argv[16] = {(char *)(uintptr_t)c->name};
    int argc = 1, code, file = mkstemp(path), real = dup(STDOUT_FILENO);
    struct cli cli = {.command = c};
    ssize_t n;

    snprintf(copy, sizeof(copy), "%s", words);
    for (char *w = strtok(copy, " "); w; w = strtok(NULL, " ")) {
        argv[argc++] = w;
    }
    fflush(stdout);
    dup2(file, STDOUT_FILENO);
    code = cli_run(&cli, NULL, argc, argv);
    fflush(stdout);
    dup2(real, STDOUT_FILENO);
    close(real);
    n = pread(file, out, size - 1, 0);
    out[n > 0 ? n : 0] = '\0';
    close(file);
    unlink(path);
    return code;
}

static const struct cli_command silent = {"silent", "", "", "", verb_silent, true};
static const struct cli_command text = {"text", "", "", "", verb_text, true};
static const struct cli_command knows = {"knows", "[--json]", "", "", verb_knows, true};
static const struct cli_command fails = {"fails", "", "", "", verb_fails, true};
static const struct cli_command options = {"options", "", "", "", verb_options, true};
static const struct cli_command top = {"top", "[--json]", "", "", cmd_top, true};

static void test_json(void **unused)
{
    char out[4096];

    assert_int_equal(run(&silent, "--json", out, sizeof(out)), CLI_OK);
    assert_string_equal(out, "{\n  \"result\": \"ok\"\n}\n");
    assert_int_equal(run(&text, "a\"b --json c", out, sizeof(out)), CLI_OK);
    assert_string_equal(out, "{\n  \"output\": \"a\\\"b\\u000ac\"\n}\n");
    /* Whoever knows the option gets it, and its output is left alone. */
    assert_int_equal(run(&knows, "x --json", out, sizeof(out)), CLI_OK);
    assert_string_equal(out, "[ 3, \"--json\" ]\n");
    assert_int_equal(run(&top, "--json", out, sizeof(out)), CLI_OK);
    assert_string_equal(out, "as it goes\n");
    assert_int_equal(run(&top, "x --json", out, sizeof(out)), CLI_USAGE);
    assert_non_null(strstr(out, "\"text\": \"takes no names\""));
    /* Behind "--" it is a word like others. */
    assert_int_equal(run(&text, "a -- --json", out, sizeof(out)), CLI_OK);
    assert_string_equal(out, "a\n--\n--json\n");
    assert_int_equal(run(&text, "a", out, sizeof(out)), CLI_OK);
    assert_string_equal(out, "a\n");
}

static void test_json_of_errors(void **unused)
{
    char out[4096];

    assert_int_equal(run(&fails, "--json", out, sizeof(out)), CLI_NO_DOMAIN);
    assert_string_equal(out, "{\n  \"error\": {\n    \"exit\": 3,\n    \"errno\": 3,\n"
                             "    \"text\": \"there is no \\\"x\\\"\"\n  }\n}\n");
}

static void test_options(void **unused)
{
    static const struct {
        const char *words, *says;
    } cases[] = {
        {"--tiemout 3", "unknown option --tiemout; did you mean --timeout?"},
        {"--wiat", "unknown option --wiat; did you mean --wait?"},
        {"--nothing-like-it", "unknown option --nothing-like-it\""},
        {"--tiemout=3", "unknown option --tiemout; did you mean --timeout?"},
        {"-x", "unknown option -x\""},
        {"-t", "option -t: a value is missing"},
        {"--timeout", "option --timeout: a value is missing"},
        {"--wait=3", "option --wait: a value is missing, or one too many"},
    };
    char out[4096], words[64];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(words, sizeof(words), "--json %s", cases[i].words);
        assert_int_equal(run(&options, words, out, sizeof(out)), CLI_USAGE);
        if (!strstr(out, cases[i].says)) {
            fail_msg("%s: %s", words, out);
        }
    }
    assert_int_equal(run(&options, "-w -t 3 --wait --timeout=4", out, sizeof(out)), CLI_OK);
    assert_int_equal(run(&options, "--help", out, sizeof(out)), CLI_OK);
    assert_string_equal(out, "usage: options\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_of_errors),
        cmocka_unit_test(test_options),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
