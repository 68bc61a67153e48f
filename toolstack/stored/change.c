// SPDX-License-Identifier: BSD-2-Clause
#include "change.h"

#include "mem.h"
#include "watch.h"

#include <errno.h>
#include <string.h>

void change_encode(struct buf *b, const struct change *c)
{
    record_u8(b, (uint8_t)c->kind);
    record_u16(b, (uint16_t)c->creator);
    record_text(b, c->path);
    record_bytes(b, c->data, c->len);
}

int change_decode(struct record_reader *r, struct change *c)
{
    path_text path;
    if (!r->left)
        return 0;
    c->kind = record_get_u8(r);
    c->creator = record_get_u16(r);
    c->path = record_get_text(r);
    c->data = record_get_bytes(r, &c->len);
    bool perms = c->kind == CHANGE_PERMS;
    if (r->bad || c->kind < CHANGE_WRITE || c->kind > CHANGE_PERMS || c->path[0] != '/' ||
        path_resolve(c->path, 0, path) || (perms && (!c->len || c->len % sizeof(struct perm))))
        return -EINVAL;
    return 1;
}

// The bytes of a record are not aligned.
static struct perms *change_perms(const struct change *c)
{
    struct perm list[PERMS_COUNT_MAX];
    size_t count = c->len / sizeof(list[0]);
    if (count > PERMS_COUNT_MAX)
        count = PERMS_COUNT_MAX;
    memcpy(list, c->data, count * sizeof(list[0]));
    return perms_new(list, (uint32_t)count);
}

void change_apply(struct tree *t, const struct change *c)
{
    switch (c->kind) {
    case CHANGE_WRITE:
        tree_write(t, c->path, c->creator, c->data, c->len);
        break;
    case CHANGE_MKDIR:
        tree_mkdir(t, c->path, c->creator);
        break;
    case CHANGE_REMOVE:
        node_unref(tree_remove(t, c->path));
        break;
    case CHANGE_PERMS:
        tree_set_perms(t, c->path, change_perms(c));
        break;
    }
}

static void commit_remove(struct store *s, const struct change *c)
{
    struct node *gone = tree_remove(&s->tree, c->path);
    if (!gone)
        return;
    watch_fire(s, c->path, NULL, gone->perms);
    watch_fire_removed(s, c->path, gone);
    node_unref(gone);
}

static void commit_perms(struct store *s, const struct change *c)
{
    const struct node *n = tree_find(s->tree.root, c->path);
    if (!n)
        return;
    struct perms *before = perms_ref(n->perms);
    n = tree_set_perms(&s->tree, c->path, change_perms(c));
    if (n)
        watch_fire(s, c->path, n->perms, before);
    perms_unref(before);
}

static void change_commit(struct store *s, const struct change *c)
{
    const struct node *n;
    switch (c->kind) {
    case CHANGE_WRITE:
        n = tree_write(&s->tree, c->path, c->creator, c->data, c->len);
        watch_fire(s, c->path, n->perms, NULL);
        break;
    case CHANGE_MKDIR:
        if (tree_find(s->tree.root, c->path))
            break;
        n = tree_mkdir(&s->tree, c->path, c->creator);
        watch_fire(s, c->path, n->perms, NULL);
        break;
    case CHANGE_REMOVE:
        commit_remove(s, c);
        break;
    case CHANGE_PERMS:
        commit_perms(s, c);
        break;
    }
}

int changes_commit(struct store *s, const char *data, size_t len)
{
    struct record_reader r = {.at = data, .left = len};
    struct change c;
    int more;
    while ((more = change_decode(&r, &c)) > 0)
        change_commit(s, &c);
    s->commits++;
    return more;
}
