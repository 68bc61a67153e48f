// SPDX-License-Identifier: BSD-2-Clause
#include "disk_share.h"

#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

// The disk that a partition lies on; the device itself when it is none.
static dev_t share_whole(dev_t dev)
{
    char path[96];
    unsigned ma, mi;
    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/partition", major(dev), minor(dev));
    if (access(path, F_OK))
        return dev;
    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../dev", major(dev), minor(dev));
    FILE *f = fopen(path, "re");
    if (!f)
        return dev;
    bool good = fscanf(f, "%u:%u", &ma, &mi) == 2;
    fclose(f);
    return good ? makedev(ma, mi) : dev;
}

// Two partitions of one disk are two things; a partition and its disk are not.
static bool share_same(const struct stat *a, const struct stat *b)
{
    if (S_ISBLK(a->st_mode) != S_ISBLK(b->st_mode))
        return false;
    if (!S_ISBLK(a->st_mode))
        return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
    return a->st_rdev == b->st_rdev || share_whole(a->st_rdev) == b->st_rdev ||
           share_whole(b->st_rdev) == a->st_rdev;
}

// Another toolstack writes "aio:/path" or the like.
static const char *share_path(const char *params)
{
    const char *slash = strchr(params, '/');
    const char *colon = strchr(params, ':');
    return slash && colon && colon < slash ? slash : params;
}

// Keys of a disk's back.
enum { SHARE_PARAMS, SHARE_MODE };
static const char *const share_keys[DEVICE_KEYS_MAX] = {"params", "mode"};

static int share_with(struct serai *s, const struct device_entry *d, const struct serai_disk *disk,
                      const struct stat *st, struct serai_error *err)
{
    const char *params = d->key[SHARE_PARAMS], *mode = d->key[SHARE_MODE];
    struct stat other;
    struct serai_domain dom;
    if (!params || !mode || stat(share_path(params), &other) || !share_same(st, &other))
        return 0;
    // What a vanished domain left behind is used by nobody.
    if ((disk->readonly && !strchr(mode, 'w')) || serai_domain_get(s, d->domain, &dom, NULL))
        return 0;
    return err_set(err, -EBUSY,
                   "%s: domain %u has it as disk %u already, and not both only read it (access=w! "
                   "allows that to guests that know how to share)",
                   disk->target, d->domain, d->id);
}

int disk_share_check(struct serai *s, const struct serai_disk *disk, const struct stat *st,
                     struct serai_error *err)
{
    if (disk->shared)
        return 0;
    if (S_ISBLK(st->st_mode) && !disk->readonly) {
        // Whoever has it mounted, or as a part of something, holds it exclusively.
        int fd = open(disk->target, O_RDONLY | O_EXCL | O_CLOEXEC);
        if (fd < 0)
            return err_sys(err, -errno, "%s%s", disk->target,
                           errno == EBUSY ? ": in use by the control domain" : "");
        close(fd);
    }
    struct device_entry *list;
    size_t count;
    int ret = device_list_all(s, "vbd", share_keys, &list, &count, err);
    for (size_t i = 0; i < count && !ret; i++)
        ret = share_with(s, &list[i], disk, st, err);
    device_entries_free(list, count);
    return ret;
}
