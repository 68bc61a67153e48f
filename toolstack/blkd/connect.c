// SPDX-License-Identifier: BSD-2-Clause
// A connection with a frontend: its nodes, rings, ports, and the journal.
#include "device.h"

#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

// What the frontend asks for. Every value comes from a guest.
struct offer {
    enum blk_abi abi;
    unsigned queues, pages;
    bool persistent;
    uint32_t gref[DISK_QUEUES_MAX][1u << DEVICE_RING_ORDER_MAX];
    uint32_t port[DISK_QUEUES_MAX];
};

// 0, -ENOENT, -EINVAL (not a number up to `max`), or another errno of the store.
static int offer_number(const struct device *d, const char *dir, const char *key, uint32_t max,
                        uint32_t *out)
{
    char path[256], *text = NULL, *end;
    device_path(path, dir, key);
    int ret = d->all->host->ops->read(d->all->host->ctx, path, &text);
    if (ret)
        return ret;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    bool ok = !errno && end != text && !*end && *text >= '0' && *text <= '9' && n <= max;
    free(text);
    if (!ok)
        return -EINVAL;
    *out = (uint32_t)n;
    return 0;
}

static int offer_optional(const struct device *d, const char *key, uint32_t max, uint32_t *value)
{
    int ret = offer_number(d, d->front, key, max, value);
    return ret == -ENOENT ? 0 : ret;
}

static int offer_refuse(char why[DEVICE_ERROR], int ret, const char *key)
{
    if (ret == -ENOENT || ret == -EINVAL)
        snprintf(why, DEVICE_ERROR, "the frontend's node \"%s\" %s", key,
                 ret == -ENOENT ? "is missing" : "has a value that cannot be used");
    return ret == -ENOENT || ret == -EINVAL ? -EPROTO : -EAGAIN;
}

static int offer_pages(const struct device *d, struct offer *o, char why[DEVICE_ERROR])
{
    uint32_t order = 0, pages = 0;
    int ret = offer_optional(d, "ring-page-order", DEVICE_RING_ORDER_MAX, &order);
    if (ret)
        return offer_refuse(why, ret, "ring-page-order");
    ret = offer_optional(d, "num-ring-pages", 1u << DEVICE_RING_ORDER_MAX, &pages);
    if (ret || (pages & (pages - 1)))
        return offer_refuse(why, ret ? ret : -EINVAL, "num-ring-pages");
    o->pages = !order && pages ? pages : 1u << order;
    return 0;
}

static int offer_queue(const struct device *d, struct offer *o, unsigned q, char why[DEVICE_ERROR])
{
    char dir[256], key[32];
    if (o->queues > 1) {
        snprintf(key, sizeof(key), "queue-%u", q);
        device_path(dir, d->front, key);
    } else {
        snprintf(dir, sizeof(dir), "%s", d->front);
    }
    for (unsigned i = 0; i < o->pages; i++) {
        int ret = -ENOENT;
        snprintf(key, sizeof(key), "ring-ref");
        if (o->pages == 1)
            ret = offer_number(d, dir, key, UINT32_MAX, &o->gref[q][i]);
        if (ret == -ENOENT) {
            snprintf(key, sizeof(key), "ring-ref%u", i);
            ret = offer_number(d, dir, key, UINT32_MAX, &o->gref[q][i]);
        }
        if (ret)
            return offer_refuse(why, ret, key);
    }
    int ret = offer_number(d, dir, "event-channel", UINT32_MAX, &o->port[q]);
    return ret ? offer_refuse(why, ret, "event-channel") : 0;
}

static int offer_protocol(const struct device *d, struct offer *o, char why[DEVICE_ERROR])
{
    char path[256], *text = NULL;
    device_path(path, d->front, "protocol");
    int ret = d->all->host->ops->read(d->all->host->ctx, path, &text);
    if (!ret || ret == -ENOENT)
        ret = blk_abi_parse(text, &o->abi);
    free(text);
    return ret ? offer_refuse(why, ret, "protocol") : 0;
}

static int offer_read(const struct device *d, struct offer *o, char why[DEVICE_ERROR])
{
    uint32_t queues = 1, persistent = 0;
    int ret = offer_protocol(d, o, why);
    if (!ret)
        ret = offer_pages(d, o, why);
    if (ret)
        return ret;
    ret = offer_optional(d, "multi-queue-num-queues", DISK_QUEUES_MAX, &queues);
    if (ret || !queues)
        return offer_refuse(why, ret ? ret : -EINVAL, "multi-queue-num-queues");
    o->queues = queues;
    ret = offer_optional(d, "feature-persistent", UINT32_MAX, &persistent);
    if (ret)
        return offer_refuse(why, ret, "feature-persistent");
    o->persistent = persistent && d->all->options.persistent;
    for (unsigned q = 0; !ret && q < queues; q++)
        ret = offer_queue(d, o, q, why);
    return ret;
}

static void journal_path(const struct device *d, char path[256])
{
    snprintf(path, 256, "%s/%u-%u", d->all->options.journal_dir, d->domid, d->devid);
}

void device_forget_journal(const struct device *d)
{
    char path[256];
    journal_path(d, path);
    unlink(path);
}

