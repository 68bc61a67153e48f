// SPDX-License-Identifier: BSD-2-Clause
// Waiting for what becomes of a domain, and ending all of them.
#include "state.h"
#include "store.h"

#include "file.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_LOOK_MS = 250 };

// ---- why a domain ended, when it is gone already ---------------------------------------------

static void ended_path(const struct serai *s, uint32_t id, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/ended/%u", s->state_dir, id);
}

int serai_domain_note_end(struct serai *s, const struct serai_domain *d)
{
    char path[PATH_MAX], text[SERAI_UUID_TEXT + 16], uuid[SERAI_UUID_TEXT];
    snprintf(path, sizeof(path), "%s/ended", s->state_dir);
    int ret = file_make_dirs(path, 0755);
    int len = snprintf(text, sizeof(text), "%s %u\n", serai_uuid_format(d->uuid, uuid),
                       d->shutdown_reason);
    ended_path(s, d->id, path);
    return ret ? ret : file_write_atomic(path, text, (size_t)len, 0644);
}

static bool ended_reason(struct serai *s, const struct serai_domain *d, unsigned *reason)
{
    BUF_AUTO text = {0};
    char path[PATH_MAX], uuid[SERAI_UUID_TEXT];
    ended_path(s, d->id, path);
    if (file_read(path, 256, &text) || !text.data)
        return false;
    return !strncmp(text.data, serai_uuid_format(d->uuid, uuid), SERAI_UUID_TEXT - 1) &&
           sscanf(text.data + SERAI_UUID_TEXT - 1, "%u", reason) == 1;
}

// ---- waiting ---------------------------------------------------------------------------------

static int wait_looking(struct serai *s, unsigned ms, store_done_fn *done, void *arg)
{
    unsigned waited = 0;
    int ret;
    while (!(ret = done(s, arg)) && waited < ms && !serai_cancelled(s)) {
        nanosleep(&(struct timespec){.tv_nsec = WAIT_LOOK_MS * 1000000}, NULL);
        waited += WAIT_LOOK_MS;
    }
    return ret ? ret : serai_cancelled(s) ? -ECANCELED : -ETIMEDOUT;
}

// As store_wait, and without a xenstore by looking now and then.
static int wait_until(struct serai *s, const char *path, int64_t timeout_ms, store_done_fn *done,
                      void *arg)
{
    enum { LONG_MS = 3600 * 1000 };
    int ret;
    do { // the wait of xenstore is a bounded one
        unsigned ms = timeout_ms < 0 || timeout_ms > LONG_MS ? LONG_MS : (unsigned)timeout_ms;
        ret = store_served(s) ? store_wait(s, path, ms, done, arg) : -ENOTCONN;
        if (ret == -ENOTCONN || ret == -ECONNRESET)
            ret = wait_looking(s, ms, done, arg);
        if (timeout_ms > 0)
            timeout_ms -= ms;
    } while (ret == -ETIMEDOUT && timeout_ms);
    return ret;
}

struct wait {
    const char *name;
    enum serai_wait what;
    struct serai_domain first, now; // as it was found, and as it is
    bool found;                     // there is a `first`
    bool gone;                      // it is not there any more
    unsigned reason;                // why, SERAI_WAIT_UNKNOWN: nobody knows
    struct serai_error err;
};

enum { SERAI_WAIT_UNKNOWN = 255 };

// Looks at the domain. A failure other than its absence ends the wait.
static int wait_look(struct serai *s, struct wait *w)
{
    int ret = w->found ? serai_domain_get(s, w->first.id, &w->now, &w->err)
                       : serai_domain_find(s, w->name, &w->now, &w->err);
    if (ret && ret != -ESRCH)
        return ret;
    if (!w->found && !ret) {
        w->found = true;
        w->first = w->now;
    }
    if (!w->found)
        return 0;
    // Another UUID: it was set aside.
    w->gone =
        ret || (w->now.flags & SERAI_DOMAIN_DYING) || memcmp(w->now.uuid, w->first.uuid, 16) != 0;
    if (w->gone && !ended_reason(s, &w->first, &w->reason))
        w->reason = SERAI_WAIT_UNKNOWN;
    else if (!w->gone)
        w->reason =
            w->now.flags & SERAI_DOMAIN_SHUTDOWN ? w->now.shutdown_reason : SERAI_WAIT_UNKNOWN;
    return 0;
}

static bool wait_crashed(const struct wait *w)
{
    return w->reason == SERAI_SHUTDOWN_CRASH || w->reason == SERAI_SHUTDOWN_WATCHDOG;
}

// A guest that is made again has its name and UUID, and another number.
static bool wait_again(struct serai *s, const struct wait *w)
{
    struct serai_domain d;
    return !serai_domain_find(s, w->name, &d, NULL) && d.id != w->first.id &&
           !(d.flags & SERAI_DOMAIN_DYING);
}

