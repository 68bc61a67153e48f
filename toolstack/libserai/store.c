// SPDX-License-Identifier: BSD-2-Clause
#include "store.h"

#include "xsclient.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STORE_BACK_MS = 5000, STORE_TRIES = 200, STORE_LOOK_MS = 500, STORE_LOSSES = 8 };

static int64_t store_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// -EAGAIN: its socket is there, but nobody listens.
static int store_open_once(struct xsc **c)
{
    int ret = *c ? 0 : xsc_open(c);
    return ret == -ECONNREFUSED ? -EAGAIN : ret == -ENOENT ? -ENOTCONN : ret;
}

// A daemon that was there a moment ago is probably being restarted: `came` when it was seen by us,
// otherwise its socket says so.
static int store_await(struct xsc **c, bool came)
{
    int64_t end_ms = store_now_ms() + STORE_BACK_MS;
    for (;;) {
        int ret = store_open_once(c);
        if (ret != -EAGAIN && !(ret == -ENOTCONN && came))
            return ret;
        if (store_now_ms() >= end_ms)
            return -ENOTCONN;
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
}

static int store_reopen(struct xsc **c)
{
    xsc_close(*c);
    *c = NULL;
    return store_await(c, true);
}

// A daemon that did not come back while we waited for it is not waited for again.
static int store_open_client(struct serai *s)
{
    int ret = s->store_missing ? store_open_once(&s->store) : store_await(&s->store, false);
    s->store_missing = ret == -EAGAIN || ret == -ENOTCONN;
    return ret == -EAGAIN ? -ENOTCONN : ret;
}

static int store_open(struct serai *s)
{
    pthread_mutex_lock(&s->lock);
    int ret = store_open_client(s);
    pthread_mutex_unlock(&s->lock);
    return ret;
}

bool store_served(struct serai *s)
{
    return !store_open(s);
}

int store_connect(struct serai *s, struct serai_error *err)
{
    int ret = store_open(s);
    if (ret == -ENOTCONN)
        return err_set(err, ret, "xenstore is not served here (is its daemon running?)");
    return ret ? err_sys(err, ret, "cannot connect to the xenstore daemon") : 0;
}

void store_close(struct serai *s)
{
    xsc_close(s->store);
    s->store = NULL;
}

// Outside transactions every request may be repeated, so a lost connection is made again: true when
// there is a new one. The daemon may be killed again before it has answered, but not for ever.
static bool store_again(struct serai *s, int *ret, unsigned *losses)
{
    if (*ret != -ECONNRESET || ++*losses > STORE_LOSSES)
        return false;
    s->store_generation++;
    *ret = store_reopen(&s->store);
    return !*ret;
}

// A transaction is lost with the connection it was begun on, whoever replaced that.
static int store_call_locked(struct serai *s, uint32_t type, struct store_tx *t,
                             const struct iovec *parts, unsigned count, char **reply, size_t *len)
{
    bool inside = t && t->id;
    unsigned losses = 0;
    if (inside && t->generation != s->store_generation)
        return -ECONNRESET;
    int ret = store_open_client(s);
    if (!ret)
        do
            ret = xsc_call(s->store, type, inside ? t->id : 0, parts, count, reply, len);
        while (!inside && store_again(s, &ret, &losses));
    if (t && !inside)
        t->generation = s->store_generation;
    return ret;
}

static int store_call(struct serai *s, uint32_t type, struct store_tx *t, const struct iovec *parts,
                      unsigned count, char **reply, size_t *len)
{
    pthread_mutex_lock(&s->lock);
    int ret = store_call_locked(s, type, t, parts, count, reply, len);
    pthread_mutex_unlock(&s->lock);
    return ret;
}

static int store_path(char path[STORE_PATH_MAX], const char *fmt, va_list ap)
{
    int n = vsnprintf(path, STORE_PATH_MAX, fmt, ap);
    return n < 0 || n >= STORE_PATH_MAX ? -ENAMETOOLONG : 0;
}

#define STORE_PATH(path, fmt, ret)              \
    char path[STORE_PATH_MAX];                  \
    va_list path##_ap;                          \
    va_start(path##_ap, fmt);                   \
    int ret = store_path(path, fmt, path##_ap); \
    va_end(path##_ap)

static int store_get(struct serai *s, struct store_tx *t, const char *path, char **value)
{
    struct iovec part = {(void *)(uintptr_t)path, strlen(path) + 1};
    return store_call(s, XS_READ, t, &part, 1, value, NULL);
}

static int store_put(struct serai *s, struct store_tx *t, const char *path, const char *value)
{
    struct iovec parts[] = {{(void *)(uintptr_t)path, strlen(path) + 1},
                            {(void *)(uintptr_t)value, strlen(value)}};
    return store_call(s, XS_WRITE, t, parts, 2, NULL, NULL);
}

static int store_drop(struct serai *s, struct store_tx *t, const char *path)
{
    struct iovec part = {(void *)(uintptr_t)path, strlen(path) + 1};
    int ret = store_call(s, XS_RM, t, &part, 1, NULL, NULL);
    return ret == -ENOENT ? 0 : ret;
}

char *store_read(struct serai *s, const char *fmt, ...)
{
    STORE_PATH(path, fmt, ret);
    char *value = NULL;
    if (!ret)
        ret = store_get(s, NULL, path, &value);
    errno = -ret;
    return value;
}

// Answers of an earlier connection count as well: every request may be repeated.
static int store_call_many(struct serai *s, uint32_t type, char *const *paths, unsigned count,
                           struct xsc_answer *answers)
{
    unsigned losses = 0;
    pthread_mutex_lock(&s->lock);
    int ret = store_open_client(s);
    if (!ret)
        do
            ret = xsc_call_many(s->store, type, paths, count, answers);
        while (store_again(s, &ret, &losses));
    pthread_mutex_unlock(&s->lock);
    return ret;
}

int store_read_many(struct serai *s, char *const *paths, unsigned count, char **values)
{
    struct xsc_answer *answers = calloc(count + 1, sizeof(*answers));
    int ret = answers ? store_call_many(s, XS_READ, paths, count, answers) : -ENOMEM;
    for (unsigned i = 0; i < count; i++)
        values[i] = ret ? NULL : answers[i].text;
    free(answers);
    return ret;
}

int store_read_number(struct serai *s, int64_t *out, const char *fmt, ...)
{
    STORE_PATH(path, fmt, ret);
    char *value = NULL, *end;
    if (!ret)
        ret = store_get(s, NULL, path, &value);
    if (ret)
        return ret;
    errno = 0;
    long long n = strtoll(value, &end, 10);
    ret = errno || end == value || *end ? -EINVAL : 0;
    if (!ret)
        *out = n;
    free(value);
    return ret;
}

int store_write(struct serai *s, const char *value, const char *fmt, ...)
{
    STORE_PATH(path, fmt, ret);
    return ret ? ret : store_put(s, NULL, path, value);
}

int store_remove(struct serai *s, const char *fmt, ...)
{
    STORE_PATH(path, fmt, ret);
    return ret ? ret : store_drop(s, NULL, path);
}

// A directory that is too large for one message comes in parts; each begins with a generation
// that must stay the same, and the last ends with an empty name.
static int store_list_parts(struct serai *s, const char *path, char **names, size_t *len)
{
    char offset[16], generation[32] = "", *all = NULL;
    size_t total = 0;
    for (;;) {
        char *part = NULL;
        size_t n = 0;
        snprintf(offset, sizeof(offset), "%zu", total);
        struct iovec parts[] = {{(void *)(uintptr_t)path, strlen(path) + 1},
                                {offset, strlen(offset) + 1}};
        int ret = store_call(s, XS_DIRECTORY_PART, NULL, parts, 2, &part, &n);
        size_t head = ret ? 0 : strlen(part) + 1;
        if (!ret && total && strcmp(part, generation) != 0)
            ret = -EAGAIN;
        char *more = ret || head > n ? NULL : realloc(all, total + n - head + 1);
        if (!more) {
            free(part);
            free(all);
            return ret ? ret : -EIO;
        }
        all = more;
        snprintf(generation, sizeof(generation), "%s", part);
        memcpy(all + total, part + head, n - head);
        total += n - head;
        free(part);
        if (n == head || (total >= 2 && !all[total - 1] && !all[total - 2]) || !*all)
            break;
    }
    while (total >= 2 && !all[total - 1] && !all[total - 2])
        total--;
    *names = all;
    *len = total;
    return 0;
}

char **store_list(struct serai *s, unsigned *count, const char *fmt, ...)
{
    STORE_PATH(path, fmt, ret);
    struct iovec part = {path, strlen(path) + 1};
    char *names = NULL;
    size_t len = 0;
    if (!ret)
        ret = store_call(s, XS_DIRECTORY, NULL, &part, 1, &names, &len);
    if (ret == -E2BIG)
        for (unsigned tries = 0; tries < STORE_TRIES; tries++) {
            ret = store_list_parts(s, path, &names, &len);
            if (ret != -EAGAIN) // else it changed between the parts
                break;
        }
    *count = 0;
    if (ret) {
        errno = -ret;
        return NULL;
    }
    unsigned n = 0;
    for (size_t i = 0; i < len; i++)
        n += !names[i];
    char **list = malloc((n + 1) * sizeof(*list) + len + 1);
    if (list) {
        char *text = (char *)(list + n + 1);
        memcpy(text, names, len);
        text[len] = '\0';
        for (unsigned i = 0; i < n; i++, text += strlen(text) + 1)
            list[i] = text;
        list[n] = NULL;
        *count = n;
    }
    free(names);
    errno = ENOMEM;
    return list;
}

int store_list_many(struct serai *s, char *const *paths, unsigned count, char **names)
{
    struct xsc_answer *answers = calloc(count + 1, sizeof(*answers));
    int ret = answers ? store_call_many(s, XS_DIRECTORY, paths, count, answers) : -ENOMEM;
    for (unsigned i = 0; i < count; i++) {
        names[i] = ret ? NULL : answers[i].text; // has a spare NUL byte at its end
        size_t len = 0;
        if (!ret && answers[i].ret == -E2BIG && !store_list_parts(s, paths[i], &names[i], &len)) {
            char *more = realloc(names[i], len + 2);
            if (more)
                memset(more + len, 0, 2);
            else
                free(names[i]);
            names[i] = more;
        }
    }
    free(answers);
    return ret;
}

int store_introduce(struct serai *s, uint32_t domain, uint64_t mfn, uint32_t port)
{
    char text[3][24];
    snprintf(text[0], sizeof(text[0]), "%u", domain);
    snprintf(text[1], sizeof(text[1]), "%llu", (unsigned long long)mfn);
    snprintf(text[2], sizeof(text[2]), "%u", port);
    struct iovec parts[3];
    for (unsigned i = 0; i < 3; i++)
        parts[i] = (struct iovec){text[i], strlen(text[i]) + 1};
    return store_call(s, XS_INTRODUCE, NULL, parts, 3, NULL, NULL);
}

int store_release(struct serai *s, uint32_t domain)
{
    char text[24];
    snprintf(text, sizeof(text), "%u", domain);
    struct iovec part = {text, strlen(text) + 1};
    return store_call(s, XS_RELEASE, NULL, &part, 1, NULL, NULL);
}

static int store_tx_begin(struct store_tx *t)
{
    struct iovec empty = {(void *)(uintptr_t) "", 1};
    char *reply = NULL;
    t->error = 0;
    t->path[0] = '\0';
    t->id = 0;
    int ret = store_call(t->s, XS_TRANSACTION_START, t, &empty, 1, &reply, NULL);
    t->id = ret ? 0 : (uint32_t)strtoul(reply, NULL, 10);
    free(reply);
    return ret;
}

static int store_tx_end(struct store_tx *t)
{
    struct iovec how = {(void *)(uintptr_t)(t->error ? "F" : "T"), 2};
    int ret = store_call(t->s, XS_TRANSACTION_END, t, &how, 1, NULL, NULL);
    return t->error ? t->error : ret;
}

int store_transaction(struct serai *s, store_tx_fn *fn, void *arg, struct serai_error *err)
{
    struct store_tx t = {.s = s};
    int ret = store_connect(s, err);
    if (ret)
        return ret;
    for (unsigned tries = 0; tries < STORE_TRIES; tries++) {
        ret = store_tx_begin(&t);
        if (ret)
            break;
        fn(&t, arg);
        ret = store_tx_end(&t);
        if (ret == -ECONNRESET) // the next beginning makes a new connection
            ret = -EAGAIN;
        if (ret != -EAGAIN)
            break;
    }
    return ret ? err_sys(err, ret, "cannot write to xenstore%s%s", t.path[0] ? ": " : "", t.path)
               : 0;
}

// Remembers the first failure.
static void tx_note(struct store_tx *t, int ret, const char *path)
{
    if (!ret || t->error)
        return;
    t->error = ret;
    snprintf(t->path, sizeof(t->path), "%s", path);
}

static int tx_path(char path[STORE_PATH_MAX], const char *dir, const char *key)
{
    int n = snprintf(path, STORE_PATH_MAX, "%s%s%s", dir, key ? "/" : "", key ? key : "");
    return n < 0 || n >= STORE_PATH_MAX ? -ENAMETOOLONG : 0;
}

void tx_write(struct store_tx *t, const char *dir, const char *key, const char *fmt, ...)
{
    char path[STORE_PATH_MAX], value[XENSTORE_PAYLOAD_MAX];
    va_list ap;
    if (t->error)
        return;
    va_start(ap, fmt);
    int n = vsnprintf(value, sizeof(value), fmt, ap);
    va_end(ap);
    int ret = n < 0 || (size_t)n >= sizeof(value) ? -E2BIG : tx_path(path, dir, key);
    tx_note(t, ret ? ret : store_put(t->s, t, path, value), dir);
}

char *tx_read(struct store_tx *t, const char *dir, const char *key)
{
    char path[STORE_PATH_MAX], *value = NULL;
    if (t->error)
        return NULL;
    int ret = tx_path(path, dir, key);
    if (!ret)
        ret = store_get(t->s, t, path, &value);
    tx_note(t, ret == -ENOENT ? 0 : ret, path);
    return value;
}

void tx_remove(struct store_tx *t, const char *dir, const char *key)
{
    char path[STORE_PATH_MAX];
    if (t->error)
        return;
    int ret = tx_path(path, dir, key);
    tx_note(t, ret ? ret : store_drop(t->s, t, path), path);
}

void tx_node(struct store_tx *t, const char *dir, const char *key, uint32_t owner, uint32_t other,
             enum store_access access)
{
    char path[STORE_PATH_MAX], perms[2][24];
    if (t->error)
        return;
    snprintf(perms[0], sizeof(perms[0]), "n%u", owner);
    snprintf(perms[1], sizeof(perms[1]), "%c%u", (char)access, other);
    int ret = tx_path(path, dir, key);
    struct iovec parts[] = {{path, strlen(path) + 1},
                            {perms[0], strlen(perms[0]) + 1},
                            {perms[1], strlen(perms[1]) + 1}};
    if (!ret)
        ret = store_call(t->s, XS_MKDIR, t, parts, 1, NULL, NULL);
    if (!ret)
        ret = store_call(t->s, XS_SET_PERMS, t, parts, other == owner ? 2 : 3, NULL, NULL);
    tx_note(t, ret, path);
}

static int store_watch(struct xsc *c, const char *path)
{
    static const char token[] = "wait";
    struct iovec parts[] = {{(void *)(uintptr_t)path, strlen(path) + 1},
                            {(void *)(uintptr_t)token, sizeof(token)}};
    return xsc_call(c, XS_WATCH, 0, parts, 2, NULL, NULL);
}

// Takes all events that are there: 1 when there were any, 0, or -errno.
static int store_take(struct xsc *c)
{
    char *event = NULL;
    int ret, any = 0;
    while ((ret = xsc_event(c, 0, &event)) == 1) {
        free(event);
        any = 1;
    }
    return ret < 0 ? ret : any;
}

// Sleeps until something happens; a restarted daemon has forgotten the watch.
static int store_sleep(struct serai *s, struct xsc **c, const char *path, int64_t ms)
{
    int ret = store_take(*c);
    if (!ret) {
        struct pollfd p[] = {{.fd = xsc_fd(*c), .events = POLLIN},
                             {.fd = s->cancel_fd, .events = POLLIN}};
        poll(p, 2, (int)ms);
        if (p[1].revents)
            return -ECANCELED;
        ret = store_take(*c);
    }
    if (ret == -ECONNRESET) {
        ret = store_reopen(c);
        if (!ret)
            ret = store_watch(*c, path);
    }
    return ret < 0 && ret != -ECONNRESET ? ret : 0;
}

int store_wait(struct serai *s, const char *path, unsigned timeout_ms, store_done_fn *done,
               void *arg)
{
    int64_t end_ms = store_now_ms() + timeout_ms;
    struct xsc *c = NULL;
    int ret = done(s, arg);
    if (ret)
        return ret;
    ret = store_reopen(&c);
    if (!ret)
        ret = store_watch(c, path);
    if (ret == -ECONNRESET) // store_sleep() makes the next one
        ret = 0;
    while (!ret) {
        int64_t left = end_ms - store_now_ms();
        if (left <= 0)
            ret = -ETIMEDOUT;
        else
            ret = store_sleep(s, &c, path, left < STORE_LOOK_MS ? left : STORE_LOOK_MS);
        int said = ret == -ECANCELED ? 0 : done(s, arg);
        if (said)
            ret = said;
    }
    xsc_close(c);
    return ret;
}
