// SPDX-License-Identifier: BSD-2-Clause
// Verbs about the control domain's own network. They work without the hypervisor, because a system
// may want its bridge before anything else.
#include "cli.h"

#include "json.h"
#include "log.h"
#include "table.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

struct host_options {
    const char *file;
    bool json, remove;
};

static void host_note(void *ctx, enum serai_log_level level, const char *text)
{
    (void)ctx;
    if (level == SERAI_LOG_WARNING)
        log_warn("%s", text);
}

// Reads the options that `letters` allows and opens the library. Done when *s stays NULL.
static int host_begin(struct cli *cli, int argc, char **argv, const char *letters,
                      struct host_options *opt, struct serai **s)
{
    static const struct option options[] = {{"file", required_argument, NULL, 'f'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"remove", no_argument, NULL, 'r'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct serai_error err;
    *s = NULL;
    for (int c; (c = cli_getopt(cli, argc, argv, "f:rh", options)) != -1;) {
        if (!strchr(letters, c))
            return cli_option(cli, c);
        if (c == 'f')
            opt->file = optarg;
        else if (c == 'j')
            opt->json = true;
        else
            opt->remove = true;
    }
    if (optind < argc)
        return cli_usage(cli, "\"%s\" is too much", argv[optind]);
    const struct serai_options open = {
        .state_dir = cli->state_dir, .network_conf = opt->file, .local = true, .log = host_note};
    return serai_open(s, &open, &err) ? cli_fail(&err) : CLI_OK;
}

int cmd_network_setup(struct cli *cli, int argc, char **argv)
{
    struct host_options opt = {0};
    struct serai *s;
    struct serai_error err;
    int code = host_begin(cli, argc, argv, "fr", &opt, &s);
    if (!s)
        return code;
    if (opt.remove ? serai_net_unsetup(s, &err) : serai_net_setup(s, &err))
        code = cli_fail(&err);
    serai_close(s);
    return code;
}

static void json_bridges(struct json *j, const struct serai_net_status *st)
{
    char text[SERAI_IP_TEXT];
    json_begin(j, "bridges", '[');
    for (size_t i = 0; i < st->nr_bridges; i++) {
        const struct serai_bridge *b = &st->bridges[i];
        json_begin(j, NULL, '{');
        json_string(j, "name", b->name);
        json_bool(j, "up", b->up);
        json_bool(j, "made_by_serai", b->made_here);
        json_number(j, "mtu", b->mtu);
        json_string(j, "mac", serai_mac_format(b->mac, text));
        json_begin(j, "addresses", '[');
        for (size_t k = 0; k < b->nr_ips; k++)
            json_string(j, NULL, serai_ip_format(&b->ips[k], text));
        json_end(j, ']');
        json_begin(j, "ports", '[');
        for (size_t k = 0; k < b->nr_ports; k++) {
            json_begin(j, NULL, '{');
            json_string(j, "name", b->ports[k].name);
            json_bool(j, "up", b->ports[k].up);
            json_bool(j, "isolated", b->ports[k].isolated);
            json_end(j, '}');
        }
        json_end(j, ']');
        json_end(j, '}');
    }
    json_end(j, ']');
}

static void json_interfaces(struct json *j, const struct serai_net_status *st)
{
    char text[SERAI_IP_TEXT];
    json_begin(j, "interfaces", '[');
    for (size_t i = 0; i < st->nr_ports; i++) {
        const struct serai_net_port *p = &st->ports[i];
        json_begin(j, NULL, '{');
        json_number(j, "domain", p->domain);
        json_number(j, "devid", (uint64_t)p->vif.devid);
        json_string(j, "name", p->device);
        json_bool(j, "present", p->present);
        json_bool(j, "up", p->up);
        json_string(j, "mac", serai_mac_format(p->vif.mac, text));
        json_string(j, "setup", serai_net_setup_name(p->vif.setup));
        if (*p->vif.bridge)
            json_string(j, "bridge", p->vif.bridge);
        if (*p->vif.gatewaydev)
            json_string(j, "gatewaydev", p->vif.gatewaydev);
        json_begin(j, "addresses", '[');
        for (unsigned k = 0; k < p->vif.nr_ips; k++)
            json_string(j, NULL, serai_ip_format(&p->vif.ips[k], text));
        json_end(j, ']');
        json_number(j, "mtu", p->vif.mtu);
        json_number(j, "rate_bytes", p->vif.rate_bytes);
        json_string(j, "guard", serai_net_guard_name(p->vif.guard));
        json_bool(j, "isolated", p->vif.isolated > 0);
        json_number(j, "sent_bytes", p->sent_bytes);
        json_number(j, "received_bytes", p->received_bytes);
        json_number(j, "sent_packets", p->sent_packets);
        json_number(j, "received_packets", p->received_packets);
        json_end(j, '}');
    }
    json_end(j, ']');
}

static void status_json(const struct serai_net_status *st)
{
    BUF_AUTO out = {0};
    struct json j = {.out = &out};
    json_begin(&j, NULL, '{');
    json_bridges(&j, st);
    json_interfaces(&j, st);
    json_end(&j, '}');
    if (out.data)
        fputs(out.data, stdout);
}

enum { RED = 31, YELLOW = 33 };

static void cell_addresses(struct table *t, const struct serai_ip *ips, size_t count)
{
    char text[SERAI_IP_TEXT];
    BUF_AUTO all = {0};
    for (size_t i = 0; i < count; i++)
        buf_printf(&all, "%s%s", i ? " " : "", serai_ip_format(&ips[i], text));
    table_cell(t, 0, "%s", count && all.data ? all.data : "-");
}

static int bridges_table(struct cli *cli, const struct serai_net_status *st)
{
    static const char *const heads[] = {"Bridge", "State", ">MTU", "Addresses", "Ports", NULL};
    struct table t = {.heads = heads, .colour = cli->colour};
    for (size_t i = 0; i < st->nr_bridges; i++) {
        const struct serai_bridge *b = &st->bridges[i];
        BUF_AUTO ports = {0};
        for (size_t k = 0; k < b->nr_ports; k++)
            buf_printf(&ports, "%s%s%s", k ? " " : "", b->ports[k].name,
                       b->ports[k].isolated ? "(isolated)" : "");
        table_cell(&t, 0, "%s", b->name);
        table_cell(&t, b->up ? 0 : YELLOW, "%s", b->up ? "up" : "down");
        table_cell(&t, 0, "%u", b->mtu);
        cell_addresses(&t, b->ips, b->nr_ips);
        table_cell(&t, 0, "%s", b->nr_ports && ports.data ? ports.data : "-");
    }
    return table_print(&t, stdout) ? CLI_FAILED : CLI_OK;
}

static int interfaces_table(struct cli *cli, const struct serai_net_status *st)
{
    static const char *const heads[] = {"Interface", ">ID",       "State", "MAC",
                                        "Setup",     "To",        "Guard", "Addresses",
                                        ">Sent(kB)", ">Recv(kB)", NULL};
    struct table t = {.heads = heads, .colour = cli->colour};
    char text[SERAI_MAC_TEXT];
    for (size_t i = 0; i < st->nr_ports; i++) {
        const struct serai_net_port *p = &st->ports[i];
        const char *to = *p->vif.bridge ? p->vif.bridge : p->vif.gatewaydev;
        table_cell(&t, 0, "%s", p->device);
        table_cell(&t, 0, "%u", p->domain);
        if (p->present)
            table_cell(&t, p->up ? 0 : YELLOW, "%s", p->up ? "up" : "down");
        else
            table_cell(&t, RED, "gone");
        table_cell(&t, 0, "%s", serai_mac_format(p->vif.mac, text));
        table_cell(&t, 0, "%s", serai_net_setup_name(p->vif.setup));
        table_cell(&t, 0, "%s", *to ? to : "-");
        table_cell(&t, 0, "%s", serai_net_guard_name(p->vif.guard));
        cell_addresses(&t, p->vif.ips, p->vif.nr_ips);
        table_cell(&t, 0, "%llu", (unsigned long long)(p->sent_bytes / 1000));
        table_cell(&t, 0, "%llu", (unsigned long long)(p->received_bytes / 1000));
    }
    return table_print(&t, stdout) ? CLI_FAILED : CLI_OK;
}

int cmd_network_status(struct cli *cli, int argc, char **argv)
{
    struct host_options opt = {0};
    struct serai *s;
    struct serai_error err;
    struct serai_net_status *st;
    int code = host_begin(cli, argc, argv, "j", &opt, &s);
    if (!s)
        return code;
    if (serai_net_status(s, &st, &err)) {
        code = cli_fail(&err);
    } else {
        if (opt.json)
            status_json(st);
        else
            code = bridges_table(cli, st);
        if (!opt.json && code == CLI_OK && st->nr_ports) {
            printf("\n");
            code = interfaces_table(cli, st);
        }
        serai_net_status_free(st);
    }
    serai_close(s);
    return code;
}
