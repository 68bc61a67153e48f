// SPDX-License-Identifier: BSD-2-Clause
// What happens to a guest that has ended.
#include "lifed.h"

#include "log.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// A guest that ends this soon after it was made waits for the rest before it is made again, so
// that one that cannot boot does not keep the machine busy.
enum { LIFE_MIN_MS = 2000 };

static enum serai_action act_choose(const struct serai_config *c, unsigned reason)
{
    switch (reason) {
    case SERAI_SHUTDOWN_POWEROFF:
        return c->on_poweroff;
    case SERAI_SHUTDOWN_REBOOT:
        return c->on_reboot;
    case SERAI_SHUTDOWN_SUSPEND:
        return SERAI_ACTION_PRESERVE; // whoever suspended it knows what comes next
    case SERAI_SHUTDOWN_WATCHDOG:
        return c->on_watchdog;
    }
    return c->on_crash;
}

// How long the domain has to wait until it may be made again.
static uint64_t act_wait_ms(const struct lifed *l, uint32_t id)
{
    char path[PATH_MAX];
    struct stat st;
    struct timespec now;
    snprintf(path, sizeof(path), "%s/%u", serai_domain_dir(l->s), id);
    if (stat(path, &st) || clock_gettime(CLOCK_REALTIME, &now))
        return 0;
    int64_t age_ms = (int64_t)(now.tv_sec - st.st_mtim.tv_sec) * 1000 +
                     (now.tv_nsec - st.st_mtim.tv_nsec) / 1000000;
    return age_ms >= 0 && age_ms < LIFE_MIN_MS ? (uint64_t)(LIFE_MIN_MS - age_ms) : 0;
}

static void act_restart(struct lifed *l, const struct serai_domain *d, const struct serai_config *c,
                        bool keep)
{
    struct serai_error err;
    struct serai_create how = {.start = true};
    uint32_t id;
    int ret =
        keep ? serai_domain_set_aside(l->s, d->id, &err) : serai_domain_destroy(l->s, d->id, &err);
    if (!ret)
        ret = serai_domain_create(l->s, c, &how, &id, &err);
    if (ret)
        log_error("%s: cannot be made again: %s", d->name, err.text);
    else
        log_info("%s: made again as domain %u", d->name, id);
}

static bool act_again(enum serai_action action)
{
    return action == SERAI_ACTION_RESTART || action == SERAI_ACTION_RENAME_RESTART ||
           action == SERAI_ACTION_COREDUMP_RESTART;
}

static bool act_dumps(enum serai_action action)
{
    return action == SERAI_ACTION_COREDUMP_DESTROY || action == SERAI_ACTION_COREDUMP_RESTART;
}

// What is kept of ends is for those who wait right now.
void lifed_forget_ends(struct lifed *l)
{
    enum { KEPT_SECONDS = 60 };
    char path[PATH_MAX];
    struct stat st;
    snprintf(path, sizeof(path), "%s/ended", l->state_dir);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (e->d_name[0] != '.' && !fstatat(dirfd(dir), e->d_name, &st, 0) &&
            time(NULL) - st.st_mtime > KEPT_SECONDS)
            unlinkat(dirfd(dir), e->d_name, 0);
    if (dir)
        closedir(dir);
}

static void act_now(struct lifed *l, const struct serai_domain *d, const struct serai_config *c)
{
    struct serai_error err;
    enum serai_action action = act_choose(c, d->shutdown_reason);
    if (action == SERAI_ACTION_PRESERVE)
        return;
    log_info("%s (domain %u): ended (%s)", d->name, d->id, serai_shutdown_name(d->shutdown_reason));
    serai_domain_note_end(l->s, d); // no more than a courtesy
    if (act_dumps(action))
        dump_domain(l, d);
    if (act_again(action))
        act_restart(l, d, c, action == SERAI_ACTION_RENAME_RESTART);
    else if (serai_domain_destroy(l->s, d->id, &err))
        log_error("%s: %s", d->name, err.text);
}

static bool act_needed(const struct serai_domain *d)
{
    return (d->flags & SERAI_DOMAIN_SHUTDOWN) && (d->flags & SERAI_DOMAIN_MANAGED) &&
           !(d->flags & SERAI_DOMAIN_DYING);
}

int lifed_act(struct lifed *l, uint32_t id)
{
    struct serai_domain d;
    struct serai_config *c;
    struct serai_error err;
    int ret = worker_claim(l, id);
    if (ret < 0) {
        log_error("cannot claim domain %u: %s", id, strerror(-ret));
        return 1;
    }
    // Whoever had it before may have done everything.
    if (!serai_domain_get(l->s, id, &d, NULL) && act_needed(&d) &&
        !serai_domain_config(l->s, id, &c, &err)) {
        act_now(l, &d, c);
        serai_config_free(c);
    }
    worker_done(l, id);
    return 0;
}

// What takes its time is left to a worker.
static void act_on(struct lifed *l, const struct serai_domain *d)
{
    struct serai_config *c;
    struct serai_error err;
    if (serai_domain_config(l->s, d->id, &c, &err)) {
        log_error("%s: %s", d->name, err.text);
        return;
    }
    enum serai_action action = act_choose(c, d->shutdown_reason);
    uint64_t wait = act_again(action) ? act_wait_ms(l, d->id) : 0;
    if (wait)
        loop_arm(l->later, wait, 0);
    else if (act_again(action) || act_dumps(action))
        worker_start(l, d->id);
    else
        act_now(l, d, c);
    serai_config_free(c);
}

void lifed_look(struct lifed *l)
{
    struct serai_domain *list;
    size_t count;
    struct serai_error err;
    if (serai_domain_list(l->s, &list, &count, &err)) {
        log_error("%s", err.text);
        return;
    }
    for (size_t i = 0; i < count; i++)
        if (act_needed(&list[i]))
            act_on(l, &list[i]);
    free(list);
}
