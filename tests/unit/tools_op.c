// SPDX-License-Identifier: BSD-2-Clause
/*
 * Operations in threads, handles in several threads, and news of domains. The fake hypervisor and
 * the fake xenstore know of no threads: everything that reaches them takes turns here.
 */
#include "unit.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fake_store.h"
#include "fake_xen.h"
#include "kernel_image.h"
#include "serai.h"
#include "xsclient.h"

#include <xencall.h>
#include <xenforeignmemory.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static int store_fd = -1;   /* readable while the fake store has events */
static unsigned store_lost; /* so many calls meet a connection that is gone */

#define TURN(type, call)         \
    pthread_mutex_lock(&turn);   \
    type ret = (call);           \
    int kept = errno;            \
    pthread_mutex_unlock(&turn); \
    errno = kept;                \
    return ret

int __real_xencall1(xencall_handle *h, unsigned op, uint64_t a);
int __wrap_xencall1(xencall_handle *h, unsigned op, uint64_t a)
{
    TURN(int, __real_xencall1(h, op, a));
}

int __real_xencall2(xencall_handle *h, unsigned op, uint64_t a, uint64_t b);
int __wrap_xencall2(xencall_handle *h, unsigned op, uint64_t a, uint64_t b)
{
    TURN(int, __real_xencall2(h, op, a, b));
}

long __real_xencall2L(xencall_handle *h, unsigned op, uint64_t a, uint64_t b);
long __wrap_xencall2L(xencall_handle *h, unsigned op, uint64_t a, uint64_t b)
{
    TURN(long, __real_xencall2L(h, op, a, b));
}

int __real_xencall4(xencall_handle *h, unsigned op, uint64_t a, uint64_t b, uint64_t c, uint64_t d);
int __wrap_xencall4(xencall_handle *h, unsigned op, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    TURN(int, __real_xencall4(h, op, a, b, c, d));
}

void *__real_xenforeignmemory_map(xenforeignmemory_handle *h, uint32_t dom, int prot, size_t pages,
                                  const xen_pfn_t arr[], int err[]);
void *__wrap_xenforeignmemory_map(xenforeignmemory_handle *h, uint32_t dom, int prot, size_t pages,
                                  const xen_pfn_t arr[], int err[])
{
    TURN(void *, __real_xenforeignmemory_map(h, dom, prot, pages, arr, err));
}

int __real_xenforeignmemory_unmap(xenforeignmemory_handle *h, void *addr, size_t pages);
int __wrap_xenforeignmemory_unmap(xenforeignmemory_handle *h, void *addr, size_t pages)
{
    TURN(int, __real_xenforeignmemory_unmap(h, addr, pages));
}

int __real_xsc_call(struct xsc *c, uint32_t type, uint32_t tx, const struct iovec *parts,
                    unsigned count, char **reply, size_t *len);
int __wrap_xsc_call(struct xsc *c, uint32_t type, uint32_t tx, const struct iovec *parts,
                    unsigned count, char **reply, size_t *len)
{
    TURN(int, __real_xsc_call(c, type, tx, parts, count, reply, len));
}

int __wrap_xsc_fd(const struct xsc *c)
{
    return store_fd;
}

int __wrap_xsc_event(struct xsc *c, int timeout_ms, char **path)
{
    uint64_t n;

    if (store_lost) {
        store_lost--;
        return -ECONNRESET;
    }
    if (read(store_fd, &n, sizeof(n)) != sizeof(n)) {
        return 0;
    }
    *path = strdup("@something");
    return 1;
}

static void something_happens(void)
{
    uint64_t one = 1;

    assert_int_equal(write(store_fd, &one, sizeof(one)), sizeof(one));
}

static char dir[64], kernel[96], state[96];
static struct serai *s;
static struct serai_error err;

