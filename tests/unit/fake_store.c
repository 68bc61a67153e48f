// SPDX-License-Identifier: BSD-2-Clause
#include "fake_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_xen.h"
#include "xsclient.h"

#define NODES 4096

bool fake_store_served, fake_store_guest = true, fake_store_blkd_sick, fake_store_full;
unsigned fake_store_introduced, fake_store_busy;

struct node {
    char path[256];
    char value[512];
    char perms[64];
};

struct xsc {
    int unused;
};

static struct node nodes[NODES], saved[NODES];
static unsigned count, saved_count;
static struct xsc connection;

void fake_store_reset(void)
{
    count = saved_count = fake_store_introduced = fake_store_busy = 0;
    fake_store_served = fake_store_blkd_sick = fake_store_full = false;
    fake_store_guest = true;
}

static struct node *find(const char *path)
{
    for (unsigned i = 0; i < count; i++) {
        if (!strcmp(nodes[i].path, path)) {
            return &nodes[i];
        }
    }
    return NULL;
}

const char *fake_store_value(const char *path)
{
    struct node *n = find(path);

    return n ? n->value : NULL;
}

const char *fake_store_perms(const char *path)
{
    struct node *n = find(path);

    return n ? n->perms : NULL;
}

unsigned fake_store_nodes(void)
{
    return count;
}

/* A node and all above it; what is new inherits the permissions of its parent. */
static struct node *make(const char *path)
{
    char parent[256];
    struct node *n = find(path), *above = NULL;
    char *slash;

    if (n) {
        return n;
    }
    snprintf(parent, sizeof(parent), "%s", path);
    slash = strrchr(parent, '/');
    if (slash && slash != parent) {
        *slash = '\0';
        above = make(parent);
    }
    if (count == NODES) {
        abort();
    }
    n = &nodes[count++];
    *n = (struct node){""};
    snprintf(n->path, sizeof(n->path), "%s", path);
    snprintf(n->perms, sizeof(n->perms), "%s", above ? above->perms : "n0");
    return n;
}

static void drop(const char *path)
{
    size_t len = strlen(path);
    unsigned kept = 0;

    for (unsigned i = 0; i < count; i++) {
        bool below = !strncmp(nodes[i].path, path, len) &&
                     (!nodes[i].path[len] || nodes[i].path[len] == '/');

        if (!below) {
            nodes[kept++] = nodes[i];
        }
    }
    count = kept;
}

void fake_store_set(const char *path, const char *value)
{
    snprintf(make(path)->value, sizeof(nodes[0].value), "%s", value);
}

static void set_below(const char *path, const char *key, const char *value)
{
    char full[300];

    snprintf(full, sizeof(full), "%s/%s", path, key);
    fake_store_set(full, value);
}

/* Backends and guests look at what a transaction has left. */
/* The block daemon puts another medium into a drive that is in use. */
static void react_medium(const char *dir)
{
    char path[300], params[512];

    snprintf(path, sizeof(path), "%s/medium", dir);
    const char *medium = fake_store_value(path);
    snprintf(path, sizeof(path), "%s/params", dir);
    snprintf(params, sizeof(params), "%s", fake_store_value(path));
    if (!medium || !strcmp(params, medium)) {
        return;
    }
    set_below(dir, fake_store_blkd_sick ? "error" : "medium",
              fake_store_blkd_sick ? "sick" : params);
}

static void react(void)
{
    char dir[256];

    for (unsigned i = 0; i < count; i++) {
        const char *path = nodes[i].path;
        size_t len = strlen(path);

        if (len < 6 || strcmp(path + len - 6, "/state") != 0 || !strstr(path, "/0/backend/")) {
            continue;
        }
        snprintf(dir, sizeof(dir), "%.*s", (int)len - 6, path);
        if (!strcmp(nodes[i].value, "1")) {
            if (fake_store_blkd_sick) {
                set_below(dir, "error", "sick");
            }
            strcpy(nodes[i].value, fake_store_blkd_sick ? "6" : "2");
        } else if (!strcmp(nodes[i].value, "5") && fake_store_guest) {
            strcpy(nodes[i].value, "6");
        } else if (!strcmp(nodes[i].value, "4") && strstr(path, "/backend/serai/")) {
            react_medium(dir);
        }
    }
}

int xsc_open(struct xsc **out)
{
    if (!fake_store_served) {
        return -ENOENT;
    }
    *out = &connection;
    return 0;
}

void xsc_close(struct xsc *c) {}

