// SPDX-License-Identifier: BSD-2-Clause
// Shares free memory between guests that have a range of it (minmem to maxmem).
#include "balancer.h"

#include "balance.h"
#include "state.h"
#include "store.h"

#include "file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

enum { KIB_PER_PAGE = 4, KIB_PER_MB = 1024 };

struct serai_balance {
    struct serai *s;
    struct balance_guest *guests; // as of the last look
    size_t count;
    uint64_t free_kib; // that nobody has claimed
};

int serai_balance_open(struct serai *s, struct serai_balance **out, struct serai_error *err)
{
    struct serai_balance *b = calloc(1, sizeof(*b));
    if (!b)
        return err_set(err, -ENOMEM, "out of memory");
    b->s = s;
    *out = b;
    return 0;
}

void serai_balance_close(struct serai_balance *b)
{
    if (!b)
        return;
    free(b->guests);
    free(b);
}

static bool balance_takes_part(const struct serai_config *c)
{
    return c->minmem_mb && !c->memory_pinned;
}

// Fills in what is known of a domain. False when it is left alone.
static bool balance_look_at(struct serai_balance *b, const struct serai_domain *d,
                            struct balance_guest *g)
{
    struct state_record r;
    unsigned not_now = SERAI_DOMAIN_SHUTDOWN | SERAI_DOMAIN_DYING;
    if (!d->id || !(d->flags & SERAI_DOMAIN_MANAGED) || (d->flags & not_now) ||
        state_record_read(b->s, d->id, &r, NULL))
        return false;
    const struct serai_config *c = r.config;
    uint64_t max = c->maxmem_mb ? c->maxmem_mb : c->memory_mb;
    *g = (struct balance_guest){.id = d->id,
                                .min = c->minmem_mb * KIB_PER_MB,
                                .max = max * KIB_PER_MB,
                                .actual = d->pages * KIB_PER_PAGE};
    bool good = balance_takes_part(c) && !balloon_target(b->s, d->id, &g->target, NULL);
    serai_config_free(r.config);
    for (size_t i = 0; good && i < b->count; i++) {
        if (b->guests[i].id == d->id) {
            g->last = b->guests[i].last;
            g->waiting = b->guests[i].waiting;
        }
    }
    return good;
}

static uint64_t balance_free(const struct serai_host *host)
{
    uint64_t free = host->free_pages, claimed = host->claimed_pages;
    return (free > claimed ? free - claimed : 0) * KIB_PER_PAGE;
}

static int balance_look(struct serai_balance *b, struct serai_error *err)
{
    struct serai_domain *list;
    struct serai_host host;
    size_t count, n = 0;
    int ret = serai_host_get(b->s, &host, err);
    if (!ret)
        ret = serai_domain_list(b->s, &list, &count, err);
    if (ret)
        return ret;
    struct balance_guest *guests = calloc(count + 1, sizeof(*guests));
    if (!guests) {
        free(list);
        return err_set(err, -ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < count; i++)
        if (balance_look_at(b, &list[i], &guests[n]))
            balance_stuck(&guests[n++]);
    free(list);
    free(b->guests);
    b->guests = guests;
    b->count = n;
    b->free_kib = balance_free(&host);
    return 0;
}

// What guests that are being made wait for. What nobody waits for any more is cleared away.
static uint64_t balance_wanted(const struct serai *s)
{
    char dir[PATH_MAX], path[PATH_MAX + 256];
    uint64_t sum = 0;
    snprintf(dir, sizeof(dir), "%s/wanted", s->state_dir);
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        FD_AUTO fd = open(path, O_RDONLY | O_CLOEXEC);
        char text[32] = "";
        if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
            continue;
        if (!flock(fd, LOCK_SH | LOCK_NB))
            unlink(path);
        else
            sum += strtoull(text, NULL, 10);
    }
    if (d)
        closedir(d);
    return sum;
}

// Under the lock of records, so that a wish that somebody notes meanwhile wins.
static int balance_apply(struct serai *s, uint32_t id, uint64_t kib, struct serai_error *err)
{
    struct state_record r;
    int lock;
    int ret = state_edit_begin(s, id, &r, &lock, err);
    if (ret)
        return ret;
    if (balance_takes_part(r.config))
        ret = balloon_apply(s, id, kib, err);
    serai_config_free(r.config);
    close(lock);
    return ret;
}

static void balance_act(struct serai_balance *b, uint64_t keep_kib, uint64_t *out)
{
    struct serai_error err;
    balance_share(b->guests, b->count, b->free_kib, keep_kib + balance_wanted(b->s), out);
    for (size_t i = 0; i < b->count; i++) {
        const struct balance_guest *g = &b->guests[i];
        if (out[i] == g->target)
            continue;
        serai_note(b->s, SERAI_LOG_DEBUG, "domain %u: %llu MB instead of %llu", g->id,
                   (unsigned long long)(out[i] / KIB_PER_MB),
                   (unsigned long long)(g->target / KIB_PER_MB));
        // One that has gone meanwhile does not keep the others.
        int ret = balance_apply(b->s, g->id, out[i], &err);
        if (ret && ret != -ESRCH)
            serai_note(b->s, SERAI_LOG_WARNING, "%s", err.text);
    }
}

