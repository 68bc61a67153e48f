// SPDX-License-Identifier: BSD-2-Clause
#include "store.h"

#include "guest.h"
#include "share.h"
#include <xen/io/xs_wire.h>

uint32_t store_events;
void (*store_waiting)(void);
char store_text[XENSTORE_PAYLOAD_MAX + 1];
static size_t store_len;
static volatile struct xenstore_domain_interface *ring;
static evtchn_port_t port;
static uint32_t last_id;

// Others are served while we wait, for an event or a second.
static void rest(void)
{
    share_events_clear();
    if (store_waiting)
        store_waiting();
}

static void put(const void *from, size_t n)
{
    const char *c = from;

    while (n) {
        XENSTORE_RING_IDX prod = ring->req_prod;

        if (prod - ring->req_cons == XENSTORE_RING_SIZE) {
            event_send(port);
            rest();
            if (prod - ring->req_cons == XENSTORE_RING_SIZE)
                share_wait(clock_now() + 1000 * MS);
            continue;
        }
        xen_mb();
        ring->req[MASK_XENSTORE_IDX(prod)] = *c++;
        n--;
        xen_wmb();
        ring->req_prod = prod + 1;
    }
}

static void get(void *to, size_t n)
{
    char *c = to;

    while (n) {
        XENSTORE_RING_IDX cons = ring->rsp_cons;

        if (cons == ring->rsp_prod) {
            rest();
            if (cons == ring->rsp_prod)
                share_wait(clock_now() + 1000 * MS);
            continue;
        }
        xen_rmb();
        *c++ = ring->rsp[MASK_XENSTORE_IDX(cons)];
        n--;
        xen_mb();
        ring->rsp_cons = cons + 1;
        if (cons + 1 == ring->rsp_prod || !n)
            event_send(port);
    }
}

// A path, and the token behind it.
static void note_event(const char *text)
{
    unsigned int bit = (unsigned int)(text[strlen(text) + 1] - 'a');

    if (bit < 32)
        store_events |= 1u << bit;
}

// The next message into store_text: its type.
static uint32_t take(uint32_t *id)
{
    struct xsd_sockmsg head;

    get(&head, sizeof(head));
    if (head.len > XENSTORE_PAYLOAD_MAX) {
        print("bad: an answer of %u bytes\n", head.len);
        guest_shutdown(SHUTDOWN_crash);
    }
    get(store_text, head.len);
    store_text[head.len] = 0;
    store_len = head.len;
    if (head.type == XS_WATCH_EVENT)
        note_event(store_text);
    *id = head.req_id;
    return head.type;
}

void store_serve(void)
{
    uint32_t id;

    while (ring->rsp_cons != ring->rsp_prod)
        if (take(&id) != XS_WATCH_EVENT)
            print("bad: an answer that nobody asked for\n");
}

static bool call(uint32_t type, uint32_t tx, const char *a, size_t a_len, const char *b,
                 size_t b_len)
{
    struct xsd_sockmsg head = {
        .type = type, .req_id = ++last_id, .tx_id = tx, .len = (uint32_t)(a_len + b_len)};
    uint32_t got, id;

    put(&head, sizeof(head));
    put(a, a_len);
    put(b, b_len);
    event_send(port);
    do {
        got = take(&id);
    } while (got == XS_WATCH_EVENT);
    if (id != head.req_id || (got != type && got != XS_ERROR)) {
        print("bad: answer %u of type %u to request %u of type %u\n", id, got, head.req_id, type);
        guest_shutdown(SHUTDOWN_crash);
    }
    return got == type;
}

bool store_init(void)
{
    if (!start_info->store_mfn)
        return false;
    ring = mfn_to_va(start_info->store_mfn);
    port = start_info->store_evtchn;
    share_port_add(port);
    return true;
}

bool store_read(uint32_t tx, const char *path)
{
    return call(XS_READ, tx, path, strlen(path) + 1, NULL, 0);
}

bool store_list(const char *path)
{
    return call(XS_DIRECTORY, 0, path, strlen(path) + 1, NULL, 0);
}

const char *store_next(const char *at)
{
    at = at ? at + strlen(at) + 1 : store_text;
    return at < store_text + store_len ? at : NULL;
}

bool store_write(uint32_t tx, const char *path, const char *fmt, ...)
{
    char value[256];
    va_list ap;

    va_start(ap, fmt);
    size_t n = format(value, sizeof(value), fmt, ap);
    va_end(ap);
    return call(XS_WRITE, tx, path, strlen(path) + 1, value, n);
}

static bool watch_call(uint32_t type, const char *path, char token)
{
    char text[2] = {token, 0};

    return call(type, 0, path, strlen(path) + 1, text, 2);
}

bool store_watch(const char *path, char token)
{
    return watch_call(XS_WATCH, path, token);
}

bool store_unwatch(const char *path, char token)
{
    return watch_call(XS_UNWATCH, path, token);
}

uint32_t store_begin(void)
{
    uint32_t id = 0;

    if (!call(XS_TRANSACTION_START, 0, "", 1, NULL, 0))
        return 0;
    for (const char *c = store_text; *c >= '0' && *c <= '9'; c++)
        id = id * 10 + (uint32_t)(*c - '0');
    return id;
}

bool store_end(uint32_t tx)
{
    return call(XS_TRANSACTION_END, tx, "T", 2, NULL, 0);
}