static int wait_done(struct serai *s, void *arg)
{
    struct wait *w = arg;
    int ret = wait_look(s, w);
    if (ret)
        return ret;
    if (w->what == SERAI_WAIT_RUNNING) {
        if (w->gone)
            w->found = w->gone = false; // another may come
        return w->found && !(w->now.flags & (SERAI_DOMAIN_PAUSED | SERAI_DOMAIN_SHUTDOWN));
    }
    bool ended = w->gone || (w->now.flags & SERAI_DOMAIN_SHUTDOWN);
    switch (w->what) {
    case SERAI_WAIT_DESTROYED:
        return w->gone;
    case SERAI_WAIT_SHUTDOWN:
        return ended;
    case SERAI_WAIT_CRASHED:
        if (ended && !wait_crashed(w))
            return err_set(&w->err, -EREMCHG, "%s has ended without a crash (%s)", w->name,
                           w->reason == SERAI_WAIT_UNKNOWN ? "it was destroyed"
                                                           : serai_shutdown_name(w->reason));
        return ended;
    default:
        return w->gone && wait_again(s, w);
    }
}

int serai_domain_wait(struct serai *s, const char *name, enum serai_wait what, int64_t timeout_ms,
                      struct serai_error *err)
{
    static const char *const words[] = {"run", "end", "crash", "reboot", "go"};
    struct wait w = {.name = name, .what = what};
    if ((unsigned)what >= sizeof(words) / sizeof(words[0]))
        return err_set(err, -EINVAL, "no such event");
    int ret = wait_look(s, &w);
    if (!ret && !w.found && what != SERAI_WAIT_RUNNING)
        ret = w.err.code;
    if (!ret)
        ret = wait_until(s, w.found ? "@releaseDomain" : "@introduceDomain", timeout_ms, wait_done,
                         &w);
    if (ret > 0)
        return 0;
    if (ret == -ETIMEDOUT)
        return err_set(err, ret, "%s did not %s within %lld s", name, words[what],
                       (long long)(timeout_ms / 1000));
    return err_set(err, ret, "%s", w.err.code ? w.err.text : "cannot wait");
}

// ---- ending all ------------------------------------------------------------------------------

struct stop {
    struct serai_domain *list;
    size_t count;
    bool *asked;
};

static bool stop_over(struct serai *s, const struct serai_domain *d)
{
    struct serai_domain now;
    return serai_domain_get(s, d->id, &now, NULL) ||
           (now.flags & (SERAI_DOMAIN_SHUTDOWN | SERAI_DOMAIN_DYING));
}

static int stop_done(struct serai *s, void *arg)
{
    const struct stop *t = arg;
    for (size_t i = 0; i < t->count; i++)
        if (t->asked[i] && !stop_over(s, &t->list[i]))
            return 0;
    return 1;
}

// Whatever its configuration says, it stays away.
static int stop_note(struct serai_config *c, void *arg)
{
    (void)arg;
    c->on_poweroff = c->on_reboot = c->on_crash = c->on_watchdog = SERAI_ACTION_DESTROY;
    return 0;
}

static bool stop_ask(struct serai *s, const struct serai_domain *d)
{
    struct serai_error why;
    if (d->flags & SERAI_DOMAIN_MANAGED)
        state_change(s, d->id, stop_note, NULL, NULL);
    if (d->flags & SERAI_DOMAIN_PAUSED)
        serai_domain_unpause(s, d->id, NULL);
    if (!serai_domain_request(s, d->id, SERAI_REQUEST_POWEROFF, 0, &why))
        return true;
    if (!stop_over(s, d))
        serai_note(s, SERAI_LOG_WARNING, "%s", why.text);
    return false;
}

// What has not gone by itself.
static int stop_force(struct serai *s, const struct serai_domain *d, struct serai_error *err)
{
    if (!d->id || (d->flags & SERAI_DOMAIN_DYING))
        return 0;
    if (!(d->flags & SERAI_DOMAIN_SHUTDOWN))
        serai_note(s, SERAI_LOG_WARNING, "%s has not shut down: destroying it", d->name);
    int ret = serai_domain_destroy(s, d->id, err);
    return ret == -ESRCH ? 0 : ret;
}

// One that was just being made again shows up late: a few looks find it.
static int stop_rest(struct serai *s, struct serai_error *err)
{
    enum { LOOKS = 3 };
    int result = 0;
    for (unsigned look = 0; look < LOOKS; look++) {
        struct serai_domain *list;
        size_t count;
        int ret = serai_domain_list(s, &list, &count, err);
        if (ret)
            return ret;
        for (size_t i = 0; i < count; i++) {
            ret = stop_force(s, &list[i], result ? NULL : err);
            result = result ? result : ret;
        }
        free(list);
    }
    return result;
}

int serai_guests_stop(struct serai *s, unsigned timeout_ms, struct serai_error *err)
{
    struct stop t = {0};
    int ret = serai_domain_list(s, &t.list, &t.count, err);
    if (ret)
        return ret;
    t.asked = calloc(t.count + 1, sizeof(*t.asked));
    if (!t.asked) {
        free(t.list);
        return err_set(err, -ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < t.count; i++)
        if (t.list[i].id && !(t.list[i].flags & (SERAI_DOMAIN_SHUTDOWN | SERAI_DOMAIN_DYING)))
            t.asked[i] = stop_ask(s, &t.list[i]);
    wait_until(s, "@releaseDomain", timeout_ms, stop_done, &t);
    free(t.asked);
    free(t.list);
    return stop_rest(s, err);
}
