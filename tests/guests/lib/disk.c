// SPDX-License-Identifier: BSD-2-Clause
#include "disk.h"

#include "guest.h"
#include "share.h"
#include "store.h"

#include <xen/io/blkif.h>
#include <xen/io/xenbus.h>

// Each slot has a page and some blocks of its own, so that what it reads is known.
enum { SLOTS = 4, BLOCKS = 16, SECTORS = PAGE_SIZE / 512, WORDS = PAGE_SIZE / 8 };

struct slot {
    uint64_t *page;
    grant_ref_t ref;
    unsigned int block; // of the request in work
    bool busy, writing;
    uint64_t start, due;
    uint32_t version[BLOCKS];
};

enum state { NONE, WAITING, OFFERED, UP };

static struct disk {
    enum state state;
    char id[16], back[80];
    struct blkif_front_ring front;
    grant_ref_t ref;
    evtchn_port_t port;
    bool closing;
    unsigned int busy;
    struct slot slot[SLOTS];
} disks[DISKS_MAX];

uint64_t disk_pause_ns;
unsigned int disk_operations, disk_bad, disk_longest_ms, disks_up;
static uint64_t seed = 88172645463325252;

static unsigned int random(unsigned int below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned int)(seed >> 33) % below;
}

static char token_of(const struct disk *d)
{
    return (char)('d' + (d - disks));
}

static void path_of(char *out, size_t size, const char *dir, const char *name)
{
    size_t n = strlen(dir), k = strlen(name);

    if (n + k + 2 > size)
        return;
    memcpy(out, dir, n);
    out[n] = '/';
    memcpy(out + n + 1, name, k + 1);
}

static void front_path(const struct disk *d, const char *name, char out[64])
{
    char dir[40];

    path_of(dir, sizeof(dir), "device/vbd", d->id);
    path_of(out, 64, dir, name);
}

static int state_of(const char *path)
{
    return store_read(0, path) ? store_text[0] - '0' : XenbusStateUnknown;
}

static int back_state(const struct disk *d)
{
    char path[96];

    path_of(path, sizeof(path), d->back, "state");
    return state_of(path);
}

static void set_state(const struct disk *d, int state)
{
    char path[64];

    front_path(d, "state", path);
    store_write(0, path, "%d", state);
}

// ---- coming and going -----------------------------------------------------------------------

static void offer(struct disk *d)
{
    struct blkif_sring *page = page_alloc();
    char path[64];

    SHARED_RING_INIT(page);
    FRONT_RING_INIT(&d->front, page, PAGE_SIZE);
    d->ref = share_page(page);
    d->port = (evtchn_port_t)event_alloc_unbound(DOMID_SELF, CONTROL_DOMAIN);
    share_port_add(d->port);
    front_path(d, "ring-ref", path);
    store_write(0, path, "%u", d->ref);
    front_path(d, "event-channel", path);
    store_write(0, path, "%u", d->port);
    front_path(d, "protocol", path);
    store_write(0, path, "x86_64-abi");
    set_state(d, XenbusStateInitialised);
    d->state = OFFERED;
}

static void begin(struct disk *d)
{
    for (unsigned int i = 0; i < SLOTS; i++) {
        d->slot[i] = (struct slot){.page = page_alloc()};
        d->slot[i].ref = share_page(d->slot[i].page);
    }
    set_state(d, XenbusStateConnected);
    d->state = UP;
    disks_up++;
}

static void end_page(void *page, grant_ref_t ref)
{
    if (share_end(ref))
        page_free(page);
}

static void close_disk(struct disk *d)
{
    char path[96];

    if (d->state == UP) {
        disks_up--;
        for (unsigned int i = 0; i < SLOTS; i++)
            end_page(d->slot[i].page, d->slot[i].ref);
    }
    if (d->state == UP || d->state == OFFERED) {
        share_port_remove(d->port);
        event_close(d->port);
    }
    set_state(d, XenbusStateClosed);
    path_of(path, sizeof(path), d->back, "state");
    store_unwatch(path, token_of(d));
    // The ring's page stays shared until the other side is done with it: it is not used again.
    d->state = NONE;
    d->closing = false;
}

static void look(struct disk *d)
{
    int state = back_state(d);

    if (d->state == WAITING && state == XenbusStateInitWait)
        offer(d);
    else if (d->state == OFFERED && state == XenbusStateConnected)
        begin(d);
    d->closing |= state >= XenbusStateClosing || state == XenbusStateUnknown;
    if (d->closing && !d->busy)
        close_disk(d);
}

static struct disk *find(const char *id)
{
    for (unsigned int i = 0; i < DISKS_MAX; i++)
        if (disks[i].state != NONE && !strncmp(disks[i].id, id, sizeof(disks[i].id)))
            return &disks[i];
    return NULL;
}

