// SPDX-License-Identifier: BSD-2-Clause
#include "usage.h"

#include "internal.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define USAGE_BACKENDS "/sys/bus/xen-backend/devices"

enum { USAGE_SECTOR = 512 };

struct usage_list {
    struct serai_usage *at;
    size_t count;
    bool failed;
};

static struct serai_usage *usage_add(struct usage_list *l, enum serai_usage_kind kind,
                                     uint32_t domain, uint32_t devid)
{
    struct serai_usage *more = realloc(l->at, (l->count + 1) * sizeof(*more));
    if (!more) {
        l->failed = true;
        return NULL;
    }
    l->at = more;
    more += l->count++;
    *more = (struct serai_usage){.kind = kind, .domain = domain, .devid = devid};
    return more;
}

// 0 when there is no such number.
static uint64_t usage_number(const char *dir, const char *name)
{
    char path[PATH_MAX];
    uint64_t n = 0;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    if (fscanf(f, "%" SCNu64, &n) != 1)
        n = 0;
    fclose(f);
    return n;
}

static void usage_disk(struct serai_usage *u, const char *dir)
{
    char statistics[PATH_MAX];
    if (snprintf(statistics, sizeof(statistics), "%s/statistics", dir) >= PATH_MAX)
        return;
    u->in_count = usage_number(statistics, "rd_req");
    u->out_count = usage_number(statistics, "wr_req");
    u->in_bytes = usage_number(statistics, "rd_sect") * USAGE_SECTOR;
    u->out_bytes = usage_number(statistics, "wr_sect") * USAGE_SECTOR;
}

// The one interface below the backend device, whatever its name. What it receives, the guest sent.
static void usage_vif(struct serai_usage *u, const char *dir)
{
    char net[PATH_MAX], statistics[PATH_MAX];
    if (snprintf(net, sizeof(net), "%s/net", dir) >= PATH_MAX)
        return;
    DIR *d = opendir(net);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.' || snprintf(statistics, sizeof(statistics), "%s/%s/statistics", net,
                                            e->d_name) >= PATH_MAX)
            continue;
        u->out_bytes = usage_number(statistics, "rx_bytes");
        u->out_count = usage_number(statistics, "rx_packets");
        u->in_bytes = usage_number(statistics, "tx_bytes");
        u->in_count = usage_number(statistics, "tx_packets");
    }
    if (d)
        closedir(d);
}

static void usage_kernel(struct usage_list *l, const char *backends)
{
    char path[PATH_MAX];
    DIR *d = opendir(backends);
    for (struct dirent *e; d && (e = readdir(d));) {
        unsigned domain, devid;
        int end = 0;
        bool disk = sscanf(e->d_name, "vbd-%u-%u%n", &domain, &devid, &end) == 2;
        bool vif = !disk && sscanf(e->d_name, "vif-%u-%u%n", &domain, &devid, &end) == 2;
        if ((!disk && !vif) || e->d_name[end] ||
            snprintf(path, sizeof(path), "%s/%s", backends, e->d_name) >= PATH_MAX)
            continue;
        struct serai_usage *u =
            usage_add(l, disk ? SERAI_USAGE_DISK : SERAI_USAGE_VIF, domain, devid);
        if (u && disk)
            usage_disk(u, path);
        else if (u)
            usage_vif(u, path);
    }
    if (d)
        closedir(d);
}

static void usage_blkd(struct usage_list *l, const char *file)
{
    char line[256];
    FILE *f = fopen(file, "re");
    while (f && fgets(line, sizeof(line), f)) {
        unsigned domain, devid;
        uint64_t n[6];
        if (sscanf(line,
                   "%u %u %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
                   &domain, &devid, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5]) != 8)
            continue;
        struct serai_usage *u = usage_add(l, SERAI_USAGE_DISK, domain, devid);
        if (!u)
            break;
        u->in_count = n[0];
        u->out_count = n[1];
        u->in_bytes = n[4];
        u->out_bytes = n[5];
    }
    if (f)
        fclose(f);
}

static int usage_order(const void *a, const void *b)
{
    const struct serai_usage *x = a, *y = b;
    if (x->domain != y->domain)
        return x->domain < y->domain ? -1 : 1;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    return x->devid < y->devid ? -1 : x->devid > y->devid;
}

int usage_read(const char *backends, const char *blkd, struct serai_usage **list, size_t *count,
               struct serai_error *err)
{
    struct usage_list l = {.at = malloc(sizeof(*l.at))};
    if (l.at) {
        usage_kernel(&l, backends);
        usage_blkd(&l, blkd);
    }
    if (!l.at || l.failed) {
        free(l.at);
        return err_set(err, -ENOMEM, "out of memory");
    }
    qsort(l.at, l.count, sizeof(*l.at), usage_order);
    *list = l.at;
    *count = l.count;
    return 0;
}

int serai_usage_list(struct serai *s, struct serai_usage **list, size_t *count,
                     struct serai_error *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/blkd.stats", s->state_dir);
    return usage_read(USAGE_BACKENDS, path, list, count, err);
}
