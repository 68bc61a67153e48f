// SPDX-License-Identifier: BSD-2-Clause
#include "state.h"

#include "devices.h"
#include "store_domain.h"

#include "buf.h"
#include "cfg.h"
#include "file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { STATE_FILE_MAX = 256 * 1024 };

// A record's first line: this, the UUID, a blank, the name. Whoever wants no more than that from
// the records of hundreds need not read all of each.
#define STATE_HEAD "# serai: "

static void state_path_id(const struct serai *s, uint32_t id, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%u", s->domain_dir, id);
}

static void state_path_building(const struct serai *s, const uint8_t uuid[16], char path[PATH_MAX])
{
    char text[SERAI_UUID_TEXT];
    snprintf(path, PATH_MAX, "%s/%s", s->building_dir, serai_uuid_format(uuid, text));
}

int state_lock(struct serai *s, int *fd, struct serai_error *err)
{
    char path[PATH_MAX];
    int ret = file_make_dirs(s->domain_dir, 0755);
    if (!ret)
        ret = file_make_dirs(s->building_dir, 0755);
    if (ret)
        return err_sys(err, ret, "cannot create the state directory %s", s->state_dir);
    snprintf(path, sizeof(path), "%s/lock", s->state_dir);
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0)
        return err_sys(err, -errno, "cannot open %s", path);
    while (flock(*fd, LOCK_EX)) {
        if (errno == EINTR)
            continue;
        ret = err_sys(err, -errno, "cannot lock %s", path);
        close(*fd);
        return ret;
    }
    return 0;
}

int state_record_write(struct serai *s, uint32_t id, const struct state_record *r,
                       struct serai_error *err)
{
    BUF_AUTO text = {0};
    char path[PATH_MAX];
    char uuid[SERAI_UUID_TEXT];
    const struct serai_config *c = r->config;
    if (!c)
        return err_set(err, -EINVAL, "a record without a configuration");
    buf_printf(&text, STATE_HEAD "%s %s\n", serai_uuid_format(c->uuid, uuid), c->name);
    buf_puts(&text, "# Written by serai when it made this domain.\n");
    config_write(c, &text);
    buf_printf(&text, "console_mfn = %llu\nconsole_port = %u\n", (unsigned long long)r->console.mfn,
               r->console.port);
    if (text.failed)
        return err_set(err, -ENOMEM, "out of memory");
    state_path_id(s, id, path);
    int ret = file_write_atomic(path, text.data, text.len, 0600);
    return ret ? err_sys(err, ret, "cannot write %s", path) : 0;
}

int state_record_read(struct serai *s, uint32_t id, struct state_record *r, struct serai_error *err)
{
    BUF_AUTO text = {0};
    char path[PATH_MAX];
    *r = (struct state_record){0};
    state_path_id(s, id, path);
    int ret = file_read(path, STATE_FILE_MAX, &text);
    if (ret)
        return err_sys(err, ret, "cannot read %s", path);
    ret = config_parse_text(s, path, text.data, text.len, r, err);
    return ret || r->config ? ret : err_set(err, -EINVAL, "%s: no configuration", path);
}

// "UUID NAME" of the first line.
static bool state_head_parse(const char *text, uint8_t uuid[16], char name[SERAI_NAME_MAX + 1])
{
    size_t head = strlen(STATE_HEAD);
    const char *at = text + head + SERAI_UUID_TEXT, *end = strchr(text, '\n');
    char copy[SERAI_UUID_TEXT];
    if (!end || strncmp(text, STATE_HEAD, head) != 0 || end <= at || end - at > SERAI_NAME_MAX)
        return false;
    memcpy(copy, text + head, sizeof(copy) - 1);
    copy[sizeof(copy) - 1] = '\0';
    snprintf(name, SERAI_NAME_MAX + 1, "%.*s", (int)(end - at), at);
    return serai_uuid_parse(copy, uuid);
}

bool state_record_name(struct serai *s, uint32_t id, uint8_t uuid[16],
                       char name[SERAI_NAME_MAX + 1])
{
    char path[PATH_MAX], text[sizeof(STATE_HEAD) + SERAI_UUID_TEXT + SERAI_NAME_MAX + 2];
    struct state_record r;
    state_path_id(s, id, path);
    FD_AUTO fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    if (state_head_parse(text, uuid, name))
        return true;
    if (state_record_read(s, id, &r, NULL) || !r.config)
        return false;
    memcpy(uuid, r.config->uuid, 16);
    snprintf(name, SERAI_NAME_MAX + 1, "%s", r.config->name);
    serai_config_free(r.config);
    return true;
}

void state_record_remove(struct serai *s, uint32_t id)
{
    char path[PATH_MAX];
    state_path_id(s, id, path);
    unlink(path);
}

int state_edit_begin(struct serai *s, uint32_t id, struct state_record *r, int *lock,
                     struct serai_error *err)
{
    struct serai_domain d = {0};
    int ret = state_lock(s, lock, err);
    if (ret)
        return ret;
    ret = serai_domain_get(s, id, &d, err);
    if (!ret && !(d.flags & SERAI_DOMAIN_MANAGED))
        ret = err_set(err, -EPERM, "domain %u was not made by serai", id);
    if (!ret)
        ret = state_record_read(s, id, r, err);
    if (!ret && !r->config)
        ret = -EINVAL;
    if (ret)
        close(*lock);
    return ret;
}

