// SPDX-License-Identifier: BSD-2-Clause
#include "store.h"

#include "change.h"
#include "mem.h"
#include "transaction.h"
#include "watch.h"

#include <stdlib.h>
#include <string.h>

// How long a guest's transaction may hold on to an old tree.
enum { TRANSACTION_HOLD_MS = 60000 };

static void store_tally(void *arg, unsigned owner, int nodes, long bytes)
{
    struct store *s = arg;
    struct domain *d = domain_get(s, owner);
    if (!d)
        return;
    d->use.nodes = (unsigned)((int)d->use.nodes + nodes);
    d->use.bytes += bytes;
    if (nodes < 0 && !s->loading)
        domain_drop(s, d);
}

void store_init(struct store *s, const struct store_host *host, void *arg)
{
    static const struct perm nobody = {.domid = 0, .access = 0};
    *s = (struct store){
        .host = host, .host_arg = arg, .origin = {.domid = RECORD_NO_ORIGIN, .pos = 0}};
    limits_init(&s->limits);
    for (unsigned i = 0; i < SPECIAL_COUNT; i++)
        s->special[i] = perms_new(&nobody, 1);
    watch_index_init(s);
    tree_init(&s->tree, store_tally, s);
    domain_get(s, 0)->introduced = true;
    tree_mkdir(&s->tree, "/tool/xenstored", 0);
}

void store_free(struct store *s)
{
    for (unsigned i = 0; i < SPECIAL_COUNT; i++)
        perms_unref(s->special[i]);
    tree_free(&s->tree);
    watch_index_free(s);
    for (unsigned i = 0; i < s->domain_count; i++)
        free(s->domains[i]);
    free(s->domains);
}

int store_record(struct store *s, enum record_type type, struct buf *body)
{
    mem_check(body);
    if (s->loading || !s->host || !s->host->record)
        return 0;
    struct record r = {
        .type = (uint8_t)type, .origin = s->origin, .body = body->data, .len = body->len};
    return s->host->record(s->host_arg, &r);
}

void store_loaded(struct store *s)
{
    for (struct conn *c = s->conns; c; c = c->next)
        for (struct transaction *tx = c->transactions; tx; tx = tx->next)
            transaction_doom(tx);
}

void store_housekeep(struct store *s, uint64_t now_ms)
{
    for (struct conn *c = s->conns; c; c = c->next) {
        for (struct transaction *tx = c->transactions; tx; tx = tx->next) {
            if (c->who.privileged && !tx->doomed)
                continue;
            if (!tx->renewed_ms)
                tx->renewed_ms = now_ms;
            if (now_ms - tx->renewed_ms < TRANSACTION_HOLD_MS || tx->base == s->tree.root)
                continue;
            transaction_doom(tx);
            tx->renewed_ms = now_ms;
        }
    }
}

// ---- checking -----------------------------------------------------------------------------

// Counts anew, into domain.counted.
static int check_node(void *arg, const char *path, const struct node *n)
{
    struct domain *d = domain_find(arg, n->perms->list[0].domid);
    (void)path;
    if (!d)
        return n->perms->list[0].domid < DOMID_COUNT;
    d->counted.nodes++;
    d->counted.bytes += node_bytes(n);
    return 0;
}

static void check_conn(const struct conn *c)
{
    struct usage *u = &c->domain->counted;
    for (const struct watch *w = c->watches; w; w = w->next) {
        u->watches++;
        u->bytes += w->bytes;
    }
    for (const struct transaction *tx = c->transactions; tx; tx = tx->next) {
        u->transactions++;
        u->bytes += tx->bytes;
    }
    for (const struct event *e = c->events; e; e = e->next)
        u->bytes += (long)(sizeof(*e) + e->len);
}

static const char *check_usage(const struct usage *have, const struct usage *counted)
{
    if (have->nodes != counted->nodes)
        return "a domain's count of nodes is wrong";
    if (have->watches != counted->watches)
        return "a domain's count of watches is wrong";
    if (have->transactions != counted->transactions)
        return "a domain's count of transactions is wrong";
    return have->bytes != counted->bytes ? "a domain's count of bytes is wrong" : NULL;
}

const char *store_check(struct store *s)
{
    const char *wrong = tree_check(s->tree.root);
    for (unsigned i = 0; i < s->domain_count; i++)
        s->domains[i]->counted = (struct usage){0};
    if (tree_walk(s->tree.root, check_node, s) && !wrong)
        wrong = "a node of a domain that is not known";
    for (const struct conn *c = s->conns; c; c = c->next)
        check_conn(c);
    for (unsigned i = 0; i < s->domain_count && !wrong; i++)
        wrong = check_usage(&s->domains[i]->use, &s->domains[i]->counted);
    return wrong;
}
