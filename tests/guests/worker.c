// SPDX-License-Identifier: BSD-2-Clause
// A small guest that uses all that the control domain's daemons serve, for the system tests: it
// verifies its disks all the time, sends frames, does transactions in xenstore, and says
//   seq 7 t 3500 disks 1 ops 340 longest 12 ms, store 20 again 0 longest 3 ms, net 1 sent 4 got 0
// with a number that grows by one from line to line. What goes wrong is a line "bad: ...".
// It ends when it is asked to, with a last line "end ..." and the totals. Command line:
//   every=MS     between lines (500)      pause=MS   between a disk request and the next (20)
//   store=MS     between transactions (100)
//   silent       no frames: each goes to everybody
#include "lib/guest.h"

#include "lib/disk.h"
#include "lib/nic.h"
#include "lib/share.h"
#include "lib/store.h"

enum { LINE_MAX = 200 };

static uint64_t every, store_every, started;
static uint64_t next_line, next_store;
static unsigned int line, transactions, repeated, store_longest_ms;
static bool asked, silent;

static unsigned int since_start(void)
{
    return (unsigned int)((clock_now() - started) / MS);
}

static void say(const char *word)
{
    print("%s %u t %u disks %u ops %u longest %u ms, store %u again %u longest %u ms, net %u "
          "sent %u got %u\n",
          word, line, since_start(), disks_up, disk_operations, disk_longest_ms, transactions,
          repeated, store_longest_ms, nic_up, nic_sent, nic_received);
}

// A line that finds no room waits; none is left out.
static void say_something(void)
{
    if (clock_now() < next_line || console_room() < LINE_MAX)
        return;
    line++;
    say("seq");
    if (!silent)
        nic_send();
    next_line = clock_now() + every;
}

static void serve(void)
{
    disks_serve();
    nic_serve();
    say_something();
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

// Both nodes always say the same.
static bool transaction(uint32_t number)
{
    uint32_t tx = store_begin();
    uint32_t seen = 0;

    if (!tx) {
        print("bad: no transaction: %s\n", store_text);
        return false;
    }
    if (store_read(tx, "data/one"))
        for (const char *c = store_text; *c; c++)
            seen = seen * 10 + (uint32_t)(*c - '0');
    if (seen != number - 1)
        print("bad: data/one says %u, not %u\n", seen, number - 1);
    if (!store_write(tx, "data/one", "%u", number) || !store_write(tx, "data/two", "%u", number))
        print("bad: no write in a transaction: %s\n", store_text);
    return store_end(tx);
}

static void use_store(void)
{
    uint64_t start = clock_now();
    unsigned int ms;

    if (start < next_store)
        return;
    while (!transaction(transactions + 1))
        if (++repeated % 100 == 0)
            print("bad: %u transactions did not happen: %s\n", repeated, store_text);
    transactions++;
    if (store_read(0, "data/two") &&
        (unsigned int)(store_text[strlen(store_text) - 1] - '0') != transactions % 10)
        print("bad: data/two says %s, not %u\n", store_text, transactions);
    ms = (unsigned int)((clock_now() - start) / MS);
    store_longest_ms = ms > store_longest_ms ? ms : store_longest_ms;
    next_store = clock_now() + store_every;
}

static void on_store_events(void)
{
    uint32_t events = store_events;

    store_events = 0;
    if (!events && !disks_drained())
        return;
    disks_look();
    nic_look();
    if (store_read(0, "control/shutdown") && store_text[0]) {
        asked = true;
        store_write(0, "control/shutdown", "%s", "");
    }
}

void guest_main(void)
{
    every = arg_number("every", 500) * MS;
    store_every = arg_number("store", 100) * MS;
    disk_pause_ns = arg_number("pause", 20) * MS;
    silent = arg_present("silent");
    started = clock_now();
    print("worker: up\n");
    share_init();
    if (!store_init()) {
        print("bad: there is no xenstore\n");
        return;
    }
    store_waiting = serve;
    store_write(0, "control/feature-poweroff", "1");
    store_watch("device", 'a');
    store_watch("control/shutdown", 'b');
    store_events = 1;
    while (!asked) {
        share_events_clear();
        store_serve();
        on_store_events();
        use_store();
        serve();
        share_wait(earlier(earlier(next_line, next_store), disks_due()));
    }
    say("end");
}
