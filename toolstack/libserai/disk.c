// SPDX-License-Identifier: BSD-2-Clause
// Disks of domains: the nodes that front and back read, and the files and devices behind them.
#include "devices.h"
#include "disk_share.h"
#include "loopdev.h"
#include "state.h"

#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

enum { DISK_LOOK_MS = 700, DISK_OPENED_MS = 10000, SECTOR_BYTES = 512 };

static const char phy[] = "vbd", blkd[] = "serai"; // kinds of backends

struct disk_adding {
    const struct serai_disk *disk;
    bool by_blkd;
    unsigned major, minor; // of the block device, for the kernel's backend
};

static int disk_stat(const struct serai_disk *disk, struct stat *st, struct serai_error *err)
{
    FD_AUTO fd = open(disk->target, (disk->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, st))
        return err_sys(err, -errno, "disk %s: cannot open %s%s", disk->vdev, disk->target,
                       disk->readonly ? "" : " for writing");
    if (!S_ISBLK(st->st_mode) && !S_ISREG(st->st_mode))
        return err_set(err, -ENOTBLK, "disk %s: %s is neither a block device nor a file",
                       disk->vdev, disk->target);
    if (S_ISREG(st->st_mode) && st->st_size < SECTOR_BYTES)
        return err_set(err, -EINVAL, "disk %s: %s is too short for a disk (%lld bytes)", disk->vdev,
                       disk->target, (long long)st->st_size);
    return 0;
}

int disk_check(const struct serai_disk *disk, struct serai_error *err)
{
    struct stat st;
    return disk->target ? disk_stat(disk, &st, err) : 0;
}

// blkd holds a lock in the state directory as long as it lives.
static bool blkd_runs(const struct serai *s)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/blkd.lock", s->state_dir);
    FD_AUTO fd = open(path, O_RDWR | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;
}

static bool disk_by_blkd(const struct serai *s, const struct serai_disk *disk, bool block_device)
{
    if (disk->backend != SERAI_DISK_AUTO)
        return disk->backend == SERAI_DISK_BLKD;
    if (disk->rate_bytes || disk->rate_requests)
        return true;                  // the kernel's backend has no limits
    if (block_device || disk->shared) // blkd has each image for itself
        return false;
    return disk->format != SERAI_DISK_RAW || blkd_runs(s);
}

static void disk_back_keys(struct store_tx *t, const char *dir, void *arg)
{
    const struct disk_adding *a = arg;
    const struct serai_disk *d = a->disk;
    tx_write(t, dir, "type", "%s", a->by_blkd ? blkd : "phy");
    tx_write(t, dir, "dev", "%s", d->vdev);
    tx_write(t, dir, "params", "%s", d->target ? d->target : "");
    tx_write(t, dir, "format", "%s", serai_disk_format_name(d->format));
    tx_write(t, dir, "mode", "%s", d->readonly ? "r" : "w");
    tx_write(t, dir, "device-type", "%s", d->cdrom ? "cdrom" : "disk");
    tx_write(t, dir, "removable", "%d", d->cdrom);
    tx_write(t, dir, "bootable", "1");
    tx_write(t, dir, "discard-enable", "%d", !d->no_discard && !d->readonly);
    if (d->shared)
        tx_write(t, dir, "shared", "1");
    if (d->direct)
        tx_write(t, dir, "direct-io-safe", "1");
    if (a->by_blkd && (d->rate_bytes || d->rate_requests))
        tx_write(t, dir, "rate-limit", "%llu %llu", (unsigned long long)d->rate_bytes,
                 (unsigned long long)d->rate_requests);
    if (a->by_blkd)
        return;
    tx_write(t, dir, "physical-device", "%x:%x", a->major, a->minor);
    tx_write(t, dir, "hotplug-status", "connected");
}

static void disk_front_keys(struct store_tx *t, const char *dir, void *arg)
{
    const struct disk_adding *a = arg;
    tx_write(t, dir, "virtual-device", "%u", a->disk->devid);
    tx_write(t, dir, "device-type", "%s", a->disk->cdrom ? "cdrom" : "disk");
    tx_write(t, dir, "trusted", "%d", !a->disk->untrusted);
}

