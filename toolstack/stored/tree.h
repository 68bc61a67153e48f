// SPDX-License-Identifier: BSD-2-Clause
// The tree of nodes, as a persistent data structure: whoever holds a reference to a root sees
// the tree as it was, for ever, and taking one costs a counter.
//
//      live root ──┐           snapshot of a transaction
//                  v               v
//               [root']         [root]          a change copies the path from the root
//               /     \         /    |          down to it, and only where somebody else
//          [local']    \_______/__[tool]        holds what it would change: a node with one
//           /    \            /                 reference below nodes with one reference
//        [..']  [vm]<---- [local] ->[..]        is changed in place
//
// One thread, no locks.
#pragma once

#include "path.h"
#include "perms.h"

#include <stddef.h>
#include <stdint.h>

struct value { // bytes of a node, immutable and shared
    uint32_t refs;
    uint32_t len;
    char data[];
};

// Most nodes are leaves with a short name: every 16 bytes here are that much for each.
struct node {
    uint32_t refs;
    uint32_t kid_count;
    struct node **kids; // by name; NULL: there never was one
    struct perms *perms;
    struct value *value; // NULL: empty
    // Generations: numbers drawn from tree_generation() when the thing changed last.
    uint64_t birth, value_gen, perms_gen, kids_gen;
    uint16_t name_len;
    uint8_t kid_order; // `kids` has room for 2 to the power of this
    char name[];       // terminated
};

// Told of every node that comes, goes or changes its owner or size.
typedef void tree_tally_fn(void *arg, unsigned owner, int nodes, long bytes);

struct tree {
    struct node *root; // one reference
    tree_tally_fn *tally;
    void *tally_arg;
};

// Generations never repeat, also not after a restart (they start from the clock).
uint64_t tree_generation(void);

// A tree with an empty root that belongs to domain 0 and nobody else may see.
void tree_init(struct tree *t, tree_tally_fn *tally, void *arg);
// A tree that shares everything with `from`.
void tree_snapshot(struct tree *t, struct node *from, tree_tally_fn *tally, void *arg);
void tree_free(struct tree *t);

struct node *node_ref(struct node *n);
void node_unref(struct node *n);
// NULL when there is none. `len` bytes of the path count.
const struct node *tree_find_n(const struct node *root, const char *path, size_t len);
const struct node *tree_find(const struct node *root, const char *path);
// The node itself or the nearest ancestor that exists (at least the root); *len is the length
// of its path.
const struct node *tree_nearest(const struct node *root, const char *path, size_t *len);
// A child by name.
const struct node *node_kid(const struct node *n, const char *name, size_t len);
size_t node_value_len(const struct node *n);
const char *node_value(const struct node *n);
// What the node counts towards its owner's memory.
long node_bytes(const struct node *n);
// What the limit of one node's size is about: its value and permissions.
size_t node_payload(const struct node *n);

// Changes. Paths are absolute and well-formed. Missing parents are made, empty, with the
// permissions of what is above them; `creator` owns what is new (0: the owner above does).
// Each returns the node as it is now, owned by the tree.
const struct node *tree_write(struct tree *t, const char *path, unsigned creator, const void *data,
                              size_t len);
const struct node *tree_mkdir(struct tree *t, const char *path, unsigned creator);
// NULL when there is no such node. Takes the reference that is offered.
const struct node *tree_set_perms(struct tree *t, const char *path, struct perms *perms);
// Takes the node out; the caller has its reference. NULL when there is none or it is the root.
struct node *tree_remove(struct tree *t, const char *path);

// Calls for every node, parents first. The callback may stop the walk with non-zero.
typedef int tree_walk_fn(void *arg, const char *path, const struct node *n);
int tree_walk(const struct node *root, tree_walk_fn *fn, void *arg);
// Whether the tree is what it should be (order, names, references); NULL or what is wrong.
const char *tree_check(const struct node *root);
