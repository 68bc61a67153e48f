// SPDX-License-Identifier: BSD-2-Clause
#include "stored_host.h"

#include "watch.h"

#include <errno.h>

char answer[MESSAGE_MAX + 1];
size_t answer_len;
struct xsd_sockmsg answer_head;

static int host_record(void *arg, const struct record *r)
{
    struct host *h = arg;
    if (h->refuse) {
        return -ENOSPC;
    }
    if (h->point) {
        h->point();
    }
    int ret = h->journaled ? journal_append(&h->journal, r) : 0;
    if (h->point) {
        h->point();
    }
    return ret;
}

static int host_ring(void *arg, struct domain *d)
{
    struct host *h = arg;
    if (d->port == 666) {
        return -EINVAL;
    }
    d->conn = calloc(1, sizeof(struct conn));
    struct conn *c = d->conn;
    conn_init(c, &h->store, d, true);
    d->conn = c;
    return 0;
}

static void host_unring(void *arg, struct conn *c)
{
    conn_close(c);
    free(c);
}

static bool host_exists(void *arg, unsigned domid)
{
    struct host *h = arg;
    return domid >= 16 || !h->dead[domid];
}

static void host_wake(void *arg, struct conn *c)
{
    struct host *h = arg;
    h->wakes++;
}

static void host_throttle(void *arg, unsigned domid)
{
    struct host *h = arg;
    h->throttled = domid;
}

static const struct store_host hooks = {.record = host_record,
                                        .connect = host_ring,
                                        .disconnect = host_unring,
                                        .exists = host_exists,
                                        .wake = host_wake,
                                        .throttle = host_throttle};

struct conn *host_connect(struct host *h)
{
    struct conn *c = calloc(1, sizeof(*c));
    conn_init(c, &h->store, domain_get(&h->store, 0), false);
    return c;
}

void host_disconnect(struct conn *c)
{
    conn_close(c);
    free(c);
}

void host_start(struct host *h, const char *path)
{
    memset(h, 0, sizeof(*h));
    store_init(&h->store, &hooks, h);
    if (path) {
        assert_int_equal(journal_open(&h->journal, path, &h->store), 0);
        h->journaled = true;
    }
    h->socket = host_connect(h);
}

void host_stop(struct host *h)
{
    while (h->store.conns) {
        host_disconnect(h->store.conns);
    }
    if (h->journaled) {
        journal_close(&h->journal);
    }
    store_free(&h->store);
}

struct conn *host_guest(struct host *h, unsigned domid)
{
    char id[16];
    snprintf(id, sizeof(id), "%u", domid);
    assert_int_equal(ask(h->socket, XS_INTRODUCE, 0, id, "1000", "2", NULL), 0);
    return domain_find(&h->store, domid)->conn;
}

int ask_raw(struct conn *c, uint32_t type, uint32_t tx, const void *data, size_t len)
{
    static uint32_t id;
    char in[MESSAGE_MAX], out[MESSAGE_MAX];
    struct xsd_sockmsg head = {.type = type, .req_id = ++id, .tx_id = tx, .len = (uint32_t)len};
    assert_true(len <= XENSTORE_PAYLOAD_MAX);
    memcpy(in, &head, sizeof(head));
    memcpy(in + sizeof(head), data, len);
    c->ring_pos += sizeof(head) + (uint32_t)len;
    size_t size = request_run(c, in, out);
    memcpy(&answer_head, out, sizeof(answer_head));
    assert_true(size >= sizeof(head) && answer_head.len == size - sizeof(head));
    assert_int_equal(answer_head.req_id, id);
    assert_int_equal(answer_head.tx_id, tx);
    answer_len = answer_head.len;
    memcpy(answer, out + sizeof(head), answer_len);
    answer[answer_len] = '\0';
    if (answer_head.type != XS_ERROR) {
        assert_int_equal(answer_head.type, type);
        return 0;
    }
    for (size_t i = 0; i < sizeof(xsd_errors) / sizeof(xsd_errors[0]); i++) {
        if (!strcmp(xsd_errors[i].errstring, answer)) {
            return xsd_errors[i].errnum;
        }
    }
    fail_msg("unknown error %s", answer);
    return -1;
}

