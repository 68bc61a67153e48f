// SPDX-License-Identifier: BSD-2-Clause
// A guest that speaks nonsense to the daemons that serve it: to stored and consoled through its
// rings, to blkd through its disk's nodes, rings and grants.
// Command line: seed=N rounds=N seconds=N (at most), and what to speak to, in turns: store,
// console, disk. least=N: on a slow machine up to ten times as long, until that many steps against
// stored have been made and the disk has been connected and has worked.
//   flood       nothing but as many good requests to stored as it takes, told now and then
//   client=N    that many good requests, one after the other; says when it is done
#include "lib/guest.h"
#include "lib/random.h"
#include "lib/xs.h"
#include <xen/io/blkif.h>
#include <xen/io/console.h>
#include <xen/io/xenbus.h>

enum { DATA_PAGES = 24, QUEUES = 4, QUEUE_PAGES = 16, FIRST_REF = 16 };

static uint64_t random_state;
static uint64_t end, last_end;
static unsigned long counts[3]; // steps against each daemon
static unsigned long least;
static unsigned long breaks; // times the store's ring had to begin anew
static unsigned long connects, answers, proofs;

static uint64_t rnd(void)
{
    return random_next(&random_state);
}

static uint64_t below(uint64_t n)
{
    return rnd() % n;
}

static bool one_in(uint64_t n)
{
    return below(n) == 0;
}

static uint32_t any_number(void)
{
    static const uint32_t edge[] = {0,      1,          2,          11,         12,
                                    256,    257,        4095,       4096,       4097,
                                    0x7fff, 0xffff,     0x10000,    1023,       1024,
                                    100000, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};

    return one_in(3) ? (uint32_t)rnd() : edge[below(ARRAY_SIZE(edge))];
}

static bool over(void)
{
    uint64_t now = clock_now();
    bool enough = !least || (counts[0] >= least && connects && proofs);

    return now >= (enough ? end : last_end);
}

static size_t join(char *out, const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);

    memcpy(out, a, n);
    memcpy(out + n, b, m + 1);
    return n + m;
}

// ---- the store ------------------------------------------------------------------------------

// A path at, under or over a limit, or no path at all; its length without a terminating zero.
static size_t any_path(char *out)
{
    static const char *const known[] = {"",
                                        "/",
                                        "//",
                                        "data/evil",
                                        "data/evil/",
                                        "device/vbd",
                                        "memory/target",
                                        "control/shutdown",
                                        "/local/domain/0",
                                        "/local/domain/0/backend/serai",
                                        "/local/domain/0/name",
                                        "/local/domain/1/data",
                                        "/local/domain/2/data",
                                        "/tool",
                                        "/vm",
                                        "/libxl",
                                        "@releaseDomain",
                                        "@introduceDomain",
                                        "@",
                                        "../0",
                                        "data/\xff\x01%n%s"};
    static const size_t limits[] = {255, 256, 1023, 1024, 2047, 2048, 2049, 3071, 3072, 3073};
    size_t n;

    if (!one_in(3))
        return join(out, known[below(ARRAY_SIZE(known))], "");
    // Long: one component, or as many as fit.
    n = limits[below(ARRAY_SIZE(limits))];
    memset(out, 'p', n);
    if (one_in(2))
        for (size_t i = 0; i < n; i += 2)
            out[i] = '/';
    if (one_in(2))
        memcpy(out, "data/", 5);
    out[n] = 0;
    return n;
}

static size_t any_payload(char *out)
{
    size_t n = any_path(out);

    if (!one_in(8))
        out[n++] = 0;
    switch (below(6)) {
    case 0: // a value
        n += below(900);
        break;
    case 1: // a second string
        n += any_path(out + n) + 1;
        break;
    case 2: // permissions, more or less
        for (uint64_t i = below(12); i; i--) {
            out[n++] = "nrwbx"[below(5)];
            out[n++] = (char)('0' + below(10));
            out[n++] = one_in(9) ? 'x' : 0;
        }
        break;
    case 3: // from anywhere
        for (uint64_t i = below(200); i; i--)
            out[n++] = (char)rnd();
        break;
    default:
        break;
    }
    return n > XENSTORE_PAYLOAD_MAX ? XENSTORE_PAYLOAD_MAX : n;
}

