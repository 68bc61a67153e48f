// SPDX-License-Identifier: BSD-2-Clause
/* Fairness between rings, counted in requests: the daemon's own turns over rings in memory. A guest
 * that always has another request does not make one that asks now and then wait for more than one
 * turn of each flooding guest. And starts: guests that are not there cost no time each. */
#include "unit.h"

#include "stored.h"
#include "xen.h"

#include "mem.h"
#include "ring.h"
#include "watch.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

enum { GUESTS = 40, TURN = 4 };

static struct stored d;
static struct xenstore_domain_interface page[GUESTS + 1];
static bool deaf[GUESTS + 1]; /* binding its port fails */
static char state_dir[64];

/* ---- the machine below ------------------------------------------------------------------- */

struct xenstore_domain_interface *xen_map_guest(struct xen *x, unsigned domid, uint64_t mfn)
{
    return &page[domid];
}

int xen_map_control(struct xen *x, struct xenstore_domain_interface **out, uint32_t *port)
{
    *out = &page[0];
    *port = 1;
    return 0;
}

void xen_unmap(struct xen *x, struct xenstore_domain_interface *p) {}

int xen_bind(struct xen *x, unsigned domid, uint32_t port)
{
    return deaf[domid] ? -EINVAL : (int)domid + 100;
}

void xen_unbind(struct xen *x, unsigned port) {}

void xen_notify(struct xen *x, unsigned port) {}

int xen_look(struct xen *x)
{
    return 0;
}

enum xen_domain xen_domain_state(const struct xen *x, unsigned domid)
{
    return XEN_DOMAIN_RUNS;
}

/* ---- guests ------------------------------------------------------------------------------- */

static unsigned served[GUESTS + 1]; /* answers that have come */

static void guest_ask(unsigned n, uint32_t type, const char *data, uint32_t len)
{
    struct xenstore_domain_interface *p = &page[n];
    struct xsd_sockmsg head = {.type = type, .len = len};
    char all[256];
    memcpy(all, &head, sizeof(head));
    memcpy(all + sizeof(head), data, len);
    for (size_t i = 0; i < sizeof(head) + len; i++)
        p->req[MASK_XENSTORE_IDX(p->req_prod + i)] = all[i];
    p->req_prod += (uint32_t)sizeof(head) + len;
}

static void guest_fill(unsigned n, uint32_t type, const char *data, uint32_t len)
{
    while (XENSTORE_RING_SIZE - (page[n].req_prod - page[n].req_cons) >=
           sizeof(struct xsd_sockmsg) + len)
        guest_ask(n, type, data, len);
}

/* Takes whole answers; events do not count. */
static void guest_take(unsigned n)
{
    struct xenstore_domain_interface *p = &page[n];
    struct xsd_sockmsg head;
    while (p->rsp_prod - p->rsp_cons >= sizeof(head)) {
        for (size_t i = 0; i < sizeof(head); i++)
            ((char *)&head)[i] = p->rsp[MASK_XENSTORE_IDX(p->rsp_cons + i)];
        if (p->rsp_prod - p->rsp_cons < sizeof(head) + head.len)
            return;
        p->rsp_cons += (uint32_t)sizeof(head) + head.len;
        served[n] += head.type != XS_WATCH_EVENT;
    }
}

/* What one pass of the event loop does with the turns. */
static void round_of_turns(void)
{
    struct turn mark = {0};
    turn_queue(&d.turns, &mark);
    for (;;) {
        struct turn *t = d.turns.first;
        turn_cancel(&d.turns, t);
        if (t == &mark)
            return;
        t->serve(t);
    }
}

static const struct store_host hooks = {
    .connect = rings_connect, .disconnect = rings_disconnect, .throttle = rings_throttle};

static void host_wake(void *arg, struct conn *c)
{
    rings_wake(arg, c);
}