// A directory of device/vbd: a disk that nobody has begun with.
static void discover(const char *id)
{
    struct disk *d = disks;
    char path[96];

    if (find(id) || strlen(id) >= sizeof(d->id))
        return;
    while (d < disks + DISKS_MAX && d->state != NONE)
        d++;
    if (d == disks + DISKS_MAX)
        return;
    memcpy(d->id, id, strlen(id) + 1);
    front_path(d, "state", path);
    if (state_of(path) != XenbusStateInitialising)
        return;
    front_path(d, "backend", path);
    if (!store_read(0, path) || strlen(store_text) >= sizeof(d->back))
        return;
    memcpy(d->back, store_text, strlen(store_text) + 1);
    d->state = WAITING;
    path_of(path, sizeof(path), d->back, "state");
    store_watch(path, token_of(d));
}

void disks_look(void)
{
    char ids[DISKS_MAX * 2][16];
    unsigned int count = 0;

    if (store_list("device/vbd"))
        for (const char *id = NULL; (id = store_next(id)) && count < ARRAY_SIZE(ids);)
            if (strlen(id) < sizeof(ids[0]))
                memcpy(ids[count++], id, strlen(id) + 1);
    for (unsigned int i = 0; i < count; i++)
        discover(ids[i]);
    for (unsigned int i = 0; i < DISKS_MAX; i++)
        if (disks[i].state != NONE)
            look(&disks[i]);
}

// ---- requests -------------------------------------------------------------------------------

static uint64_t pattern(const struct slot *s, unsigned int word)
{
    return (uint64_t)s->version[s->block] << 40 ^ s->block * 0x9e3779b97f4a7c15 ^ word;
}

static void give(struct disk *d, unsigned int n)
{
    struct slot *s = &d->slot[n];
    struct blkif_request *r = RING_GET_REQUEST(&d->front, d->front.req_prod_pvt);

    s->block = random(BLOCKS);
    s->writing = !s->version[s->block] || random(2);
    if (s->writing)
        s->version[s->block]++;
    for (unsigned int i = 0; i < WORDS; i++)
        s->page[i] = s->writing ? pattern(s, i) : ~0ul;
    *r = (struct blkif_request){.operation = s->writing ? BLKIF_OP_WRITE : BLKIF_OP_READ,
                                .nr_segments = 1,
                                .id = n,
                                .sector_number = (n * BLOCKS + s->block) * SECTORS};
    r->seg[0] = (struct blkif_request_segment){s->ref, 0, SECTORS - 1};
    d->front.req_prod_pvt++;
    s->busy = true;
    s->start = clock_now();
    d->busy++;
}

static void complain(const struct disk *d, const struct slot *s, const char *what, long number)
{
    disk_bad++;
    if (disk_bad < 20)
        print("bad: disk %s: %s of block %u: %s %ld\n", d->id, s->writing ? "write" : "read",
              s->block, what, number);
}

static void take(struct disk *d, const struct blkif_response *r)
{
    struct slot *s = &d->slot[r->id % SLOTS];
    uint64_t now = clock_now();
    unsigned int ms = (unsigned int)((now - s->start) / MS);

    if (r->id >= SLOTS || !s->busy) {
        print("bad: disk %s: an answer to no request, %lu\n", d->id, r->id);
        disk_bad++;
        return;
    }
    s->busy = false;
    s->due = now + disk_pause_ns;
    d->busy--;
    disk_operations++;
    disk_longest_ms = ms > disk_longest_ms ? ms : disk_longest_ms;
    if (r->status != BLKIF_RSP_OKAY)
        complain(d, s, "status", r->status);
    for (unsigned int i = 0; !s->writing && i < WORDS; i++) {
        if (s->page[i] != pattern(s, i)) {
            complain(d, s, "wrong at word", i);
            break;
        }
    }
}

static void serve(struct disk *d)
{
    int more;

    do {
        RING_IDX prod = d->front.sring->rsp_prod;

        xen_rmb();
        while (d->front.rsp_cons != prod)
            take(d, RING_GET_RESPONSE(&d->front, d->front.rsp_cons++));
        RING_FINAL_CHECK_FOR_RESPONSES(&d->front, more);
    } while (more);
    for (unsigned int i = 0; i < SLOTS && !d->closing; i++)
        if (!d->slot[i].busy && d->slot[i].due <= clock_now())
            give(d, i);
    int notify;
    RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&d->front, notify);
    if (notify)
        event_send(d->port);
}

void disks_serve(void)
{
    for (unsigned int i = 0; i < DISKS_MAX; i++)
        if (disks[i].state == UP)
            serve(&disks[i]);
}

bool disks_drained(void)
{
    for (unsigned int i = 0; i < DISKS_MAX; i++)
        if (disks[i].state != NONE && disks[i].closing && !disks[i].busy)
            return true;
    return false;
}

uint64_t disks_due(void)
{
    uint64_t due = ~0ul;

    for (unsigned int i = 0; i < DISKS_MAX; i++)
        for (unsigned int n = 0; n < SLOTS && disks[i].state == UP && !disks[i].closing; n++)
            if (!disks[i].slot[n].busy && disks[i].slot[n].due < due)
                due = disks[i].slot[n].due;
    return due;
}
