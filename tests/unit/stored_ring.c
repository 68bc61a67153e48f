// SPDX-License-Identifier: BSD-2-Clause
/* Rings: guests that keep to the rules, guests that do not, and a daemon that is killed between
 * any two steps: no guest may notice. */
#include "stored_host.h"

#include "ring.h"
#include "watch.h"

#include <errno.h>
#include <unistd.h>

static struct host h;
static struct ring ring;
static struct ring_state state;
static struct xenstore_domain_interface page;
static char journal_path[64];
static bool pending; /* the guest has told the daemon */

/* ---- dying ----------------------------------------------------------------------------- */

static long countdown; /* steps until the daemon is killed; 0: never */
static bool serving, alive_again;
static jmp_buf killed;

void ring_point(void)
{
    if (serving && countdown && !--countdown) {
        serving = false;
        longjmp(killed, 1);
    }
}

/* What a killed process leaves behind is not a leak. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

static void daemon_start(bool fresh)
{
    host_start(&h, journal_path);
    h.point = ring_point;
    struct domain *d = domain_find(&h.store, 1);
    if (!d || !d->introduced) {
        host_guest(&h, 1);
        ask(h.socket, XS_SET_PERMS, 0, "/tool", "b0", NULL);
        d = domain_find(&h.store, 1);
    }
    ring_attach(&ring, d->conn, &page, &state, fresh);
    pending = true;
}

/* Serves as the daemon does: when it was told, and as long as there is more. */
static void daemon_run(void)
{
    if (!pending) {
        return;
    }
    if (setjmp(killed)) {
        alive_again = true;
        host_stop(&h);
        daemon_start(false);
    }
    pending = false;
    serving = true;
    while (ring_serve(&ring, 3)) {
    }
    serving = false;
}

/* ---- a guest, as Linux is one ----------------------------------------------------------- */

static char received[MESSAGE_MAX + 1];
static struct xsd_sockmsg received_head;
static char event_paths[65536]; /* "path\n" of every event */

static void guest_reset(void)
{
    memset(&page, 0, sizeof(page));
    memset(&state, 0, sizeof(state));
    event_paths[0] = '\0';
    strcpy(journal_path, "/tmp/serai-unit-XXXXXX");
    close(mkstemp(journal_path));
    page.req_prod = page.req_cons = UINT32_MAX - 100; /* wraps soon */
    page.rsp_prod = page.rsp_cons = UINT32_MAX - 77;
}

/* Told only when the daemon had taken everything before: it may be asleep otherwise. */
static bool guest_write(const char *data, size_t len, size_t *at)
{
    bool any = false;
    while (*at < len && page.req_prod - page.req_cons < XENSTORE_RING_SIZE) {
        uint32_t prod = page.req_prod;
        size_t n = XENSTORE_RING_SIZE - (prod - page.req_cons);
        n = n < len - *at ? n : len - *at;
        for (size_t i = 0; i < n; i++) {
            page.req[MASK_XENSTORE_IDX(prod + i)] = data[*at + i];
        }
        *at += n;
        page.req_prod = prod + (uint32_t)n;
        pending |= prod == page.req_cons;
        any = true;
    }
    return any;
}

static bool guest_read(char *data, size_t len, size_t *at)
{
    bool any = false;
    while (*at < len && page.rsp_cons != page.rsp_prod) {
        uint32_t cons = page.rsp_cons;
        size_t n = page.rsp_prod - cons;
        assert_true(n <= XENSTORE_RING_SIZE);
        bool full = n == XENSTORE_RING_SIZE;
        n = n < len - *at ? n : len - *at;
        for (size_t i = 0; i < n; i++) {
            data[*at + i] = page.rsp[MASK_XENSTORE_IDX(cons + i)];
        }
        *at += n;
        page.rsp_cons = cons + (uint32_t)n;
        pending |= full;
        any = true;
    }
    return any;
}

/* The next message of any kind. False when nothing comes although all was done. */
static bool guest_message(void)
{
    size_t at = 0;
    unsigned idle = 0;
    while (at < sizeof(received_head)) {
        daemon_run();
        if (!guest_read((char *)&received_head, sizeof(received_head), &at) && ++idle > 1) {
            return false;
        }
    }
    assert_true(received_head.len <= XENSTORE_PAYLOAD_MAX);
    for (at = 0, idle = 0; at < received_head.len;) {
        daemon_run();
        if (!guest_read(received, received_head.len, &at)) {
            assert_true(++idle < 2);
        }
    }
    received[received_head.len] = '\0';
    return true;
}