static void store_again(void)
{
    breaks++;
    if (xs_reconnect())
        return;
    print("evil: the store does not come back\n");
    guest_shutdown(SHUTDOWN_crash);
}

static char payload[4 * XENSTORE_PAYLOAD_MAX];

static void store_request(void)
{
    uint32_t type = one_in(20) ? any_number() : (uint32_t)below(24);
    uint32_t tx = one_in(2) ? 0 : (uint32_t)below(20);

    if (xs_call(type, tx, payload, any_payload(payload), NULL) == XS_LOST &&
        READ_ONCE(xs_ring->error))
        store_again();
}

// Headers that lie about their length, in any position of the ring.
static void store_bad_message(void)
{
    struct xsd_sockmsg head = {.type = any_number(),
                               .req_id = any_number(),
                               .tx_id = any_number(),
                               .len = one_in(2) ? any_number() : (uint32_t)below(4200)};

    xs_push(&head, sizeof(head));
    xs_push(payload, below(600));
    xs_nap(2000);
    xs_drop();
    store_again();
}

static void store_bad_indexes(void)
{
    for (unsigned int i = 0; i < 6; i++) {
        switch (below(7)) {
        case 0:
            WRITE_ONCE(xs_ring->req_prod, READ_ONCE(xs_ring->req_prod) + any_number());
            break;
        case 1:
            WRITE_ONCE(xs_ring->req_cons, any_number());
            break;
        case 2:
            WRITE_ONCE(xs_ring->rsp_cons, any_number());
            break;
        case 3:
            WRITE_ONCE(xs_ring->rsp_prod, any_number());
            break;
        case 4:
            WRITE_ONCE(xs_ring->connection, any_number());
            break;
        case 5:
            WRITE_ONCE(xs_ring->server_features, any_number());
            break;
        default:
            for (unsigned int b = 0; b < XENSTORE_RING_SIZE; b++)
                xs_ring->req[b] = (char)rnd();
        }
        xs_notify();
        if (one_in(2))
            xs_nap(500);
    }
    WRITE_ONCE(xs_ring->error, 0);
    store_again();
}

// Up to the limits of whatever can be had, and on.
static void store_flood(void)
{
    static const uint32_t kinds[] = {XS_TRANSACTION_START, XS_WATCH, XS_MKDIR, XS_WRITE};
    uint32_t type = kinds[below(ARRAY_SIZE(kinds))], tx = one_in(3) ? 1 + (uint32_t)below(4) : 0;
    char number[8] = "data/e/";

    for (unsigned int i = 0, most = one_in(6) ? 160 : 30; i < most && !over(); i++) {
        size_t n = type == XS_TRANSACTION_START ? join(payload, "", "") + 1 : 0;

        if (!n) {
            n = type == XS_WATCH ? any_path(payload) : join(payload, number, "");
            if (type != XS_WATCH) {
                payload[n - 1] = '/';
                payload[n++] = (char)('a' + i / 16);
                payload[n++] = (char)('a' + i % 16);
            }
            payload[n++] = 0;
            if (type == XS_WATCH)
                n += join(payload + n, i & 1 ? "t" : "u", "") + 1;
            if (type == XS_WRITE)
                n += below(2) * 700;
        }
        if (xs_call(type, tx, payload, n, NULL) == XS_LOST && READ_ONCE(xs_ring->error)) {
            store_again();
            return;
        }
    }
    if (one_in(2))
        xs_call(XS_RM, 0, "data/e", 7, NULL);
    if (one_in(3))
        xs_call(XS_RESET_WATCHES, 0, "", 1, NULL);
}