// One file, the queues' journals one after the other.
static int journal_open(struct device *d, const struct offer *o, bool redo, char why[DEVICE_ERROR])
{
    char path[256];
    struct stat st;
    unsigned entries = blk_ring_entries(o->abi, (size_t)o->pages * BLK_PAGE);
    d->journal_bytes = journal_bytes(entries) * o->queues;
    journal_path(d, path);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (redo ? 0 : O_CREAT | O_TRUNC), 0600);
    int full = fd < 0 ? errno : redo ? 0 : posix_fallocate(fd, 0, (off_t)d->journal_bytes);
    if (!redo && full == ENOSPC) {
        snprintf(why, DEVICE_ERROR, "%s: no room for the journal", path);
        if (fd >= 0)
            close(fd);
        return -ENOSPC;
    }
    if (fd >= 0 && full) {
        errno = full;
        goto out_close;
    }
    if (fd >= 0 && (fstat(fd, &st) || (uint64_t)st.st_size != d->journal_bytes)) {
        errno = EINVAL;
        goto out_close;
    }
    if (fd >= 0) {
        d->journal = mmap(NULL, d->journal_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        if (d->journal != MAP_FAILED)
            return 0;
        d->journal = NULL;
    }
    snprintf(why, DEVICE_ERROR, "%s: %s: %s", path,
             redo ? "what was in work is not known, the journal cannot be used"
                  : "cannot keep a journal",
             strerror(errno));
    return -EIO;

out_close:
    close(fd);
    snprintf(why, DEVICE_ERROR, "%s: %s", path,
             redo ? "the journal does not fit the frontend's rings" : "no room for the journal");
    return -EIO;
}

static int connect_queue(struct device *d, const struct offer *o, unsigned q, bool redo,
                         char why[DEVICE_ERROR])
{
    struct host *h = d->all->host;
    void *ring = h->ops->map(h->ctx, d->domid, o->gref[q], o->pages);
    if (!ring) {
        snprintf(why, DEVICE_ERROR, "queue %u: the ring's grants cannot be mapped", q);
        return -EFAULT;
    }
    d->ring[q] = ring;
    d->port[q] = -1;
    d->rings = q + 1;
    d->port[q] = h->ops->bind(h->ctx, d->domid, o->port[q]);
    if (d->port[q] < 0) {
        snprintf(why, DEVICE_ERROR, "queue %u: event channel %u cannot be bound: %s", q, o->port[q],
                 strerror(-d->port[q]));
        return -EFAULT;
    }
    size_t bytes = (size_t)o->pages * BLK_PAGE;
    size_t journal = journal_bytes(blk_ring_entries(o->abi, bytes));
    int ret = disk_add_queue(&d->disk, o->abi, ring, bytes,
                             (void *)((char *)d->journal + q * journal), redo, d->port[q]);
    if (!ret)
        ret = devices_set_port(d->all, d->port[q], d->disk.queue[q]);
    if (ret) {
        snprintf(why, DEVICE_ERROR, "queue %u: %s", q,
                 ret == -EPROTO   ? "the ring's indexes make no sense"
                 : ret == -EINVAL ? "the journal does not fit the ring"
                                  : "out of memory");
        return ret;
    }
    return 0;
}

void device_set_limits(struct device *d)
{
    d->disk.image = d->image;
    d->disk.limits = (struct blk_limits){.sectors = d->image ? d->image->bytes / BLK_SECTOR : 0,
                                         .indirect = d->all->options.indirect,
                                         .read_only = d->read_only,
                                         .discard = d->image && d->image->discard_unit &&
                                                    d->discard && !d->read_only};
}

int device_connect(struct device *d, bool redo, char why[DEVICE_ERROR])
{
    struct offer o = {0};
    int ret = offer_read(d, &o, why);
    if (ret)
        return ret;
    ret = journal_open(d, &o, redo, why);
    if (ret)
        return ret;
    d->disk.env = &d->all->env;
    d->disk.domid = d->domid;
    d->disk.stopped = false;
    d->ring_pages = o.pages;
    device_set_limits(d);
    if (redo) // the one before us may have offered more
        d->disk.limits.indirect = BLK_SEGMENTS_MAX;
    if (o.persistent)
        d->disk.grants = pgrant_new(d->all->host, d->domid, DISK_GRANTS_PER_QUEUE * o.queues);
    for (unsigned q = 0; !ret && q < o.queues; q++)
        ret = connect_queue(d, &o, q, redo, why);
    if (ret) {
        device_disconnect(d);
        return ret;
    }
    log_info("%s: %s: %u queue%s of %u page%s%s%s", d->back, redo ? "taken up again" : "connected",
             o.queues, o.queues == 1 ? "" : "s", o.pages, o.pages == 1 ? "" : "s",
             d->disk.grants ? ", persistent grants" : "",
             o.abi == BLK_ABI_X86_32 ? ", 32-bit layout" : "");
    return 0;
}

void device_disconnect(struct device *d)
{
    struct host *h = d->all->host;
    disk_free_queues(&d->disk);
    pgrant_free(d->disk.grants);
    for (unsigned q = 0; q < d->rings; q++) {
        if (d->port[q] >= 0) {
            devices_set_port(d->all, d->port[q], NULL);
            h->ops->unbind(h->ctx, d->port[q]);
        }
        h->ops->unmap(h->ctx, d->ring[q], d->ring_pages);
    }
    d->rings = 0;
    if (d->journal)
        munmap(d->journal, d->journal_bytes);
    d->journal = NULL;
    memset(&d->disk, 0, sizeof(d->disk));
}