int serai_balance_round(struct serai_balance *b, uint64_t keep_kib, struct serai_error *err)
{
    int ret = balance_look(b, err);
    if (ret || !b->count)
        return ret;
    uint64_t *out = calloc(b->count, sizeof(*out));
    if (!out)
        return err_set(err, -ENOMEM, "out of memory");
    balance_act(b, keep_kib, out);
    free(out);
    return b->count > INT_MAX ? INT_MAX : (int)b->count;
}

// ---- room for a new guest -------------------------------------------------------------------

static void room_path(const struct serai *s, const uint8_t uuid[16], char path[PATH_MAX])
{
    char text[SERAI_UUID_TEXT];
    snprintf(path, PATH_MAX, "%s/wanted/%s", s->state_dir, serai_uuid_format(uuid, text));
}

static int room_begin(struct serai *s, const uint8_t uuid[16], uint64_t kib,
                      struct serai_error *err)
{
    char path[PATH_MAX], text[32];
    snprintf(path, sizeof(path), "%s/wanted", s->state_dir);
    int ret = file_make_dirs(path, 0755);
    if (ret)
        return err_sys(err, ret, "cannot make %s", path);
    room_path(s, uuid, path);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(err, -errno, "cannot make %s", path);
    int len = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)kib);
    ret = flock(fd, LOCK_EX | LOCK_NB) ? -errno : file_write_all(fd, text, (size_t)len);
    if (ret) {
        close(fd);
        return err_sys(err, ret, "cannot write %s", path);
    }
    return fd;
}

void balancer_room_end(struct serai *s, const uint8_t uuid[16], int fd)
{
    char path[PATH_MAX];
    if (fd < 0)
        return;
    room_path(s, uuid, path);
    unlink(path);
    close(fd);
}

// What the guests could give at most.
static uint64_t room_possible(const struct serai_balance *b)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < b->count; i++)
        if (b->guests[i].actual > b->guests[i].min)
            sum += b->guests[i].actual - b->guests[i].min;
    return sum;
}

static int room_refuse(const struct serai_balance *b, uint64_t kib, struct serai_error *err)
{
    unsigned long long want = kib / KIB_PER_MB, have = b->free_kib / KIB_PER_MB;
    if (!b->count)
        return err_set(err, -ENOMEM, "memory: %llu MB wanted, but only %llu MB are free", want,
                       have);
    return err_set(err, -ENOMEM,
                   "memory: %llu MB wanted, but only %llu MB are free, and %llu MB of other guests "
                   "are above their minimum",
                   want, have, (unsigned long long)room_possible(b) / KIB_PER_MB);
}

// As long as it becomes more now and then.
static int room_wait(struct serai_balance *b, uint64_t kib, struct serai_error *err)
{
    enum { LOOK_MS = 100, ROUND_LOOKS = 10, PATIENCE_MS = 15000 };
    uint64_t most = b->free_kib;
    unsigned idle_ms = 0;
    for (unsigned look = 0; b->free_kib < kib; look++, idle_ms += LOOK_MS) {
        struct serai_host host;
        int ret =
            look % ROUND_LOOKS ? serai_host_get(b->s, &host, err) : serai_balance_round(b, 0, err);
        if (ret < 0)
            return ret;
        if (look % ROUND_LOOKS)
            b->free_kib = balance_free(&host);
        if (b->free_kib > most) {
            most = b->free_kib;
            idle_ms = 0;
        }
        if (serai_cancelled(b->s))
            return err_set(err, -ECANCELED, "cancelled");
        if (idle_ms >= PATIENCE_MS)
            return room_refuse(b, kib, err);
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
    }
    return 0;
}

int balancer_make_room(struct serai *s, const struct serai_host *host, const uint8_t uuid[16],
                       uint64_t kib, int *fd, struct serai_error *err)
{
    struct serai_balance b = {.s = s};
    *fd = -1;
    if (balance_free(host) >= kib)
        return 0;
    int ret = balance_look(&b, err);
    if (!ret && b.free_kib < kib) {
        if (b.free_kib + room_possible(&b) < kib)
            ret = room_refuse(&b, kib, err);
        else
            *fd = room_begin(s, uuid, kib, err);
        if (!ret && *fd < 0)
            ret = *fd;
        if (!ret)
            ret = room_wait(&b, kib, err);
        if (ret) {
            balancer_room_end(s, uuid, *fd);
            *fd = -1;
        }
    }
    free(b.guests);
    return ret;
}
