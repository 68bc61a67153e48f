// SPDX-License-Identifier: BSD-2-Clause
#include "tree.h"

#include "mem.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t tree_generation(void)
{
    static uint64_t last;
    if (!last) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        last = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    }
    return ++last;
}

// ---- values and nodes ---------------------------------------------------------------------

static struct value *value_new(const void *data, size_t len)
{
    if (!len)
        return NULL;
    struct value *v = mem_alloc(sizeof(*v) + len);
    v->refs = 1;
    v->len = (uint32_t)len;
    memcpy(v->data, data, len);
    return v;
}

static void value_unref(struct value *v)
{
    if (v && !--v->refs)
        free(v);
}

static size_t node_size(size_t name_len)
{
    return offsetof(struct node, name) + name_len + 1; // less than sizeof, which ends aligned
}

// Takes the reference to `perms`.
static struct node *node_new(const char *name, size_t len, struct perms *perms)
{
    struct node *n = mem_alloc(node_size(len));
    n->refs = 1;
    n->perms = perms;
    n->name_len = (uint16_t)len;
    memcpy(n->name, name, len);
    n->birth = n->value_gen = n->perms_gen = n->kids_gen = tree_generation();
    return n;
}

struct node *node_ref(struct node *n)
{
    n->refs++;
    return n;
}

// As deep as a path has components (1536): within any stack.
void node_unref(struct node *n)
{
    if (!n || --n->refs)
        return;
    for (uint32_t i = 0; i < n->kid_count; i++)
        node_unref(n->kids[i]);
    free(n->kids);
    perms_unref(n->perms);
    value_unref(n->value);
    free(n);
}

static struct node *node_copy(const struct node *n)
{
    struct node *c = mem_alloc(node_size(n->name_len));
    memcpy(c, n, node_size(n->name_len));
    c->refs = 1;
    c->kids = mem_array(c->kid_count ? (size_t)1 << c->kid_order : 0, sizeof(struct node *));
    for (uint32_t i = 0; i < n->kid_count; i++)
        c->kids[i] = node_ref(n->kids[i]);
    perms_ref(c->perms);
    if (c->value)
        c->value->refs++;
    return c;
}

size_t node_value_len(const struct node *n)
{
    return n->value ? n->value->len : 0;
}

const char *node_value(const struct node *n)
{
    return n->value ? n->value->data : "";
}

size_t node_payload(const struct node *n)
{
    return node_value_len(n) + perms_bytes(n->perms);
}

long node_bytes(const struct node *n)
{
    return (long)(sizeof(*n) + sizeof(struct node *) + n->name_len + 1 + node_payload(n));
}

