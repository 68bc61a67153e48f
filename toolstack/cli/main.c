// SPDX-License-Identifier: BSD-2-Clause
// serai(1): finds the verb and runs it.
#include "cli.h"

#include "log.h"
#include "suggest.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int cmd_help(struct cli *cli, int argc, char **argv);

#define REQUEST_HELP                                                  \
    "  -a, --all          every guest that runs\n"                    \
    "  -w, --wait         until it has ended\n"                       \
    "  -t, --timeout N    with -w: at most N seconds (default 300)\n" \
    "  -F                 for xl's sake: PV guests have no ACPI button to fall back to\n"

static const struct cli_command commands[] = {
    {"create", "[-cnpq] FILE [KEY=VALUE...]", "make a guest and start it",
     "  -c, --console   attach to its console\n"
     "  -n, --dry-run   read and check the configuration only\n"
     "  -p, --paused    make it, but leave it paused\n"
     "  -q, --quiet     print nothing when all is well\n"
     "KEY=VALUE arguments win over the file.\n",
     cmd_create, false},
    {"list", "[--json] [NAME...]", "show domains",
     "  --json   for programs\n"
     "  -v, --verbose   with UUIDs and limits\n",
     cmd_list, false},
    {"console", "NAME", "attach to a guest's console (leave with Ctrl-])", "", cmd_console, false},
    {"top", "[-b] [-n COUNT] [-d SECONDS] [--json]", "watch who uses the CPUs",
     "  -b, --batch       print instead of redrawing the screen\n"
     "  -n, --count N     stop after N rounds\n"
     "  -d, --delay S     seconds between rounds (default 1, fractions allowed)\n"
     "  --json            for programs (implies -b)\n"
     "CPU% counts one CPU as 100. The bar is the share of the whole machine. Keys: q quits.\n",
     cmd_top, false},
    {"pause", "NAME...", "stop running a guest for a while", "", cmd_pause, false},
    {"unpause", "NAME...", "let it run again", "", cmd_unpause, false},
    {"destroy", "NAME...", "end a guest at once, without asking it",
     "What the guest has not written out is lost.\n", cmd_destroy, false},
    {"shutdown", "[-w] [-t SECONDS] NAME...|-a", "ask a guest to shut down", REQUEST_HELP,
     cmd_shutdown, false},
    {"reboot", "[-w] [-t SECONDS] NAME...|-a", "ask a guest to reboot", REQUEST_HELP, cmd_shutdown,
     false},
    {"sysrq", "NAME LETTER", "press a magic SysRq key in a Linux guest", "", cmd_sysrq, false},
    {"dump-core", "[-q] NAME FILE", "write a guest's memory and registers into a file",
     "  -q, --quiet   no progress\n"
     "The format is Xen's: crash(8) reads it. A guest that runs is paused meanwhile.\n",
     cmd_dump_core, false},
    {"wait", "[-t SECONDS] NAME EVENT", "wait until something becomes of a guest",
     "  -t, --timeout N   at most N seconds\n"
     "EVENT is running (the guest need not be there yet), shutdown (it has ended, or is gone),\n"
     "crashed, rebooted (it was made again) or destroyed.\n",
     cmd_wait, false},
    {"autostart", "[--json] enable FILE|disable NAME|list", "choose what starts with the machine",
     "  --json   for programs\n"
     "enable makes a symbolic link in /etc/serai/auto.\n",
     cmd_autostart, false},
    {"guests-start", "", "start what starts with the machine",
     "Every configuration in /etc/serai/auto, in the order of their names.\n", cmd_guests_start,
     false},
    {"guests-stop", "[-t SECONDS]", "shut down all guests, as before power off",
     "  -t, --timeout N   seconds for all together (default 120); then they are destroyed\n",
     cmd_guests_stop, false},
    {"rename", "NAME NEW", "give a guest another name", "", cmd_rename, false},
    {"domid", "NAME", "print a guest's number", "", cmd_domid, false},
    {"domname", "ID", "print the name of a number", "", cmd_domname, false},
    {"mem-set", "[-w] NAME SIZE|auto", "set the memory that a guest is to use",
     "  -w, --wait   until the guest has it\n"
     "SIZE is in megabytes, or has a unit: k, m, g, t. At most what the guest was made for\n"
     "(maxmem); its balloon driver gives the rest back or takes it. auto: a guest made with "
     "minmem\n"
     "shares free memory with others again.\n",
     cmd_mem, false},
    {"mem-max", "NAME SIZE", "set the most that the hypervisor lets a guest have",
     "See serai mem-set --help.\n", cmd_mem, false},
    {"vcpu-set", "NAME COUNT", "set how many virtual CPUs a guest has online",
     "At most what it was made for (maxvcpus).\n", cmd_vcpu_set, false},
    {"block-list", "[--json] [NAME...]", "show guests' disks", "  --json   for programs\n",
     cmd_block_list, false},
    {"block-attach", "NAME DISK...", "add a disk to a guest",
     "DISK is written as in a configuration: /path/image,raw,xvdb,w. Parameters may also be\n"
     "given as several arguments.\n",
     cmd_block_attach, false},
    {"block-detach", "[-f] NAME VDEV", "take a disk from a guest",
     "  -f, --force   also when the guest is using it or does not let go of it\n", cmd_block_detach,
     false},
    {"block-rate", "NAME VDEV RATE|none [REQUESTS]", "limit what a disk does in a second",
     "RATE is written as in a configuration: 20MB/s. REQUESTS: so many reads and writes at most;\n"
     "0, or nothing: any number. It changes at once. Only disks that blkd serves have limits.\n",
     cmd_block_rate, false},
    {"cd-insert", "NAME VDEV IMAGE", "put a CD into a guest's drive", "", cmd_cd, false},
    {"cd-eject", "NAME VDEV", "take the CD out of a guest's drive", "", cmd_cd, false},
    {"network-list", "[--json] [NAME...]", "show guests' network interfaces",
     "  --json   for programs\n", cmd_network_list, false},
    {"network-attach", "NAME [VIF...]", "add a network interface to a guest",
     "VIF is written as in a configuration: bridge=xenbr0 mac=00:16:3e:...\n", cmd_network_attach,
     false},
    {"network-detach", "[-f] NAME NUMBER|MAC", "take a network interface from a guest",
     "  -f, --force   also when the guest does not let go of it\n", cmd_network_detach, false},
    {"network-rate", "NAME NUMBER RATE|none", "limit what a network interface sends",
     "RATE is written as in a configuration: 100Mb/s, 1MB/s@20ms. It changes at once.\n",
     cmd_network_rate, false},
    {"network-setup", "[-f FILE] [--remove]", "make the bridge that network.conf describes",
     "  -f, --file FILE   instead of /etc/serai/network.conf\n"
     "  -r, --remove      take it away again\n",
     cmd_network_setup, true},
    {"network-status", "[--json]", "show bridges and the interfaces on them",
     "  --json   for programs\n", cmd_network_status, true},
    {"vcpu-list", "[--json] [NAME...]", "show virtual CPUs", "  --json   for programs\n",
     cmd_vcpu_list, false},
    {"vcpu-pin", "NAME VCPU|all CPUS|- [CPUS|-]", "choose the CPUs a virtual CPU may use",
     "The first set is where it may run, the second where it should. A set is like 0-3,7,^2 or\n"
     "all; - leaves it as it is.\n",
     cmd_vcpu_pin, false},
    {"sched", "[NAME] [-w WEIGHT] [-c CAP] [--json]", "show or set shares of CPU time",
     "  -d, --domain NAME   the same as NAME\n"
     "  -w, --weight N      share in proportion to N (1 to 65535, default 256)\n"
     "  -c, --cap P         at most P percent of one CPU (0: no limit)\n",
     cmd_sched, false},
    {"sched-credit2", "[-d NAME] [-w WEIGHT] [-c CAP] [--json]", "the same under the name xl uses",
     "See serai sched --help.\n", cmd_sched, false},
    {"sched-credit", "[-d NAME] [-w WEIGHT] [-c CAP] [--json]", "the same under the name xl uses",
     "See serai sched --help.\n", cmd_sched, false},
    {"cpupool-list", "[--json] [-c] [POOL]", "show the CPU pools",
     "  --json       for programs\n"
     "  -c, --cpus   for xl's sake: the CPUs are shown in any case\n",
     cmd_pool_list, false},
    {"cpupool-create", "name=POOL [cpus=CPUS]", "make a CPU pool of free CPUs", "", cmd_pool_create,
     false},
    {"cpupool-destroy", "POOL", "end a CPU pool without guests; its CPUs are free then", "",
     cmd_pool_destroy, false},
    {"cpupool-rename", "POOL NEW", "give a CPU pool another name", "", cmd_pool_rename, false},
    {"cpupool-cpu-add", "POOL CPUS", "add free CPUs to a pool", "", cmd_pool_cpus, false},
    {"cpupool-cpu-remove", "POOL CPUS", "take CPUs out of a pool", "", cmd_pool_cpus, false},
    {"cpupool-migrate", "NAME POOL", "move a guest to another CPU pool", "", cmd_pool_migrate,
     false},
    {"uptime", "[--json] [NAME...]", "show since when guests run", "  --json   for programs\n",
     cmd_uptime, false},
    {"claims", "[--json] [NAME...]", "show memory that is claimed for guests",
     "  --json   for programs\n", cmd_claims, false},
    {"config-update", "NAME FILE [KEY=VALUE...]", "give a guest another configuration",
     "It takes effect when the guest is made again, after a reboot.\n", cmd_config_update, false},
    {"export-metrics", "", "print the state of all guests as Prometheus text",
     "For node_exporter's textfile collector, or to be served.\n", cmd_export_metrics, false},
    {"info", "[-n] [--json]", "show the machine and its hypervisor",
     "  -n, --numa   with its CPUs and nodes\n"
     "  --json       for programs\n",
     cmd_info, false},
    {"dmesg", "[-c]", "show the hypervisor's messages", "  -c, --clear   empty them afterwards\n",
     cmd_dmesg, false},
    {"debug-keys", "KEYS", "type keys at the hypervisor's console", "", cmd_debug_keys, false},
    {"create-finish", "ID NAME [start] [console] [quiet]", NULL, "", cmd_create_finish, false},
    {"completion", "bash|zsh", "print a completion script for a shell", "", cmd_completion, true},
    {"help", "[VERB]", "show this, or one verb's options", "", cmd_help, true},
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static const struct cli_command *command_find(const char *name, const char **hint)
{
    struct suggest s = {.word = name};
    for (size_t i = 0; i < COMMANDS; i++) {
        if (!strcmp(commands[i].name, name))
            return &commands[i];
        if (commands[i].summary)
            suggest_offer(&s, commands[i].name);
    }
    *hint = s.best;
    return NULL;
}

static void print_overview(FILE *to)
{
    fprintf(to, "usage: serai [--state-dir DIR] VERB ...\n\n");
    for (size_t i = 0; i < COMMANDS; i++)
        if (commands[i].summary)
            fprintf(to, "  %-14s %s\n", commands[i].name, commands[i].summary);
    fprintf(to, "\nserai VERB --help tells more about one. Manual: serai(1), serai.cfg(5).\n");
}

void cli_print_help(const struct cli_command *c, FILE *to)
{
    fprintf(to, "usage: serai %s %s\n%s\n%s", c->name, c->usage, c->summary ? c->summary : "",
            c->help);
}

static int unknown_verb(const char *name, const char *hint)
{
    if (hint)
        log_error("unknown verb \"%s\"; did you mean \"%s\"?", name, hint);
    else
        log_error("unknown verb \"%s\" (serai help lists them)", name);
    return CLI_USAGE;
}

static int cmd_help(struct cli *cli, int argc, char **argv)
{
    (void)cli;
    if (argc < 2 || argv[1][0] == '-') {
        print_overview(stdout);
        return CLI_OK;
    }
    const char *hint = NULL;
    const struct cli_command *c = command_find(argv[1], &hint);
    if (!c)
        return unknown_verb(argv[1], hint);
    cli_print_help(c, stdout);
    return CLI_OK;
}

const struct cli_command *cli_commands(size_t *count)
{
    *count = COMMANDS;
    return commands;
}

int cli_find(struct cli *cli, const char *name, struct serai_domain *out)
{
    struct serai_error err;
    return serai_domain_find(cli->s, name, out, &err) ? cli_fail(&err) : CLI_OK;
}

bool cli_number(const struct cli *cli, const char *what, const char *text, long min, long max,
                int *out)
{
    char *end;
    errno = 0;
    long n = strtol(text, &end, 0);
    if (errno || end == text || *end || n < min || n > max) {
        cli_usage(cli, "%s: \"%s\" is not a number from %ld to %ld", what, text, min, max);
        return false;
    }
    *out = (int)n;
    return true;
}

const char *cli_state(const struct serai_domain *d, char *text, size_t size)
{
    if (d->flags & SERAI_DOMAIN_DYING)
        return "dying";
    if (d->flags & SERAI_DOMAIN_SHUTDOWN) {
        snprintf(text, size, "ended:%s", serai_shutdown_name(d->shutdown_reason));
        return text;
    }
    if (d->flags & SERAI_DOMAIN_PAUSED)
        return "paused";
    if (d->flags & SERAI_DOMAIN_RUNNING)
        return "running";
    return d->flags & SERAI_DOMAIN_BLOCKED ? "idle" : "ready";
}

int cli_state_colour(const struct serai_domain *d)
{
    if (d->flags & (SERAI_DOMAIN_DYING | SERAI_DOMAIN_SHUTDOWN))
        return 31;
    if (d->flags & SERAI_DOMAIN_PAUSED)
        return 33;
    return d->flags & SERAI_DOMAIN_RUNNING ? 32 : 0;
}

static void print_note(void *ctx, enum serai_log_level level, const char *text)
{
    (void)ctx;
    if (level == SERAI_LOG_WARNING)
        log_warn("%s", text);
}

int main(int argc, char **argv)
{
    enum { OPT_STATE = 256, OPT_VERSION };
    static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, OPT_VERSION},
                                            {"state-dir", required_argument, NULL, OPT_STATE},
                                            {0}};
    struct serai_options open = {.log = print_note};
    log_setup("serai", LOG_LEVEL_WARN, false);
    for (int opt; (opt = getopt_long(argc, argv, "+h", options, NULL)) != -1;) {
        if (opt == 'h' || opt == OPT_VERSION) {
            if (opt == 'h')
                print_overview(stdout);
            else
                printf("serai 0.1\n");
            return CLI_OK;
        }
        if (opt != OPT_STATE)
            return CLI_USAGE;
        open.state_dir = optarg;
    }
    if (optind >= argc) {
        print_overview(stderr);
        return CLI_USAGE;
    }
    argc -= optind;
    argv += optind;

    const char *hint = NULL;
    const struct cli_command *c = command_find(argv[0], &hint);
    if (!c)
        return unknown_verb(argv[0], hint);
    if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
        cli_print_help(c, stdout);
        return CLI_OK;
    }

    struct cli cli = {.command = c,
                      .state_dir = open.state_dir,
                      .colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR") &&
                                strcmp(getenv("TERM") ? getenv("TERM") : "dumb", "dumb") != 0,
                      .bars = isatty(STDERR_FILENO)};
    // What the handle holds is left to the end of the process, which is near: see cmd_create.c.
    int code = cli_run(&cli, &open, argc, argv);
    if (fflush(stdout) || ferror(stdout)) {
        log_error("cannot write to standard output");
        return CLI_FAILED;
    }
    return code;
}