// Requests without end, no answer read.
static void store_deaf(void)
{
    struct xsd_sockmsg head = {.type = XS_DIRECTORY, .len = 2};

    for (unsigned int i = 0; i < 60; i++) {
        uint32_t prod = READ_ONCE(xs_ring->req_prod);

        if (prod - READ_ONCE(xs_ring->req_cons) + 18 > XENSTORE_RING_SIZE)
            break;
        xs_push(&head, sizeof(head));
        xs_push("/", 2);
    }
    xs_nap(1000);
    store_again();
}

static void store_step(void)
{
    switch (below(12)) {
    case 0:
        store_bad_message();
        break;
    case 1:
        store_bad_indexes();
        break;
    case 2:
        store_flood();
        break;
    case 3:
        store_deaf();
        break;
    default:
        store_request();
    }
}

// ---- the console ----------------------------------------------------------------------------

static void console_step(void)
{
    volatile struct xencons_interface *c = mfn_to_va(start_info->console.domU.mfn);
    volatile XENCONS_RING_IDX *const indexes[] = {&c->in_cons, &c->in_prod, &c->out_cons,
                                                  &c->out_prod};

    for (unsigned int i = 0; i < 20; i++) {
        unsigned int which = (unsigned int)below(4);

        *indexes[which] = one_in(2) ? any_number() : *indexes[which] + (uint32_t)below(3000);
        for (unsigned int b = 0; b < 40; b++)
            c->out[below(sizeof(c->out))] = (char)rnd();
        event_send(start_info->console.domU.evtchn);
        if (one_in(4))
            xs_nap(200);
    }
    // Sane again, so that a line can be printed.
    c->in_cons = c->in_prod;
    c->out_prod = c->out_cons;
}

// ---- the disk -------------------------------------------------------------------------------

static volatile grant_entry_v1_t *grants;
static uint8_t *data[DATA_PAGES], *ring_page[QUEUES * QUEUE_PAGES];
static char front[64], back[96];
static unsigned int pages, queues;
static evtchn_port_t ports[QUEUES];
static uint32_t req_prod[QUEUES];
static bool no_disk, narrow; // narrow: the 32-bit layout was agreed on

static grant_ref_t data_ref(unsigned int i)
{
    return FIRST_REF + i;
}

static grant_ref_t ring_ref(unsigned int queue, unsigned int page)
{
    return FIRST_REF + DATA_PAGES + queue * QUEUE_PAGES + page;
}

static void grant(grant_ref_t ref, const void *page, uint16_t flags)
{
    grants[ref].frame = (uint32_t)va_to_mfn(page);
    grants[ref].domid = 0;
    barrier();
    grants[ref].flags = flags;
}

static void disk_setup(void)
{
    static xen_pfn_t list[1];
    gnttab_setup_table_t s = {.dom = DOMID_SELF, .nr_frames = 1};

    set_xen_guest_handle(s.frame_list, list);
    hc_grant_table_op(GNTTABOP_setup_table, &s, 1);
    map_page(SCRATCH_VA, make_pte(list[0], PTE_RW_DATA));
    grants = (volatile grant_entry_v1_t *)SCRATCH_VA;
    for (unsigned int i = 0; i < DATA_PAGES; i++)
        grant(data_ref(i), data[i] = page_alloc(), GTF_permit_access);
    for (unsigned int i = 0; i < QUEUES * QUEUE_PAGES; i++)
        grant(ring_ref(0, i), ring_page[i] = page_alloc(), GTF_permit_access);
    for (unsigned int i = 0; i < ARRAY_SIZE(ports); i++)
        ports[i] = (evtchn_port_t)event_alloc_unbound(DOMID_SELF, 0);
    join(front, "device/vbd/51712", "");
    if (xs_read("device/vbd/51712/backend", payload))
        payload[0] = 0;
    payload[sizeof(back) - 1] = 0;
    join(back, payload, "");
}

static const char *node(const char *key)
{
    static char path[192];

    join(path + join(path, front, "/"), key, "");
    return path;
}

static unsigned long back_state(void)
{
    static char path[128];

    join(path, back, "/state");
    return xs_number(path, 0);
}

