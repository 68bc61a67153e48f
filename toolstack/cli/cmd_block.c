// SPDX-License-Identifier: BSD-2-Clause
// Verbs about disks.
#include "cli.h"

#include "json.h"
#include "table.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const struct option force_options[] = {
    {"force", no_argument, NULL, 'f'}, {"help", no_argument, NULL, 'h'}, {0}};
static const struct option list_options[] = {
    {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};

int cli_device_options(struct cli *cli, int argc, char **argv, bool listing, bool *set)
{
    int opt;
    *set = false;
    while ((opt = cli_getopt(cli, argc, argv, listing ? "h" : "fh",
                             listing ? list_options : force_options)) != -1) {
        if (opt != 'j' && opt != 'f')
            return cli_option(cli, opt);
        *set = true;
    }
    return -1;
}

char *cli_join(char **words, int count)
{
    BUF_AUTO out = {0};
    for (int i = 0; i < count; i++)
        buf_printf(&out, "%s%s", i ? "," : "", words[i]);
    return buf_take(&out);
}

int cmd_block_attach(struct cli *cli, int argc, char **argv)
{
    struct serai_domain d;
    struct serai_disk disk;
    struct serai_op *op;
    struct serai_error err;
    if (argc < 3)
        return cli_usage(cli, "give a guest's name and a disk");
    int code = cli_find(cli, argv[1], &d);
    if (code != CLI_OK)
        return code;
    char *text = cli_join(argv + 2, argc - 2);
    if (!text)
        return CLI_FAILED;
    int ret = serai_disk_parse(text, &disk, &err);
    if (!ret)
        ret = serai_disk_attach_start(cli->s, d.id, &disk, &op, &err);
    if (!ret)
        ret = cli_finish(cli, "attaching", op, NULL, &err);
    serai_disk_clear(&disk);
    free(text);
    return ret ? cli_fail(&err) : CLI_OK;
}

static int block_number(struct cli *cli, const char *name, const char *vdev, struct serai_domain *d,
                        uint32_t *devid)
{
    struct serai_error err;
    int code = cli_find(cli, name, d);
    if (code == CLI_OK && serai_vdev_parse(vdev, devid, &err))
        code = cli_fail(&err);
    return code;
}

int cmd_block_detach(struct cli *cli, int argc, char **argv)
{
    struct serai_domain d;
    struct serai_op *op;
    struct serai_error err;
    uint32_t devid;
    bool force;
    int code = cli_device_options(cli, argc, argv, false, &force);
    if (code >= 0)
        return code;
    if (argc - optind != 2)
        return cli_usage(cli, "give a guest's name and a disk's, like xvdb");
    code = block_number(cli, argv[optind], argv[optind + 1], &d, &devid);
    if (code != CLI_OK)
        return code;
    int ret = serai_disk_detach_start(cli->s, d.id, devid, force, &op, &err);
    if (!ret)
        ret = cli_finish(cli, "detaching", op, NULL, &err);
    return ret ? cli_fail(&err) : CLI_OK;
}

int cmd_block_rate(struct cli *cli, int argc, char **argv)
{
    struct serai_domain d;
    struct serai_error err;
    uint64_t bytes;
    uint32_t devid;
    int requests = 0;
    if (argc != 4 && argc != 5)
        return cli_usage(cli, "give a guest's name, a disk's, a rate, and perhaps a number");
    if (serai_disk_rate_parse(argv[3], &bytes, &err))
        return cli_usage(cli, "%s", err.text);
    if (argc == 5 && !cli_number(cli, "requests", argv[4], 0, 100000000, &requests))
        return CLI_USAGE;
    int code = block_number(cli, argv[1], argv[2], &d, &devid);
    if (code == CLI_OK && serai_disk_set_rate(cli->s, d.id, devid, bytes, (uint64_t)requests, &err))
        code = cli_fail(&err);
    return code;
}

int cmd_cd(struct cli *cli, int argc, char **argv)
{
    bool insert = !strcmp(cli->command->name, "cd-insert");
    struct serai_domain d;
    struct serai_error err;
    uint32_t devid;
    if (argc != (insert ? 4 : 3))
        return cli_usage(cli, insert ? "give a guest's name, its drive's, and an image"
                                     : "give a guest's name and its drive's");
    char *path = insert ? realpath(argv[3], NULL) : NULL;
    if (insert && !path) {
        perror(argv[3]);
        return CLI_FAILED;
    }
    int code = block_number(cli, argv[1], argv[2], &d, &devid);
    if (code == CLI_OK && serai_disk_insert(cli->s, d.id, devid, path, &err))
        code = cli_fail(&err);
    free(path);
    return code;
}

static void block_json(struct json *j, const struct serai_domain *d,
                       const struct serai_disk_status *b)
{
    json_begin(j, NULL, '{');
    json_number(j, "domain", d->id);
    json_string(j, "name", d->name);
    json_string(j, "vdev", b->disk.vdev);
    json_number(j, "devid", b->disk.devid);
    json_string(j, "backend", b->backend);
    json_string(j, "target", b->disk.target ? b->disk.target : "");
    json_string(j, "format", serai_disk_format_name(b->disk.format));
    json_bool(j, "cdrom", b->disk.cdrom);
    json_bool(j, "readonly", b->disk.readonly);
    json_number(j, "rate_bytes", b->disk.rate_bytes);
    json_number(j, "rate_requests", b->disk.rate_requests);
    json_string(j, "frontend_state", serai_device_state_name(b->frontend_state));
    json_string(j, "backend_state", serai_device_state_name(b->backend_state));
    json_string(j, "backend_path", b->backend_path);
    json_end(j, '}');
}

static void block_row(struct table *t, const struct serai_domain *d,
                      const struct serai_disk_status *b)
{
    table_cell(t, 0, "%s", d->name);
    table_cell(t, 0, "%s", b->disk.vdev);
    table_cell(t, 0, "%u", b->disk.devid);
    table_cell(t, 0, "%s", b->backend);
    table_cell(t, b->frontend_state == SERAI_DEVICE_CONNECTED ? 32 : 0, "%s",
               serai_device_state_name(b->frontend_state));
    table_cell(t, 0, "%s", b->disk.cdrom ? "cd" : b->disk.readonly ? "r" : "w");
    table_cell(t, 0, "%s", b->disk.target ? b->disk.target : "(empty)");
}

static int block_rows(struct cli *cli, struct json *j, struct table *t,
                      const struct serai_domain *d)
{
    struct serai_disk_status *list;
    struct serai_error err;
    size_t count;
    if (!d->id) // the control domain has none of these
        return CLI_OK;
    if (serai_disk_list(cli->s, d->id, &list, &count, &err))
        return cli_fail(&err);
    for (size_t i = 0; i < count; i++) {
        if (j)
            block_json(j, d, &list[i]);
        else
            block_row(t, d, &list[i]);
    }
    serai_disk_list_free(list, count);
    return CLI_OK;
}

int cmd_block_list(struct cli *cli, int argc, char **argv)
{
    static const char *const heads[] = {"Name",  "Vdev", ">Number", "Backend",
                                        "State", "Mode", "Target",  NULL};
    return cli_list_rows(cli, argc, argv, heads, block_rows);
}
