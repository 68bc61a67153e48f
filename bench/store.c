// SPDX-License-Identifier: BSD-2-Clause
/*
 * store NAME [SOCKET]: what xenstore's operations cost with the daemon that listens at SOCKET.
 *
 * Speaks the wire protocol (xen/io/xs_wire.h) itself: each request is one write(2), so the client's
 * share is small and the same for all daemons.  Makes a store of 10,000 nodes, then runs batches
 * of each operation between the markers that split.c counts between.
 * Output: "LAT NAME_operation n ticks" for each, ticks: TSC of the shortest batch.
 */
#include "mark.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <xen/io/xs_wire.h>

enum { REPS = 5, DIRS = 100, LEAVES = 99, CLIENTS = 200, PAYLOAD = XENSTORE_PAYLOAD_MAX };

static const char *address = "/run/xenstored/socket";
static int fd, watcher, clients[CLIENTS], ring = -1;
static struct {
    struct xsd_sockmsg head;
    char body[PAYLOAD];
} answer;

static void die(const char *what)
{
    printf("store: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int dial(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(to.sun_path, sizeof(to.sun_path), "%s", address);
    if (s < 0 || connect(s, (struct sockaddr *)&to, sizeof(to)))
        die(address);
    return s;
}

static void send_to(int s, uint32_t type, uint32_t tx, const void *data, size_t len)
{
    struct {
        struct xsd_sockmsg head;
        char body[PAYLOAD];
    } m;
    m.head = (struct xsd_sockmsg){.type = type, .tx_id = tx, .len = (uint32_t)len};
    memcpy(m.body, data, len);
    if (write(s, &m, sizeof(m.head) + len) != (ssize_t)(sizeof(m.head) + len))
        die("write");
}

// One message: its head, then its body.
static void receive(int s)
{
    char *to = (char *)&answer;
    size_t have = 0, want = sizeof(answer.head);
    while (have < want) {
        ssize_t got = read(s, to + have, want - have);
        if (got <= 0)
            die("read");
        have += (size_t)got;
        if (have == sizeof(answer.head))
            want += answer.head.len < PAYLOAD ? answer.head.len : PAYLOAD;
    }
}

static void ask_at(int s, uint32_t type, uint32_t tx, const void *data, size_t len)
{
    send_to(s, type, tx, data, len);
    receive(s);
    if (answer.head.type == XS_ERROR) {
        printf("store: request %u \"%.60s\": %.20s\n", type, (const char *)data, answer.body);
        exit(1);
    }
}

static void ask(uint32_t type, uint32_t tx, const void *data, size_t len)
{
    ask_at(fd, type, tx, data, len);
}

static void put(uint32_t tx, const char *path, const char *value)
{
    char data[256];
    size_t n = strlen(path) + 1;
    memcpy(data, path, n);
    memcpy(data + n, value, strlen(value));
    ask(XS_WRITE, tx, data, n + strlen(value));
}

static const char *leaf(unsigned i)
{
    static char path[64];
    snprintf(path, sizeof(path), "/bench/d%u/n%u", i / LEAVES % DIRS, i % LEAVES);
    return path;
}

static void populate(void)
{
    for (unsigned i = 0; i < DIRS * LEAVES; i++)
        put(0, leaf(i), "some value of the usual length");
}

static void op_read(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const char *path = leaf(i * 37);
        ask(XS_READ, 0, path, strlen(path) + 1);
    }
}

static void op_write(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        put(0, leaf(i * 37), "another value, as long as before");
}

static void op_directory(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char path[32];
        snprintf(path, sizeof(path), "/bench/d%u", i % DIRS);
        ask(XS_DIRECTORY, 0, path, strlen(path) + 1);
    }
}

static void op_make_remove(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char path[32];
        snprintf(path, sizeof(path), "/bench/d%u/new", i % DIRS);
        ask(XS_MKDIR, 0, path, strlen(path) + 1);
        ask(XS_RM, 0, path, strlen(path) + 1);
    }
}

