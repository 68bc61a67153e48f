// SPDX-License-Identifier: BSD-2-Clause
// Watches, indexed by path: a change looks at the watches along its own path only.
#pragma once

#include "store.h"

struct watch {
    struct watch *next;     // of the same connection
    struct watch *dir_next; // at the same path
    struct conn *conn;
    struct watch_dir *dir;
    struct event *last; // the youngest of its events that wait
    size_t skip;        // bytes that a relative watch does not want to see of paths
    char *path;         // as the client gave it
    char *token;
    long bytes;
};

void watch_index_init(struct store *s);
void watch_index_free(struct store *s);

// `path` as the client gave it. -EINVAL, -EEXIST. Without the first event: watch_fire_one().
int watch_add(struct conn *c, const char *path, const char *token);
// Bytes that a watch is charged with.
long watch_cost(const char *path, const char *token);
// -EINVAL, -ENOENT.
int watch_remove(struct conn *c, const char *path, const char *token);
struct watch *watch_find(struct conn *c, const char *path, const char *token);
void watch_remove_all(struct conn *c);
// The event that says "look at all of it".
void watch_fire_one(struct watch *w);

// Something happened to the node at `path`. Connections hear of it that may read what it is
// (`now`, NULL when it is gone), what it was (`before`, may be NULL) or its parent.
void watch_fire(struct store *s, const char *path, const struct perms *now,
                const struct perms *before);
// The nodes at and below `path` have been taken out: those who watch inside hear of their own
// path. After watch_fire() for the path itself.
void watch_fire_removed(struct store *s, const char *path, const struct node *removed);
// @introduceDomain, @releaseDomain.
void watch_fire_special(struct store *s, unsigned special);
// SPECIAL_* of a name with its @, or SPECIAL_COUNT.
unsigned watch_special(const char *name);
const char *watch_special_name(unsigned special);
