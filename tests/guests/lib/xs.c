// SPDX-License-Identifier: BSD-2-Clause
#include "guest.h"
#include "xs.h"

enum { PATIENCE_MS = 5000, NAP_US = 500 };

struct xenstore_domain_interface *xs_ring;
static evtchn_port_t port;

void xs_init(void)
{
    xs_ring = mfn_to_va(start_info->store_mfn);
    port = start_info->store_evtchn;
}

void xs_notify(void)
{
    event_send(port);
}

void xs_nap(unsigned int us)
{
    sched_poll_t poll = {.timeout = clock_now() + us * 1000UL, .nr_ports = 1};

    set_xen_guest_handle(poll.ports, &port);
    event_port_clear_pending(port);
    hc_sched_op(SCHEDOP_poll, &poll);
}

static bool wait_room(uint32_t prod, uint64_t end)
{
    while (prod - READ_ONCE(xs_ring->req_cons) >= XENSTORE_RING_SIZE) {
        if (READ_ONCE(xs_ring->error) || clock_now() > end)
            return false;
        xs_notify();
        xs_nap(NAP_US);
    }
    return true;
}

bool xs_push(const void *data, size_t len)
{
    const char *from = data;
    uint32_t prod = READ_ONCE(xs_ring->req_prod);
    uint64_t end = clock_now() + PATIENCE_MS * MS;

    for (size_t i = 0; i < len; i++) {
        if (!wait_room(prod, end))
            return false;
        xs_ring->req[MASK_XENSTORE_IDX(prod)] = from[i];
        barrier();
        WRITE_ONCE(xs_ring->req_prod, ++prod);
    }
    xs_notify();
    return true;
}

bool xs_pull(void *data, size_t len)
{
    char *to = data;
    uint32_t cons = READ_ONCE(xs_ring->rsp_cons);
    uint64_t end = clock_now() + PATIENCE_MS * MS;

    for (size_t i = 0; i < len; i++) {
        while (READ_ONCE(xs_ring->rsp_prod) == cons) {
            if (READ_ONCE(xs_ring->error) || clock_now() > end)
                return false;
            xs_notify();
            xs_nap(NAP_US);
        }
        to[i] = xs_ring->rsp[MASK_XENSTORE_IDX(cons)];
        barrier();
        WRITE_ONCE(xs_ring->rsp_cons, ++cons);
    }
    return true;
}

void xs_drop(void)
{
    WRITE_ONCE(xs_ring->rsp_cons, READ_ONCE(xs_ring->rsp_prod));
    xs_notify();
}

bool xs_reconnect(void)
{
    uint64_t end = clock_now() + PATIENCE_MS * MS;

    WRITE_ONCE(xs_ring->connection, XENSTORE_RECONNECT);
    while (READ_ONCE(xs_ring->connection) != XENSTORE_CONNECTED) {
        if (clock_now() > end)
            return false;
        xs_notify();
        xs_nap(NAP_US);
    }
    return true;
}

static int error_number(const char *name)
{
    static const struct {
        const char *name;
        int number;
    } known[] = {{"EAGAIN", 11}, {"ENOENT", 2}, {"EEXIST", 17}, {"ENOSPC", 28}, {"EACCES", 13}};

    for (unsigned int i = 0; i < ARRAY_SIZE(known); i++)
        if (!strncmp(name, known[i].name, 7))
            return -known[i].number;
    return XS_LOST;
}

int xs_call(uint32_t type, uint32_t tx, const void *data, size_t len, char *reply)
{
    static uint32_t last;
    static char body[XENSTORE_PAYLOAD_MAX + 1];
    struct xsd_sockmsg head = {.type = type, .req_id = ++last, .tx_id = tx, .len = (uint32_t)len};

    if (!xs_push(&head, sizeof(head)) || !xs_push(data, len))
        return XS_LOST;
    do {
        if (!xs_pull(&head, sizeof(head)) || head.len > XENSTORE_PAYLOAD_MAX ||
            !xs_pull(body, head.len))
            return XS_LOST;
        body[head.len] = 0;
    } while (head.type == XS_WATCH_EVENT || head.req_id != last);
    if (reply)
        memcpy(reply, body, head.len + 1);
    return head.type == XS_ERROR ? error_number(body) : (int)head.len;
}

int xs_write(const char *path, const char *value)
{
    static char data[XENSTORE_PAYLOAD_MAX];
    size_t n = strlen(path) + 1, m = strlen(value);
    int ret;

    if (n + m > sizeof(data))
        return XS_LOST;
    memcpy(data, path, n);
    memcpy(data + n, value, m);
    ret = xs_call(XS_WRITE, 0, data, n + m, NULL);
    return ret < 0 ? ret : 0;
}

int xs_write_number(const char *path, unsigned long value)
{
    char text[24], *at = text + sizeof(text);

    *--at = 0;
    do
        *--at = (char)('0' + value % 10);
    while (value /= 10);
    return xs_write(path, at);
}

int xs_read(const char *path, char *reply)
{
    int ret = xs_call(XS_READ, 0, path, strlen(path) + 1, reply);

    return ret < 0 ? ret : 0;
}

unsigned long xs_number(const char *path, unsigned long other)
{
    static char text[XENSTORE_PAYLOAD_MAX + 1];
    unsigned long value = 0;

    if (xs_read(path, text) || *text < '0' || *text > '9')
        return other;
    for (const char *p = text; *p >= '0' && *p <= '9'; p++)
        value = value * 10 + (unsigned long)(*p - '0');
    return value;
}
