// SPDX-License-Identifier: BSD-2-Clause
#include "unit.h"

#include "blkd_fake.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct fake_world *fake;
uint8_t *fake_memory;
const char *fake_dir;
struct devices fake_devices;
struct device_options fake_options;

static int fake_memory_fd, fake_to_back = -1, fake_to_front = -1;
static uint32_t fake_next_page;
static uint32_t fake_seen; /* generation of the store that the daemon has scanned */
static struct loop *fake_loop;
static pid_t fake_child;
static char fake_dir_name[64];

void fake_new(void)
{
    strcpy(fake_dir_name, "/var/tmp/blkd-test-XXXXXX");
    fake_dir = mkdtemp(fake_dir_name);
    assert_non_null(fake_dir);
    fake = mmap(NULL, sizeof(*fake), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    fake_memory_fd = memfd_create("guest", 0);
    assert_int_equal(ftruncate(fake_memory_fd, FAKE_PAGES * 4096L), 0);
    fake_memory =
        mmap(NULL, FAKE_PAGES * 4096L, PROT_READ | PROT_WRITE, MAP_SHARED, fake_memory_fd, 0);
    assert_true(fake != MAP_FAILED && fake_memory != MAP_FAILED);
    fake_to_back = eventfd(0, EFD_NONBLOCK);
    fake_to_front = eventfd(0, EFD_NONBLOCK);
    fake_next_page = 8; /* 0 would hide mistakes */
    fake_options = (struct device_options){.root = "/local/domain/0/backend/serai",
                                           .journal_dir = fake_dir,
                                           .queues = 4,
                                           .ring_order = 4,
                                           .indirect = 256,
                                           .persistent = true,
                                           .lock_wait_ms = 300};
}

void fake_free(void)
{
    char command[128];
    munmap(fake, sizeof(*fake));
    munmap(fake_memory, FAKE_PAGES * 4096L);
    close(fake_memory_fd);
    close(fake_to_back);
    close(fake_to_front);
    snprintf(command, sizeof(command), "rm -rf %s", fake_dir);
    assert_int_equal(system(command), 0);
}

uint32_t fake_page(void)
{
    assert_true(fake_next_page < FAKE_PAGES);
    fake->granted[fake_next_page] = true;
    return fake_next_page++;
}

void *fake_address(uint32_t gref)
{
    return fake_memory + gref * 4096L;
}

/* ---- the store ---- */

static void fake_lock(void)
{
    while (__atomic_exchange_n(&fake->lock, 1, __ATOMIC_ACQUIRE)) {
        sched_yield();
    }
}

static void fake_unlock(void)
{
    __atomic_store_n(&fake->lock, 0, __ATOMIC_RELEASE);
}

static struct fake_node *fake_find(const char *path)
{
    for (unsigned i = 0; i < FAKE_NODES; i++) {
        if (fake->node[i].used && !strcmp(fake->node[i].path, path)) {
            return &fake->node[i];
        }
    }
    return NULL;
}

static void fake_set(const char *path, const char *value)
{
    struct fake_node *n = fake_find(path);
    for (unsigned i = 0; !n && i < FAKE_NODES; i++) {
        if (!fake->node[i].used) {
            n = &fake->node[i];
        }
    }
    assert_non_null(n);
    snprintf(n->path, sizeof(n->path), "%s", path);
    snprintf(n->value, sizeof(n->value), "%s", value);
    n->used = true;
}

static void fake_changed(void)
{
    __atomic_add_fetch(&fake->generation, 1, __ATOMIC_SEQ_CST);
    eventfd_write(fake_to_back, 1);
}

void fake_write(const char *path, const char *fmt, ...)
{
    char value[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(value, sizeof(value), fmt, ap);
    va_end(ap);
    fake_lock();
    fake_set(path, value);
    fake_unlock();
    fake_changed();
}

const char *fake_read(const char *path)
{
    static char value[4][400];
    static unsigned turn;
    char *out = value[turn++ % 4];
    fake_lock();
    struct fake_node *n = fake_find(path);
    strcpy(out, n ? n->value : "");
    fake_unlock();
    return out;
}

void fake_remove(const char *dir)
{
    size_t len = strlen(dir);
    fake_lock();
    for (unsigned i = 0; i < FAKE_NODES; i++) {
        struct fake_node *n = &fake->node[i];
        if (!strncmp(n->path, dir, len) && (!n->path[len] || n->path[len] == '/')) {
            n->used = false;
        }
    }
    fake_unlock();
    fake_changed();
}

const char *fake_back(const char *key)
{
    static char path[4][160];
    static unsigned turn;
    char *out = path[turn++ % 4];
    snprintf(out, 160, "%s/%d/%d%s%s", fake_options.root, FAKE_DOMID, FAKE_DEVID, *key ? "/" : "",
             key);
    return out;
}

const char *fake_front(const char *key)
{
    static char path[4][160];
    static unsigned turn;
    char *out = path[turn++ % 4];
    snprintf(out, 160, "/local/domain/%d/device/vbd/%d%s%s", FAKE_DOMID, FAKE_DEVID,
             *key ? "/" : "", key);
    return out;
}

int fake_back_state(void)
{
    return atoi(fake_read(fake_back("state")));
}

bool fake_direct;

void fake_attach(const char *params, const char *mode, const char *type)
{
    fake_write(fake_front("state"), "1");
    fake_write(fake_front("backend"), "%s", fake_back(""));
    fake_write(fake_back("params"), "%s%s%s", *params && *params != '/' ? fake_dir : "",
               *params && *params != '/' ? "/" : "", params);
    fake_write(fake_back("format"), "raw");
    fake_write(fake_back("mode"), "%s", mode);
    fake_write(fake_back("device-type"), "%s", type);
    fake_write(fake_back("direct-io-safe"), "%d", fake_direct);
    fake_write(fake_back("online"), "1");
    fake_write(fake_back("state"), "1");
    fake_write(fake_back("frontend"), "%s", fake_front(""));
}

int fake_image_fd(const char *name, int flags)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", fake_dir, name);
    int fd = open(path, flags, 0600);
    assert_true(fd >= 0);
    return fd;
}

void fake_image(const char *name, uint64_t bytes)
{
    int fd = fake_image_fd(name, O_RDWR | O_CREAT | O_TRUNC);
    assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
    close(fd);
}

/* ---- struct host ---- */

static void *host_map(void *ctx, uint32_t domid, const uint32_t *grefs, unsigned count)
{
    if (domid != FAKE_DOMID || fake->dead) {
        return NULL;
    }
    for (unsigned i = 0; i < count; i++) {
        if (grefs[i] >= FAKE_PAGES || !fake->granted[grefs[i]]) {
            return NULL;
        }
    }
    uint8_t *at = mmap(NULL, count * 4096L, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(at != MAP_FAILED);
    for (unsigned i = 0; i < count; i++) {
        assert_true(mmap(at + i * 4096L, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                         fake_memory_fd, grefs[i] * 4096L) != MAP_FAILED);
    }
    __atomic_add_fetch(&fake->maps, count, __ATOMIC_SEQ_CST);
    return at;
}

static void host_unmap(void *ctx, void *address, unsigned count)
{
    assert_int_equal(munmap(address, count * 4096L), 0);
    __atomic_add_fetch(&fake->unmaps, count, __ATOMIC_SEQ_CST);
}

static int host_copy(void *ctx, uint32_t domid, const struct grant_copy *piece, unsigned count,
                     bool to_guest)
{
    for (unsigned i = 0; i < count; i++) {
        const struct grant_copy *p = &piece[i];
        if (p->gref >= FAKE_PAGES || !fake->granted[p->gref] || p->offset + p->length > 4096) {
            return -EFAULT;
        }
        uint8_t *page = (uint8_t *)fake_address(p->gref) + p->offset;
        memcpy(to_guest ? page : p->local, to_guest ? p->local : page, p->length);
    }
    __atomic_add_fetch(&fake->copies, count, __ATOMIC_SEQ_CST);
    return 0;
}

static int host_bind(void *ctx, uint32_t domid, uint32_t port)
{
    if (port >= FAKE_PORTS || fake->bound[port]) {
        return -EINVAL;
    }
    fake->bound[port] = true;
    return (int)port + 100;
}

static void host_unbind(void *ctx, int port)
{
    fake->bound[port - 100] = false;
}

static void host_notify(void *ctx, int port)
{
    eventfd_write(fake_to_front, 1);
}

static int host_read(void *ctx, const char *path, char **out)
{
    fake_lock();
    struct fake_node *n = fake_find(path);
    *out = n ? strdup(n->value) : NULL;
    fake_unlock();
    return *out ? 0 : -ENOENT;
}

static int host_list(void *ctx, const char *path, char ***names, unsigned *count)
{
    /* There is one device at most. */
    bool root = !strcmp(path, fake_options.root);
    char **list = malloc(sizeof(char *) + 16);
    list[0] = (char *)(list + 1);
    snprintf(list[0], 16, "%d", root ? FAKE_DOMID : FAKE_DEVID);
    *names = list;
    *count = *fake_read(fake_back("frontend")) ? 1 : 0;
    return 0;
}

static int host_publish(void *ctx, const char *dir, const struct store_pair *pairs, unsigned count)
{
    char path[160];
    fake_lock();
    snprintf(path, sizeof(path), "%s/frontend", dir);
    bool there = fake_find(path);
    for (unsigned i = 0; there && i < count; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, pairs[i].key);
        fake_set(path, pairs[i].value);
    }
    fake_unlock();
    eventfd_write(fake_to_front, 1);
    return there ? 0 : -ENOENT;
}

static bool host_alive(void *ctx, uint32_t domid)
{
    return !fake->dead;
}

static int host_watch(void *ctx, const char *path, const char *token)
{
    return 0;
}

static void host_unwatch(void *ctx, const char *path, const char *token) {}

static const struct host_ops host_ops = {host_map,     host_unmap,  host_copy,  host_bind,
                                         host_unbind,  host_notify, host_read,  host_list,
                                         host_publish, host_alive,  host_watch, host_unwatch};
static struct host host = {.ops = &host_ops};

/* ---- the daemon ---- */

static void on_to_back(void *arg, uint32_t events)
{
    eventfd_t n;
    eventfd_read(fake_to_back, &n);
    uint32_t generation = __atomic_load_n(&fake->generation, __ATOMIC_SEQ_CST);
    if (generation != fake_seen) {
        fake_seen = generation;
        devices_on_watch(&fake_devices, fake_back("state"), "back");
        devices_on_watch(&fake_devices, fake_back("params"), "back");
        devices_on_watch(&fake_devices, fake_back("rate-limit"), "back");
        devices_on_watch(&fake_devices, "@releaseDomain", "release");
    }
    for (int port = 0; port < FAKE_PORTS; port++) {
        if (fake->bound[port]) {
            devices_on_port(&fake_devices, port + 100);
        }
    }
    disk_env_run(&fake_devices.env);
}

void fake_start(void)
{
    fake_loop = loop_new();
    assert_non_null(fake_loop);
    assert_int_equal(devices_init(&fake_devices, &host, fake_loop, &fake_options), 0);
    assert_non_null(loop_add_fd(fake_loop, fake_to_back, EPOLLIN, on_to_back, NULL));
    fake_seen = fake->generation;
    devices_scan(&fake_devices);
    disk_env_run(&fake_devices.env);
}

/* Everything of the device must be closed before. */
void fake_stop(void)
{
    assert_null(fake_devices.list);
    assert_int_equal(fake->maps, fake->unmaps);
    disk_env_fini(&fake_devices.env);
    devices_fini(&fake_devices);
    loop_free(fake_loop);
}

struct fake_wait {
    bool (*done)(void *arg);
    void *arg;
    bool result;
    uint64_t end_ms;
};

static void on_look(void *arg, uint32_t count)
{
    struct fake_wait *w = arg;
    eventfd_t n;
    eventfd_read(fake_to_front, &n);
    w->result = w->done(w->arg);
    if (w->result || loop_now_ms() >= w->end_ms) {
        loop_stop(fake_loop, 0);
    }
}

static bool fake_wait(bool (*done)(void *arg), void *arg, unsigned ms)
{
    struct fake_wait w = {done, arg, done(arg), loop_now_ms() + ms};
    if (w.result) {
        return true;
    }
    struct loop_source *poll = loop_add_timer(fake_loop, on_look, &w);
    struct loop_source *event = loop_add_fd(fake_loop, fake_to_front, EPOLLIN, on_look, &w);
    loop_arm(poll, 5, 5);
    loop_run(fake_loop);
    loop_remove(poll);
    loop_remove(event);
    return w.result;
}

bool fake_run(bool (*done)(void *arg), void *arg)
{
    return fake_wait(done, arg, 10000);
}

static bool never(void *arg)
{
    return false;
}

void fake_run_ms(unsigned ms)
{
    fake_wait(never, NULL, ms);
}

static bool state_is(void *arg)
{
    return fake_back_state() == *(int *)arg;
}

bool fake_run_state(int back_state)
{
    return fake_run(state_is, &back_state);
}

void fake_spawn(void)
{
    fake_child = fork();
    assert_true(fake_child >= 0);
    if (!fake_child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        fake_start();
        loop_run(fake_loop);
        _exit(1);
    }
}

void fake_kill(void)
{
    int status;
    kill(fake_child, SIGKILL);
    assert_int_equal(waitpid(fake_child, &status, 0), fake_child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    /* What the hypervisor does for the dead. */
    memset(fake->bound, 0, sizeof(fake->bound));
    fake_unlock();
}

/* ---- the front end ---- */

static uint32_t *front_word(struct front_queue *q, unsigned n)
{
    return (uint32_t *)(void *)q->ring + n; /* req_prod, req_event, rsp_prod, rsp_event */
}

static uint8_t *front_slot(struct front_queue *q, uint32_t index)
{
    size_t size = q->abi == BLK_ABI_X86_32 ? 108 : 112;
    return q->ring + 64 + (index & (q->entries - 1)) * size;
}

static void front_write_queue(struct front_queue *q, const char *dir)
{
    char path[200];
    for (unsigned i = 0; i < q->pages; i++) {
        if (q->pages == 1) {
            snprintf(path, sizeof(path), "%s/ring-ref", dir);
        } else {
            snprintf(path, sizeof(path), "%s/ring-ref%u", dir, i);
        }
        fake_write(path, "%u", q->gref + i);
    }
    snprintf(path, sizeof(path), "%s/event-channel", dir);
    fake_write(path, "%u", q->port);
}

void front_connect(struct front *f, enum blk_abi abi, unsigned queues, unsigned order,
                   bool persistent)
{
    f->queues = queues;
    for (unsigned i = 0; i < queues; i++) {
        struct front_queue *q = &f->queue[i];
        *q = (struct front_queue){.abi = abi, .pages = 1u << order, .port = i + 1};
        for (unsigned p = 0; p < q->pages; p++) {
            uint32_t gref = fake_page();
            q->gref = p ? q->gref : gref;
        }
        q->ring = fake_address(q->gref);
        memset(q->ring, 0, q->pages * 4096L);
        *front_word(q, 1) = *front_word(q, 3) = 1;
        q->entries = 1;
        while (q->entries * 2 * (abi == BLK_ABI_X86_32 ? 108 : 112) + 64 <= q->pages * 4096) {
            q->entries *= 2;
        }
        char dir[160];
        snprintf(dir, sizeof(dir), queues > 1 ? "%s/queue-%u" : "%s", fake_front(""), i);
        front_write_queue(q, dir);
    }
    fake_write(fake_front("protocol"), abi == BLK_ABI_X86_32 ? "x86_32-abi" : "x86_64-abi");
    fake_write(fake_front("feature-persistent"), "%d", persistent);
    if (order) {
        fake_write(fake_front("ring-page-order"), "%u", order);
    }
    if (queues > 1) {
        fake_write(fake_front("multi-queue-num-queues"), "%u", queues);
    }
    fake_write(fake_front("state"), "3");
}

void front_disconnect(struct front *f)
{
    for (unsigned i = 0; i < f->queues; i++) {
        for (unsigned p = 0; p < f->queue[i].pages; p++) {
            fake->granted[f->queue[i].gref + p] = false;
        }
    }
    fake_remove(fake_front("ring-page-order"));
    fake_remove(fake_front("multi-queue-num-queues"));
}

static void put64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, 8);
}

