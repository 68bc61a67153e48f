// SPDX-License-Identifier: BSD-2-Clause
#include "transaction.h"

#include "mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// Only what the connection's own domain will own is counted: others' limits do not apply to it.
static void transaction_tally(void *arg, unsigned owner, int nodes, long bytes)
{
    struct transaction *tx = arg;
    (void)bytes;
    if (owner == tx->conn->who.domid)
        tx->nodes += nodes;
}

static void transaction_charge(struct transaction *tx, size_t bytes)
{
    tx->bytes += (long)bytes;
    tx->conn->domain->use.bytes += (long)bytes;
}

struct transaction *transaction_find(struct conn *c, uint32_t id)
{
    struct transaction *tx = c->transactions;
    while (tx && tx->id != id)
        tx = tx->next;
    return tx;
}

struct transaction *transaction_new(struct conn *c, uint32_t id)
{
    while (!id) {
        id = c->next_tx_id++;
        if (id && transaction_find(c, id))
            id = 0;
    }
    if (id >= c->next_tx_id)
        c->next_tx_id = id + 1;
    struct transaction *tx = mem_alloc(sizeof(*tx));
    tx->conn = c;
    tx->id = id;
    tx->base = node_ref(c->store->tree.root);
    tree_snapshot(&tx->tree, tx->base, transaction_tally, tx);
    tx->next = c->transactions;
    c->transactions = tx;
    c->domain->use.transactions++;
    transaction_charge(tx, sizeof(*tx));
    return tx;
}

static void transaction_forget_deps(struct transaction *tx)
{
    for (uint32_t i = 0; i < tx->dep_cap; i++)
        free(tx->deps[i].path);
    free(tx->deps);
    tx->deps = NULL;
    tx->dep_cap = tx->dep_count = 0;
}

void transaction_free(struct transaction *tx)
{
    struct conn *c = tx->conn;
    for (struct transaction **p = &c->transactions; *p; p = &(*p)->next) {
        if (*p == tx) {
            *p = tx->next;
            break;
        }
    }
    c->domain->use.transactions--;
    c->domain->use.bytes -= tx->bytes;
    transaction_forget_deps(tx);
    buf_free(&tx->changes);
    tree_free(&tx->tree);
    node_unref(tx->base);
    free(tx);
}

// ---- what it relies on --------------------------------------------------------------------

static uint32_t dep_hash(const char *path)
{
    uint32_t h = 2166136261u; // FNV-1a
    for (; *path; path++)
        h = (h ^ (uint8_t)*path) * 16777619u;
    return h;
}

static struct dep *dep_place(struct dep *deps, uint32_t cap, uint32_t hash, const char *path)
{
    uint32_t i = hash & (cap - 1);
    while (deps[i].path && (deps[i].hash != hash || strcmp(deps[i].path, path) != 0))
        i = (i + 1) & (cap - 1);
    return &deps[i];
}

static void deps_grow(struct transaction *tx)
{
    uint32_t cap = tx->dep_cap ? tx->dep_cap * 2 : 16;
    struct dep *deps = mem_alloc(cap * sizeof(*deps));
    for (uint32_t i = 0; i < tx->dep_cap; i++)
        if (tx->deps[i].path)
            *dep_place(deps, cap, tx->deps[i].hash, tx->deps[i].path) = tx->deps[i];
    free(tx->deps);
    transaction_charge(tx, (cap - tx->dep_cap) * sizeof(*deps));
    tx->deps = deps;
    tx->dep_cap = cap;
}

// Whether a guest may have one more path noted.
static int transaction_afford(const struct transaction *tx, const char *path)
{
    const struct conn *c = tx->conn;
    if (c->who.privileged)
        return 0;
    if (tx->dep_count >= c->store->limits.tx_nodes)
        return -ENOSPC;
    long bytes = c->domain->use.bytes + (long)strlen(path) + 1;
    return bytes > (long)c->store->limits.memory ? -ENOMEM : 0;
}

int transaction_depend(struct transaction *tx, const char *path, unsigned flags)
{
    if (tx->doomed)
        return 0;
    if (tx->dep_count * 2 >= tx->dep_cap)
        deps_grow(tx);
    uint32_t hash = dep_hash(path);
    struct dep *d = dep_place(tx->deps, tx->dep_cap, hash, path);
    if (!d->path) {
        int ret = transaction_afford(tx, path);
        if (ret)
            return ret;
        *d = (struct dep){.hash = hash, .path = mem_copy_string(path)};
        tx->dep_count++;
        transaction_charge(tx, strlen(path) + 1);
    }
    d->flags |= flags;
    return 0;
}

static bool dep_broken(const struct dep *d, const struct node *then, const struct node *now)
{
    if (then == now)
        return false;
    if (!then || !now || then->birth != now->birth || (d->flags & DEP_ALL_BELOW))
        return true;
    return ((d->flags & DEP_VALUE) && then->value_gen != now->value_gen) ||
           ((d->flags & DEP_PERMS) && then->perms_gen != now->perms_gen) ||
           ((d->flags & DEP_KIDS) && then->kids_gen != now->kids_gen);
}

int transaction_check(struct transaction *tx)
{
    struct store *s = tx->conn->store;
    if (tx->doomed)
        return -EAGAIN;
    if (s->tree.root == tx->base)
        return 0;
    for (uint32_t i = 0; i < tx->dep_cap; i++) {
        const struct dep *d = &tx->deps[i];
        if (!d->path)
            continue;
        const struct node *now = tree_find(s->tree.root, d->path);
        if (!dep_broken(d, tree_find(tx->base, d->path), now))
            continue;
        unsigned owner = now ? now->perms->list[0].domid : 0;
        s->conflicts++;
        if (owner && tx->conn->who.privileged && s->host && s->host->throttle)
            s->host->throttle(s->host_arg, owner);
        return -EAGAIN;
    }
    return 0;
}

// ---- what it does -------------------------------------------------------------------------

void transaction_change(struct transaction *tx, const struct change *c)
{
    size_t before = tx->changes.len;
    change_encode(&tx->changes, c);
    // What is new in its tree costs about as much as what describes it.
    transaction_charge(tx, 2 * (tx->changes.len - before));
    tx->change_count++;
    change_apply(&tx->tree, c);
}

void transaction_doom(struct transaction *tx)
{
    struct record_reader r = {.at = tx->changes.data, .left = tx->changes.len};
    struct change c;
    tx->doomed = true;
    transaction_forget_deps(tx);
    tree_free(&tx->tree);
    node_unref(tx->base);
    tx->base = node_ref(tx->conn->store->tree.root);
    tx->nodes = 0;
    tree_snapshot(&tx->tree, tx->base, transaction_tally, tx);
    while (change_decode(&r, &c) > 0)
        change_apply(&tx->tree, &c);
}
