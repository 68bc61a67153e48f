// SPDX-License-Identifier: BSD-2-Clause
#include "record.h"

#include "change.h"
#include "mem.h"
#include "transaction.h"
#include "watch.h"

#include <errno.h>
#include <string.h>

// ---- bytes --------------------------------------------------------------------------------

void record_u8(struct buf *b, uint8_t v)
{
    buf_add(b, &v, sizeof(v));
}

void record_u16(struct buf *b, uint16_t v)
{
    buf_add(b, &v, sizeof(v));
}

void record_u32(struct buf *b, uint32_t v)
{
    buf_add(b, &v, sizeof(v));
}

void record_u64(struct buf *b, uint64_t v)
{
    buf_add(b, &v, sizeof(v));
}

void record_text(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text) + 1);
}

void record_bytes(struct buf *b, const void *data, size_t len)
{
    record_u32(b, (uint32_t)len);
    buf_add(b, data, len);
}

static void record_get(struct record_reader *r, void *to, size_t len)
{
    if (r->left < len) {
        r->bad = true;
        r->left = 0;
        memset(to, 0, len);
        return;
    }
    memcpy(to, r->at, len);
    r->at += len;
    r->left -= len;
}

uint8_t record_get_u8(struct record_reader *r)
{
    uint8_t v;
    record_get(r, &v, sizeof(v));
    return v;
}

uint16_t record_get_u16(struct record_reader *r)
{
    uint16_t v;
    record_get(r, &v, sizeof(v));
    return v;
}

uint32_t record_get_u32(struct record_reader *r)
{
    uint32_t v;
    record_get(r, &v, sizeof(v));
    return v;
}

uint64_t record_get_u64(struct record_reader *r)
{
    uint64_t v;
    record_get(r, &v, sizeof(v));
    return v;
}

const char *record_get_text(struct record_reader *r)
{
    const char *text = r->at;
    const char *end = r->left ? memchr(text, '\0', r->left) : NULL;
    if (!end) {
        r->bad = true;
        r->left = 0;
        return "";
    }
    r->left -= (size_t)(end - text) + 1;
    r->at = end + 1;
    return text;
}

const char *record_get_bytes(struct record_reader *r, size_t *len)
{
    *len = record_get_u32(r);
    const char *data = r->at;
    if (r->left < *len) {
        r->bad = true;
        r->left = *len = 0;
        return "";
    }
    r->left -= *len;
    r->at += *len;
    return data;
}

// ---- applying -----------------------------------------------------------------------------

static struct conn *record_conn(struct store *s, unsigned domid)
{
    struct domain *d = domain_find(s, domid);
    return d ? d->conn : NULL;
}

static int apply_commit(struct store *s, struct record_reader *r)
{
    uint16_t domid = record_get_u16(r);
    uint32_t id = record_get_u32(r);
    struct conn *c = record_conn(s, domid);
    struct transaction *tx = c ? transaction_find(c, id) : NULL;
    if (tx)
        transaction_free(tx);
    return r->bad ? -EINVAL : changes_commit(s, r->at, r->left);
}

static int apply_transaction(struct store *s, enum record_type type, struct record_reader *r,
                             struct record_reply *reply)
{
    uint16_t domid = record_get_u16(r);
    uint32_t id = record_get_u32(r);
    struct conn *c = record_conn(s, domid);
    if (type == RECORD_TX_END)
        reply->error = -(int)record_get_u16(r);
    else
        reply->tx_id = id;
    struct transaction *tx = c ? transaction_find(c, id) : NULL;
    if (r->bad || !id)
        return -EINVAL;
    if (type == RECORD_TX_END && tx)
        transaction_free(tx);
    // What it looked at is not known any more: it goes on, and will be told to try again.
    if (type == RECORD_TX_START && c && !tx)
        transaction_new(c, id)->doomed = true;
    return 0;
}

static int apply_watch(struct store *s, enum record_type type, struct record_reader *r)
{
    uint16_t domid = record_get_u16(r);
    bool fire = record_get_u8(r);
    const char *path = record_get_text(r), *token = record_get_text(r);
    struct conn *c = record_conn(s, domid);
    if (r->bad)
        return -EINVAL;
    if (!c)
        return 0;
    if (type == RECORD_UNWATCH)
        return watch_remove(c, path, token) == -EINVAL ? -EINVAL : 0;
    if (watch_add(c, path, token))
        return -EINVAL;
    if (fire)
        watch_fire_one(watch_find(c, path, token));
    return 0;
}