int ask(struct conn *c, uint32_t type, uint32_t tx, ...)
{
    char data[XENSTORE_PAYLOAD_MAX];
    size_t len = 0;
    va_list ap;
    va_start(ap, tx);
    for (const char *s; (s = va_arg(ap, const char *));) {
        assert_true(len + strlen(s) + 1 <= sizeof(data));
        memcpy(data + len, s, strlen(s) + 1);
        len += strlen(s) + 1;
    }
    va_end(ap);
    return ask_raw(c, type, tx, data, len);
}

int put(struct conn *c, uint32_t tx, const char *path, const char *value)
{
    char data[XENSTORE_PAYLOAD_MAX];
    size_t path_len = strlen(path) + 1, len = strlen(value);
    memcpy(data, path, path_len);
    memcpy(data + path_len, value, len);
    return ask_raw(c, XS_WRITE, tx, data, path_len + len);
}

const char *get(struct conn *c, uint32_t tx, const char *path)
{
    static char text[MESSAGE_MAX + 2];
    int ret = ask(c, XS_READ, tx, path, NULL);
    snprintf(text, sizeof(text), "%s%s", ret ? "!" : "", answer);
    return text;
}

uint32_t begin(struct conn *c)
{
    assert_int_equal(ask(c, XS_TRANSACTION_START, 0, "", NULL), 0);
    uint32_t id = (uint32_t)strtoul(answer, NULL, 10);
    assert_true(id != 0);
    return id;
}

int commit(struct conn *c, uint32_t tx)
{
    return ask(c, XS_TRANSACTION_END, tx, "T", NULL);
}

const char *event(struct conn *c)
{
    static char text[MESSAGE_MAX];
    if (!c->events) {
        return "";
    }
    const char *path = c->events->data + sizeof(struct xsd_sockmsg);
    struct xsd_sockmsg head;
    memcpy(&head, c->events->data, sizeof(head));
    assert_int_equal(head.type, XS_WATCH_EVENT);
    assert_int_equal(head.req_id | head.tx_id, 0);
    assert_int_equal(head.len + sizeof(head), c->events->len);
    snprintf(text, sizeof(text), "%s %s", path, path + strlen(path) + 1);
    conn_event_done(c);
    return text;
}

void no_events(struct conn *c)
{
    while (*event(c)) {
    }
}

static int dump_node(void *arg, const char *path, const struct node *n)
{
    struct buf *out = arg;
    BUF_AUTO perms = {0};
    perms_format(n->perms, &perms);
    buf_printf(out, "%s = \"%.*s\" ", path, (int)node_value_len(n), node_value(n));
    for (size_t i = 0; i < perms.len; i++) {
        buf_add(out, perms.data[i] ? &perms.data[i] : ",", 1);
    }
    buf_puts(out, "\n");
    return 0;
}

static void dump_conn(struct buf *out, const struct conn *c)
{
    buf_printf(out, "ring %u target %u seq %llu:", c->who.domid, c->who.target,
               (unsigned long long)c->event_seq);
    for (const struct watch *w = c->watches; w; w = w->next) {
        buf_printf(out, " [%s %s]", w->path, w->token);
    }
    for (const struct transaction *tx = c->transactions; tx; tx = tx->next) {
        buf_printf(out, " tx%u", tx->id);
    }
    buf_puts(out, "\n");
}

char *dump(struct store *s)
{
    struct buf out = {0};
    tree_walk(s->tree.root, dump_node, &out);
    for (unsigned i = 0; i < s->domain_count; i++) {
        const struct domain *d = s->domains[i];
        unsigned id = d->id;
        if (!d->introduced && !d->use.nodes) {
            continue;
        }
        buf_printf(&out, "domain %u: %u nodes, introduced %d, shutdown %d, mfn %llu, port %u\n", id,
                   d->use.nodes, d->introduced, d->shutdown, (unsigned long long)d->mfn, d->port);
        if (d->conn) {
            dump_conn(&out, d->conn);
        }
    }
    const char *name;
    for (unsigned n = 0; (name = limits_name(n)); n++) {
        buf_printf(&out, "%s=%u\n", name, *limits_find(&s->limits, name));
    }
    return buf_take(&out);
}

const char *sound(struct host *h)
{
    const char *wrong = store_check(&h->store);
    return wrong ? wrong : "";
}