// The kernel's backend says that it takes a device before it has opened what is behind it.
static int disk_wait_opened(const struct serai *s, const struct device *d, struct serai_error *err)
{
    char path[128];
    snprintf(path, sizeof(path), "/sys/bus/xen-backend/devices/%s-%u-%u/physical_device",
             d->backend_kind, d->domain, d->id);
    for (unsigned waited = 0; access(path, F_OK); waited += 5) {
        if (serai_cancelled(s))
            return err_set(err, -ECANCELED, "cancelled");
        if (waited >= DISK_OPENED_MS)
            return err_set(err, -EIO,
                           "disk %u: the kernel's backend does not open it (its log "
                           "says why)",
                           d->id);
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    return 0;
}

static int disk_wait(struct serai *s, const struct device *d, bool by_blkd, struct serai_error *err)
{
    int ret = device_wait_taken(s, d, err);
    if (!ret && !by_blkd)
        ret = disk_wait_opened(s, d, err);
    if (!ret)
        return 0;
    device_vanish(s, d);
    device_wait_gone(d);
    return ret;
}

// Nobody else may take the same disk between the check and the nodes.
static int disk_add_nodes(struct serai *s, const struct device *d, struct disk_adding *a,
                          const struct stat *st, struct serai_error *err)
{
    int lock;
    int ret = state_lock(s, &lock, err);
    if (ret)
        return ret;
    if (st)
        ret = disk_share_check(s, a->disk, st, err);
    if (!ret)
        ret = device_add(s, d, disk_back_keys, disk_front_keys, a, err);
    close(lock);
    return ret;
}

int disk_add(struct serai *s, uint32_t domain, const struct serai_disk *disk,
             struct serai_error *err)
{
    struct loopdev loop = {.fd = -1};
    struct stat st = {0};
    struct device d;
    int ret = disk->target ? disk_stat(disk, &st, err) : 0;
    if (ret)
        return ret;
    struct disk_adding a = {.disk = disk};
    a.by_blkd = disk_by_blkd(s, disk, disk->target && S_ISBLK(st.st_mode));
    if (!a.by_blkd && !disk->target)
        return 0; // the kernel's backend has no empty drives: the guest sees it when it is filled
    if (!a.by_blkd && S_ISREG(st.st_mode)) {
        ret = loopdev_attach(disk->target, disk->readonly, &loop, err);
        if (ret)
            return ret;
        a.major = loop.major;
        a.minor = loop.minor;
    } else if (!a.by_blkd) {
        a.major = major(st.st_rdev);
        a.minor = minor(st.st_rdev);
    }
    device_init(&d, domain, "vbd", a.by_blkd ? blkd : phy, disk->devid);
    ret = disk_add_nodes(s, &d, &a, disk->target ? &st : NULL, err);
    if (!ret)
        ret = disk_wait(s, &d, a.by_blkd, err);
    loopdev_release(&loop); // the backend has it open now
    return ret;
}

static struct serai_disk *disk_find(struct serai_config *c, uint32_t devid)
{
    for (size_t i = 0; i < c->nr_disks; i++)
        if (c->disks[i].devid == devid)
            return &c->disks[i];
    return NULL;
}

static int config_add_disk(struct serai_config *c, const struct serai_disk *disk)
{
    struct serai_disk *more = realloc(c->disks, (c->nr_disks + 1) * sizeof(*more));
    if (!more)
        return -ENOMEM;
    c->disks = more;
    more[c->nr_disks] = *disk;
    more[c->nr_disks].target = disk->target ? strdup(disk->target) : NULL;
    if (disk->target && !more[c->nr_disks].target)
        return -ENOMEM;
    c->nr_disks++;
    return 0;
}

struct disk_change {
    const struct serai_disk *add;
    uint32_t devid; // to remove, or whose target changes
    bool insert;
    const char *target;
};

static int disk_change(struct serai_config *c, void *arg)
{
    const struct disk_change *change = arg;
    if (change->add)
        return config_add_disk(c, change->add);
    struct serai_disk *d = disk_find(c, change->devid);
    if (!d)
        return 0;
    char *target = change->target ? strdup(change->target) : NULL;
    if (change->target && !target)
        return -ENOMEM;
    free(d->target);
    d->target = target;
    if (!change->insert) {
        size_t after = (size_t)(c->disks + c->nr_disks - (d + 1));
        memmove(d, d + 1, after * sizeof(*d));
        c->nr_disks--;
    }
    return 0;
}

int serai_disk_attach(struct serai *s, uint32_t domain, const struct serai_disk *disk,
                      struct serai_error *err)
{
    struct disk_change change = {.add = disk};
    struct serai_domain d;
    struct serai_config *c;
    int ret = serai_domain_get(s, domain, &d, err);
    if (!ret)
        ret = store_connect(s, err);
    if (ret)
        return ret;
    if (!serai_domain_config(s, domain, &c, NULL)) {
        if (disk_find(c, disk->devid))
            ret = err_set(err, -EEXIST, "domain %u has a disk %s already", domain, disk->vdev);
        serai_config_free(c);
    }
    if (!ret)
        ret = disk_add(s, domain, disk, err);
    return ret ? ret : state_change(s, domain, disk_change, &change, err);
}

static int disk_device(struct serai *s, uint32_t domain, uint32_t devid, struct device *out,
                       struct serai_error *err)
{
    struct device *list;
    size_t count, i = 0;
    int ret = device_list(s, domain, "vbd", &list, &count, err);
    if (ret)
        return ret;
    while (i < count && list[i].id != devid)
        i++;
    if (i < count)
        *out = list[i];
    else
        ret = err_set(err, -ENOENT, "domain %u has no disk %u", domain, devid);
    free(list);
    return ret;
}

static uint64_t disk_requests(struct serai *s, const struct device *d)
{
    struct serai_usage *list;
    uint64_t requests = 0;
    size_t count;
    if (serai_usage_list(s, &list, &count, NULL))
        return 0;
    for (size_t i = 0; i < count; i++)
        if (list[i].kind == SERAI_USAGE_DISK && list[i].domain == d->domain &&
            list[i].devid == d->id)
            requests += list[i].in_count + list[i].out_count;
    free(list);
    return requests;
}

// -EBUSY while requests come all the time. A front end cannot be asked whether it is in use, and
// Linux's loses the requests that wait in it when it has to go, for which its users then wait.
static int disk_unused(struct serai *s, const struct device *d, struct serai_error *err)
{
    unsigned front, back;
    device_states(s, d, &front, &back);
    if (front != SERAI_DEVICE_CONNECTED || back != SERAI_DEVICE_CONNECTED)
        return 0;
    uint64_t grown = 0, before = disk_requests(s, d);
    // What had ended just before may be counted a little later.
    for (unsigned i = 0; i < 2; i++) {
        nanosleep(&(struct timespec){.tv_nsec = DISK_LOOK_MS * 1000000L}, NULL);
        uint64_t now = disk_requests(s, d);
        if (now <= before)
            return 0;
        grown += now - before;
        before = now;
    }
    return err_set(
        err, -EBUSY,
        "domain %u is using disk %u (%llu requests in %d ms): unmount it there first, or "
        "take it away with --force",
        d->domain, d->id, (unsigned long long)grown, 2 * DISK_LOOK_MS);
}

int serai_disk_detach(struct serai *s, uint32_t domain, uint32_t devid, bool force,
                      struct serai_error *err)
{
    struct disk_change change = {.devid = devid};
    struct device d;
    struct serai_config *c;
    int ret = disk_device(s, domain, devid, &d, err);
    if (!ret) {
        ret = force ? 0 : disk_unused(s, &d, err);
        if (!ret)
            ret = device_remove(s, &d, force, err);
    } else if (ret == -ENOENT && !serai_domain_config(s, domain, &c, NULL)) {
        ret = disk_find(c, devid) ? 0 : ret; // an empty drive that has no nodes
        serai_config_free(c);
    }
    return ret ? ret : state_change(s, domain, disk_change, &change, err);
}

struct disk_limits {
    const struct device *d;
    uint64_t bytes, requests;
};

static void limit_nodes(struct store_tx *t, void *arg)
{
    const struct disk_limits *l = arg;
    tx_write(t, l->d->back, "rate-limit", "%llu %llu", (unsigned long long)l->bytes,
             (unsigned long long)l->requests);
}

static int limit_config(struct serai_config *c, void *arg)
{
    const struct disk_limits *l = arg;
    struct serai_disk *disk = disk_find(c, l->d->id);
    if (disk) {
        disk->rate_bytes = l->bytes;
        disk->rate_requests = l->requests;
    }
    return 0;
}

int serai_disk_set_rate(struct serai *s, uint32_t domain, uint32_t devid, uint64_t bytes,
                        uint64_t requests, struct serai_error *err)
{
    struct device d;
    struct disk_limits l = {.d = &d, .bytes = bytes, .requests = requests};
    int ret = disk_device(s, domain, devid, &d, err);
    if (ret)
        return ret;
    if (strcmp(d.backend_kind, blkd) != 0)
        return err_set(err, -EOPNOTSUPP, "disk %u is not served by blkd, which alone has limits",
                       devid);
    ret = store_transaction(s, limit_nodes, &l, err);
    return ret ? ret : state_change(s, domain, limit_config, &l, err);
}

struct disk_medium {
    const struct device *d;
    const char *target, *format;
};

static void medium_nodes(struct store_tx *t, void *arg)
{
    const struct disk_medium *m = arg;
    char copy[STORE_PATH_MAX];
    tx_write(t, m->d->back, "error", "%s", "");
    tx_write(t, m->d->back, "params", "%s", m->target);
    tx_write(t, m->d->back, "format", "%s", m->format);
    snprintf(copy, sizeof(copy), "/libxl/%u/device/vbd/%u", m->d->domain, m->d->id);
    tx_write(t, copy, "params", "%s", m->target);
    tx_write(t, copy, "format", "%s", m->format);
}

// 1: the medium is in, -EIO: blkd has said why not.
static int medium_in(struct serai *s, void *arg)
{
    const struct disk_medium *m = arg;
    unsigned front, back;
    device_states(s, m->d, &front, &back);
    char *words = device_key(s, m->d, "error"), *medium = device_key(s, m->d, "medium");
    int ret = words && *words                        ? -EIO
              : back != SERAI_DEVICE_CONNECTED       ? 1 // it opens the image later
              : medium && !strcmp(medium, m->target) ? 1
                                                     : 0;
    free(words);
    free(medium);
    return ret;
}

// The old medium stays when blkd does not take the new one.
static int medium_change(struct serai *s, const struct device *d, const struct serai_disk *disk,
                         struct serai_error *err)
{
    char *old = device_key(s, d, "params"), *format = device_key(s, d, "format");
    struct disk_medium m = {d, disk->target ? disk->target : "",
                            serai_disk_format_name(disk->format)};
    struct disk_medium before = {d, old ? old : "", format ? format : m.format};
    int ret = store_transaction(s, medium_nodes, &m, err);
    if (ret)
        goto out;
    ret = store_wait(s, d->back, DISK_OPENED_MS, medium_in, &m);
    if (ret == 1) {
        ret = 0;
        goto out;
    }
    char *words = ret == -EIO ? device_key(s, d, "error") : NULL;
    if (ret == -ETIMEDOUT)
        err_set(err, ret, "disk %s: blkd does not change the medium: is it running?", disk->vdev);
    else if (words)
        err_set(err, ret, "disk %s: %s", disk->vdev, words);
    else
        err_sys(err, ret, "disk %s: cannot wait for blkd", disk->vdev);
    free(words);
    store_transaction(s, medium_nodes, &before, NULL);
out:
    free(old);
    free(format);
    return ret;
}

// Under the lock, so that nobody else takes the image between the check and the nodes.
static int medium_change_checked(struct serai *s, const struct device *d,
                                 const struct serai_disk *disk, struct serai_error *err)
{
    struct stat st;
    int lock;
    int ret = disk->target ? disk_stat(disk, &st, err) : 0;
    if (!ret)
        ret = state_lock(s, &lock, err);
    if (ret)
        return ret;
    if (disk->target)
        ret = disk_share_check(s, disk, &st, err);
    if (!ret)
        ret = medium_change(s, d, disk, err);
    close(lock);
    return ret;
}

// blkd changes the medium of a drive; with the kernel's backend the drive goes and comes back.
static int disk_change_medium(struct serai *s, const struct device *d, struct serai_disk *disk,
                              struct serai_error *err)
{
    if (!strcmp(d->backend_kind, blkd))
        return medium_change_checked(s, d, disk, err);
    struct serai_disk before = *disk;
    before.target = device_key(s, d, "params");
    int ret = device_remove(s, d, false, err);
    if (!ret) {
        ret = disk_add(s, d->domain, disk, err);
        if (ret && before.target && *before.target)
            disk_add(s, d->domain, &before, NULL);
    }
    free(before.target);
    return ret;
}

int serai_disk_insert(struct serai *s, uint32_t domain, uint32_t devid, const char *target,
                      struct serai_error *err)
{
    struct disk_change change = {.devid = devid, .insert = true, .target = target};
    struct serai_config *c;
    struct device d;
    int ret = serai_domain_config(s, domain, &c, err);
    if (ret)
        return ret;
    struct serai_disk *disk = disk_find(c, devid);
    if (!disk) {
        ret = err_set(err, -ENOENT, "domain %u has no disk %u", domain, devid);
        goto out;
    }
    if (!disk->cdrom) {
        ret = err_set(err, -EINVAL, "disk %s is no CD drive", disk->vdev);
        goto out;
    }
    free(disk->target);
    disk->target = target ? strdup(target) : NULL;
    if (target && !disk->target)
        ret = err_set(err, -ENOMEM, "out of memory");
    else
        ret = disk_check(disk, err);
    if (ret)
        goto out;
    bool there = !disk_device(s, domain, devid, &d, NULL);
    if (there)
        ret = disk_change_medium(s, &d, disk, err);
    else
        ret = disk_add(s, domain, disk, err);
    if (!ret)
        ret = state_change(s, domain, disk_change, &change, err);
out:
    serai_config_free(c);
    return ret;
}

static void disk_status(struct serai *s, const struct device *d, struct serai_disk_status *out)
{
    char *dev = device_key(s, d, "dev"), *params = device_key(s, d, "params");
    char *mode = device_key(s, d, "mode"), *type = device_key(s, d, "device-type");
    char *format = device_key(s, d, "format");
    *out = (struct serai_disk_status){.disk.devid = d->id};
    snprintf(out->disk.vdev, sizeof(out->disk.vdev), "%s", dev ? dev : "");
    out->disk.readonly = mode && !strchr(mode, 'w');
    out->disk.cdrom = type && !strcmp(type, "cdrom");
    for (int i = 0; format && i <= SERAI_DISK_QED; i++)
        if (!strcmp(format, serai_disk_format_name((enum serai_disk_format)i)))
            out->disk.format = (enum serai_disk_format)i;
    unsigned long long bytes, requests;
    char *limit = device_key(s, d, "rate-limit");
    if (limit && sscanf(limit, "%llu %llu", &bytes, &requests) == 2) {
        out->disk.rate_bytes = bytes;
        out->disk.rate_requests = requests;
    }
    free(limit);
    if (params && *params) {
        out->disk.target = params;
        params = NULL;
    }
    bool ours = !strcmp(d->backend_kind, blkd), kernel = !strcmp(d->backend_kind, phy);
    snprintf(out->backend, sizeof(out->backend), "%s",
             ours     ? "blkd"
             : kernel ? "phy"
                      : d->backend_kind);
    snprintf(out->backend_path, sizeof(out->backend_path), "%.255s", d->back);
    device_states(s, d, &out->frontend_state, &out->backend_state);
    free(dev);
    free(params);
    free(mode);
    free(type);
    free(format);
}

int serai_disk_list(struct serai *s, uint32_t domain, struct serai_disk_status **list,
                    size_t *count, struct serai_error *err)
{
    struct device *devices;
    int ret = device_list(s, domain, "vbd", &devices, count, err);
    if (ret)
        return ret;
    *list = calloc(*count + 1, sizeof(**list));
    for (size_t i = 0; *list && i < *count; i++)
        disk_status(s, &devices[i], &(*list)[i]);
    free(devices);
    return *list ? 0 : err_set(err, -ENOMEM, "out of memory");
}

void serai_disk_list_free(struct serai_disk_status *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        serai_disk_clear(&list[i].disk);
    free(list);
}
