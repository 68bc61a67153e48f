// SPDX-License-Identifier: BSD-2-Clause
#include "store.h"

#include "log.h"
#include "xsclient.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { STORE_RETRY_MS = 250, STORE_TRIES = 50 };

struct store {
    struct loop *loop;
    const struct store_calls *calls;
    void *arg;
    struct xsc *client;
    struct loop_source *source, *retry;
    int poke_fd; // an eventfd: events may have come while an answer was awaited
    bool told;   // that there is no daemon
};

static void store_lost(struct store *s)
{
    if (!s->client)
        return;
    log_warn("the connection to xenstore is lost");
    loop_remove(s->source);
    xsc_close(s->client);
    s->client = NULL;
    s->source = NULL;
    loop_arm(s->retry, STORE_RETRY_MS, 0);
}

static int store_call(struct store *s, uint32_t type, uint32_t tx, const struct iovec *parts,
                      unsigned count, char **reply, size_t *len)
{
    if (!s->client)
        return -ENOTCONN;
    int ret = xsc_call(s->client, type, tx, parts, count, reply, len);
    if (ret == -ECONNRESET || ret == -ENOMEM)
        store_lost(s);
    else
        eventfd_write(s->poke_fd, 1);
    return ret;
}

static struct iovec store_text(const char *text, bool nul)
{
    return (struct iovec){(void *)(uintptr_t)text, strlen(text) + (nul ? 1 : 0)};
}

static int store_call_path(struct store *s, uint32_t type, uint32_t tx, const char *path,
                           char **reply, size_t *len)
{
    struct iovec part = store_text(path, true);
    return store_call(s, type, tx, &part, 1, reply, len);
}

int store_read(struct store *s, const char *path, char **out)
{
    return store_call_path(s, XS_READ, 0, path, out, NULL);
}

// "a\0b\0" into one allocation: pointers, then the text.
static int store_split(char *text, size_t len, char ***names, unsigned *count)
{
    unsigned n = 0;
    for (size_t i = 0; i < len; i++)
        n += !text[i];
    char **list = malloc((n + 1) * sizeof(char *) + len + 1);
    if (!list)
        return -ENOMEM;
    char *at = (char *)(list + n + 1);
    memcpy(at, text, len);
    at[len] = '\0';
    for (unsigned i = 0; i < n; i++) {
        list[i] = at;
        at += strlen(at) + 1;
    }
    *names = list;
    *count = n;
    return 0;
}

// A directory too large for one message comes in parts, each with a generation in front.
static int store_list_parts(struct store *s, const char *path, char **text, size_t *len)
{
    char offset[24], *part;
    size_t part_len;
    *text = NULL;
    *len = 0;
    for (;;) {
        snprintf(offset, sizeof(offset), "%zu", *len);
        struct iovec ask[2] = {store_text(path, true), store_text(offset, true)};
        int ret = store_call(s, XS_DIRECTORY_PART, 0, ask, 2, &part, &part_len);
        size_t head = ret ? 0 : strlen(part) + 1;
        if (ret || head >= part_len) {
            if (!ret)
                free(part);
            return ret;
        }
        // The last part ends with an empty name.
        bool last = part_len - head == 1 || !part[part_len - 2];
        size_t add = part_len - head - (last ? 1 : 0);
        char *grown = realloc(*text, *len + add + 1);
        if (grown) {
            memcpy(grown + *len, part + head, add);
            *text = grown;
            *len += add;
        }
        free(part);
        if (!grown)
            return -ENOMEM;
        if (last)
            return 0;
    }
}

int store_list(struct store *s, const char *path, char ***names, unsigned *count)
{
    char *text = NULL;
    size_t len = 0;
    int ret = store_call_path(s, XS_DIRECTORY, 0, path, &text, &len);
    if (ret == -E2BIG)
        ret = store_list_parts(s, path, &text, &len);
    if (!ret)
        ret = store_split(text ? text : (char *)"", len, names, count);
    free(text);
    return ret;
}

