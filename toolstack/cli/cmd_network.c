// SPDX-License-Identifier: BSD-2-Clause
// Verbs about network interfaces.
#include "cli.h"

#include "json.h"
#include "table.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

int cmd_network_attach(struct cli *cli, int argc, char **argv)
{
    struct serai_domain d;
    struct serai_vif vif;
    struct serai_op *op;
    struct serai_error err;
    if (argc < 2)
        return cli_usage(cli, "give a guest's name");
    int code = cli_find(cli, argv[1], &d);
    if (code != CLI_OK)
        return code;
    char *text = argc > 2 ? cli_join(argv + 2, argc - 2) : strdup("");
    if (!text)
        return CLI_FAILED;
    int ret = serai_vif_parse(cli->s, text, &vif, &err);
    if (!ret)
        ret = serai_vif_attach_start(cli->s, d.id, &vif, &op, &err);
    if (!ret)
        ret = cli_finish(cli, "attaching", op, NULL, &err);
    free(text);
    return ret ? cli_fail(&err) : CLI_OK;
}

// By number or by MAC.
static int network_number(struct cli *cli, uint32_t domain, const char *text, unsigned *devid)
{
    struct serai_vif_status *list;
    struct serai_error err;
    uint8_t mac[6];
    size_t count;
    int number;
    if (!strchr(text, ':')) {
        if (!cli_number(cli, "interface", text, 0, SERAI_VIF_DEVID_MAX, &number))
            return CLI_USAGE;
        *devid = (unsigned)number;
        return CLI_OK;
    }
    if (serai_mac_parse(text, mac, &err) || serai_vif_list(cli->s, domain, &list, &count, &err))
        return cli_fail(&err);
    size_t i = 0;
    while (i < count && memcmp(list[i].mac, mac, 6) != 0)
        i++;
    if (i < count)
        *devid = list[i].devid;
    free(list);
    if (i < count)
        return CLI_OK;
    fprintf(stderr, "serai: the guest has no network interface %s\n", text);
    return CLI_FAILED;
}

int cmd_network_detach(struct cli *cli, int argc, char **argv)
{
    struct serai_domain d;
    struct serai_op *op;
    struct serai_error err;
    unsigned devid = 0;
    bool force;
    int code = cli_device_options(cli, argc, argv, false, &force);
    if (code >= 0)
        return code;
    if (argc - optind != 2)
        return cli_usage(cli, "give a guest's name and an interface's number or MAC");
    code = cli_find(cli, argv[optind], &d);
    if (code == CLI_OK)
        code = network_number(cli, d.id, argv[optind + 1], &devid);
    if (code != CLI_OK)
        return code;
    int ret = serai_vif_detach_start(cli->s, d.id, devid, force, &op, &err);
    if (!ret)
        ret = cli_finish(cli, "detaching", op, NULL, &err);
    return ret ? cli_fail(&err) : CLI_OK;
}

static int network_rows(struct cli *cli, struct json *j, struct table *t,
                        const struct serai_domain *d)
{
    struct serai_vif_status *list;
    struct serai_error err;
    char mac[SERAI_MAC_TEXT];
    size_t count;
    if (!d->id) // the control domain has none of these
        return CLI_OK;
    if (serai_vif_list(cli->s, d->id, &list, &count, &err))
        return cli_fail(&err);
    for (size_t i = 0; i < count; i++) {
        const struct serai_vif_status *v = &list[i];
        const char *state = serai_device_state_name(v->frontend_state);
        serai_mac_format(v->mac, mac);
        if (j) {
            json_begin(j, NULL, '{');
            json_number(j, "domain", d->id);
            json_string(j, "name", d->name);
            json_number(j, "devid", v->devid);
            json_string(j, "mac", mac);
            json_string(j, "device", v->device);
            json_string(j, "bridge", v->bridge);
            json_string(j, "frontend_state", state);
            json_string(j, "backend_state", serai_device_state_name(v->backend_state));
            json_string(j, "backend_path", v->backend_path);
            json_end(j, '}');
            continue;
        }
        table_cell(t, 0, "%s", d->name);
        table_cell(t, 0, "%u", v->devid);
        table_cell(t, 0, "%s", mac);
        table_cell(t, v->frontend_state == SERAI_DEVICE_CONNECTED ? 32 : 0, "%s", state);
        table_cell(t, 0, "%s", v->device);
        table_cell(t, 0, "%s", v->bridge[0] ? v->bridge : "-");
    }
    free(list);
    return CLI_OK;
}

int cmd_network_list(struct cli *cli, int argc, char **argv)
{
    static const char *const heads[] = {"Name",   ">Number", "MAC", "State",
                                        "Device", "Bridge",  NULL};
    return cli_list_rows(cli, argc, argv, heads, network_rows);
}