static void put_segment(uint8_t *at, const struct blk_segment *s)
{
    memset(at, 0xa5, 8); /* padding is never to be trusted */
    memcpy(at, &s->gref, 4);
    at[4] = s->first;
    at[5] = s->last;
}

void front_put(struct front_queue *q, const struct front_request *r)
{
    bool narrow = q->abi == BLK_ABI_X86_32;
    uint8_t *slot = front_slot(q, q->req_prod++);
    uint16_t count = (uint16_t)r->count;
    memset(slot, 0xa5, narrow ? 108 : 112);
    put64(slot + (narrow ? 4 : 8), r->id);
    put64(slot + (narrow ? 12 : 16), r->sector);
    if (r->indirect) {
        slot[0] = BLKIF_OP_INDIRECT;
        slot[1] = r->operation;
        memcpy(slot + 2, &count, 2);
        memcpy(slot + (narrow ? 24 : 28), &r->page, 4);
        for (unsigned i = 0; i < r->count && i < FAKE_SEGMENTS; i++) {
            put_segment((uint8_t *)fake_address(r->page) + i * 8L, &r->seg[i]);
        }
        return;
    }
    slot[0] = r->operation;
    slot[1] = (uint8_t)count;
    if (r->operation == BLKIF_OP_DISCARD) {
        put64(slot + (narrow ? 20 : 24), r->nr_sectors);
    }
    for (unsigned i = 0; i < r->count && i < 11; i++) {
        put_segment(slot + (narrow ? 20 : 24) + i * 8L, &r->seg[i]);
    }
}

