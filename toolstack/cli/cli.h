// SPDX-License-Identifier: BSD-2-Clause
// What the verbs of serai(1) share. Each verb returns an exit code.
#pragma once

#include "serai.h"

#include <stdbool.h>
#include <stdio.h>

enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_NO_DOMAIN = 3,
};

struct cli_command;

struct cli {
    struct serai *s;
    const char *state_dir;             // NULL: the default
    const struct cli_command *command; // the one that runs
    bool colour;                       // standard output is a terminal that wants colours
    bool json;                         // --json was given
    bool bars;                         // standard error is a terminal
    bool bar_shown;
    int64_t bar_since; // ms; 0: nothing takes long
    const struct option *options;
    char **argv;
};

struct cli_command {
    const char *name;
    const char *usage;   // arguments, one line
    const char *summary; // one line; NULL: not for people, not listed
    const char *help;    // options and remarks, may be ""
    int (*run)(struct cli *cli, int argc, char **argv);
    bool offline; // works without a hypervisor
};

// The table of verbs.
const struct cli_command *cli_commands(size_t *count);
// Opens the hypervisor, unless the verb does without, and runs the verb. With --json exactly one
// JSON text is printed: what the verb prints, or {"output": its text}, or {"result": "ok"}, or
// {"error": {...}}.
int cli_run(struct cli *cli, const struct serai_options *open, int argc, char **argv);

// Prints the error and returns the exit code that goes with it.
int cli_fail(const struct serai_error *err);
// "serai VERB: text" and a hint; returns CLI_USAGE.
int cli_usage(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// getopt_long(3), remembering what it was given for cli_option.
int cli_getopt(struct cli *cli, int argc, char **argv, const char *letters,
               const struct option *options);
// getopt_long's answer to an option that the verb does not handle itself: prints the help when it
// was --help and returns CLI_OK, else says what is wrong with it and returns CLI_USAGE.
int cli_option(const struct cli *cli, int opt);
void cli_print_help(const struct cli_command *c, FILE *to);
// Draws a bar on the terminal, if there is one and it has been going on for a while; and removes
// it again.
void cli_progress(struct cli *cli, const char *what, const char *step, unsigned percent);
void cli_progress_end(struct cli *cli);
// serai_op_finish with a bar; an interrupt cancels the operation.
int cli_finish(struct cli *cli, const char *what, struct serai_op *op,
               struct serai_op_result *result, struct serai_error *err);
// Looks up a domain named on the command line.
int cli_find(struct cli *cli, const char *name, struct serai_domain *out);
// The domains named, or all. Release *list with free().
int cli_select(struct cli *cli, char **names, size_t count, struct serai_domain **list,
               size_t *found);
// Options of the verbs about devices: --json when `listing`, else -f, --force. -1 to go on, or an
// exit code.
int cli_device_options(struct cli *cli, int argc, char **argv, bool listing, bool *set);
// A verb that lists something of the domains named, or of all: `rows` adds what one has to the JSON
// text (when not NULL) or to the table; an exit code.
struct json;
struct table;
typedef int cli_rows(struct cli *cli, struct json *j, struct table *t,
                     const struct serai_domain *d);
int cli_list_rows(struct cli *cli, int argc, char **argv, const char *const *heads, cli_rows *rows);
// The words with commas between them. NULL without memory; free() it.
char *cli_join(char **words, int count);
// An int argument. False (and a message) when it is not a number in the range.
bool cli_number(const struct cli *cli, const char *what, const char *text, long min, long max,
                int *out);
// One word for what a domain does, and the colour it is shown in (an SGR number).
const char *cli_state(const struct serai_domain *d, char *text, size_t size);
int cli_state_colour(const struct serai_domain *d);
// Copies between the terminal and a console until either ends. Returns an exit code.
int cli_console_run(struct cli *cli, int fd);

// Verbs, by file.
int cmd_create(struct cli *cli, int argc, char **argv);
int cmd_create_finish(struct cli *cli, int argc, char **argv);
int cmd_list(struct cli *cli, int argc, char **argv);
int cmd_domid(struct cli *cli, int argc, char **argv);
int cmd_pause(struct cli *cli, int argc, char **argv);
int cmd_unpause(struct cli *cli, int argc, char **argv);
int cmd_destroy(struct cli *cli, int argc, char **argv);
int cmd_shutdown(struct cli *cli, int argc, char **argv);
int cmd_rename(struct cli *cli, int argc, char **argv);
int cmd_sysrq(struct cli *cli, int argc, char **argv);
int cmd_dump_core(struct cli *cli, int argc, char **argv);
int cmd_wait(struct cli *cli, int argc, char **argv);
int cmd_autostart(struct cli *cli, int argc, char **argv);
int cmd_guests_start(struct cli *cli, int argc, char **argv);
int cmd_guests_stop(struct cli *cli, int argc, char **argv);
int cmd_domname(struct cli *cli, int argc, char **argv);
int cmd_mem(struct cli *cli, int argc, char **argv);
int cmd_vcpu_set(struct cli *cli, int argc, char **argv);
int cmd_block_attach(struct cli *cli, int argc, char **argv);
int cmd_block_detach(struct cli *cli, int argc, char **argv);
int cmd_block_list(struct cli *cli, int argc, char **argv);
int cmd_cd(struct cli *cli, int argc, char **argv);
int cmd_network_attach(struct cli *cli, int argc, char **argv);
int cmd_network_detach(struct cli *cli, int argc, char **argv);
int cmd_network_list(struct cli *cli, int argc, char **argv);
int cmd_console(struct cli *cli, int argc, char **argv);
int cmd_info(struct cli *cli, int argc, char **argv);
int cmd_dmesg(struct cli *cli, int argc, char **argv);
int cmd_debug_keys(struct cli *cli, int argc, char **argv);
int cmd_pool_list(struct cli *cli, int argc, char **argv);
int cmd_pool_create(struct cli *cli, int argc, char **argv);
int cmd_pool_destroy(struct cli *cli, int argc, char **argv);
int cmd_pool_rename(struct cli *cli, int argc, char **argv);
int cmd_pool_cpus(struct cli *cli, int argc, char **argv);
int cmd_pool_migrate(struct cli *cli, int argc, char **argv);
int cmd_uptime(struct cli *cli, int argc, char **argv);
int cmd_claims(struct cli *cli, int argc, char **argv);
int cmd_config_update(struct cli *cli, int argc, char **argv);
int cmd_export_metrics(struct cli *cli, int argc, char **argv);
int cmd_completion(struct cli *cli, int argc, char **argv);
int cmd_top(struct cli *cli, int argc, char **argv);
int cmd_block_rate(struct cli *cli, int argc, char **argv);
int cmd_network_rate(struct cli *cli, int argc, char **argv);
int cmd_network_setup(struct cli *cli, int argc, char **argv);
int cmd_network_status(struct cli *cli, int argc, char **argv);
int cmd_vcpu_list(struct cli *cli, int argc, char **argv);
int cmd_vcpu_pin(struct cli *cli, int argc, char **argv);
int cmd_sched(struct cli *cli, int argc, char **argv);