int state_change(struct serai *s, uint32_t id, state_change_fn *fn, void *arg,
                 struct serai_error *err)
{
    struct state_record r;
    int lock;
    int ret = state_edit_begin(s, id, &r, &lock, err);
    if (ret)
        return ret == -EPERM ? 0 : ret;
    ret = fn(r.config, arg);
    ret = ret ? err_set(err, ret, "out of memory") : state_record_write(s, id, &r, err);
    serai_config_free(r.config);
    close(lock);
    return ret;
}

int state_building_begin(struct serai *s, const char *name, const uint8_t uuid[16], int *fd,
                         struct serai_error *err)
{
    char path[PATH_MAX];
    state_path_building(s, uuid, path);
    *fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (*fd < 0 && errno == EEXIST)
        return err_set(err, -EEXIST, "a domain with this UUID is being made already");
    if (*fd < 0)
        return err_sys(err, -errno, "cannot create %s", path);
    int ret = flock(*fd, LOCK_EX | LOCK_NB) ? -errno : file_write_all(*fd, name, strlen(name));
    if (ret) {
        unlink(path);
        close(*fd);
        return err_sys(err, ret, "cannot write %s", path);
    }
    return 0;
}

void state_building_end(struct serai *s, const uint8_t uuid[16], int fd)
{
    char path[PATH_MAX];
    state_path_building(s, uuid, path);
    unlink(path);
    close(fd);
}

// One entry of building/: 1 and its name when its maker lives, 0 when the maker is dead.
static int state_building_alive(struct serai *s, const char *entry, char name[SERAI_NAME_MAX + 1])
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", s->building_dir, entry);
    FD_AUTO fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 1 : -errno; // just finished
    ssize_t n = read(fd, name, SERAI_NAME_MAX);
    name[n > 0 ? n : 0] = '\0';
    struct stat st;
    // Finished between our opening and locking it: not a dead maker's.
    return flock(fd, LOCK_EX | LOCK_NB) || fstat(fd, &st) || !st.st_nlink ? 1 : 0;
}

typedef int state_entry_fn(struct serai *s, const char *entry, void *arg);

// Calls `fn` for each entry until it returns something else than 0.
static int state_each(struct serai *s, const char *dir, state_entry_fn *fn, void *arg)
{
    DIR *d = opendir(dir);
    if (!d)
        return errno == ENOENT ? 0 : -errno;
    int ret = 0;
    for (struct dirent *e; !ret && (e = readdir(d));)
        if (e->d_name[0] != '.')
            ret = fn(s, e->d_name, arg);
    closedir(d);
    return ret;
}

static int state_name_used(struct serai *s, const char *entry, void *arg)
{
    char name[SERAI_NAME_MAX + 1] = "";
    return state_building_alive(s, entry, name) == 1 && !strcmp(name, arg) ? 1 : 0;
}

int state_name_check(struct serai *s, const char *name, struct serai_error *err)
{
    struct serai_domain *list;
    size_t count;
    int ret = serai_domain_list(s, &list, &count, err);
    if (ret)
        return ret;
    for (size_t i = 0; i < count && !ret; i++)
        if (!strcmp(list[i].name, name) && !(list[i].flags & SERAI_DOMAIN_DYING))
            ret = err_set(err, -EEXIST, "the name \"%s\" is in use by domain %u", name, list[i].id);
    free(list);
    if (ret)
        return ret;
    if (state_each(s, s->building_dir, state_name_used, (void *)(uintptr_t)name) == 1)
        return err_set(err, -EEXIST, "a domain named \"%s\" is being made right now", name);
    return 0;
}

struct state_sweep {
    const struct serai_domain *list;
    size_t count;
    int cleared;
};

static int state_sweep_building(struct serai *s, const char *entry, void *arg)
{
    struct state_sweep *w = arg;
    char name[SERAI_NAME_MAX + 1] = "", path[PATH_MAX];
    uint8_t uuid[16];
    if (!serai_uuid_parse(entry, uuid) || state_building_alive(s, entry, name) != 0)
        return 0;
    for (size_t i = 0; i < w->count; i++) {
        // With a record it was finished; its maker only had no time to say so.
        if (memcmp(w->list[i].uuid, uuid, 16) != 0 || (w->list[i].flags & SERAI_DOMAIN_MANAGED))
            continue;
        serai_note(s, SERAI_LOG_WARNING, "domain %u (\"%s\") was left half-built: destroying it",
                   w->list[i].id, name);
        serai_domain_destroy(s, w->list[i].id, NULL);
    }
    snprintf(path, sizeof(path), "%s/%s", s->building_dir, entry);
    unlink(path);
    w->cleared++;
    return 0;
}

// A record may be newer than the list of domains, but never than its domain.
static bool state_record_valid(struct serai *s, uint32_t id)
{
    struct serai_domain d;
    return !serai_domain_get(s, id, &d, NULL) && d.flags & SERAI_DOMAIN_MANAGED;
}