int xsc_fd(const struct xsc *c)
{
    return 0;
}

int xsc_event(struct xsc *c, int timeout_ms, char **path)
{
    return fake_store_served ? 0 : -ECONNRESET;
}

static int answer(const char *text, size_t len, char **reply, size_t *reply_len)
{
    if (!reply) {
        return 0;
    }
    *reply = calloc(1, len + 2);
    memcpy(*reply, text, len);
    if (reply_len) {
        *reply_len = len;
    }
    return 0;
}

static int list(const char *path, char **reply, size_t *reply_len)
{
    char names[16384];
    size_t used = 0, len = strlen(path);

    if (!find(path)) {
        return -ENOENT;
    }
    for (unsigned i = 0; i < count; i++) {
        const char *name = nodes[i].path + len;

        if (!strncmp(nodes[i].path, path, len) && *name == '/' && !strchr(name + 1, '/')) {
            strcpy(names + used, name + 1);
            used += strlen(name + 1) + 1;
        }
    }
    return answer(names, used, reply, reply_len);
}

static int end(const char *how)
{
    if (*how == 'F' || fake_store_busy) {
        memcpy(nodes, saved, sizeof(nodes));
        count = saved_count;
    }
    if (*how == 'T' && fake_store_busy) {
        fake_store_busy--;
        return -EAGAIN;
    }
    return 0;
}

static int set_value(const char *path, const struct iovec *value)
{
    struct node *n = make(path);

    if (value->iov_len >= sizeof(n->value)) {
        return -E2BIG;
    }
    memset(n->value, 0, sizeof(n->value));
    memcpy(n->value, value->iov_base, value->iov_len);
    /* A guest empties what it has taken notice of. */
    if (fake_store_guest && strstr(path, "/control/shutdown")) {
        n->value[0] = '\0';
    }
    return 0;
}

static int introduce(int change)
{
    fake_store_introduced += change;
    return 0;
}

static int request(uint32_t type, const struct iovec *parts, unsigned nr, char **reply,
                   size_t *reply_len)
{
    const char *path = parts[0].iov_base;
    struct node *n = find(path);

    switch (type) {
    case XS_READ:
        return n ? answer(n->value, strlen(n->value), reply, reply_len) : -ENOENT;
    case XS_WRITE:
        return set_value(path, &parts[1]);
    case XS_MKDIR:
        make(path);
        return 0;
    case XS_RM:
        drop(path);
        return n ? 0 : -ENOENT;
    case XS_SET_PERMS:
        snprintf(n->perms, sizeof(n->perms), "%s%s%s", (char *)parts[1].iov_base, nr > 2 ? "," : "",
                 nr > 2 ? (char *)parts[2].iov_base : "");
        return 0;
    case XS_DIRECTORY:
        return list(path, reply, reply_len);
    case XS_TRANSACTION_START:
        memcpy(saved, nodes, sizeof(nodes));
        saved_count = count;
        return answer("1", 1, reply, reply_len);
    case XS_TRANSACTION_END:
        return end(path);
    case XS_INTRODUCE:
        return introduce(1);
    case XS_RELEASE:
        return fake_store_introduced ? introduce(-1) : -EINVAL;
    case XS_WATCH:
    case XS_UNWATCH:
        return 0;
    }
    return -ENOSYS;
}

int xsc_call(struct xsc *c, uint32_t type, uint32_t tx, const struct iovec *parts, unsigned nr,
             char **reply, size_t *reply_len)
{
    int ret;

    if (!fake_store_served) {
        return -ECONNRESET;
    }
    if (fake_failing()) {
        return -fake_errno;
    }
    if (fake_store_full && (type == XS_WRITE || type == XS_MKDIR || type == XS_RM ||
                            type == XS_RELEASE || type == XS_INTRODUCE)) {
        return -ENOSPC;
    }
    ret = request(type, parts, nr, reply, reply_len);
    if (type == XS_TRANSACTION_END || !tx) {
        react();
    }
    return ret;
}

int xsc_call_many(struct xsc *c, uint32_t type, char *const *paths, unsigned count,
                  struct xsc_answer *answers)
{
    for (unsigned i = 0; i < count; i++) {
        struct iovec part = {paths[i], strlen(paths[i]) + 1};

        answers[i] = (struct xsc_answer){0};
        answers[i].ret = xsc_call(c, type, 0, &part, 1, &answers[i].text, &answers[i].len);
        if (answers[i].ret == -ECONNRESET) {
            return -ECONNRESET;
        }
    }
    return 0;
}