// The place of a child among its siblings: where it is (true) or would be (false).
static bool node_place(const struct node *n, const char *name, size_t len, uint32_t *at)
{
    uint32_t low = 0, high = n->kid_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        const struct node *k = n->kids[mid];
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

const struct node *node_kid(const struct node *n, const char *name, size_t len)
{
    uint32_t at;
    return node_place(n, name, len, &at) ? n->kids[at] : NULL;
}

static void node_insert(struct node *n, uint32_t at, struct node *kid)
{
    if (!n->kids || n->kid_count >> n->kid_order) {
        n->kid_order = n->kids ? n->kid_order + 1 : 2;
        n->kids = mem_resize(n->kids, sizeof(struct node *) << n->kid_order);
    }
    memmove(&n->kids[at + 1], &n->kids[at], (n->kid_count - at) * sizeof(struct node *));
    n->kids[at] = kid;
    n->kid_count++;
    n->kids_gen = kid->birth;
}

static struct node *node_take(struct node *n, uint32_t at)
{
    struct node *kid = n->kids[at];
    n->kid_count--;
    memmove(&n->kids[at], &n->kids[at + 1], (n->kid_count - at) * sizeof(struct node *));
    n->kids_gen = tree_generation();
    return kid;
}

// ---- looking ------------------------------------------------------------------------------

const struct node *tree_nearest(const struct node *root, const char *path, size_t *len)
{
    const struct node *n = root;
    const char *rest = path, *name;
    size_t name_len;
    *len = 0;
    while ((name = path_step(&rest, &name_len))) {
        const struct node *kid = node_kid(n, name, name_len);
        if (!kid)
            break;
        n = kid;
        *len = (size_t)(rest - path);
    }
    return n;
}

const struct node *tree_find(const struct node *root, const char *path)
{
    const struct node *n = root;
    const char *name;
    size_t len;
    while (n && (name = path_step(&path, &len)))
        n = node_kid(n, name, len);
    return n;
}

const struct node *tree_find_n(const struct node *root, const char *path, size_t len)
{
    path_text copy;
    if (len >= sizeof(copy))
        return NULL;
    memcpy(copy, path, len);
    copy[len] = '\0';
    return tree_find(root, copy);
}

// ---- changing -----------------------------------------------------------------------------

static void tree_count(struct tree *t, const struct node *n, int nodes, long bytes)
{
    if (t->tally)
        t->tally(t->tally_arg, n->perms->list[0].domid, nodes, bytes);
}

static void tree_count_all(struct tree *t, const struct node *n, int sign)
{
    tree_count(t, n, sign, sign * node_bytes(n));
    for (uint32_t i = 0; i < n->kid_count; i++)
        tree_count_all(t, n->kids[i], sign);
}

void tree_init(struct tree *t, tree_tally_fn *tally, void *arg)
{
    static const struct perm nobody = {.domid = 0, .access = 0};
    *t = (struct tree){.tally = tally, .tally_arg = arg};
    t->root = node_new("", 0, perms_new(&nobody, 1));
    tree_count(t, t->root, 1, node_bytes(t->root));
}

void tree_snapshot(struct tree *t, struct node *from, tree_tally_fn *tally, void *arg)
{
    *t = (struct tree){.root = node_ref(from), .tally = tally, .tally_arg = arg};
}

void tree_free(struct tree *t)
{
    node_unref(t->root);
    t->root = NULL;
}

// Makes what *slot holds ours alone. Only below nodes that are ours alone.
static struct node *node_own(struct node **slot)
{
    if ((*slot)->refs > 1) {
        struct node *copy = node_copy(*slot);
        node_unref(*slot);
        *slot = copy;
    }
    return *slot;
}

// The node at `path`, ours alone; with `create`, missing ones are made, otherwise NULL.
static struct node *tree_edit(struct tree *t, const char *path, bool create, unsigned creator)
{
    struct node *n = node_own(&t->root);
    const char *name;
    size_t len;
    while ((name = path_step(&path, &len))) {
        uint32_t at;
        if (!node_place(n, name, len, &at)) {
            if (!create)
                return NULL;
            struct perms *perms =
                creator ? perms_with_owner(n->perms, creator) : perms_ref(n->perms);
            struct node *kid = node_new(name, len, perms);
            node_insert(n, at, kid);
            tree_count(t, kid, 1, node_bytes(kid));
        }
        n = node_own(&n->kids[at]);
    }
    return n;
}

const struct node *tree_write(struct tree *t, const char *path, unsigned creator, const void *data,
                              size_t len)
{
    struct node *n = tree_edit(t, path, true, creator);
    tree_count(t, n, 0, (long)len - (long)node_value_len(n));
    value_unref(n->value);
    n->value = value_new(data, len);
    n->value_gen = tree_generation();
    return n;
}

const struct node *tree_mkdir(struct tree *t, const char *path, unsigned creator)
{
    return tree_edit(t, path, true, creator);
}

const struct node *tree_set_perms(struct tree *t, const char *path, struct perms *perms)
{
    struct node *n = tree_find(t->root, path) ? tree_edit(t, path, false, 0) : NULL;
    if (!n) {
        perms_unref(perms);
        return NULL;
    }
    tree_count(t, n, -1, -node_bytes(n));
    perms_unref(n->perms);
    n->perms = perms;
    n->perms_gen = tree_generation();
    tree_count(t, n, 1, node_bytes(n));
    return n;
}

struct node *tree_remove(struct tree *t, const char *path)
{
    path_text parent_path;
    size_t parent_len = path_parent_length(path);
    if (!path[1] || !tree_find(t->root, path))
        return NULL;
    memcpy(parent_path, path, parent_len);
    parent_path[parent_len] = '\0';
    struct node *parent = tree_edit(t, parent_path, false, 0);
    uint32_t at;
    if (!parent || !node_place(parent, path + parent_len + 1, strlen(path + parent_len + 1), &at))
        return NULL;
    struct node *gone = node_take(parent, at);
    tree_count_all(t, gone, -1);
    return gone;
}

// ---- whole trees --------------------------------------------------------------------------

struct walk {
    tree_walk_fn *fn;
    void *arg;
    path_text path;
};

static int walk_node(struct walk *w, const struct node *n, size_t len)
{
    int ret = w->fn(w->arg, len ? w->path : "/", n);
    for (uint32_t i = 0; !ret && i < n->kid_count; i++) {
        const struct node *kid = n->kids[i];
        w->path[len] = '/';
        memcpy(w->path + len + 1, kid->name, kid->name_len + 1u);
        ret = walk_node(w, kid, len + 1 + kid->name_len);
        w->path[len] = '\0';
    }
    return ret;
}

int tree_walk(const struct node *root, tree_walk_fn *fn, void *arg)
{
    struct walk w = {.fn = fn, .arg = arg};
    return walk_node(&w, root, 0);
}

const char *tree_check(const struct node *n)
{
    if (!n->refs || !n->perms || !n->perms->refs || !n->perms->count)
        return "a node without references or permissions";
    if (strlen(n->name) != n->name_len)
        return "a name with a zero in it";
    for (uint32_t i = 0; i < n->kid_count; i++) {
        if (i && strcmp(n->kids[i - 1]->name, n->kids[i]->name) >= 0)
            return "children out of order";
        const char *wrong = tree_check(n->kids[i]);
        if (wrong)
            return wrong;
    }
    return NULL;
}
