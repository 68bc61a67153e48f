// SPDX-License-Identifier: BSD-2-Clause
// A pairing heap with the links inside the elements: the smallest key first, no allocation, removal
// of any element. Keys are compared by signed difference, so that they may wrap. No locking.
//
//   root -- child --> c1 -- next --> c2 -- next --> c3
//                     |prev: parent  |prev: c1
#pragma once

#include "lib/types.h"

struct heap_node {
    uint64_t key;
    struct heap_node *child, *next; // first child; next sibling
    struct heap_node *prev;         // previous sibling, or the parent of a first child
};

struct heap {
    struct heap_node *root; // the minimum; NULL: empty
};

static inline bool heap_key_before(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b) < 0;
}

// n must not be in a heap.
void heap_insert(struct heap *h, struct heap_node *n, uint64_t key);
// n must be in h.
void heap_remove(struct heap *h, struct heap_node *n);
// Walk all elements in no particular order: NULL to start, NULL at the end. The heap must not
// change.
struct heap_node *heap_walk(const struct heap *h, struct heap_node *n);
