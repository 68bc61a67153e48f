// SPDX-License-Identifier: BSD-2-Clause
#include "watch.h"

#include "mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// A component of a watched path. Exists while something at or below it is watched.
struct watch_dir {
    struct watch_dir *up;
    struct watch_dir **kids; // by name
    uint32_t kid_count, kid_cap;
    struct watch *first, **end;
    uint16_t name_len;
    char name[];
};

static struct watch_dir *dir_new(struct watch_dir *up, const char *name, size_t len)
{
    struct watch_dir *d = mem_alloc(sizeof(*d) + len + 1);
    d->up = up;
    d->end = &d->first;
    d->name_len = (uint16_t)len;
    memcpy(d->name, name, len);
    return d;
}

static void dir_free(struct watch_dir *d)
{
    free(d->kids);
    free(d);
}

static bool dir_place(const struct watch_dir *d, const char *name, size_t len, uint32_t *at)
{
    uint32_t low = 0, high = d->kid_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        const struct watch_dir *k = d->kids[mid];
        int order = path_order(k->name, k->name_len, name, len);
        if (!order) {
            *at = mid;
            return true;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    *at = low;
    return false;
}

static struct watch_dir *dir_kid(const struct watch_dir *d, const char *name, size_t len)
{
    uint32_t at;
    return dir_place(d, name, len, &at) ? d->kids[at] : NULL;
}

static struct watch_dir *dir_make_kid(struct watch_dir *d, const char *name, size_t len)
{
    uint32_t at;
    if (dir_place(d, name, len, &at))
        return d->kids[at];
    if (d->kid_count == d->kid_cap) {
        d->kid_cap = d->kid_cap ? d->kid_cap * 2 : 4;
        d->kids = mem_resize(d->kids, d->kid_cap * sizeof(struct watch_dir *));
    }
    memmove(&d->kids[at + 1], &d->kids[at], (d->kid_count - at) * sizeof(struct watch_dir *));
    d->kids[at] = dir_new(d, name, len);
    d->kid_count++;
    return d->kids[at];
}

// Removes components that nobody needs any more.
static void dir_prune(struct watch_dir *d)
{
    while (d->up && !d->first && !d->kid_count) {
        struct watch_dir *up = d->up;
        uint32_t at;
        if (dir_place(up, d->name, d->name_len, &at)) {
            up->kid_count--;
            memmove(&up->kids[at], &up->kids[at + 1],
                    (up->kid_count - at) * sizeof(struct watch_dir *));
        }
        dir_free(d);
        d = up;
    }
}

void watch_index_init(struct store *s)
{
    s->watches = dir_new(NULL, "", 0);
    for (unsigned i = 0; i <= SPECIAL_COUNT; i++)
        s->special_watches[i] = dir_new(NULL, "@", 1);
}

void watch_index_free(struct store *s)
{
    dir_free(s->watches);
    for (unsigned i = 0; i <= SPECIAL_COUNT; i++)
        dir_free(s->special_watches[i]);
}

static const char *const special_names[] = {"@introduceDomain", "@releaseDomain"};

unsigned watch_special(const char *name)
{
    unsigned n = 0;
    while (n < SPECIAL_COUNT && strcmp(special_names[n], name) != 0)
        n++;
    return n;
}

const char *watch_special_name(unsigned special)
{
    return special_names[special];
}

// Where a path's watches are; with `make`, made when there are none yet.
static int watch_dir_of(struct conn *c, const char *path, bool make, struct watch_dir **out)
{
    struct store *s = c->store;
    path_text full;
    if (path[0] == '@') {
        *out = s->special_watches[watch_special(path)];
        return strlen(path) > XENSTORE_REL_PATH_MAX ? -EINVAL : 0;
    }
    int ret = path_resolve(path, c->who.domid, full);
    if (ret)
        return ret;
    struct watch_dir *d = s->watches;
    const char *rest = full, *name;
    size_t len;
    while (d && (name = path_step(&rest, &len)))
        d = make ? dir_make_kid(d, name, len) : dir_kid(d, name, len);
    *out = d;
    return 0;
}

static struct watch *watch_in_dir(const struct watch_dir *d, const struct conn *c, const char *path,
                                  const char *token)
{
    for (struct watch *w = d ? d->first : NULL; w; w = w->dir_next)
        if (w->conn == c && !strcmp(w->path, path) && !strcmp(w->token, token))
            return w;
    return NULL;
}

struct watch *watch_find(struct conn *c, const char *path, const char *token)
{
    struct watch_dir *d;
    return watch_dir_of(c, path, false, &d) ? NULL : watch_in_dir(d, c, path, token);
}

// The index has a record for each component, with its place in a list: charged to every watch, as
// if none were shared.
long watch_cost(const char *path, const char *token)
{
    size_t bytes = sizeof(struct watch) + strlen(path) + strlen(token) + 2;
    size_t len;
    while (path_step(&path, &len))
        bytes += sizeof(struct watch_dir) + 4 * sizeof(struct watch_dir *) + len + 1;
    return (long)bytes;
}

int watch_add(struct conn *c, const char *path, const char *token)
{
    struct watch_dir *d;
    int ret = watch_dir_of(c, path, true, &d);
    if (ret)
        return ret;
    if (watch_in_dir(d, c, path, token))
        return -EEXIST;
    struct watch *w = mem_alloc(sizeof(*w));
    w->conn = c;
    w->dir = d;
    w->path = mem_copy_string(path);
    w->token = mem_copy_string(token);
    w->skip = path[0] == '/' || path[0] == '@' ? 0 : path_home_length(c->who.domid);
    w->bytes = watch_cost(path, token);
    w->next = c->watches;
    c->watches = w;
    *d->end = w;
    d->end = &w->dir_next;
    c->domain->use.watches++;
    c->domain->use.bytes += w->bytes;
    return 0;
}

static void watch_free(struct watch *w)
{
    struct watch_dir *d = w->dir;
    conn_forget_watch(w->conn, w);
    struct watch **p = &d->first;
    while (*p != w)
        p = &(*p)->dir_next;
    *p = w->dir_next;
    if (!*p)
        d->end = p;
    w->conn->domain->use.watches--;
    w->conn->domain->use.bytes -= w->bytes;
    dir_prune(d);
    free(w->path);
    free(w->token);
    free(w);
}

int watch_remove(struct conn *c, const char *path, const char *token)
{
    struct watch_dir *d;
    int ret = watch_dir_of(c, path, false, &d);
    struct watch *w = ret ? NULL : watch_in_dir(d, c, path, token);
    if (!w)
        return ret ? ret : -ENOENT;
    struct watch **p = &c->watches;
    while (*p != w)
        p = &(*p)->next;
    *p = w->next;
    watch_free(w);
    return 0;
}

void watch_remove_all(struct conn *c)
{
    while (c->watches) {
        struct watch *w = c->watches;
        c->watches = w->next;
        watch_free(w);
    }
}

// ---- events -------------------------------------------------------------------------------

void watch_fire_one(struct watch *w)
{
    conn_event(w->conn, w, w->path);
}

struct firing {
    const char *path;
    const struct perms *now, *before, *parent;
};

static bool firing_seen_by(const struct firing *f, const struct who *who)
{
    return who->privileged || (f->now && (perms_access(f->now, who) & PERM_READ)) ||
           (f->before && (perms_access(f->before, who) & PERM_READ)) ||
           (f->parent && (perms_access(f->parent, who) & PERM_READ));
}

static void firing_at(const struct firing *f, const struct watch_dir *d)
{
    const struct conn *asked = NULL; // one with many watches is asked once
    bool seen = false;
    for (struct watch *w = d->first; w; w = w->dir_next) {
        if (w->conn != asked)
            seen = firing_seen_by(f, &w->conn->who);
        asked = w->conn;
        if (seen)
            conn_event(w->conn, w, f->path + w->skip);
    }
}

void watch_fire(struct store *s, const char *path, const struct perms *now,
                const struct perms *before)
{
    const struct node *parent =
        path[1] ? tree_find_n(s->tree.root, path, path_parent_length(path)) : NULL;
    struct firing f = {path, now, before, parent ? parent->perms : NULL};
    const struct watch_dir *d = s->watches;
    const char *rest = path, *name;
    size_t len;
    while (d) {
        firing_at(&f, d);
        name = path_step(&rest, &len);
        d = name ? dir_kid(d, name, len) : NULL;
    }
}

// Goes down where there are both watches and removed nodes.
static void fire_below(char *path, size_t len, const struct watch_dir *d, const struct node *n)
{
    for (uint32_t i = 0; i < d->kid_count; i++) {
        const struct watch_dir *k = d->kids[i];
        const struct node *kid = node_kid(n, k->name, k->name_len);
        if (!kid)
            continue;
        path[len] = '/';
        memcpy(path + len + 1, k->name, k->name_len + 1u);
        struct firing f = {path, NULL, kid->perms, n->perms};
        firing_at(&f, k);
        fire_below(path, len + 1 + k->name_len, k, kid);
        path[len] = '\0';
    }
}

void watch_fire_removed(struct store *s, const char *path, const struct node *removed)
{
    path_text copy;
    const struct watch_dir *d = s->watches;
    const char *rest = path, *name;
    size_t len;
    while (d && (name = path_step(&rest, &len)))
        d = dir_kid(d, name, len);
    if (!d)
        return;
    len = strlen(path);
    memcpy(copy, path, len + 1);
    fire_below(copy, len, d, removed);
}

void watch_fire_special(struct store *s, unsigned special)
{
    for (struct watch *w = s->special_watches[special]->first; w; w = w->dir_next)
        if (perms_access(s->special[special], &w->conn->who) & PERM_READ)
            conn_event(w->conn, w, w->path);
}
