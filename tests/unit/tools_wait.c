// SPDX-License-Identifier: BSD-2-Clause
/* Waiting for domains, ending all of them, and telling them how much memory to keep. */
#include "unit.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake_store.h"
#include "fake_xen.h"
#include "kernel_image.h"
#include "serai.h"

#define MB 1024ull

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
    assert_true(f && fwrite(image.data, 1, image.len, f) == image.len && !fclose(f));
    free(image.data);
    fake_reset();
    fake_store_reset();
    fake_store_served = fake_store_guest = true;
    return serai_open(&s, &opt, &err);
}

static int teardown(void **unused)
{
    char command[128];

    serai_close(s);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

/* A running guest of 22 MB that may have 28, and shares from 12 on when it has a range. */
static uint32_t make(const char *name, bool range)
{
    struct serai_create how = {.start = true};
    struct serai_config c = {.name = (char *)(uintptr_t)name,
                             .kernel = kernel,
                             .memory_mb = 22,
                             .maxmem_mb = 28,
                             .minmem_mb = range ? 12 : 0,
                             .vcpus = 1};
    uint32_t id = 0;

    c.cpu_weight = c.cap = SERAI_SCHED_KEEP;
    c.on_poweroff = SERAI_ACTION_RESTART;
    if (serai_domain_create(s, &c, &how, &id, &err)) {
        fail_msg("%s", err.text);
    }
    return id;
}

static int wait_for(const char *name, enum serai_wait what)
{
    return serai_domain_wait(s, name, what, 30, &err);
}

static void test_wait(void **unused)
{
    uint32_t id = make("a", false);
    struct serai_domain d;

    assert_int_equal(wait_for("a", SERAI_WAIT_RUNNING), 0);
    assert_int_equal(wait_for("a", SERAI_WAIT_SHUTDOWN), -ETIMEDOUT);
    assert_non_null(strstr(err.text, "a did not end within"));
    assert_int_equal(wait_for("a", SERAI_WAIT_CRASHED), -ETIMEDOUT);
    assert_int_equal(wait_for("a", SERAI_WAIT_REBOOTED), -ETIMEDOUT);
    assert_int_equal(wait_for("a", (enum serai_wait)9), -EINVAL);
    assert_int_equal(serai_domain_pause(s, id, &err), 0);
    assert_int_equal(wait_for("a", SERAI_WAIT_RUNNING), -ETIMEDOUT);

    fake_domain[id].shutdown = SERAI_SHUTDOWN_POWEROFF + 1;
    assert_int_equal(wait_for("a", SERAI_WAIT_SHUTDOWN), 0);
    assert_int_equal(wait_for("a", SERAI_WAIT_CRASHED), -EREMCHG);
    assert_non_null(strstr(err.text, "without a crash (poweroff)"));
    assert_int_equal(wait_for("a", SERAI_WAIT_DESTROYED), -ETIMEDOUT);
    fake_domain[id].shutdown = SERAI_SHUTDOWN_WATCHDOG + 1;
    assert_int_equal(wait_for("a", SERAI_WAIT_CRASHED), 0);

    assert_int_equal(serai_domain_get(s, id, &d, &err), 0);
    assert_int_equal(serai_domain_note_end(s, &d), 0);
    assert_int_equal(wait_for("nobody", SERAI_WAIT_DESTROYED), -ESRCH);
    assert_int_equal(wait_for("nobody", SERAI_WAIT_RUNNING), -ETIMEDOUT);
    fake_store_served = false; /* and without anybody who tells */
    assert_int_equal(wait_for("a", SERAI_WAIT_CRASHED), 0);
    assert_int_equal(wait_for("a", SERAI_WAIT_DESTROYED), -ETIMEDOUT);
}

static void test_stop(void **unused)
{
    make("deaf", false);
    uint32_t paused = make("paused", false);

    assert_int_equal(serai_domain_pause(s, paused, &err), 0);
    assert_int_equal(serai_guests_stop(s, 30, &err), 0);
    assert_int_equal(fake_alive(), 1);
    assert_int_equal(serai_guests_stop(s, 30, &err), 0); /* nobody is left */

    uint32_t ended = make("ended", false);
    fake_domain[ended].shutdown = SERAI_SHUTDOWN_REBOOT + 1;
    assert_int_equal(serai_guests_stop(s, 30, &err), 0);
    assert_int_equal(fake_alive(), 1);
}

static uint64_t target(uint32_t id)
{
    char path[64];
    const char *value;

    snprintf(path, sizeof(path), "/local/domain/%u/memory/target", id);
    value = fake_store_value(path);
    assert_non_null(value);
    return strtoull(value, NULL, 10);
}

static void test_balance(void **unused)
{
    struct serai_balance *b;
    struct serai_config *c;
    uint32_t fixed = make("fixed", false), a = make("a", true);

    assert_int_equal(serai_balance_open(s, &b, &err), 0);
    assert_int_equal(serai_balance_round(b, 0, &err), 1);
    assert_int_equal(target(a), 28 * MB);
    assert_int_equal(target(fixed), 22 * MB);
    assert_int_equal(fake_domain[a].max_kb, 28 * MB + 1024); /* the hypervisor lets it */

    /* Others want what it was told to take, and more. */
    assert_int_equal(serai_balance_round(b, 60 * MB, &err), 1);
    assert_int_equal(target(a), 12 * MB);

    /* What somebody sets, stays. */
    assert_int_equal(serai_domain_set_target(s, a, 15 * MB, &err), 0);
    assert_int_equal(serai_balance_round(b, 0, &err), 0);
    assert_int_equal(target(a), 15 * MB);
    assert_int_equal(serai_domain_config(s, a, &c, &err), 0);
    assert_true(c->memory_pinned && c->memory_mb == 15 && c->minmem_mb == 12);
    serai_config_free(c);
    assert_int_equal(serai_domain_set_automatic(s, fixed, &err), -EINVAL);
    assert_int_equal(serai_domain_set_automatic(s, a, &err), 0);
    assert_int_equal(serai_balance_round(b, 0, &err), 1);
    assert_int_equal(target(a), 28 * MB);
    serai_balance_close(b);
}

/* A guest that needs more than all others together could give is refused at once. */
static void test_no_room(void **unused)
{
    struct serai_config c = {.name = (char *)(uintptr_t) "much", .kernel = kernel, .vcpus = 1};
    char path[256];
    uint32_t id;

    make("a", true);
    c.memory_mb = 60;
    c.cpu_weight = c.cap = SERAI_SCHED_KEEP;
    assert_int_equal(serai_domain_create(s, &c, NULL, &id, &err), -ENOMEM);
    assert_non_null(strstr(err.text, "10 MB of other guests are above their minimum"));
    snprintf(path, sizeof(path), "find %s/wanted %s/building -type f 2>/dev/null | grep -q .",
             state, state);
    assert_int_not_equal(system(path), 0); /* nothing is left there */
    assert_int_equal(fake_alive(), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_balance, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_room, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
