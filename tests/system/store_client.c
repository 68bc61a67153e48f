// SPDX-License-Identifier: BSD-2-Clause
// store_client PREFIX COUNT: works on the store below PREFIX through Debian's libxenstore (and with
// XENSTORED_PATH=/dev/xen/xenbus through the kernel's ring) and checks everything that comes back.
// Prints "ok COUNT again N" at the end.
// store_client PATH count|list: prints how many nodes there are at and below PATH, or each's path.
// For test_store.py, in the control domain and in guests.
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xenstore.h>

static struct xs_handle *xs;
static const char *prefix;
static unsigned again;

static void die(const char *what, const char *path)
{
    printf("failed: %s %s: %s\n", what, path, strerror(errno));
    exit(1);
}

static const char *below(const char *name)
{
    static char path[4][256];
    static unsigned n;
    snprintf(path[++n % 4], sizeof(path[0]), "%s/%s", prefix, name);
    return path[n % 4];
}

static void put(xs_transaction_t t, const char *path, const char *value)
{
    if (!xs_write(xs, t, path, value, (unsigned)strlen(value)))
        die("write", path);
}

static void expect(const char *path, const char *value)
{
    unsigned len;
    char *got = xs_read(xs, XBT_NULL, path, &len);
    if (!got)
        die("read", path);
    if (strcmp(got, value) != 0) {
        printf("failed: %s is \"%.40s\", not \"%.40s\"\n", path, got, value);
        exit(1);
    }
    free(got);
}

static void both(const char *value)
{
    for (;;) {
        xs_transaction_t t = xs_transaction_start(xs);
        if (t == XBT_NULL)
            die("transaction", "start");
        put(t, below("a"), value);
        put(t, below("b"), value);
        if (xs_transaction_end(xs, t, false))
            break;
        if (errno != EAGAIN)
            die("transaction", "end");
        again++;
    }
    expect(below("a"), value);
    expect(below("b"), value);
}

// Events of others' changes, or repeated ones, may come before.
static void await(const char *path)
{
    for (bool found = false; !found;) {
        unsigned count;
        char **event = xs_read_watch(xs, &count);
        if (!event)
            die("read_watch", path);
        found = !strcmp(event[XS_WATCH_PATH], path);
        free(event);
    }
}

static unsigned count_nodes(const char *path, bool list)
{
    unsigned kids, sum = 1;
    if (list)
        puts(path);
    char **names = xs_directory(xs, XBT_NULL, path, &kids);
    for (unsigned i = 0; names && i < kids; i++) {
        char kid[1024];
        snprintf(kid, sizeof(kid), "%s/%s", path[1] ? path : "", names[i]);
        sum += count_nodes(kid, list);
    }
    free(names);
    return sum;
}

int main(int argc, char **argv)
{
    static char long_value[1500];
    if (argc != 3)
        return 2;
    unsigned count = (unsigned)atoi(argv[2]);
    prefix = argv[1];
    memset(long_value, 'l', sizeof(long_value) - 1);
    xs = xs_open(0);
    if (!xs)
        die("open", "");
    if (!strcmp(argv[2], "count")) {
        printf("%u\n", count_nodes(prefix, false));
        return 0;
    }
    if (!strcmp(argv[2], "list")) {
        count_nodes(prefix, true);
        return 0;
    }
    alarm(600); // something that never comes is a failure too
    if (!xs_watch(xs, below("w"), "token"))
        die("watch", below("w"));
    for (unsigned i = 0; i < count; i++) {
        char value[32], name[32];
        snprintf(value, sizeof(value), "%u", i);
        snprintf(name, sizeof(name), "w/%u", i % 7);
        put(XBT_NULL, below("v"), value);
        expect(below("v"), value);
        both(value);
        put(XBT_NULL, below(name), value);
        await(below(name));
        put(XBT_NULL, below("long"), long_value);
        expect(below("long"), long_value);
        if (!xs_rm(xs, XBT_NULL, below("long")))
            die("rm", below("long"));
    }
    xs_unwatch(xs, below("w"), "token");
    xs_close(xs);
    printf("ok %u again %u\n", count, again);
    return 0;
}
