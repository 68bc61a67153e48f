// SPDX-License-Identifier: BSD-2-Clause
// Operations on what belongs to a connection: watches and transactions.
#include "ops.h"

#include "mem.h"
#include "watch.h"

#include <errno.h>
#include <string.h>

// Only what a ring sets up outlives the daemon.
static int record_watch(struct request *r, enum record_type type, const char *path,
                        const char *token)
{
    BUF_AUTO body = {0};
    if (!r->conn->ring)
        return 0;
    record_u16(&body, (uint16_t)r->conn->who.domid);
    record_u8(&body, 1);
    record_text(&body, path);
    record_text(&body, token);
    return store_record(r->store, type, &body);
}

// A watch's longest event must fit into a message: its path may be as long as a path can be.
static bool token_fits(const char *token)
{
    return strlen(token) + 1 + sizeof(path_text) <= XENSTORE_PAYLOAD_MAX;
}

int op_watch(struct request *r)
{
    const char *arg[2], *rest;
    size_t left;
    struct conn *c = r->conn;
    const struct limits *l = &r->store->limits;
    int ret = request_prefix(r, arg, 2, &rest, &left);
    if (ret)
        return ret;
    if (!token_fits(arg[1]))
        return -EINVAL;
    if (watch_find(c, arg[0], arg[1]))
        return -EEXIST;
    if (!c->who.privileged) {
        if (c->domain->use.watches >= l->watches)
            return -E2BIG;
        if (c->domain->use.bytes + watch_cost(arg[0], arg[1]) > (long)l->memory)
            return -ENOMEM;
    }
    ret = watch_add(c, arg[0], arg[1]);
    if (ret)
        return ret;
    ret = record_watch(r, RECORD_WATCH, arg[0], arg[1]);
    if (ret) {
        watch_remove(c, arg[0], arg[1]);
        return ret;
    }
    r->first_event = watch_find(c, arg[0], arg[1]);
    return 0;
}

int op_unwatch(struct request *r)
{
    const char *arg[2], *rest;
    size_t left;
    int ret = request_prefix(r, arg, 2, &rest, &left);
    if (ret)
        return ret;
    if (watch_find(r->conn, arg[0], arg[1])) {
        ret = record_watch(r, RECORD_UNWATCH, arg[0], arg[1]);
        if (ret)
            return ret;
    }
    return watch_remove(r->conn, arg[0], arg[1]);
}

int op_reset_watches(struct request *r)
{
    BUF_AUTO body = {0};
    int ret = 0;
    if (r->conn->ring) {
        record_u16(&body, (uint16_t)r->conn->who.domid);
        ret = store_record(r->store, RECORD_RESET, &body);
    }
    if (!ret)
        conn_reset(r->conn);
    return ret;
}

// ---- transactions -------------------------------------------------------------------------

int op_transaction_start(struct request *r)
{
    const struct limits *l = &r->store->limits;
    const struct usage *use = &r->conn->domain->use;
    BUF_AUTO body = {0};
    if (r->tx)
        return -EBUSY; // there are none inside others
    if (!r->conn->who.privileged) {
        if (use->transactions >= l->transactions)
            return -ENOSPC;
        if (use->bytes + (long)sizeof(struct transaction) > (long)l->memory)
            return -ENOMEM;
    }
    struct transaction *tx = transaction_new(r->conn, 0);
    if (r->conn->ring) {
        record_u16(&body, (uint16_t)r->conn->who.domid);
        record_u32(&body, tx->id);
        int ret = store_record(r->store, RECORD_TX_START, &body);
        if (ret) {
            transaction_free(tx);
            return ret;
        }
    }
    buf_printf(r->reply, "%u", tx->id);
    buf_add(r->reply, "", 1);
    return 0;
}

// Ends without effect; `error` is what the client is told.
static int transaction_drop(struct request *r, int error)
{
    BUF_AUTO body = {0};
    if (r->conn->ring) {
        record_u16(&body, (uint16_t)r->conn->who.domid);
        record_u32(&body, r->tx->id);
        record_u16(&body, (uint16_t)-error);
        int ret = store_record(r->store, RECORD_TX_END, &body);
        if (ret)
            return ret;
    }
    transaction_free(r->tx);
    return error;
}

static bool transaction_affordable(const struct request *r)
{
    int nodes = (int)r->conn->domain->use.nodes + r->tx->nodes;
    return r->conn->who.privileged || r->tx->nodes <= 0 || nodes <= (int)r->store->limits.nodes;
}

static int transaction_commit(struct request *r)
{
    struct transaction *tx = r->tx;
    BUF_AUTO body = {0};
    if (tx->doomed)
        return transaction_drop(r, -EAGAIN);
    if (!tx->change_count)
        return transaction_drop(r, 0); // what it read was true when it began
    if (transaction_check(tx))
        return transaction_drop(r, -EAGAIN);
    if (!transaction_affordable(r))
        return transaction_drop(r, -ENOSPC);
    record_u16(&body, (uint16_t)r->conn->who.domid);
    record_u32(&body, r->conn->ring ? tx->id : 0);
    size_t head = body.len;
    buf_add(&body, tx->changes.data, tx->changes.len);
    int ret = store_record(r->store, RECORD_COMMIT, &body);
    if (ret)
        return ret;
    transaction_free(tx); // first: its hold on the old tree would make the new one a copy
    return changes_commit(r->store, body.data + head, body.len - head);
}

int op_transaction_end(struct request *r)
{
    const char *how;
    int ret = request_strings(r, &how, 1);
    if (ret)
        return ret;
    if (strcmp(how, "T") != 0 && strcmp(how, "F") != 0)
        return -EINVAL;
    if (!r->tx)
        return -ENOENT;
    return *how == 'T' ? transaction_commit(r) : transaction_drop(r, 0);
}