static int setup(void **unused)
{
    static struct store_host h;
    h = hooks;
    h.wake = host_wake;
    memset(&d, 0, sizeof(d));
    memset(page, 0, sizeof(page));
    memset(deaf, 0, sizeof(deaf));
    memset(served, 0, sizeof(served));
    strcpy(state_dir, "/tmp/serai-unit-XXXXXX");
    assert_non_null(mkdtemp(state_dir));
    d.state_dir = state_dir;
    d.xen = (struct xen *)&d; /* never looked at */
    d.loop = loop_new();
    turns_init(&d.turns, d.loop);
    store_init(&d.store, &h, &d);
    for (unsigned n = 1; n <= GUESTS; n++)
        assert_int_equal(domain_introduce(&d.store, n, n, n), 0);
    return 0;
}

static int teardown(void **unused)
{
    char command[96];
    rings_close(&d);
    store_free(&d.store);
    loop_free(d.loop);
    snprintf(command, sizeof(command), "rm -r %s", state_dir);
    return system(command);
}

/* ---- tests -------------------------------------------------------------------------------- */

static void test_one_flood(void **unused)
{
    unsigned most = 0;
    for (unsigned i = 0; i < 1000; i++) {
        unsigned before = served[1], mine = served[2];
        guest_ask(2, XS_READ, "/tool", 6);
        rings_on_event(&d, 102);
        while (served[2] == mine) {
            guest_fill(1, XS_DIRECTORY, "/", 2);
            rings_on_event(&d, 101);
            round_of_turns();
            guest_take(1);
            guest_take(2);
        }
        most = served[1] - before > most ? served[1] - before : most;
    }
    assert_true(served[1] >= 1000); /* it is served as well */
    assert_true(most <= TURN);
}

static void test_many_floods(void **unused)
{
    for (unsigned i = 0; i < 200; i++) {
        unsigned mine = served[2];
        guest_ask(2, XS_READ, "/tool", 6);
        rings_on_event(&d, 102);
        for (unsigned n = 1; n <= GUESTS; n++) {
            if (n == 2)
                continue;
            guest_fill(n, XS_DIRECTORY, "/", 2);
            rings_on_event(&d, 100 + n);
        }
        round_of_turns();
        for (unsigned n = 1; n <= GUESTS; n++)
            guest_take(n);
        assert_int_equal(served[2], mine + 1); /* within one round, every time */
    }
    /* and the others all get the same */
    for (unsigned n = 3; n <= GUESTS; n++)
        assert_int_equal(served[n], served[1]);
}

/* One that breaks its ring and connects again without end gets no more than its turns either. */
static void test_reconnecting(void **unused)
{
    for (unsigned i = 0; i < 500; i++) {
        unsigned mine = served[2];
        page[1].connection = XENSTORE_RECONNECT;
        page[1].req_prod = page[1].req_cons + 5000;
        rings_on_event(&d, 101);
        guest_ask(2, XS_READ, "/tool", 6);
        rings_on_event(&d, 102);
        round_of_turns();
        guest_take(2);
        assert_int_equal(served[2], mine + 1);
    }
}

/* Guests that have closed their ends are tried together for about a second, not each. */
static void test_start_with_closed_ports(void **unused)
{
    struct timespec a, b;
    rings_close(&d);
    for (unsigned n = 1; n <= GUESTS; n++)
        domain_find(&d.store, n)->introduced = false;
    d.store.loading = true;
    for (unsigned n = 1; n <= GUESTS; n++)
        assert_int_equal(domain_introduce_apply(&d.store, n, n, n), 0);
    d.store.loading = false;
    for (unsigned n = 1; n <= GUESTS; n += 2)
        deaf[n] = true;
    clock_gettime(CLOCK_MONOTONIC, &a);
    rings_attach_all(&d);
    clock_gettime(CLOCK_MONOTONIC, &b);
    assert_true(b.tv_sec - a.tv_sec < 5);
    guest_ask(2, XS_READ, "/tool", 6);
    round_of_turns();
    guest_take(2);
    assert_int_equal(served[2], 1);
    /* and are reached when they can be */
    memset(deaf, 0, sizeof(deaf));
    rings_retry(&d);
    guest_ask(1, XS_READ, "/tool", 6);
    round_of_turns();
    guest_take(1);
    assert_int_equal(served[1], 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_one_flood), T(test_many_floods), T(test_reconnecting),
                                       T(test_start_with_closed_ports)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