// A domain that went without anybody clearing up after it.
static int state_sweep_nodes(struct serai *s, uint32_t id)
{
    struct state_record r;
    if (state_record_read(s, id, &r, NULL))
        return 0;
    devices_remove(s, id);
    int ret = store_domain_remove(s, id, r.config->uuid);
    serai_config_free(r.config);
    return ret;
}

static int state_sweep_record(struct serai *s, const char *entry, void *arg)
{
    struct state_sweep *w = arg;
    char path[PATH_MAX], *end;
    unsigned long id = strtoul(entry, &end, 10);
    snprintf(path, sizeof(path), "%s/%s", s->domain_dir, entry);
    if (!*end) {
        bool used = false;
        for (size_t i = 0; i < w->count; i++) {
            if (w->list[i].id == id && (w->list[i].flags & SERAI_DOMAIN_MANAGED))
                return 0;
            used |= w->list[i].id == id;
        }
        if (state_record_valid(s, (uint32_t)id))
            return 0;
        if (!used && state_sweep_nodes(s, (uint32_t)id))
            return 0; // another time
    } else {
        // An atomic write in progress, or its remains: only old ones go.
        struct stat st;
        if (stat(path, &st) || time(NULL) - st.st_mtime < 60)
            return 0;
    }
    unlink(path);
    w->cleared++;
    return 0;
}

int state_sweep(struct serai *s, struct serai_error *err)
{
    struct serai_domain *list;
    struct state_sweep w = {0};
    int ret = serai_domain_list(s, &list, &w.count, err);
    if (ret)
        return ret;
    w.list = list;
    ret = state_each(s, s->building_dir, state_sweep_building, &w);
    if (!ret)
        ret = state_each(s, s->domain_dir, state_sweep_record, &w);
    free(list);
    return ret ? err_sys(err, ret, "cannot read the state directory %s", s->state_dir) : w.cleared;
}

static bool state_domain_lives(void *ctx, uint32_t domain)
{
    struct serai_domain d;
    return serai_domain_get(ctx, domain, &d, NULL) != -ESRCH;
}

int serai_sweep(struct serai *s, struct serai_error *err)
{
    int fd = -1;
    int ret = state_lock(s, &fd, err);
    if (ret)
        return ret;
    ret = state_sweep(s, err);
    close(fd);
    int net = serai_net_sweep(s, state_domain_lives, s, ret < 0 ? NULL : err);
    return ret >= 0 && net < 0 ? net : ret;
}

int serai_domain_config(struct serai *s, uint32_t id, struct serai_config **out,
                        struct serai_error *err)
{
    struct state_record r;
    int ret = state_record_read(s, id, &r, err);
    if (ret == -ENOENT)
        return err_set(err, -ESRCH, "domain %u was not made by serai", id);
    if (!ret)
        *out = r.config;
    return ret;
}

int serai_domain_set_config(struct serai *s, uint32_t id, const struct serai_config *c,
                            struct serai_error *err)
{
    struct state_record r;
    struct serai_config changed = *c;
    int lock = -1;
    int ret = state_edit_begin(s, id, &r, &lock, err);
    if (ret)
        return ret;
    struct serai_config *old = r.config;
    changed.name = old->name;
    memcpy(changed.uuid, old->uuid, sizeof(changed.uuid));
    changed.has_uuid = true;
    r.config = &changed;
    ret = config_validate(&changed, err);
    if (!ret)
        ret = state_record_write(s, id, &r, err);
    serai_config_free(old);
    close(lock);
    return ret;
}

static int state_boot_time(int64_t *seconds, struct serai_error *err)
{
    struct timespec now, up;
    if (clock_gettime(CLOCK_REALTIME, &now) || clock_gettime(CLOCK_BOOTTIME, &up))
        return err_sys(err, -errno, "cannot read the clock");
    *seconds = now.tv_sec - up.tv_sec;
    return 0;
}

int serai_domain_started(struct serai *s, uint32_t id, int64_t *seconds, struct serai_error *err)
{
    struct serai_domain d;
    char text[SERAI_UUID_TEXT];
    int ret = serai_domain_get(s, id, &d, err);
    if (!ret && !id)
        return state_boot_time(seconds, err);
    if (!ret)
        ret = store_connect(s, err);
    if (ret)
        return ret;
    char *start = store_read(s, "/vm/%s/start_time", serai_uuid_format(d.uuid, text));
    long long n = start ? strtoll(start, NULL, 10) : 0;
    free(start);
    *seconds = n;
    return n > 0 ? 0 : err_set(err, -ENODATA, "nobody knows since when domain %u runs", id);
}

int serai_console_get(struct serai *s, uint32_t id, struct serai_console *out,
                      struct serai_error *err)
{
    struct state_record r;
    int ret = state_record_read(s, id, &r, err);
    if (ret == -ENOENT)
        return err_set(err, -ESRCH, "domain %u was not made by serai", id);
    if (ret)
        return ret;
    *out = r.console;
    serai_config_free(r.config);
    return 0;
}