void front_push(struct front_queue *q)
{
    uint32_t old = __atomic_load_n(front_word(q, 0), __ATOMIC_RELAXED);
    __atomic_store_n(front_word(q, 0), q->req_prod, __ATOMIC_SEQ_CST);
    uint32_t event = __atomic_load_n(front_word(q, 1), __ATOMIC_SEQ_CST);
    if (q->req_prod - event < q->req_prod - old) {
        eventfd_write(fake_to_back, 1);
    }
}

bool front_get(struct front_queue *q, struct front_response *r)
{
    if (__atomic_load_n(front_word(q, 2), __ATOMIC_ACQUIRE) == q->rsp_cons) {
        __atomic_store_n(front_word(q, 3), q->rsp_cons + 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(front_word(q, 2), __ATOMIC_SEQ_CST) == q->rsp_cons) {
            return false;
        }
    }
    const uint8_t *slot = front_slot(q, q->rsp_cons++);
    memcpy(&r->id, slot, 8);
    r->operation = slot[8];
    memcpy(&r->status, slot + 10, 2);
    return true;
}

struct one {
    struct front_queue *q;
    struct front_response rsp;
};

static bool got_one(void *arg)
{
    struct one *o = arg;
    return front_get(o->q, &o->rsp);
}

int front_do(struct front_queue *q, const struct front_request *r)
{
    struct one o = {.q = q};
    front_put(q, r);
    front_push(q);
    if (!fake_run(got_one, &o)) {
        return 1;
    }
    assert_int_equal(o.rsp.id, r->id);
    assert_int_equal(o.rsp.operation, r->operation);
    return o.rsp.status;
}

struct front_request front_io(uint8_t operation, uint64_t sector, uint32_t gref, unsigned sectors)
{
    struct front_request r = {.operation = operation, .id = sector + 1000, .sector = sector};
    for (unsigned left = sectors; left; r.count++) {
        unsigned n = left < 8 ? left : 8;
        r.seg[r.count] = (struct blk_segment){gref + r.count, 0, (uint8_t)(n - 1)};
        left -= n;
    }
    return r;
}