// Waits for any of the backend's states (a mask), not for ever.
static bool back_wait(unsigned int mask)
{
    uint64_t late = clock_now() + 3000 * MS;

    while (!(mask >> back_state() & 1)) {
        if (clock_now() > late || over())
            return false;
        xs_nap(5000);
    }
    return true;
}

// Nodes as a good frontend writes them, for rings that are empty.
static void disk_nodes(void)
{
    char key[48];

    pages = 1u << below(3);
    queues = (unsigned int)below(3) + 1;
    xs_call(XS_RM, 0, node("num-ring-pages"), strlen(node("num-ring-pages")) + 1, NULL);
    xs_write_number(node("multi-queue-num-queues"), queues);
    xs_write_number(node("ring-page-order"), pages == 1 ? 0 : pages == 2 ? 1 : 2);
    xs_write_number(node("feature-persistent"), below(2));
    narrow = connects && one_in(4); // the first one is all good
    xs_write(node("protocol"), narrow ? "x86_32-abi" : "x86_64-abi");
    for (unsigned int q = 0; q < queues; q++) {
        size_t dir = 0;

        if (queues > 1) {
            dir = join(key, "queue-", "0/");
            key[dir - 2] = (char)('0' + q);
        }
        for (unsigned int p = 0; p < pages; p++) {
            size_t n = dir + join(key + dir, "ring-ref", pages > 1 ? "0" : "");

            if (pages > 1)
                key[n - 1] = (char)('0' + p);
            xs_write_number(node(key), ring_ref(q, p));
        }
        join(key + dir, "event-channel", "");
        xs_write_number(node(key), ports[q]);
        memset(ring_page[q * QUEUE_PAGES], 0, PAGE_SIZE);
        req_prod[q] = 0;
        ((blkif_sring_t *)ring_page[q * QUEUE_PAGES])->req_event = 1;
        ((blkif_sring_t *)ring_page[q * QUEUE_PAGES])->rsp_event = 1;
    }
}

// Some of them spoiled.
static void disk_spoil(void)
{
    static const char *const keys[] = {"ring-ref",
                                       "ring-ref0",
                                       "ring-page-order",
                                       "num-ring-pages",
                                       "multi-queue-num-queues",
                                       "event-channel",
                                       "protocol",
                                       "feature-persistent",
                                       "queue-0/ring-ref",
                                       "queue-1/event-channel",
                                       "queue-0",
                                       "backend",
                                       "backend-id",
                                       "virtual-device"};
    static const char *const values[] = {
        "", "-1", "99999999999999999999", "4294967296", "0x10", "x", "3", "1000", "16 ", "/"};
    static char text[2000];

    for (uint64_t n = below(4) + 1; n; n--) {
        const char *path = node(keys[below(ARRAY_SIZE(keys))]);

        if (one_in(3)) {
            xs_call(XS_RM, 0, path, strlen(path) + 1, NULL);
        } else if (one_in(4)) {
            memset(text, '1', sizeof(text) - 1);
            xs_write(path, text);
        } else if (one_in(2)) {
            xs_write_number(path, any_number());
        } else {
            xs_write(path, values[below(ARRAY_SIZE(values))]);
        }
    }
}

// The pool gives pages in a row, so that a ring is in one piece.
static blkif_request_t *disk_slot(unsigned int q)
{
    unsigned int fit = (unsigned int)((pages * PAGE_SIZE - 64) / sizeof(blkif_request_t));
    unsigned int entries = 1;

    while (entries * 2 <= fit)
        entries *= 2;
    return (blkif_request_t *)(ring_page[q * QUEUE_PAGES] + 64) + (req_prod[q] & (entries - 1));
}

static void disk_push(unsigned int q, uint32_t by)
{
    req_prod[q] += by;
    barrier();
    WRITE_ONCE(((blkif_sring_t *)ring_page[q * QUEUE_PAGES])->req_prod, req_prod[q]);
    event_send(ports[q]);
}