static int store_publish_once(struct store *s, uint32_t tx, const char *dir,
                              const struct store_pair *pairs, unsigned count)
{
    char path[XENSTORE_ABS_PATH_MAX], *text = NULL;
    snprintf(path, sizeof(path), "%s/frontend", dir);
    int ret = store_call_path(s, XS_READ, tx, path, &text, NULL);
    if (!ret)
        free(text);
    for (unsigned i = 0; !ret && i < count; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, pairs[i].key);
        struct iovec parts[2] = {store_text(path, true), store_text(pairs[i].value, false)};
        ret = store_call(s, XS_WRITE, tx, parts, 2, NULL, NULL);
    }
    return ret;
}

int store_publish(struct store *s, const char *dir, const struct store_pair *pairs, unsigned count)
{
    int ret = -EAGAIN;
    for (unsigned try = 0; ret == -EAGAIN && try < STORE_TRIES; try++) {
        char *id = NULL;
        ret = store_call_path(s, XS_TRANSACTION_START, 0, "", &id, NULL);
        if (ret)
            return ret;
        uint32_t tx = (uint32_t)strtoul(id, NULL, 10);
        free(id);
        ret = store_publish_once(s, tx, dir, pairs, count);
        int end = store_call_path(s, XS_TRANSACTION_END, tx, ret ? "F" : "T", NULL, NULL);
        if (!ret)
            ret = end;
    }
    return ret;
}

bool store_alive(struct store *s, uint32_t domid)
{
    char text[16], *answer = NULL;
    snprintf(text, sizeof(text), "%u", domid);
    int ret = store_call_path(s, XS_IS_DOMAIN_INTRODUCED, 0, text, &answer, NULL);
    bool alive = ret || !strcmp(answer, "T"); // in doubt it lives
    if (!ret)
        free(answer);
    return alive;
}

int store_watch(struct store *s, const char *path, const char *token)
{
    struct iovec parts[2] = {store_text(path, true), store_text(token, true)};
    return store_call(s, XS_WATCH, 0, parts, 2, NULL, NULL);
}

void store_unwatch(struct store *s, const char *path, const char *token)
{
    struct iovec parts[2] = {store_text(path, true), store_text(token, true)};
    store_call(s, XS_UNWATCH, 0, parts, 2, NULL, NULL);
}

static void store_drain(struct store *s)
{
    char *path;
    int ret = 0;
    while (s->client && (ret = xsc_event(s->client, 0, &path)) == 1) {
        s->calls->changed(s->arg, path, path + strlen(path) + 1);
        free(path);
    }
    if (ret < 0)
        store_lost(s);
}

static void store_on_readable(void *arg, uint32_t events)
{
    (void)events;
    store_drain(arg);
}

static void store_on_poke(void *arg, uint32_t events)
{
    struct store *s = arg;
    eventfd_t count;
    (void)events;
    eventfd_read(s->poke_fd, &count);
    store_drain(s);
}

static void store_connect(void *arg, uint32_t count)
{
    struct store *s = arg;
    (void)count;
    int ret = xsc_open(&s->client);
    if (!ret) {
        s->source = loop_add_fd(s->loop, xsc_fd(s->client), EPOLLIN, store_on_readable, s);
        if (!s->source) {
            xsc_close(s->client);
            s->client = NULL;
            ret = -ENOMEM;
        }
    }
    if (ret) {
        s->client = NULL;
        if (!s->told)
            log_warn("xenstore does not answer (%s); waiting for it", strerror(-ret));
        s->told = true;
        loop_arm(s->retry, STORE_RETRY_MS, 0);
        return;
    }
    s->told = false;
    log_info("connected to xenstore");
    s->calls->back(s->arg);
}

struct store *store_new(struct loop *l, const struct store_calls *calls, void *arg)
{
    struct store *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    *s = (struct store){.loop = l, .calls = calls, .arg = arg};
    s->poke_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->retry = loop_add_timer(l, store_connect, s);
    if (s->poke_fd < 0 || !s->retry || !loop_add_fd(l, s->poke_fd, EPOLLIN, store_on_poke, s)) {
        store_free(s);
        return NULL;
    }
    loop_arm(s->retry, 1, 0);
    return s;
}

void store_free(struct store *s)
{
    if (!s)
        return;
    xsc_close(s->client);
    if (s->poke_fd >= 0)
        close(s->poke_fd);
    free(s);
}
