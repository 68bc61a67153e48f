// SPDX-License-Identifier: BSD-2-Clause
// Guests that are started with the machine: configurations, or symbolic links to them, in one
// directory.
#include "cli.h"

#include "buf.h"
#include "file.h"
#include "json.h"
#include "log.h"
#include "table.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AUTO_DIR "/etc/serai/auto"

struct autos {
    struct dirent **list; // of *.cfg, in the order of their names
    int count;
};

static int auto_is_config(const struct dirent *e)
{
    const char *dot = strrchr(e->d_name, '.');
    return dot && dot != e->d_name && !strcmp(dot, ".cfg");
}

// None is no error.
static int auto_scan(struct autos *a)
{
    a->count = scandir(AUTO_DIR, &a->list, auto_is_config, alphasort);
    if (a->count >= 0)
        return CLI_OK;
    a->list = NULL;
    a->count = 0;
    if (errno == ENOENT)
        return CLI_OK;
    log_error("cannot read %s: %s", AUTO_DIR, strerror(errno));
    return CLI_FAILED;
}

static void auto_free(struct autos *a)
{
    for (int i = 0; i < a->count; i++)
        free(a->list[i]);
    free(a->list);
}

static void auto_path(const char *entry, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%s", AUTO_DIR, entry);
}

// The configuration of an entry. False, and an error, when it is no good.
static bool auto_load(struct cli *cli, const char *path, struct serai_config **c)
{
    struct serai_error err;
    if (!serai_config_load(cli->s, path, NULL, 0, c, &err))
        return true;
    log_error("%s", err.text);
    return false;
}

static int auto_start_one(struct cli *cli, const char *path)
{
    struct serai_create how = {.start = true};
    struct serai_config *c;
    struct serai_domain d;
    struct serai_error err;
    uint32_t id;
    int code = CLI_OK;
    if (!auto_load(cli, path, &c))
        return CLI_FAILED;
    if (!serai_domain_find(cli->s, c->name, &d, NULL))
        printf("%s is there already\n", c->name);
    else if (serai_domain_create(cli->s, c, &how, &id, &err))
        code = cli_fail(&err);
    else
        printf("%s started as domain %u\n", c->name, id);
    fflush(stdout);
    serai_config_free(c);
    return code;
}

int cmd_guests_start(struct cli *cli, int argc, char **argv)
{
    struct autos a;
    char path[PATH_MAX];
    (void)argv;
    if (argc != 1)
        return cli_usage(cli, "takes no names: see serai autostart list");
    int code = auto_scan(&a);
    for (int i = 0; i < a.count; i++) { // one that fails does not keep the others from starting
        auto_path(a.list[i]->d_name, path);
        if (auto_start_one(cli, path) != CLI_OK)
            code = CLI_FAILED;
    }
    auto_free(&a);
    return code;
}

static int auto_enable(struct cli *cli, const char *file)
{
    char target[PATH_MAX], path[PATH_MAX], there[PATH_MAX];
    struct serai_config *c;
    if (!realpath(file, target)) {
        log_error("%s: %s", file, strerror(errno));
        return CLI_FAILED;
    }
    if (!auto_load(cli, target, &c)) // what cannot be started is not to be found at the next boot
        return CLI_FAILED;
    int ret = file_make_dirs(AUTO_DIR, 0755);
    if (snprintf(path, sizeof(path), "%s/%s.cfg", AUTO_DIR, c->name) >= (int)sizeof(path))
        ret = -ENAMETOOLONG;
    serai_config_free(c);
    if (!ret && symlink(target, path))
        ret = -errno;
    if (ret == -EEXIST && realpath(path, there) && !strcmp(there, target))
        ret = 0;
    if (ret)
        log_error("%s: %s", path, strerror(-ret));
    return ret ? CLI_FAILED : CLI_OK;
}

// By the entry's name, with or without .cfg, or by the guest's.
static bool auto_matches(struct cli *cli, const char *entry, const char *name)
{
    char path[PATH_MAX];
    struct serai_config *c;
    size_t len = strlen(entry) - strlen(".cfg");
    const char *base = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
    if (!strcmp(entry, base) || (strlen(base) == len && !strncmp(entry, base, len)))
        return true;
    auto_path(entry, path);
    if (serai_config_load(cli->s, path, NULL, 0, &c, NULL))
        return false;
    bool same = !strcmp(c->name, name);
    serai_config_free(c);
    return same;
}

static int auto_disable(struct cli *cli, const char *name)
{
    struct autos a;
    char path[PATH_MAX];
    bool found = false;
    int code = auto_scan(&a);
    for (int i = 0; i < a.count; i++) {
        if (!auto_matches(cli, a.list[i]->d_name, name))
            continue;
        found = true;
        auto_path(a.list[i]->d_name, path);
        ssize_t n = readlink(path, (char[1]){0}, 1);
        if (n < 0) { // somebody's only copy
            log_error("%s is no symbolic link: move it away yourself", path);
            code = CLI_FAILED;
        } else if (unlink(path)) {
            log_error("%s: %s", path, strerror(errno));
            code = CLI_FAILED;
        }
    }
    auto_free(&a);
    if (!found && code == CLI_OK) {
        log_error("%s is not started with the machine", name);
        code = CLI_NO_DOMAIN;
    }
    return code;
}

static int auto_list(struct cli *cli, bool as_json)
{
    static const char *const heads[] = {"NAME", "STATE", "CONFIGURATION", NULL};
    BUF_AUTO text = {0};
    struct json j = {.out = &text};
    struct table t = {.heads = heads, .colour = cli->colour};
    struct autos a;
    char path[PATH_MAX], target[PATH_MAX];
    int code = auto_scan(&a);
    json_begin(&j, NULL, '[');
    for (int i = 0; i < a.count; i++) {
        struct serai_config *c = NULL;
        struct serai_domain d;
        auto_path(a.list[i]->d_name, path);
        bool good = !serai_config_load(cli->s, path, NULL, 0, &c, NULL);
        const char *state = !good                                          ? "broken"
                            : serai_domain_find(cli->s, c->name, &d, NULL) ? "not there"
                                                                           : "there";
        const char *file = realpath(path, target) ? target : path;
        json_begin(&j, NULL, '{');
        json_string(&j, "name", good ? c->name : "");
        json_string(&j, "state", state);
        json_string(&j, "configuration", file);
        json_end(&j, '}');
        table_cell(&t, 0, "%s", good ? c->name : "?");
        table_cell(&t, good ? 0 : 31, "%s", state);
        table_cell(&t, 0, "%s", file);
        serai_config_free(c);
    }
    json_end(&j, ']');
    if (as_json)
        fputs(text.data ? text.data : "", stdout);
    else
        table_print(&t, stdout);
    buf_free(&t.cells);
    auto_free(&a);
    return code;
}

int cmd_autostart(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
    bool as_json = false;
    for (int opt; (opt = cli_getopt(cli, argc, argv, "h", options)) != -1;) {
        if (opt != 'j')
            return cli_option(cli, opt);
        as_json = true;
    }
    int given = argc - optind;
    const char *verb = given ? argv[optind] : "list";
    if (!strcmp(verb, "list") && given <= 1)
        return auto_list(cli, as_json);
    if (!strcmp(verb, "enable") && given == 2)
        return auto_enable(cli, argv[optind + 1]);
    if (!strcmp(verb, "disable") && given == 2)
        return auto_disable(cli, argv[optind + 1]);
    return cli_usage(cli, "give enable FILE, disable NAME or list");
}