static void any_segments(struct blkif_request_segment *seg, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++)
        seg[i] = (struct blkif_request_segment){
            .gref = one_in(8) ? any_number() : data_ref((unsigned int)below(DATA_PAGES)),
            .first_sect = (uint8_t)(one_in(8) ? rnd() : below(4)),
            .last_sect = (uint8_t)(one_in(8) ? rnd() : 4 + below(4))};
}

static void any_request(blkif_request_t *r)
{
    blkif_request_indirect_t *in = (void *)r;

    for (unsigned int i = 0; one_in(4) && i < sizeof(*r); i++)
        ((uint8_t *)r)[i] = (uint8_t)rnd();
    r->operation = (uint8_t)(one_in(12) ? rnd() : below(7));
    r->nr_segments = (uint8_t)(one_in(6) ? any_number() : below(12));
    r->id = rnd();
    r->sector_number = one_in(5) ? rnd() : below(16400);
    any_segments(r->seg, BLKIF_MAX_SEGMENTS_PER_REQUEST);
    if (r->operation == BLKIF_OP_INDIRECT) {
        in->indirect_op = (uint8_t)(one_in(6) ? rnd() : below(2));
        in->nr_segments = (uint16_t)(one_in(6) ? any_number() : below(300));
        for (unsigned int i = 0; i < BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST; i++)
            in->indirect_grefs[i] = one_in(6) ? any_number() : data_ref((unsigned int)below(4));
    }
    any_segments((void *)data[below(4)], PAGE_SIZE / sizeof(struct blkif_request_segment));
}

// Grants that come and go while they are being used.
static void disk_flip_grants(void)
{
    static const uint16_t kinds[] = {GTF_permit_access, GTF_permit_access, GTF_invalid,
                                     GTF_permit_access | GTF_readonly, GTF_accept_transfer};
    unsigned int i = 4 + (unsigned int)below(DATA_PAGES - 4);

    if (!(grants[data_ref(i)].flags & (GTF_reading | GTF_writing)))
        grant(data_ref(i), data[i], kinds[below(ARRAY_SIZE(kinds))]);
}

static bool disk_answered(unsigned int q)
{
    volatile blkif_sring_t *s = (void *)ring_page[q * QUEUE_PAGES];

    for (unsigned int i = 0; i < 200; i++) {
        if (s->rsp_prod == req_prod[q])
            return true;
        if (i % 50 == 49 && back_state() != XenbusStateConnected)
            return false;
        xs_nap(2000);
    }
    return false;
}

// A good request must still be carried out: read the first sector (which reads always can).
static void disk_prove(unsigned int q)
{
    blkif_request_t *r = disk_slot(q);
    const blkif_response_t *answer = (void *)r;

    if (narrow || !disk_answered(q))
        return;
    grant(data_ref(0), data[0], grants[data_ref(0)].flags | GTF_permit_access);
    memset(r, 0, sizeof(*r));
    *r = (blkif_request_t){.operation = BLKIF_OP_READ, .nr_segments = 1, .id = 77};
    r->seg[0] = (struct blkif_request_segment){.gref = data_ref(0), .last_sect = 7};
    disk_push(q, 1);
    if (disk_answered(q) && answer->id == 77)
        proofs += answer->status == BLKIF_RSP_OKAY;
}

static void disk_requests(void)
{
    for (unsigned int n = (unsigned int)below(12); n && !over(); n--) {
        unsigned int q = (unsigned int)below(queues), count = (unsigned int)below(12) + 1;

        while (count--) {
            any_request(disk_slot(q));
            disk_push(q, 1);
        }
        if (one_in(3))
            disk_flip_grants();
        if (!disk_answered(q))
            break;
        answers++;
    }
}

