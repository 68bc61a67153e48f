// SPDX-License-Identifier: BSD-2-Clause
/* Requests to the xenstore daemon, from a socket and two guests: no crash, all counts right, and a
 * second store that is given the records of the first is the same. */
#include "fuzz.h"
#include "fuzz_store.h"

#include "mem.h"
#include "ops.h"
#include "store.h"
#include "watch.h"

static struct {
    struct record r[4096];
    unsigned count;
} journal;

static int fuzz_record(void *arg, const struct record *r)
{
    (void)arg;
    if (journal.count == sizeof(journal.r) / sizeof(journal.r[0])) {
        return -ENOSPC;
    }
    char *copy = mem_alloc(r->len + 1);
    memcpy(copy, r->body, r->len);
    journal.r[journal.count] = *r;
    journal.r[journal.count++].body = copy;
    return 0;
}

static const struct store_host hooks = {
    .record = fuzz_record, .connect = fuzz_connect, .disconnect = fuzz_disconnect};

static int print_node(void *arg, const char *path, const struct node *n)
{
    BUF_AUTO perms = {0};
    perms_format(n->perms, &perms);
    buf_printf(arg, "%s ", path);
    buf_add(arg, perms.data, perms.len);
    buf_add(arg, node_value(n), node_value_len(n));
    return 0;
}

static void print(struct store *s, struct buf *out)
{
    tree_walk(s->tree.root, print_node, out);
    for (const struct conn *c = s->conns; c; c = c->next) {
        if (!c->ring) {
            continue;
        }
        buf_printf(out, "ring %u target %u seq %llu", c->who.domid, c->who.target,
                   (unsigned long long)c->event_seq);
        for (const struct watch *w = c->watches; w; w = w->next) {
            buf_printf(out, " %s %s", w->path, w->token);
        }
        for (const struct transaction *tx = c->transactions; tx; tx = tx->next) {
            buf_printf(out, " %u", tx->id);
        }
    }
}

static void end(struct store *s)
{
    while (s->conns) {
        fuzz_disconnect(s, s->conns);
    }
    store_free(s);
}

static void request(struct conn *c, uint32_t type, uint32_t tx, const uint8_t *data, size_t len)
{
    char in[MESSAGE_MAX], out[MESSAGE_MAX];
    struct xsd_sockmsg head = {.type = type, .tx_id = tx, .len = (uint32_t)len};
    memcpy(in, &head, sizeof(head));
    memcpy(in + sizeof(head), data, len);
    size_t size = request_run(c, in, out);
    memcpy(&head, out, sizeof(head));
    FUZZ_ASSERT(size == sizeof(head) + head.len && head.len <= XENSTORE_PAYLOAD_MAX);
    FUZZ_ASSERT(head.type == XS_ERROR || head.type == type);
    if (type % 2 && c->events) {
        conn_event_done(c);
    }
}

static struct conn *guest(struct store *s, unsigned id)
{
    struct domain *d = domain_find(s, id);
    if (!d || !d->conn) {
        domain_introduce(s, id, 1, 1);
    }
    return domain_find(s, id)->conn;
}

/* Each request: who and what, which transaction, how long, the payload. */
static void run(struct store *s, struct conn *socket, const uint8_t *data, size_t size)
{
    while (size > 3) {
        unsigned who = data[0] / 32 % 3, type = data[0] % 32, tx = data[1] % 4;
        size_t len = data[2];
        data += 3;
        size -= 3;
        len = len < size ? len : size;
        if (type == XS_CONTROL && len && data[0] != 'q' && data[0] != 'c') {
            type = XS_READ; /* it opens files */
        }
        if (type == 31) {
            domain_gone(s, 1 + tx % 2);
        } else if (type == 30) {
            domain_set_shutdown(s, 1 + tx % 2, len % 2);
        } else {
            request(who ? guest(s, who) : socket, type, tx, data, len);
        }
        data += len;
        size -= len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct store s, again;
    BUF_AUTO first = {0}, second = {0};
    journal.count = 0;
    store_init(&s, &hooks, &s);
    struct conn *socket = mem_alloc(sizeof(*socket));
    conn_init(socket, &s, domain_get(&s, 0), false);
    limits_set(&s.limits, "nodes", "20");
    limits_set(&s.limits, "watches", "5");
    limits_set(&s.limits, "outstanding", "100000"); /* nothing is dropped */
    struct limits limits = s.limits;
    run(&s, socket, data, size);
    FUZZ_ASSERT(!store_check(&s));
    store_init(&again, &hooks, &again);
    again.limits = limits;
    again.loading = true;
    for (unsigned i = 0; i < journal.count; i++) {
        FUZZ_ASSERT(!record_apply(&again, &journal.r[i]));
    }
    again.loading = false;
    store_loaded(&again);
    FUZZ_ASSERT(!store_check(&again));
    print(&s, &first);
    print(&again, &second);
    FUZZ_ASSERT(first.len == second.len && !memcmp(first.data, second.data, first.len));
    end(&s);
    end(&again);
    for (unsigned i = 0; i < journal.count; i++) {
        free((void *)(uintptr_t)journal.r[i].body);
    }
    return 0;
}