static void guest_note_event(void)
{
    assert_int_equal(received_head.type, XS_WATCH_EVENT);
    assert_true(strlen(event_paths) + strlen(received) + 2 < sizeof(event_paths));
    strcat(strcat(event_paths, received), "\n");
}

static void guest_send(uint32_t type, uint32_t tx, uint32_t id, const void *data, size_t len)
{
    struct xsd_sockmsg head = {.type = type, .req_id = id, .tx_id = tx, .len = (uint32_t)len};
    size_t at = 0;
    /* as Linux: the header first, then the rest */
    while (at < sizeof(head)) {
        guest_write((char *)&head, sizeof(head), &at);
        daemon_run();
    }
    for (at = 0; at < len;) {
        bool any = guest_write(data, len, &at);
        daemon_run();
        assert_true(any || pending || page.req_prod - page.req_cons < XENSTORE_RING_SIZE);
    }
}

/* One request, one answer: exactly one. */
static int guest_ask(uint32_t type, uint32_t tx, const void *data, size_t len)
{
    static uint32_t id;
    guest_send(type, tx, ++id, data, len);
    for (;;) {
        assert_true(guest_message());
        if (received_head.type != XS_WATCH_EVENT) {
            break;
        }
        guest_note_event();
    }
    assert_int_equal(received_head.req_id, id);
    assert_int_equal(received_head.tx_id, tx);
    if (received_head.type == XS_ERROR) {
        return !strcmp(received, "EAGAIN") ? EAGAIN : !strcmp(received, "ENOENT") ? ENOENT : EIO;
    }
    assert_int_equal(received_head.type, type);
    return 0;
}

static void guest_put(uint32_t tx, const char *path, const char *value)
{
    char data[XENSTORE_PAYLOAD_MAX];
    size_t len = strlen(path) + 1 + strlen(value);
    strcpy(data, path);
    memcpy(data + strlen(path) + 1, value, strlen(value));
    assert_int_equal(guest_ask(XS_WRITE, tx, data, len), 0);
    assert_string_equal(received, "OK");
}

static void guest_get(const char *path, const char *expected)
{
    assert_int_equal(guest_ask(XS_READ, 0, path, strlen(path) + 1), 0);
    assert_string_equal(received, expected);
}

static void guest_transaction(const char *value)
{
    for (;;) {
        assert_int_equal(guest_ask(XS_TRANSACTION_START, 0, "", 1), 0);
        uint32_t tx = (uint32_t)strtoul(received, NULL, 10);
        assert_true(tx != 0);
        guest_put(tx, "/tool/tx/a", value);
        guest_put(tx, "/tool/tx/b", value);
        int ret = guest_ask(XS_TRANSACTION_END, tx, "T", 2);
        if (!ret) {
            return;
        }
        assert_int_equal(ret, EAGAIN);
        assert_true(alive_again); /* only death may make it fail */
    }
}

/* ---- everyday --------------------------------------------------------------------------- */

static char long_value[2001];

/* Everything a guest does, with long messages, while others change what it watches. */
static void guest_work(void)
{
    char path[32];
    assert_int_equal(guest_ask(XS_WATCH, 0, "/tool/w\0token", 14), 0);
    guest_put(0, "/tool/long", long_value);
    put(h.socket, 0, "/tool/w/0", "1");
    guest_get("/tool/long", long_value);
    guest_transaction("one");
    put(h.socket, 0, "/tool/w/1", "1");
    assert_int_equal(guest_ask(XS_MKDIR, 0, "/tool/w/mine", 13), 0);
    assert_int_equal(guest_ask(XS_RM, 0, "/tool/long", 11), 0);
    assert_int_equal(guest_ask(XS_READ, 0, "/tool/long", 11), ENOENT);
    put(h.socket, 0, "/tool/w/2", "1");
    guest_transaction("two");
    for (unsigned i = 3; i < 6; i++) {
        snprintf(path, sizeof(path), "/tool/w/%u", i);
        put(h.socket, 0, path, "1");
    }
    assert_int_equal(guest_ask(XS_DIRECTORY, 0, "/tool/w", 8), 0);
    assert_int_equal(received_head.len, 6 * 2 + 5);
    assert_int_equal(guest_ask(XS_SET_PERMS, 0, "/tool/w/mine\0n1\0r2", 19), 0);
    pending = true; /* as the hook that wakes would */
    while (guest_message()) {
        guest_note_event();
    }
    assert_int_equal(guest_ask(XS_UNWATCH, 0, "/tool/w\0token", 14), 0);
    guest_get("/tool/tx/a", "two");
    guest_get("/tool/tx/b", "two");
}