// How a connection ends.
static void disk_finish(void)
{
    unsigned int q = (unsigned int)below(queues);

    switch (below(6)) {
    case 0:
        req_prod[q] += any_number();
        disk_push(q, 0);
        break;
    case 1:
        WRITE_ONCE(((blkif_sring_t *)ring_page[q * QUEUE_PAGES])->rsp_prod, any_number());
        disk_push(q, (uint32_t)below(40));
        break;
    case 2: // states in any order
        for (unsigned int i = 0; i < 12; i++)
            xs_write_number(node("state"), one_in(4) ? any_number() : below(9));
        break;
    case 3:
        xs_call(XS_RM, 0, node("state"), strlen(node("state")) + 1, NULL);
        break;
    case 4: // it cannot be put back
        no_disk = one_in(30) && !xs_call(XS_RM, 0, front, strlen(front) + 1, NULL);
        break;
    default:
        xs_write_number(node("state"), XenbusStateClosing);
    }
    xs_nap(3000);
}

static void disk_step(void)
{
    enum { CLOSED = 1 << XenbusStateClosed, CONNECTED = 1 << XenbusStateConnected };

    xs_write_number(node("state"), XenbusStateClosed);
    if (no_disk || !back_wait(CLOSED))
        return;
    xs_write_number(node("state"), XenbusStateInitialising);
    if (!back_wait(1 << XenbusStateInitWait))
        return;
    disk_nodes();
    if (connects && one_in(3))
        disk_spoil();
    xs_write_number(node("state"), XenbusStateInitialised);
    if (!back_wait(CONNECTED | CLOSED | 1 << XenbusStateClosing))
        return;
    if (back_state() == XenbusStateConnected) {
        connects++;
        xs_write_number(node("state"), XenbusStateConnected);
        disk_prove(0);
        disk_requests();
        disk_prove((unsigned int)below(queues));
    }
    disk_finish();
}

// ---- what the command line wants ------------------------------------------------------------

static void client(uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        if (xs_read("name", payload)) {
            print("evil: the store does not answer\n");
            guest_shutdown(SHUTDOWN_crash);
        }
    print("client: done %lu\n", n);
    guest_shutdown(SHUTDOWN_poweroff);
}

// Every request costs the daemon something, and there is always one more.
static void flood(void)
{
    for (unsigned long i = 1;; i++) {
        bool odd = i & 1;

        xs_call(odd ? XS_WATCH : XS_UNWATCH, 0, "data\0token", 11, NULL);
        xs_write(odd ? "data/a" : "data/b", "0123456789");
        xs_call(XS_DIRECTORY, 0, "device", 7, NULL);
        if (i % 100 == 0)
            print("flood: %lu\n", 4 * i);
    }
}

static void one_round(void)
{
    static void (*const steps[])(void) = {store_step, console_step, disk_step};
    static const char *const names[] = {"store", "console", "disk"};
    static const unsigned int times[] = {8, 2, 1};

    for (int which = 2; which >= 0; which--) { // the disk first: it takes longest
        for (unsigned int n = 0; arg_present(names[which]) && n < times[which] && !over(); n++) {
            steps[which]();
            counts[which]++;
        }
        if (which == 0) // what it asked for must not stay
            store_again();
    }
}

void guest_main(void)
{
    uint64_t seed = arg_number("seed", rdtsc() | 1);

    random_state = seed ? seed : 1;
    xs_init();
    print("evil: up, seed=%lu\n", seed);
    if (arg_present("flood"))
        flood();
    if (arg_number("client", 0))
        client(arg_number("client", 0));
    if (arg_present("disk"))
        disk_setup();
    least = arg_number("least", 0);
    end = clock_now() + arg_number("seconds", 600) * 1000 * MS;
    last_end = clock_now() + arg_number("seconds", 600) * 10000 * MS;
    for (uint64_t n = arg_number("rounds", 1000000); n && !over(); n--) {
        one_round();
        print("\nevil: %lu rounds to go, %lu connections\n", n - 1, connects);
    }
    store_again();
    print("\nevil: store %lu, console %lu, disk %lu steps; %lu reconnects, %lu connections, "
          "%lu rounds answered, %lu proofs\n",
          counts[0], counts[1], counts[2], breaks, connects, answers, proofs);
    guest_shutdown(SHUTDOWN_poweroff);
}
