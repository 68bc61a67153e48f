// SPDX-License-Identifier: BSD-2-Clause
/*
 * What disks and network cards of guests cost, with many requests in flight.
 *
 * io disk LABEL DEVICE   4 KiB at random and 64 KiB in sequence, read and written past the cache
 * io net LABEL ADDRESS   TCP with the server below: to it, from it, one byte there and back
 * io serve               that server
 *
 * Batches lie between the markers that split.c counts between, so everything that the machine does
 * is counted: the guest, the back end and the hypervisor.
 * Output: "LAT LABEL_operation n ticks", n requests (disk), MiB (network) or round trips.
 */
#define _GNU_SOURCE
#include "mark.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { REPS = 3, DEPTH = 32, CHUNK = 64 << 10, PORT = 5001, MIB = 1 << 20, BATCH_MIB = 16 };
enum { TRIPS = 200 };

static const char *label;

static void die(const char *what)
{
    printf("io: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void result(const char *name, unsigned n, uint64_t ticks)
{
    printf("LAT %s_%s %u %llu\n", label, name, n, (unsigned long long)ticks);
}

// ---- disk ---------------------------------------------------------------------------------

static int disk;
static uint64_t disk_size;
static uint8_t *buffers;
static aio_context_t context;
static uint32_t seed = 1;

static uint64_t offset_of(bool random, unsigned i, unsigned size)
{
    uint64_t blocks = disk_size / size;
    seed = seed * 1103515245 + 12345;
    return (random ? (seed >> 8) % blocks : i % blocks) * size;
}

// n requests, `depth` of them at a time.
static void run_disk(bool write, bool random, unsigned size, unsigned depth, unsigned n)
{
    static struct iocb cb[DEPTH];
    struct iocb *list[DEPTH];
    struct io_event done[DEPTH];
    unsigned made = 0, ended = 0, ready = 0;
    for (unsigned i = 0; i < depth; i++) {
        cb[i] = (struct iocb){.aio_fildes = (uint32_t)disk,
                              .aio_lio_opcode = write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
                              .aio_buf = (uintptr_t)(buffers + (size_t)i * CHUNK),
                              .aio_nbytes = size};
        list[ready++] = &cb[i];
    }
    while (ended < n) {
        unsigned more = ready < n - made ? ready : n - made;
        for (unsigned i = 0; i < more; i++)
            list[i]->aio_offset = (int64_t)offset_of(random, made + i, size);
        if (more && syscall(SYS_io_submit, context, more, list) != more)
            die("io_submit");
        made += more;
        long got = syscall(SYS_io_getevents, context, 1, DEPTH, done, NULL);
        if (got < 1)
            die("io_getevents");
        ready = 0;
        for (long i = 0; i < got; i++) {
            if (done[i].res != (int64_t)size)
                die("transfer");
            list[ready++] = (struct iocb *)(uintptr_t)done[i].obj;
        }
        ended += (unsigned)got;
    }
}

static void measure_disk(const char *name, bool write, bool random, unsigned size, unsigned depth,
                         unsigned n)
{
    uint64_t best = ~0ull;
    run_disk(write, random, size, depth, n);
    MARK(1);
    for (unsigned r = 0; r < REPS; r++) {
        uint64_t a = tsc();
        MARK(2);
        run_disk(write, random, size, depth, n);
        MARK(3);
        a = tsc() - a;
        if (a < best)
            best = a;
    }
    result(name, n, best);
}

static int do_disk(const char *path)
{
    disk = open(path, O_RDWR | O_DIRECT);
    disk_size = disk < 0 ? 0 : (uint64_t)lseek(disk, 0, SEEK_END);
    if (disk < 0 || disk_size < CHUNK)
        die(path);
    buffers = aligned_alloc(4096, (size_t)DEPTH * CHUNK);
    if (!buffers || syscall(SYS_io_setup, DEPTH, &context))
        die("io_setup");
    memset(buffers, 0x5a, (size_t)DEPTH * CHUNK);
    for (uint64_t at = 0; at + CHUNK <= disk_size; at += CHUNK) // no holes below
        if (pwrite(disk, buffers, CHUNK, (off_t)at) != CHUNK)
            die("fill");
    measure_disk("randread", false, true, 4096, DEPTH, 1024);
    measure_disk("randwrite", true, true, 4096, DEPTH, 1024);
    measure_disk("one_read", false, true, 4096, 1, 256);
    measure_disk("seqread", false, false, CHUNK, 8, 256);
    measure_disk("seqwrite", true, false, CHUNK, 8, 256);
    return 0;
}

// ---- network ------------------------------------------------------------------------------

static uint8_t data[CHUNK];

static void send_all(int s, size_t len)
{
    while (len) {
        ssize_t n = send(s, data, len < CHUNK ? len : CHUNK, MSG_NOSIGNAL);
        if (n <= 0)
            die("send");
        len -= (size_t)n;
    }
}

static bool receive_all(int s, size_t len)
{
    while (len) {
        ssize_t n = recv(s, data, len < CHUNK ? len : CHUNK, 0);
        if (n <= 0)
            return false;
        len -= (size_t)n;
    }
    return true;
}

static void run_net(int s, char verb, unsigned n)
{
    for (unsigned i = 0; i < (verb == 'p' ? n : 1); i++) {
        uint8_t request[2] = {(uint8_t)verb, (uint8_t)n};
        if (send(s, request, 2, 0) != 2)
            die("send");
        if (verb == 's')
            send_all(s, (size_t)n * MIB);
        if (!receive_all(s, verb == 'r' ? (size_t)n * MIB : 1))
            die("receive");
    }
}

static void measure_net(int s, const char *name, char verb, unsigned n)
{
    uint64_t best = ~0ull;
    run_net(s, verb, n);
    MARK(1);
    for (unsigned r = 0; r < REPS; r++) {
        uint64_t a = tsc();
        MARK(2);
        run_net(s, verb, n);
        MARK(3);
        a = tsc() - a;
        if (a < best)
            best = a;
    }
    result(name, n, best);
}

static int do_net(const char *to)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    int one = 1, s = socket(AF_INET, SOCK_STREAM, 0);
    at.sin_addr.s_addr = inet_addr(to);
    if (connect(s, (struct sockaddr *)&at, sizeof(at)))
        die(to);
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    measure_net(s, "send", 's', BATCH_MIB);
    measure_net(s, "receive", 'r', BATCH_MIB);
    measure_net(s, "roundtrip", 'p', TRIPS);
    return 0;
}

static void serve_one(int s)
{
    uint8_t request[2];
    while (recv(s, request, 2, MSG_WAITALL) == 2) {
        size_t len = (size_t)request[1] * MIB;
        if (request[0] == 's' && !receive_all(s, len))
            break;
        send_all(s, request[0] == 'r' ? len : 1);
    }
    close(s);
}

static _Noreturn void do_serve(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    int one = 1, s = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(s, (struct sockaddr *)&at, sizeof(at)) || listen(s, 4))
        die("listen");
    for (;;) {
        int c = accept(s, NULL, NULL);
        setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        serve_one(c);
    }
}

int main(int argc, char **argv)
{
    label = argc > 2 ? argv[2] : "";
    setvbuf(stdout, NULL, _IOFBF, 1 << 14); // the console disturbs nothing
    if (argc == 4 && !strcmp(argv[1], "disk"))
        return do_disk(argv[3]);
    if (argc == 4 && !strcmp(argv[1], "net"))
        return do_net(argv[3]);
    if (argc == 2 && !strcmp(argv[1], "serve"))
        do_serve();
    return 2;
}