static int apply_special(struct store *s, struct record_reader *r)
{
    uint8_t special = record_get_u8(r);
    size_t len;
    const char *text = record_get_bytes(r, &len);
    struct perms *perms;
    if (r->bad || special >= SPECIAL_COUNT || perms_parse(text, len, &perms))
        return -EINVAL;
    perms_unref(s->special[special]);
    s->special[special] = perms;
    return 0;
}

static int apply_node(struct store *s, struct record_reader *r)
{
    path_text check;
    const char *path = record_get_text(r);
    size_t text_len, len;
    const char *text = record_get_bytes(r, &text_len);
    const char *value = record_get_bytes(r, &len);
    struct perms *perms;
    if (r->bad || path[0] != '/' || path_resolve(path, 0, check) ||
        perms_parse(text, text_len, &perms))
        return -EINVAL;
    tree_write(&s->tree, path, 0, value, len);
    tree_set_perms(&s->tree, path, perms);
    return 0;
}

static int apply_event(struct store *s, struct record_reader *r)
{
    uint16_t domid = record_get_u16(r);
    const char *epath = record_get_text(r), *path = record_get_text(r);
    const char *token = record_get_text(r);
    struct conn *c = record_conn(s, domid);
    struct watch *w = c && !r->bad ? watch_find(c, path, token) : NULL;
    if (r->bad)
        return -EINVAL;
    if (w)
        conn_event(c, w, epath);
    return 0;
}

static int apply_domain(struct store *s, enum record_type type, struct record_reader *r)
{
    uint16_t id = record_get_u16(r);
    uint64_t a = 0;
    uint32_t b = 0;
    if (type == RECORD_INTRODUCE || type == RECORD_DOMAIN || type == RECORD_SEQ)
        a = record_get_u64(r);
    if (type == RECORD_INTRODUCE || type == RECORD_DOMAIN)
        b = record_get_u32(r);
    if (type == RECORD_TARGET)
        b = record_get_u16(r);
    if (type == RECORD_SHUTDOWN)
        b = record_get_u8(r);
    struct conn *c = record_conn(s, id);
    if (r->bad || id >= DOMID_COUNT)
        return -EINVAL;
    switch (type) {
    case RECORD_INTRODUCE:
    case RECORD_DOMAIN:
        return domain_introduce_apply(s, id, a, b);
    case RECORD_RELEASE:
        domain_release_apply(s, id);
        return 0;
    case RECORD_TARGET:
        domain_target_apply(s, id, b);
        return 0;
    case RECORD_SHUTDOWN:
        domain_shutdown_apply(s, id, b);
        return 0;
    case RECORD_RESET:
        if (c)
            conn_reset(c);
        return 0;
    case RECORD_SEQ:
        if (c)
            c->event_seq = a;
        return 0;
    default:
        return -EINVAL;
    }
}

static int apply_limit(struct store *s, struct record_reader *r)
{
    const char *name = record_get_text(r), *value = record_get_text(r);
    return r->bad ? -EINVAL : limits_set(&s->limits, name, value);
}

static int apply_body(struct store *s, enum record_type type, struct record_reader *r,
                      struct record_reply *reply)
{
    switch (type) {
    case RECORD_CHANGES:
        return changes_commit(s, r->at, r->left);
    case RECORD_COMMIT:
        return apply_commit(s, r);
    case RECORD_TX_START:
    case RECORD_TX_END:
        return apply_transaction(s, type, r, reply);
    case RECORD_WATCH:
    case RECORD_UNWATCH:
        return apply_watch(s, type, r);
    case RECORD_LIMIT:
        return apply_limit(s, r);
    case RECORD_SPECIAL:
        return apply_special(s, r);
    case RECORD_NODE:
        return apply_node(s, r);
    case RECORD_EVENT:
        return apply_event(s, r);
    default:
        return apply_domain(s, type, r);
    }
}

int record_apply(struct store *s, const struct record *rec)
{
    struct record_reader r = {.at = rec->body, .left = rec->len};
    struct record_reply reply = {0};
    int ret = apply_body(s, rec->type, &r, &reply);
    struct domain *d = domain_find(s, rec->origin.domid);
    if (!ret && d) {
        d->redo = true;
        d->redo_pos = rec->origin.pos;
        d->redo_reply = reply;
    }
    return ret;
}

// ---- snapshots ----------------------------------------------------------------------------

struct snapshot {
    int (*put)(void *arg, const struct record *r);
    void *arg;
    struct buf body;
};

static int snapshot_put(struct snapshot *sn, enum record_type type)
{
    mem_check(&sn->body);
    struct record r = {.type = (uint8_t)type,
                       .origin = {.domid = RECORD_NO_ORIGIN, .pos = 0},
                       .body = sn->body.data,
                       .len = sn->body.len};
    int ret = sn->put(sn->arg, &r);
    buf_consume(&sn->body, sn->body.len);
    return ret;
}

