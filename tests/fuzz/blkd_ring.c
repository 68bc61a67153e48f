// SPDX-License-Identifier: BSD-2-Clause
/* A hostile front end: the input is what it writes into its ring and its pages, in steps. The real
 * data path runs over an image in memory. Nothing may be touched outside the guest and the image,
 * and every request that is taken is answered once. */
#include "fuzz.h"

#include "disk.h"
#include "uring.h"

#include <errno.h>

enum { PAGES = 16, IMAGE = 64 * 512, WAITING = 64 };

static uint8_t guest[PAGES][BLK_PAGE] __attribute__((aligned(4096)));
static uint8_t image_memory[IMAGE];
static struct image_io *waiting[WAITING];
static unsigned waits;
static bool broken;
static uint64_t journal_memory[4096];

static void *map(void *ctx, uint32_t domid, const uint32_t *grefs, unsigned count)
{
    (void)ctx;
    (void)domid;
    /* Contiguous only: enough for what is asked one by one. */
    for (unsigned i = 0; i < count; i++)
        if (grefs[i] >= PAGES || grefs[i] != grefs[0] + i)
            return NULL;
    return guest[grefs[0]];
}

static void unmap(void *ctx, void *address, unsigned count)
{
    (void)ctx;
    (void)address;
    (void)count;
}

static int copy(void *ctx, uint32_t domid, const struct grant_copy *piece, unsigned count,
                bool to_guest)
{
    (void)ctx;
    (void)domid;
    for (unsigned i = 0; i < count; i++) {
        FUZZ_ASSERT(piece[i].offset + piece[i].length <= BLK_PAGE);
        if (piece[i].gref >= PAGES)
            return -EFAULT;
        uint8_t *page = guest[piece[i].gref] + piece[i].offset;
        memcpy(to_guest ? page : piece[i].local, to_guest ? piece[i].local : page, piece[i].length);
    }
    return 0;
}

static void notify(void *ctx, int port)
{
    (void)ctx;
    (void)port;
}

static const struct host_ops ops = {.map = map, .unmap = unmap, .copy = copy, .notify = notify};

static void image_take(struct image_io *io)
{
    FUZZ_ASSERT(waits < WAITING);
    waiting[waits++] = io;
}

static void image_transfer(struct image_io *io, bool write)
{
    uint64_t bytes = 0;
    FUZZ_ASSERT(io->offset + io->length <= IMAGE && io->offset + io->length >= io->offset);
    for (unsigned i = 0; i < io->iovcnt; i++) {
        uint8_t *at = image_memory + io->offset + bytes;
        bytes += io->iov[i].iov_len;
        FUZZ_ASSERT(bytes <= io->length);
        memmove(write ? at : io->iov[i].iov_base, write ? io->iov[i].iov_base : at,
                io->iov[i].iov_len);
    }
    FUZZ_ASSERT(bytes == io->length);
    image_take(io);
}

static void image_in(struct image_io *io)
{
    image_transfer(io, false);
}

static void image_out(struct image_io *io)
{
    image_transfer(io, true);
}

static void image_lose(struct image_io *io)
{
    FUZZ_ASSERT(io->length && io->offset + io->length <= IMAGE);
    memset(image_memory + io->offset, 0, io->length);
    image_take(io);
}

static void image_end(struct image *img)
{
    (void)img;
}

const struct image_ops image_raw = {.format = "raw",
                                    .read = image_in,
                                    .write = image_out,
                                    .flush = image_take,
                                    .discard = image_lose,
                                    .close = image_end};

/* The engine is not used here: the image answers. */
struct uring *uring_new(struct loop *l, unsigned depth, void (*after)(void *arg), void *arg)
{
    (void)l;
    (void)depth;
    (void)after;
    (void)arg;
    return (struct uring *)guest;
}

void uring_free(struct uring *u)
{
    (void)u;
}

void uring_submit(struct uring *u)
{
    (void)u;
}

bool uring_reap(struct uring *u)
{
    (void)u;
    return false;
}

static void finish(unsigned n, int result)
{
    struct image_io *io = waiting[n];
    waiting[n] = waiting[--waits];
    io->done(io, result);
}

static void on_idle(void *arg)
{
    (void)arg;
}

static void on_broken(void *arg, unsigned queue)
{
    (void)arg;
    (void)queue;
    broken = true;
}

static void on_failed(void *arg, const char *what, int err)
{
    (void)arg;
    (void)what;
    (void)err;
}

/* Steps: where to write, how much, the bytes, how far req_prod moves, what ends. */
static void play(struct disk *d, struct disk_env *env, const uint8_t *data, size_t size)
{
    struct blkif_sring *s = (void *)guest[0];
    while (size >= 5 && !broken) {
        size_t at = (data[0] | data[1] << 8) % sizeof(guest), len = data[2];
        unsigned prod = data[3] % 36;
        uint8_t ends = data[4];
        data += 5;
        size -= 5;
        len = len < size ? len : size;
        len = len < sizeof(guest) - at ? len : sizeof(guest) - at;
        uint32_t old = s->req_prod;
        memcpy((uint8_t *)guest + at, data, len);
        if (at >= sizeof(uint32_t))
            s->req_prod = old;
        s->req_prod += prod;
        data += len;
        size -= len;
        queue_kick(d->queue[0]);
        disk_env_run(env);
        for (; waits && ends; ends >>= 1)
            finish(ends % waits, ends & 1 ? 0 : -EIO);
        disk_env_run(env);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct disk_calls calls = {on_idle, on_broken, on_failed};
    struct host host = {.ops = &ops};
    struct image img = {.ops = &image_raw, .bytes = IMAGE, .block = 512};
    struct disk_env env;
    if (size < 2)
        return 0;
    memset(guest, 0, sizeof(guest));
    waits = 0;
    broken = false;
    img.read_only = data[0] & 4;
    struct loop *loop = loop_new();
    FUZZ_ASSERT(loop && !disk_env_init(&env, &host, loop, 4));
    struct disk d = {.env = &env, .image = &img, .calls = &calls};
    d.limits = (struct blk_limits){.sectors = IMAGE / 512,
                                   .indirect = 64,
                                   .read_only = img.read_only,
                                   .discard = !(data[0] & 8)};
    d.grants = data[0] & 2 ? pgrant_new(&host, 1, 8) : NULL;
    enum blk_abi abi = data[0] & 1 ? BLK_ABI_X86_32 : BLK_ABI_X86_64;
    FUZZ_ASSERT(
        !disk_add_queue(&d, abi, guest[0], BLK_PAGE, (struct journal *)journal_memory, false, 1));
    disk_start(&d);
    play(&d, &env, data + 1, size - 1);
    disk_stop(&d);
    while (waits)
        finish(0, 0);
    disk_env_run(&env);
    FUZZ_ASSERT(!d.running && !d.bytes);
    disk_free_queues(&d);
    pgrant_free(d.grants);
    disk_env_fini(&env);
    loop_free(loop);
    return 0;
}
