// SPDX-License-Identifier: BSD-2-Clause
/* Making, naming and clearing away domains, in a hypervisor that can be made to fail anywhere. */
#include "unit.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_xen.h"
#include "kernel_image.h"
#include "placement.h"
#include "serai.h"

static char dir[64], kernel[96], ramdisk[96], state[96];
static struct serai *s;
static struct serai_error err;
static unsigned warnings;

static void count_warning(void *ctx, enum serai_log_level level, const char *text)
{
    warnings += level == SERAI_LOG_WARNING;
}

static void write_file(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static int setup(void **unused)
{
    struct kernel_image image =
        kernel_image_make(kernel_notes_stock, kernel_notes_stock_count, NULL);
    struct serai_options opt = {.state_dir = state, .log = count_warning};

    strcpy(dir, "/tmp/serai-unit-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(kernel, sizeof(kernel), "%s/kernel", dir);
    snprintf(ramdisk, sizeof(ramdisk), "%s/ramdisk", dir);
    snprintf(state, sizeof(state), "%s/state", dir);
    write_file(kernel, image.data, image.len);
    write_file(ramdisk, "some ramdisk of no known format", 31);
    free(image.data);
    fake_reset();
    warnings = 0;
    return serai_open(&s, &opt, &err);
}

static int teardown(void **unused)
{
    char command[128];

    serai_close(s);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

static struct serai_config *config(const char *name, const char *more)
{
    char line[5][160];
    const char *args[6];
    unsigned n = 0;
    struct serai_config *c;

    snprintf(line[0], sizeof(line[0]), "name=%s", name);
    snprintf(line[1], sizeof(line[1]), "kernel=%s", kernel);
    snprintf(line[2], sizeof(line[2]), "ramdisk=%s", ramdisk);
    strcpy(line[3], "memory=24");
    for (; n < 4; n++) {
        args[n] = line[n];
    }
    if (more) {
        args[n++] = more;
    }
    if (serai_config_load(s, NULL, args, n, &c, &err)) {
        fail_msg("%s", err.text);
    }
    return c;
}

static int create(const char *name, const char *more, uint32_t *id)
{
    struct serai_config *c = config(name, more);
    int ret = serai_domain_create(s, c, NULL, id, &err);

    serai_config_free(c);
    return ret;
}

static unsigned entries(const char *sub)
{
    char command[160];
    unsigned n = 0;
    FILE *f;

    snprintf(command, sizeof(command), "ls %s/%s 2>/dev/null | wc -l", state, sub);
    f = popen(command, "r");
    assert_int_equal(fscanf(f, "%u", &n), 1);
    pclose(f);
    return n;
}

static void test_create_and_destroy(void **unused)
{
    uint64_t free_before = fake_free();
    struct serai_domain d;
    struct serai_console console;
    uint32_t id = 0;

    assert_int_equal(create("one", "vcpus=2", &id), 0);
    assert_int_equal(id, 1);
    assert_int_equal(fake_domain[1].pages, 24 * 256);
    assert_int_equal(fake_domain[1].max_vcpus, 2);
    assert_int_equal(fake_domain[1].rip, KERNEL_ENTRY);
    assert_true(fake_domain[1].paused);
    assert_int_equal(fake_mapped, 0);
    assert_int_equal(entries("building"), 0);
    assert_int_equal(serai_domain_find(s, "one", &d, &err), 0);
    assert_int_equal(d.id, 1);
    assert_true(d.flags & SERAI_DOMAIN_MANAGED);
    assert_int_equal(serai_console_get(s, 1, &console, &err), 0);
    assert_int_equal(console.port, 1);
    assert_int_equal(serai_domain_unpause(s, 1, &err), 0);
    assert_false(fake_domain[1].paused);
    assert_int_equal(serai_domain_destroy(s, 1, &err), 0);
    assert_int_equal(fake_free(), free_before);
    assert_int_equal(entries("domains"), 0);
    assert_int_equal(serai_domain_find(s, "one", &d, &err), -ESRCH);
}

/* Whatever hypercall or mapping fails: one error, and nothing stays behind. */
static void test_failure_anywhere_leaves_nothing(void **unused)
{
    uint64_t free_before = fake_free();
    unsigned failed = 0, call;
    uint32_t id;

    for (call = 1; call < 400; call++) {
        fake_calls = 0;
        fake_fail_at = call;
        err.text[0] = '\0';
        if (!create("frail", "cpu_weight=100", &id)) {
            bool reached = fake_calls >= call; /* it failed, and could be done without */
            fake_fail_at = 0;
            assert_int_equal(serai_domain_destroy(s, id, &err), 0);
            if (!reached) {
                break;
            }
            continue;
        }
        failed++;
        fake_fail_at = 0;
        assert_true(err.text[0]);
        if (fake_alive() != 1 || fake_free() != free_before || fake_mapped || entries("building") ||
            entries("domains")) {
            fail_msg("call %u left something behind (%s)", call, err.text);
        }
    }
    assert_true(failed > 15 && call < 400);
}

static void test_names(void **unused)
{
    struct serai_domain d;
    uint32_t id, other;

    assert_int_equal(create("same", NULL, &id), 0);
    assert_int_equal(create("same", NULL, &other), -EEXIST);
    assert_non_null(strstr(err.text, "\"same\" is in use by domain 1"));
    assert_int_equal(fake_alive(), 2);
    assert_int_equal(serai_domain_rename(s, id, "other", &err), 0);
    assert_int_equal(serai_domain_find(s, "other", &d, &err), 0);
    assert_int_equal(serai_domain_find(s, "othr", &d, &err), -ESRCH);
    assert_non_null(strstr(err.text, "did you mean \"other\""));
    assert_int_equal(serai_domain_rename(s, id, "12", &err), -EINVAL);
    assert_int_equal(serai_domain_rename(s, 0, "zero", &err), -EPERM);
    assert_int_equal(create("same", NULL, &other), 0);
    assert_int_equal(serai_domain_rename(s, other, "other", &err), -EEXIST);
}

static void test_uuid_in_use(void **unused)
{
    const char *uuid = "uuid=01234567-89ab-cdef-0123-456789abcdef";
    uint32_t id;

    assert_int_equal(create("a", uuid, &id), 0);
    assert_int_equal(create("b", uuid, &id), -EEXIST);
    assert_non_null(strstr(err.text, "uuid"));
    assert_int_equal(fake_alive(), 2);
}

static void test_set_aside(void **unused)
{
    struct serai_config *c;
    struct serai_domain d;
    uint32_t id;

    assert_int_equal(create("g", "on_crash=rename-restart", &id), 0);
    assert_int_equal(serai_domain_config(s, id, &c, &err), 0);
    assert_int_equal(c->on_crash, SERAI_ACTION_RENAME_RESTART);
    assert_int_equal(serai_domain_set_aside(s, id, &err), 0);
    assert_int_equal(serai_domain_get(s, id, &d, &err), 0);
    assert_string_equal(d.name, "g-1");
    assert_memory_not_equal(d.uuid, c->uuid, 16);
    assert_int_equal(serai_domain_create(s, c, NULL, &id, &err), 0);
    assert_int_equal(serai_domain_find(s, "g", &d, &err), 0);
    assert_int_equal(d.id, id);
    serai_config_free(c);
    assert_int_equal(serai_domain_config(s, 1, &c, &err), 0);
    assert_int_equal(c->on_crash, SERAI_ACTION_PRESERVE);
    serai_config_free(c);
}

static void test_memory(void **unused)
{
    uint64_t free_before = fake_free();
    uint32_t id;

    assert_int_equal(create("big", "memory=100", &id), -ENOMEM);
    assert_non_null(strstr(err.text, "memory: 100 MB wanted, but only 64 MB are free"));
    assert_int_equal(create("small", "memory=1", &id), -ENOMEM);
    assert_non_null(strstr(err.text, "too little"));
    assert_int_equal(fake_alive(), 1);
    assert_int_equal(fake_free(), free_before);
}

static void test_bad_files(void **unused)
{
    uint32_t id;

    write_file(kernel, "not a kernel at all, only text", 30);
    assert_true(create("a", NULL, &id) < 0);
    assert_non_null(strstr(err.text, kernel));
    unlink(kernel);
    assert_int_equal(create("a", NULL, &id), -ENOENT);
    assert_int_equal(create("a", "kernel=/", &id), -EINVAL);
    assert_int_equal(fake_alive(), 1);
    assert_int_equal(entries("building"), 0);
}

static void test_cpus_and_shares(void **unused)
{
    struct serai_vcpu *v;
    struct serai_sched p;
    size_t count;
    uint32_t id;

    assert_int_equal(create("a", "cpus=9", &id), -EINVAL);
    assert_non_null(strstr(err.text, "cpus"));
    assert_int_equal(fake_alive(), 1);
    assert_int_equal(create("a", "cpus=[\"0\", \"1-2\"]", &id), 0);
    assert_int_equal(serai_vcpu_list(s, id, &v, &count, &err), 0);
    assert_int_equal(count, 1);
    assert_true(serai_cpumap_has(&v[0].hard, 0) && !serai_cpumap_has(&v[0].hard, 1));
    free(v);
    assert_int_equal(serai_sched_set(s, id, &(struct serai_sched){500, SERAI_SCHED_KEEP}, &err), 0);
    assert_int_equal(serai_sched_set(s, id, &(struct serai_sched){SERAI_SCHED_KEEP, 40}, &err), 0);
    assert_int_equal(serai_sched_get(s, id, &p, &err), 0);
    assert_int_equal(p.weight, 500);
    assert_int_equal(p.cap, 40);
    assert_int_equal(serai_sched_set(s, id, &(struct serai_sched){0, 0}, &err), -EINVAL);
}

/* A creator that is killed leaves a domain that nobody knows; the next one clears it away. */
static bool die_in_the_middle(void *ctx, const char *step, unsigned percent)
{
    if (percent >= 40) {
        _exit(0);
    }
    return true;
}

static void test_killed_creator(void **unused)
{
    uint64_t free_before = fake_free();
    struct serai_create how = {.progress = die_in_the_middle};
    struct serai_config *c = config("victim", NULL);
    uint32_t id;
    pid_t child = fork();

    if (!child) {
        serai_domain_create(s, c, &how, &id, &err);
        _exit(1);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(entries("building"), 1);
    /* The fake hypervisor lives in each process: make the half-built domain here as well. */
    {
        char command[160], text[SERAI_UUID_TEXT];
        FILE *f;

        snprintf(command, sizeof(command), "ls %s/building", state);
        f = popen(command, "r");
        assert_int_equal(fscanf(f, "%36s", text), 1);
        pclose(f);
        fake_domain[1] = (struct fake_domain){.alive = true, .max_vcpus = 1};
        assert_true(serai_uuid_parse(text, fake_domain[1].handle));
    }
    assert_int_equal(serai_sweep(s, &err), 1);
    assert_int_equal(fake_alive(), 1);
    assert_int_equal(fake_free(), free_before);
    assert_int_equal(entries("building"), 0);
    assert_int_equal(warnings, 1);
    assert_int_equal(serai_sweep(s, &err), 0);
    assert_int_equal(serai_domain_create(s, c, NULL, &id, &err), 0);
    serai_config_free(c);
}

static bool cancel(void *ctx, const char *step, unsigned percent)
{
    return percent < 60;
}

static void test_cancel(void **unused)
{
    uint64_t free_before = fake_free();
    struct serai_create how = {.progress = cancel};
    struct serai_config *c = config("a", NULL);
    uint32_t id;

    assert_int_equal(serai_domain_create(s, c, &how, &id, &err), -ECANCELED);
    assert_int_equal(fake_free(), free_before);
    assert_int_equal(fake_alive(), 1);
    serai_config_free(c);
}

/* Mappings may be left to the end of the process, but never while the guest runs. */
static void test_exiting(void **unused)
{
    struct serai_create both = {.start = true, .exiting = true}, how = {.exiting = true};
    struct serai_options opt = {.state_dir = state};
    struct serai_config *c = config("a", NULL);
    uint32_t id;

    assert_int_equal(serai_domain_create(s, c, &both, &id, &err), -EINVAL);
    assert_int_equal(fake_alive(), 1);
    assert_int_equal(serai_domain_create(s, c, &how, &id, &err), 0);
    assert_true(fake_mapped > 0 && fake_domain[id].paused);
    serai_close(s);
    assert_int_equal(fake_mapped, 0);
    assert_int_equal(serai_open(&s, &opt, &err), 0);
    assert_int_equal(serai_domain_destroy(s, id, &err), 0);
    serai_config_free(c);
}

/* A record is about one domain, not about whoever gets its number next. */
static void test_stale_record(void **unused)
{
    struct serai_domain d;
    uint32_t id;

    assert_int_equal(create("a", NULL, &id), 0);
    memset(fake_domain[id].handle, 7, 16);
    assert_int_equal(serai_domain_get(s, id, &d, &err), 0);
    assert_string_equal(d.name, "(unknown)");
    assert_int_equal(serai_sweep(s, &err), 1);
    assert_int_equal(entries("domains"), 0);
}

static void test_nodes(void **unused)
{
    static const bool cpus[] = {true, true, false, true};
    static const uint64_t bytes[] = {100, 300, 500, ~0ull};
    uint32_t id;

    assert_int_equal(placement_choose(bytes, cpus, 4, 50), 1);
    assert_int_equal(placement_choose(bytes, cpus, 4, 301), -1);
    assert_int_equal(placement_choose(bytes, cpus, 1, 100), 0);

    assert_int_equal(create("a", NULL, &id), 0);
    assert_int_equal(fake_domain[id].nodes, 0); /* there is only one */
    fake_nodes = 2;
    assert_int_equal(create("b", NULL, &id), 0);
    assert_int_equal(fake_domain[id].nodes, 1 << 1);
    assert_int_equal(fake_domain[id].soft[0], 0xa); /* CPUs 1 and 3 */
    assert_int_equal(serai_domain_destroy(s, id, &err), 0);
    assert_int_equal(create("c", "cpus_soft=0", &id), 0);
    assert_int_equal(fake_domain[id].nodes, 0);
    assert_int_equal(fake_domain[id].soft[0], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_create_and_destroy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failure_anywhere_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_uuid_in_use, setup, teardown),
        cmocka_unit_test_setup_teardown(test_set_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cpus_and_shares, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nodes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_creator, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exiting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stale_record, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