static void check_events(void)
{
    static const char *const expected[] = {"/tool/w\n",      "/tool/w/0\n", "/tool/w/1\n",
                                           "/tool/w/mine\n", "/tool/w/2\n", "/tool/w/3\n",
                                           "/tool/w/4\n",    "/tool/w/5\n", "/tool/w/mine\n"};
    const char *at = event_paths;
    /* in order; in between may be some twice */
    for (unsigned i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        at = strstr(at, expected[i]);
        if (!at) {
            fail_msg("no event %s in %s", expected[i], event_paths);
        }
        at += strlen(expected[i]) - 1;
    }
}

static char *work_once(long kill_at)
{
    guest_reset();
    countdown = 0;
    alive_again = false;
    daemon_start(true);
    countdown = kill_at;
    guest_work();
    bool reached = !countdown;
    countdown = 0;
    check_events();
    assert_sound(&h);
    assert_int_equal(domain_find(&h.store, 1)->use.transactions, 0);
    char *text = dump(&h.store);
    /* ids of watches and events differ, what matters is above */
    char *ring_line = strstr(text, "ring 1");
    if (ring_line) {
        *ring_line = '\0';
    }
    host_stop(&h);
    unlink(journal_path);
    if (kill_at && !reached) {
        free(text);
        return NULL;
    }
    return text;
}

static void test_work(void **unused)
{
    memset(long_value, 'v', sizeof(long_value) - 1);
    char *text = work_once(0);
    assert_non_null(strstr(text, "/tool/tx/a = \"two\""));
    assert_int_equal(page.server_features, 3);
    free(text);
}

static void test_killed_anywhere(void **unused)
{
    memset(long_value, 'v', sizeof(long_value) - 1);
    char *expected = work_once(0);
    long n = 1;
    for (;; n++) {
        char *text = work_once(n);
        if (!text) {
            break;
        }
        assert_string_equal(text, expected);
        free(text);
    }
    assert_true(n > 150);
    free(expected);
}

/* ---- guests that break the rules --------------------------------------------------------- */

static void start(void)
{
    guest_reset();
    countdown = 0;
    daemon_start(true);
    daemon_run();
}

static void stop(void)
{
    assert_sound(&h);
    host_stop(&h);
    unlink(journal_path);
}

static void assert_broken(uint32_t error)
{
    pending = true;
    daemon_run();
    assert_int_equal(page.error, error);
    assert_true(ring.broken);
    assert_null(ring.conn->watches);
    assert_false(ring_serve(&ring, 3));
    /* and back again */
    page.connection = XENSTORE_RECONNECT;
    pending = true;
    daemon_run();
    assert_int_equal(page.connection, XENSTORE_CONNECTED);
    assert_int_equal(page.error, XENSTORE_ERROR_NONE);
    guest_put(0, "/tool/again", "1");
}

static void test_rules(void **unused)
{
    start();
    assert_int_equal(guest_ask(XS_WATCH, 0, "/tool\0t", 8), 0);
    page.req_prod = page.req_cons + XENSTORE_RING_SIZE + 1;
    assert_broken(XENSTORE_ERROR_RINGIDX);
    page.rsp_cons = page.rsp_prod + 1;
    guest_send(XS_READ, 0, 1, "/tool", 6);
    assert_broken(XENSTORE_ERROR_RINGIDX);
    struct xsd_sockmsg head = {.type = XS_READ, .len = XENSTORE_PAYLOAD_MAX + 1};
    size_t at = 0;
    guest_write((char *)&head, sizeof(head), &at);
    assert_broken(XENSTORE_ERROR_PROTO);
    stop();
}

