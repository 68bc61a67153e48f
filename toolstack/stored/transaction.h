// SPDX-License-Identifier: BSD-2-Clause
// Transactions: a snapshot of the tree that its owner changes for himself, a note of what he
// looked at, and the list of his changes. At the end nothing that he looked at may have changed
// in the store; then his changes are made there.
#pragma once

#include "change.h"

// What a transaction relies on about a path. Each implies that the node is (or is not) there.
enum {
    DEP_EXISTS = 1,
    DEP_VALUE = 2,
    DEP_PERMS = 4,
    DEP_KIDS = 8,
    DEP_ALL_BELOW = 16, // the whole subtree, for its removal
};

struct dep {
    uint32_t hash;
    uint32_t flags;
    char *path; // NULL: a free place
};

struct transaction {
    struct transaction *next; // of the same connection
    struct conn *conn;
    uint32_t id;
    bool doomed; // cannot succeed any more: it was open over a restart, or for too long
    struct tree tree;
    struct node *base; // the store when it began
    struct dep *deps;  // by hash, open addressing
    uint32_t dep_count, dep_cap;
    struct buf changes;
    unsigned change_count;
    int nodes; // that its connection's domain will own more (or fewer)
    long bytes;
    uint64_t renewed_ms;
};

// A new one, of a given id (0: the next free).
struct transaction *transaction_new(struct conn *c, uint32_t id);
struct transaction *transaction_find(struct conn *c, uint32_t id);
void transaction_free(struct transaction *tx);

// Notes what is relied upon. -ENOSPC when a guest's transaction is about too many nodes.
int transaction_depend(struct transaction *tx, const char *path, unsigned flags);
// Makes a change that has been allowed.
void transaction_change(struct transaction *tx, const struct change *c);
// -EAGAIN when somebody changed what it relies on.
int transaction_check(struct transaction *tx);
// Lets go of the old tree: the transaction sees today's and its own changes, and will fail.
void transaction_doom(struct transaction *tx);
