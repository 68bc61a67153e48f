// SPDX-License-Identifier: BSD-2-Clause
#include "lib/heap.h"

// Join two trees (neither has siblings); the root with the smaller key wins, on a tie the first.
static struct heap_node *meld(struct heap_node *a, struct heap_node *b)
{
    if (heap_key_before(b->key, a->key)) {
        struct heap_node *t = a;
        a = b;
        b = t;
    }
    b->next = a->child;
    if (b->next)
        b->next->prev = b;
    b->prev = a;
    a->child = b;
    return a;
}

// Join a list of siblings: in pairs from the left, then the pairs from the right.
static struct heap_node *meld_siblings(struct heap_node *first)
{
    struct heap_node *pairs = NULL, *root;

    while (first) {
        struct heap_node *a = first, *b = a->next;

        first = b ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b) {
            b->next = b->prev = NULL;
            a = meld(a, b);
        }
        a->next = pairs;
        pairs = a;
    }
    root = pairs;
    if (root) {
        pairs = root->next;
        root->next = NULL;
    }
    while (pairs) {
        struct heap_node *a = pairs;

        pairs = a->next;
        a->next = NULL;
        root = meld(root, a);
    }
    return root;
}

void heap_insert(struct heap *h, struct heap_node *n, uint64_t key)
{
    n->key = key;
    n->child = n->next = n->prev = NULL;
    h->root = h->root ? meld(h->root, n) : n;
}

void heap_remove(struct heap *h, struct heap_node *n)
{
    struct heap_node *rest = meld_siblings(n->child);

    if (n == h->root) {
        h->root = rest;
    } else {
        if (n->prev->child == n)
            n->prev->child = n->next;
        else
            n->prev->next = n->next;
        if (n->next)
            n->next->prev = n->prev;
        if (rest)
            h->root = meld(h->root, rest);
    }
    n->child = n->next = n->prev = NULL;
}

struct heap_node *heap_walk(const struct heap *h, struct heap_node *n)
{
    if (!n)
        return h->root;
    if (n->child)
        return n->child;
    while (n) {
        if (n->next)
            return n->next;
        // Up to the parent: back over the siblings to the first child's prev.
        while (n->prev && n->prev->child != n)
            n = n->prev;
        n = n->prev;
    }
    return NULL;
}