static void test_reconnect(void **unused)
{
    start();
    assert_int_equal(guest_ask(XS_WATCH, 0, "/tool\0t", 8), 0);
    assert_int_equal(guest_ask(XS_TRANSACTION_START, 0, "", 1), 0);
    size_t at = 0;
    guest_write("half a header", 10, &at);
    daemon_run();
    page.connection = XENSTORE_RECONNECT;
    pending = true;
    daemon_run();
    assert_int_equal(page.connection, XENSTORE_CONNECTED);
    assert_int_equal(page.req_prod | page.req_cons | page.rsp_prod | page.rsp_cons, 0);
    put(h.socket, 0, "/tool/x", "1");
    pending = true;
    daemon_run();
    assert_int_equal(page.rsp_prod, 0); /* no watch is left */
    guest_get("/tool/x", "1");
    /* nor after a restart */
    host_stop(&h);
    daemon_start(false);
    assert_null(ring.conn->watches);
    assert_null(ring.conn->transactions);
    guest_get("/tool/x", "1");
    stop();
}

/* A guest that asks and never reads is not served any further; its events stay few. */
static void test_deaf(void **unused)
{
    start();
    char path[32];
    assert_int_equal(guest_ask(XS_WATCH, 0, "/tool\0t", 8), 0);
    uint64_t before = h.store.requests;
    for (unsigned i = 0; i < 2000; i++) {
        struct xsd_sockmsg head = {.type = XS_DIRECTORY, .len = 6};
        size_t at = 0;
        guest_write((char *)&head, sizeof(head), &at);
        at = 0;
        guest_write("/tool", 6, &at);
        pending = true;
        daemon_run();
        snprintf(path, sizeof(path), "/tool/%u", i);
        put(h.socket, 0, path, "x");
    }
    assert_true(h.store.requests - before < 2000 + 200);
    assert_true(ring.conn->event_count <= 1024);
    stop();
}

/* Random bytes in the page, all the time: nothing outside is touched, every step ends. */
static void test_nonsense(void **unused)
{
    start();
    srand(3);
    for (unsigned i = 0; i < 50000; i++) {
        for (unsigned n = 0; n < 40; n++) {
            page.req[rand() % XENSTORE_RING_SIZE] = (char)(rand() % 24);
        }
        switch (rand() % 8) {
        case 0:
            page.req_prod = (uint32_t)rand();
            break;
        case 1:
            page.rsp_cons = (uint32_t)rand();
            break;
        case 2:
            page.req_cons = (uint32_t)rand();
            break;
        case 3:
            page.rsp_prod = (uint32_t)rand();
            break;
        case 4:
            page.connection = (uint32_t)rand() % 3;
            break;
        default:
            page.req_prod = ring.req_cons + (uint32_t)rand() % 1025;
            page.rsp_cons = ring.rsp_prod - (uint32_t)rand() % 1025;
            break;
        }
        ring_serve(&ring, 4);
        if (i % 5000 == 0) { /* restarts in the middle of that */
            host_stop(&h);
            daemon_start(false);
        }
    }
    stop();
}

/* A guest moves the daemon's own index while none runs: by every distance, behind any request. */
static void test_moved_index(void **unused)
{
    start();
    guest_get("/tool", "");
    for (uint32_t by = 1; by < 2 * MESSAGE_MAX; by += by < 64 ? 1 : 61) {
        host_stop(&h);
        page.req_cons += by;
        page.req_prod = page.req_cons + 1 + by % 1000;
        daemon_start(false);
        for (unsigned i = 0; i < 50; i++) {
            ring_serve(&ring, 4);
            page.rsp_cons = page.rsp_prod;
        }
        page.connection = XENSTORE_RECONNECT;
        ring_serve(&ring, 4);
        guest_get("/tool", "");
    }
    stop();
}

/* State that does not fit the ring is not trusted. */
static void test_lost_state(void **unused)
{
    start();
    guest_put(0, "/tool/x", "1");
    srand(5);
    for (unsigned i = 0; i < 2000; i++) {
        host_stop(&h);
        for (size_t b = 0; b < offsetof(struct ring_state, in); b++) {
            if (i % 2) {
                ((char *)&state)[b] ^= (char)(rand() % 7 ? 0 : rand());
            }
        }
        daemon_start(false);
        ring_serve(&ring, 4);
        page.rsp_cons = page.rsp_prod;
        page.connection = XENSTORE_RECONNECT;
        ring_serve(&ring, 4);
        guest_get("/tool/x", "1");
    }
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_work),       cmocka_unit_test(test_killed_anywhere),
        cmocka_unit_test(test_rules),      cmocka_unit_test(test_reconnect),
        cmocka_unit_test(test_deaf),       cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_lost_state), cmocka_unit_test(test_moved_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