static int snapshot_node(void *arg, const char *path, const struct node *n)
{
    struct snapshot *sn = arg;
    BUF_AUTO text = {0};
    perms_format(n->perms, &text);
    record_text(&sn->body, path);
    record_bytes(&sn->body, text.data, text.len);
    record_bytes(&sn->body, node_value(n), node_value_len(n));
    return snapshot_put(sn, RECORD_NODE);
}

static int snapshot_settings(struct snapshot *sn, struct store *s)
{
    const char *name;
    for (unsigned n = 0; (name = limits_name(n)); n++) {
        record_text(&sn->body, name);
        buf_printf(&sn->body, "%u", *limits_find(&s->limits, name));
        record_u8(&sn->body, 0);
        int ret = snapshot_put(sn, RECORD_LIMIT);
        if (ret)
            return ret;
    }
    for (unsigned i = 0; i < SPECIAL_COUNT; i++) {
        BUF_AUTO text = {0};
        perms_format(s->special[i], &text);
        record_u8(&sn->body, (uint8_t)i);
        record_bytes(&sn->body, text.data, text.len);
        int ret = snapshot_put(sn, RECORD_SPECIAL);
        if (ret)
            return ret;
    }
    return 0;
}

static int snapshot_domain(struct snapshot *sn, const struct domain *d)
{
    int ret = 0;
    if (d->id) {
        record_u16(&sn->body, (uint16_t)d->id);
        record_u64(&sn->body, d->mfn);
        record_u32(&sn->body, d->port);
        ret = snapshot_put(sn, RECORD_DOMAIN);
    }
    if (!ret && d->has_target) {
        record_u16(&sn->body, (uint16_t)d->id);
        record_u16(&sn->body, (uint16_t)d->target);
        ret = snapshot_put(sn, RECORD_TARGET);
    }
    if (!ret && d->shutdown) {
        record_u16(&sn->body, (uint16_t)d->id);
        record_u8(&sn->body, 1);
        ret = snapshot_put(sn, RECORD_SHUTDOWN);
    }
    return ret;
}

// The youngest is first in the list, and so on: written from the end, the order is kept.
static int snapshot_watches(struct snapshot *sn, uint16_t domid, const struct watch *w)
{
    struct buf list = {0};
    int ret = 0;
    for (; w; w = w->next)
        buf_add(&list, &w, sizeof(w));
    mem_check(&list);
    for (size_t n = list.len / sizeof(w); n > 0 && !ret; n--) {
        memcpy(&w, list.data + (n - 1) * sizeof(w), sizeof(w));
        record_u16(&sn->body, domid);
        record_u8(&sn->body, 0);
        record_text(&sn->body, w->path);
        record_text(&sn->body, w->token);
        ret = snapshot_put(sn, RECORD_WATCH);
    }
    buf_free(&list);
    return ret;
}

// After the domains: making them would cause events.
static int snapshot_conn(struct snapshot *sn, const struct conn *c)
{
    uint16_t domid = (uint16_t)c->who.domid;
    int ret = snapshot_watches(sn, domid, c->watches);
    for (const struct transaction *tx = c->transactions; tx && !ret; tx = tx->next) {
        record_u16(&sn->body, domid);
        record_u32(&sn->body, tx->id);
        ret = snapshot_put(sn, RECORD_TX_START);
    }
    for (const struct event *e = c->events; e && !ret; e = e->next) {
        record_u16(&sn->body, domid);
        record_u64(&sn->body, e->seq - 1);
        ret = snapshot_put(sn, RECORD_SEQ);
        record_u16(&sn->body, domid);
        record_text(&sn->body, e->data + sizeof(struct xsd_sockmsg));
        record_text(&sn->body, e->watch->path);
        record_text(&sn->body, e->watch->token);
        if (!ret)
            ret = snapshot_put(sn, RECORD_EVENT);
    }
    record_u16(&sn->body, domid);
    record_u64(&sn->body, c->event_seq);
    return ret ? ret : snapshot_put(sn, RECORD_SEQ);
}

int record_snapshot(struct store *s, int (*put)(void *arg, const struct record *r), void *arg)
{
    struct snapshot sn = {.put = put, .arg = arg};
    int ret = snapshot_settings(&sn, s);
    if (!ret)
        ret = tree_walk(s->tree.root, snapshot_node, &sn);
    for (unsigned i = 0; i < s->domain_count && !ret; i++)
        if (s->domains[i]->introduced)
            ret = snapshot_domain(&sn, s->domains[i]);
    for (const struct conn *c = s->conns; c && !ret; c = c->next)
        if (c->ring)
            ret = snapshot_conn(&sn, c);
    buf_free(&sn.body);
    return ret;
}