static int setup(void **unused)
{
    struct kernel_image image =
        kernel_image_make(kernel_notes_stock, kernel_notes_stock_count, NULL);
    struct serai_options opt = {.state_dir = state};
    FILE *f;

    strcpy(dir, "/tmp/serai-unit-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(kernel, sizeof(kernel), "%s/kernel", dir);
    snprintf(state, sizeof(state), "%s/state", dir);
    f = fopen(kernel, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(image.data, 1, image.len, f), image.len);
    assert_int_equal(fclose(f), 0);
    free(image.data);
    fake_reset();
    fake_rotate = true;
    fake_store_reset();
    store_fd = eventfd(0, EFD_NONBLOCK);
    store_lost = 0;
    return serai_open(&s, &opt, &err);
}

static int teardown(void **unused)
{
    char command[128];

    serai_close(s);
    close(store_fd);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

static struct serai_config *config(const char *name)
{
    char line[3][160];
    const char *args[] = {line[0], line[1], line[2]};
    struct serai_config *c;

    snprintf(line[0], sizeof(line[0]), "name=%s", name);
    snprintf(line[1], sizeof(line[1]), "kernel=%s", kernel);
    strcpy(line[2], "memory=24");
    if (serai_config_load(s, NULL, args, 3, &c, &err)) {
        fail_msg("%s", err.text);
    }
    return c;
}

static struct serai_op *start(const char *name, bool run)
{
    struct serai_create how = {.start = run};
    struct serai_config *c = config(name);
    struct serai_op *op;

    assert_int_equal(serai_create_start(s, c, &how, &op, &err), 0);
    serai_config_free(c); /* the operation has its own copy */
    return op;
}

/* Follows an operation to its end; cancels it when it is as far as `cancel_at` percent. */
static int follow(struct serai_op *op, unsigned cancel_at, struct serai_op_result *result)
{
    struct pollfd p = {.fd = serai_op_fd(op), .events = POLLIN};
    struct serai_progress now = {.percent = 0};
    unsigned last = 0;

    while (!now.finished) {
        assert_int_equal(poll(&p, 1, 10000), 1);
        serai_op_progress(op, &now);
        assert_true(now.percent >= last && now.percent <= 100);
        last = now.percent;
        assert_true(now.step[0]);
        if (now.percent >= cancel_at) {
            serai_op_cancel(op);
        }
    }
    assert_int_equal(poll(&p, 1, 0), 1); /* and stays readable */
    return serai_op_finish(op, result, &err);
}

static void test_create(void **unused)
{
    struct serai_op_result result;

    assert_int_equal(follow(start("one", true), 1000, &result), 0);
    assert_int_equal(result.domain, 1);
    assert_true(fake_domain[1].alive);
    assert_false(fake_domain[1].paused);
    assert_int_equal(fake_mapped, 0);
}

static void test_create_fails(void **unused)
{
    struct serai_config *c = config("one");
    struct serai_op *op;

    assert_int_equal(follow(start("one", false), 1000, NULL), 0);
    assert_int_equal(follow(start("one", false), 1000, NULL), -EEXIST);
    assert_non_null(strstr(err.text, "\"one\" is in use"));
    free(c->kernel);
    c->kernel = NULL;
    assert_int_equal(serai_create_start(s, c, NULL, &op, &err), -EINVAL); /* at once */
    serai_config_free(c);
}

/* Wherever it is: nothing stays behind, or it was finished already. */
static void test_cancel_anywhere(void **unused)
{
    uint64_t free_before = fake_free();
    unsigned cancelled = 0;
    struct serai_op_result result;

    fake_store_served = true;
    for (unsigned at = 0; at <= 100; at += 5) {
        unsigned nodes = fake_store_nodes();
        int ret = follow(start("frail", true), at, &result);

        if (!ret) {
            assert_int_equal(serai_domain_destroy(s, result.domain, &err), 0);
            continue;
        }
        assert_int_equal(ret, -ECANCELED);
        assert_string_equal(err.text, "cancelled");
        cancelled++;
        assert_int_equal(fake_alive(), 1);
        assert_int_equal(fake_free(), free_before);
        assert_int_equal(fake_mapped, 0);
        assert_true(fake_store_nodes() <= nodes + 8); /* directories that stay */
    }
    assert_true(cancelled > 2);
}

static void test_close_before_finish(void **unused)
{
    struct serai_options opt = {.state_dir = state};
    struct serai_op *op = start("one", false);

    serai_close(s);
    assert_int_equal(follow(op, 1000, NULL), 0);
    assert_int_equal(serai_open(&s, &opt, &err), 0);
}

/* A guest that never answers: the wait ends when it is told to, not before. */
static void test_cancel_wait(void **unused)
{
    struct serai_op_result result;
    struct serai_op *op;

    fake_store_served = true;
    assert_int_equal(follow(start("deaf", true), 1000, &result), 0);
    assert_int_equal(
        serai_request_start(s, result.domain, SERAI_REQUEST_POWEROFF, 60000, &op, &err), 0);
    usleep(50000);
    serai_op_cancel(op);
    assert_int_equal(serai_op_finish(op, NULL, &err), -ECANCELED);
    assert_true(fake_domain[result.domain].alive);

    assert_int_equal(
        serai_request_start(s, result.domain, SERAI_REQUEST_POWEROFF, 60000, &op, &err), 0);
    usleep(20000);
    fake_domain[result.domain].shutdown = SERAI_SHUTDOWN_POWEROFF + 1;
    something_happens();
    assert_int_equal(serai_op_finish(op, &result, &err), 0);
    assert_int_equal(result.domain, 1);
    assert_int_equal(serai_destroy_start(s, result.domain, &op, &err), 0);
    assert_int_equal(follow(op, 1000, NULL), 0);
    assert_false(fake_domain[1].alive);
}

static void test_target(void **unused)
{
    struct serai_op_result result;
    struct serai_op *op;

    fake_store_served = true;
    assert_int_equal(follow(start("one", true), 1000, &result), 0);
    assert_int_equal(serai_target_start(s, 1, 4 << 10, 200, &op, &err), 0);
    assert_int_equal(serai_op_finish(op, NULL, &err), -ETIMEDOUT);
    assert_non_null(strstr(err.text, "has 24 MB and comes no closer to 4 MB"));
    assert_int_equal(serai_target_start(s, 1, 4 << 10, 10000, &op, &err), 0);
    usleep(60000);
    pthread_mutex_lock(&turn);
    fake_domain[1].pages = 4 * 256;
    pthread_mutex_unlock(&turn);
    assert_int_equal(follow(op, 1000, NULL), 0);
    fake_domain[1].pages = 24 * 256;
}

/* NULL when all went well, else what did not: a thread may not assert. */
static const char *use_handle(const char *name, struct serai_error *mine)
{
    struct serai_config *c = config(name);
    struct serai_domain d;
    const char *wrong = NULL;
    uint32_t id;

    for (unsigned i = 0; i < 20 && !wrong; i++) {
        if (serai_domain_create(s, c, NULL, &id, mine)) {
            wrong = "create";
        } else if (serai_domain_find(s, name, &d, mine) || d.id != id) {
            wrong = "find";
        } else if (serai_domain_destroy(s, id, mine)) {
            wrong = "destroy";
        }
    }
    serai_config_free(c);
    return wrong;
}

static void *use_handle_thread(void *arg)
{
    static struct serai_error mine[6];
    const char *name = arg, *wrong = use_handle(name, &mine[*name - 'a']);

    if (wrong) {
        fprintf(stderr, "%s: %s: %s\n", name, wrong, mine[*name - 'a'].text);
    }
    return (void *)(uintptr_t)wrong;
}

static void test_one_handle_many_threads(void **unused)
{
    static char *const names[] = {"a", "b", "c", "d", "e", "f"};
    uint64_t free_before = fake_free();
    pthread_t thread[6];
    void *wrong;

    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, use_handle_thread, names[i]), 0);
    }
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(pthread_join(thread[i], &wrong), 0);
        assert_null(wrong);
    }
    assert_int_equal(fake_alive(), 1);
    assert_int_equal(fake_free(), free_before);
}

