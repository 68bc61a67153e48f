// SPDX-License-Identifier: BSD-2-Clause
// Finding devices in the store, and events and changes that belong to them.
#include "device.h"

#include "log.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { PURGE_EVERY_MS = 10000, PURGE_AGE_MS = 60000, PORTS_MAX = 1 << 20 };

void device_token(const struct device *d, char token[32])
{
    snprintf(token, 32, "%u/%u", d->domid, d->devid);
}

void device_set_dirty(struct device *d)
{
    d->dirty = true;
    eventfd_write(d->all->dirty_fd, 1);
}

static struct device *device_find(struct devices *all, uint32_t domid, uint32_t devid)
{
    for (struct device *d = all->list; d; d = d->next)
        if (d->domid == domid && d->devid == devid)
            return d;
    return NULL;
}

static void device_watch(struct device *d, bool on)
{
    struct host *h = d->all->host;
    char path[256], token[32];
    device_path(path, d->front, "state");
    device_token(d, token);
    if (on)
        h->ops->watch(h->ctx, path, token);
    else
        h->ops->unwatch(h->ctx, path, token);
}

void device_free(struct device *d)
{
    for (struct device **p = &d->all->list; *p; p = &(*p)->next) {
        if (*p == d) {
            *p = d->next;
            break;
        }
    }
    device_watch(d, false);
    loop_remove(d->retry);
    free(d->back);
    free(d->front);
    free(d->params);
    free(d->next_params);
    free(d->format);
    free(d);
}

// A device whose directory has appeared. Without a frontend node it is not complete yet.
static struct device *device_new(struct devices *all, uint32_t domid, uint32_t devid)
{
    char path[256], key[32];
    struct device *d = calloc(1, sizeof(*d));
    if (!d)
        return NULL;
    *d = (struct device){.all = all, .domid = domid, .devid = devid};
    snprintf(key, sizeof(key), "%u/%u", domid, devid);
    device_path(path, all->options.root, key);
    d->back = strdup(path);
    device_path(path, d->back ? d->back : "", "frontend");
    if (!d->back || all->host->ops->read(all->host->ctx, path, &d->front)) {
        free(d->back);
        free(d);
        return NULL;
    }
    d->next = all->list;
    all->list = d;
    device_watch(d, true);
    return d;
}

static void device_visit(struct devices *all, uint32_t domid, uint32_t devid)
{
    struct device *d = device_find(all, domid, devid);
    if (!d)
        d = device_new(all, domid, devid);
    if (d)
        device_update(d);
}

void devices_watch_again(struct devices *all)
{
    for (struct device *d = all->list; d; d = d->next)
        device_watch(d, true);
}

static bool parse_id(const char *text, const char **end, uint32_t *out)
{
    char *stop;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long n = strtoul(text, &stop, 10);
    *out = (uint32_t)n;
    *end = stop;
    return !errno && n <= UINT32_MAX;
}

static void devices_scan_domain(struct devices *all, uint32_t domid, const char *name)
{
    char path[256], **names = NULL;
    const char *end;
    unsigned count = 0;
    uint32_t devid;
    device_path(path, all->options.root, name);
    if (all->host->ops->list(all->host->ctx, path, &names, &count))
        return;
    for (unsigned i = 0; i < count; i++)
        if (parse_id(names[i], &end, &devid) && !*end)
            device_visit(all, domid, devid);
    free(names);
}

// Journals of devices that were removed while no blkd ran.
static void devices_sweep_journals(struct devices *all)
{
    DIR *dir = opendir(all->options.journal_dir);
    const struct dirent *e;
    while (dir && (e = readdir(dir))) {
        const char *end;
        uint32_t domid, devid;
        if (parse_id(e->d_name, &end, &domid) && *end == '-' && parse_id(end + 1, &end, &devid) &&
            !*end && !device_find(all, domid, devid))
            unlinkat(dirfd(dir), e->d_name, 0);
    }
    if (dir)
        closedir(dir);
}

void devices_scan(struct devices *all)
{
    char **names = NULL;
    const char *end;
    unsigned count = 0;
    uint32_t domid;
    for (struct device *d = all->list, *next; d; d = next) {
        next = d->next;
        device_set_rate(d);
        device_update(d); // also finds out that it is gone
    }
    if (all->host->ops->list(all->host->ctx, all->options.root, &names, &count))
        return;
    for (unsigned i = 0; i < count; i++)
        if (parse_id(names[i], &end, &domid) && !*end)
            devices_scan_domain(all, domid, names[i]);
    free(names);
    if (!all->swept)
        devices_sweep_journals(all);
    all->swept = true;
}

// Some domain has ended, or only shut down.
static void devices_on_release(struct devices *all)
{
    struct host *h = all->host;
    for (struct device *d = all->list, *next; d; d = next) {
        next = d->next;
        if (!d->served || h->ops->alive(h->ctx, d->domid))
            continue;
        d->dead = true;
        device_update(d);
    }
}

static void devices_update_domain(struct devices *all, uint32_t domid)
{
    for (struct device *d = all->list, *next; d; d = next) {
        next = d->next;
        if (d->domid == domid)
            device_update(d);
    }
}