static uint32_t begin(void)
{
    ask(XS_TRANSACTION_START, 0, "", 1);
    answer.body[answer.head.len] = '\0';
    return (uint32_t)atoi(answer.body);
}

static void op_transaction(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint32_t tx = begin();
        for (unsigned k = 0; k < 10; k++)
            put(tx, leaf(i * 37 + k), "a value written in a transaction");
        ask(XS_TRANSACTION_END, tx, "T", 2);
    }
}

static void op_transaction_read(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint32_t tx = begin();
        for (unsigned k = 0; k < 10; k++) {
            const char *path = leaf(i * 37 + k);
            ask(XS_READ, tx, path, strlen(path) + 1);
        }
        ask(XS_TRANSACTION_END, tx, "T", 2);
    }
}

// A write and the event about it at another client.
static void op_watch(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        put(0, "/bench/d7/n7", "something to be told");
        receive(watcher);
    }
}

// Each of many clients has a request waiting. They come with it, because they cost others
// something.
static void op_clients(unsigned n)
{
    for (unsigned i = 0; i < CLIENTS && !clients[i]; i++)
        clients[i] = dial();
    for (unsigned i = 0; i < n; i++) {
        const char *path = leaf(i * 37);
        send_to(clients[i % CLIENTS], XS_READ, 0, path, strlen(path) + 1);
    }
    for (unsigned i = 0; i < n; i++)
        receive(clients[i % CLIENTS]);
}

// Through the kernel's ring, as drivers and guests do.
static void op_ring_read(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const char *path = leaf(i * 37);
        ask_at(ring, XS_READ, 0, path, strlen(path) + 1);
    }
}

static void op_ring_write(unsigned n)
{
    int socket = fd;
    fd = ring;
    op_write(n);
    fd = socket;
}

static const struct op {
    const char *name;
    void (*run)(unsigned n);
    unsigned n;
} ops[] = {
    {"read", op_read, 200},
    {"write", op_write, 200},
    {"directory", op_directory, 100},
    {"make_remove", op_make_remove, 100},
    {"transaction", op_transaction, 20},
    {"transaction_read", op_transaction_read, 20},
    {"watch", op_watch, 100},
    {"ring_read", op_ring_read, 100},
    {"ring_write", op_ring_write, 100},
    {"clients", op_clients, CLIENTS},
};
enum { OPS = sizeof(ops) / sizeof(*ops) };

static void prepare(void)
{
    static const char watch[] = "/bench/d7/n7\0token";
    fd = dial();
    populate();
    watcher = dial();
    ask_at(watcher, XS_WATCH, 0, watch, sizeof(watch));
    // The first event comes at once; it may come before the answer of later requests.
    receive(watcher);
    ring = open("/dev/xen/xenbus", O_RDWR);
}

static uint64_t measure(const struct op *o)
{
    uint64_t best = ~0ull;
    o->run(o->n); // warm up
    MARK(1);
    for (unsigned r = 0; r < REPS; r++) {
        uint64_t a = tsc();
        MARK(2);
        o->run(o->n);
        MARK(3);
        a = tsc() - a;
        if (a < best)
            best = a;
    }
    return best;
}

int main(int argc, char **argv)
{
    uint64_t ticks[OPS] = {0};
    if (argc < 2)
        return 2;
    if (argc > 2)
        address = argv[2];
    alarm(500); // a daemon that never answers
    prepare();
    for (unsigned i = 0; i < OPS; i++)
        if (ring >= 0 || strncmp(ops[i].name, "ring_", 5) != 0)
            ticks[i] = measure(&ops[i]);
    for (unsigned i = 0; i < OPS; i++)
        if (ticks[i])
            printf("LAT %s_%s %u %llu\n", argv[1], ops[i].name, ops[i].n,
                   (unsigned long long)ticks[i]);
    return 0;
}