static void test_many_operations(void **unused)
{
    struct serai_op *op[6];
    char name[8];

    for (unsigned i = 0; i < 6; i++) {
        snprintf(name, sizeof(name), "g%u", i);
        op[i] = start(name, true);
    }
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(follow(op[i], 1000, NULL), 0);
    }
    assert_int_equal(fake_alive(), 7);
}

static void expect(struct serai_events *e, enum serai_event_type type, const char *name)
{
    struct serai_event event;
    int ret = serai_events_next(e, &event, &err);

    assert_int_equal(ret, 1);
    assert_string_equal(serai_event_name(event.type), serai_event_name(type));
    assert_string_equal(event.name, name);
}

static void test_events(void **unused)
{
    struct serai_events *e;
    struct serai_event event;
    struct serai_op_result one;
    struct pollfd p;

    assert_int_equal(serai_events_open(s, &e, &err), -ENOTCONN);
    fake_store_served = true;
    assert_int_equal(follow(start("old", false), 1000, NULL), 0);
    assert_int_equal(serai_events_open(s, &e, &err), 0);
    p = (struct pollfd){.fd = serai_events_fd(e), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
    assert_int_equal(serai_events_next(e, &event, &err), 0);

    assert_int_equal(follow(start("one", false), 1000, &one), 0);
    something_happens();
    assert_int_equal(poll(&p, 1, 1000), 1);
    expect(e, SERAI_EVENT_CREATED, "one");
    assert_int_equal(serai_events_next(e, &event, &err), 0);
    assert_int_equal(poll(&p, 1, 0), 0);

    assert_int_equal(serai_domain_rename(s, one.domain, "uno", &err), 0);
    fake_domain[one.domain].shutdown = SERAI_SHUTDOWN_CRASH + 1;
    something_happens();
    assert_int_equal(serai_events_next(e, &event, &err), 1);
    assert_int_equal(event.type, SERAI_EVENT_SHUTDOWN);
    assert_int_equal(event.reason, SERAI_SHUTDOWN_CRASH);
    assert_int_equal(serai_events_next(e, &event, &err), 1);
    assert_int_equal(event.type, SERAI_EVENT_RENAMED);
    assert_string_equal(event.old_name, "one");
    assert_string_equal(event.name, "uno");

    /* The daemon is restarted: what happened meanwhile is told all the same. */
    assert_int_equal(serai_domain_destroy(s, one.domain, &err), 0);
    assert_int_equal(follow(start("two", false), 1000, NULL), 0);
    store_lost = 1;
    expect(e, SERAI_EVENT_DESTROYED, "uno");
    expect(e, SERAI_EVENT_CREATED, "two");
    assert_int_equal(serai_events_next(e, &event, &err), 0);
    serai_events_close(e);
}

static void test_events_while_the_store_is_away(void **unused)
{
    struct serai_events *e;
    struct serai_event event;
    struct pollfd p;

    fake_store_served = true;
    assert_int_equal(serai_events_open(s, &e, &err), 0);
    p = (struct pollfd){.fd = serai_events_fd(e), .events = POLLIN};
    store_lost = 1;
    fake_store_served = false;
    assert_int_equal(serai_events_next(e, &event, &err), 0);
    assert_int_equal(poll(&p, 1, 2000), 1); /* it is tried again */
    assert_int_equal(serai_events_next(e, &event, &err), 0);
    assert_int_equal(poll(&p, 1, 2000), 1);
    fake_store_served = true;
    assert_int_equal(follow(start("one", false), 1000, NULL), 0);
    expect(e, SERAI_EVENT_CREATED, "one");
    serai_events_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_create, setup, teardown),
        cmocka_unit_test_setup_teardown(test_create_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_anywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_before_finish, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(test_target, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_handle_many_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_operations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_events, setup, teardown),
        cmocka_unit_test_setup_teardown(test_events_while_the_store_is_away, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