// Our own writes come back as events too; only what others write matters.
static bool devices_of_others(const char *leaf)
{
    static const char *const keys[] = {"",       "frontend", "frontend-id", "online",
                                       "params", "state",    "mode",        "device-type"};
    // "rate-limit" is not among them: it changes nothing of the device's state.
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (!strcmp(leaf, keys[i]))
            return true;
    return false;
}

static void devices_on_back(struct devices *all, const char *path)
{
    size_t root = strlen(all->options.root);
    uint32_t domid, devid;
    if (strncmp(path, all->options.root, root) != 0 || path[root] != '/' ||
        !parse_id(path + root + 1, &path, &domid)) {
        devices_scan(all);
        return;
    }
    if (*path != '/' || !parse_id(path + 1, &path, &devid)) {
        devices_update_domain(all, domid);
        return;
    }
    const char *leaf = *path == '/' ? path + 1 : path;
    struct device *d = device_find(all, domid, devid);
    if (d && !strcmp(leaf, "rate-limit"))
        device_set_rate(d);
    if (!devices_of_others(leaf))
        return;
    if (d && !strcmp(leaf, "params"))
        d->failed = false; // worth another try
    device_visit(all, domid, devid);
}

void devices_on_watch(struct devices *all, const char *path, const char *token)
{
    const char *end;
    uint32_t domid, devid;
    if (parse_id(token, &end, &domid) && *end == '/' && parse_id(end + 1, &end, &devid)) {
        struct device *d = device_find(all, domid, devid);
        if (d)
            device_update(d);
    } else if (*path == '@') {
        devices_on_release(all);
    } else {
        devices_on_back(all, path);
    }
    disk_env_run(&all->env);
}

int devices_set_port(struct devices *all, int port, struct queue *q)
{
    if (port < 0 || port >= PORTS_MAX)
        return -ENOMEM;
    if ((unsigned)port >= all->ports) {
        unsigned ports = ((unsigned)port | 255) + 1;
        struct queue **grown = reallocarray(all->by_port, ports, sizeof(struct queue *));
        if (!grown)
            return -ENOMEM;
        memset(grown + all->ports, 0, (ports - all->ports) * sizeof(struct queue *));
        all->by_port = grown;
        all->ports = ports;
    }
    all->by_port[port] = q;
    return 0;
}

bool devices_on_port(struct devices *all, int port)
{
    struct queue *q = port >= 0 && (unsigned)port < all->ports ? all->by_port[port] : NULL;
    if (q)
        queue_kick(q);
    return q != NULL;
}

static void devices_on_dirty(void *arg, uint32_t events)
{
    struct devices *all = arg;
    eventfd_t count;
    (void)events;
    eventfd_read(all->dirty_fd, &count);
    for (struct device *d = all->list, *next; d; d = next) {
        next = d->next;
        if (d->dirty) {
            d->dirty = false;
            device_update(d);
        }
    }
    disk_env_run(&all->env);
}

static void devices_on_purge(void *arg, uint32_t events)
{
    struct devices *all = arg;
    uint64_t now = loop_now_ms();
    (void)events;
    for (struct device *d = all->list; d; d = d->next)
        if (d->served && d->disk.grants && now > PURGE_AGE_MS)
            pgrant_purge(d->disk.grants, now - PURGE_AGE_MS);
}

void devices_describe(const struct devices *all)
{
    char text[256];
    for (const struct device *d = all->list; d; d = d->next) {
        log_info("%s: %s: state %d; %u requests of %llu bytes in work; done: %llu reads, %llu "
                 "writes, %llu flushes, %llu discards; %u pages mapped",
                 d->back, d->params ? d->params : "?", (int)d->own, d->disk.running,
                 (unsigned long long)d->disk.bytes, (unsigned long long)d->disk.done[0],
                 (unsigned long long)d->disk.done[1], (unsigned long long)d->disk.done[2],
                 (unsigned long long)d->disk.done[3],
                 d->disk.grants ? pgrant_count(d->disk.grants) : 0);
        for (unsigned q = 0; q < d->disk.queues; q++) {
            queue_describe(d->disk.queue[q], text, sizeof(text));
            log_info("%s: %s", d->back, text);
        }
    }
}

int devices_init(struct devices *all, struct host *host, struct loop *loop,
                 const struct device_options *options)
{
    *all = (struct devices){.host = host, .options = *options, .loop = loop, .dirty_fd = -1};
    int ret = disk_env_init(&all->env, host, loop, 1024);
    if (ret)
        return ret;
    all->dirty_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    all->purge = loop_add_timer(loop, devices_on_purge, all);
    if (all->dirty_fd < 0 || !all->purge ||
        !loop_add_fd(loop, all->dirty_fd, EPOLLIN, devices_on_dirty, all))
        return -ENOMEM;
    return loop_arm(all->purge, PURGE_EVERY_MS, PURGE_EVERY_MS);
}

void devices_fini(struct devices *all)
{
    free(all->by_port);
    if (all->dirty_fd >= 0)
        close(all->dirty_fd);
}
