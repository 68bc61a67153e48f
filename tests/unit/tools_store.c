// SPDX-License-Identifier: BSD-2-Clause
/* Domains with xenstore: their nodes, their devices, and what is asked of them. */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "file.h"

#include "fake_store.h"
#include "fake_xen.h"
#include "kernel_image.h"
#include "serai.h"

static char dir[64], kernel[96], state[96], image[96];
static struct serai *s;
static struct serai_error err;

static void write_file(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static int setup(void **unused)
{
    static const char zeroes[65536];
    struct kernel_image k = kernel_image_make(kernel_notes_stock, kernel_notes_stock_count, NULL);
    struct serai_options opt = {.state_dir = state};

    strcpy(dir, "/tmp/serai-unit-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(kernel, sizeof(kernel), "%s/kernel", dir);
    snprintf(state, sizeof(state), "%s/state", dir);
    snprintf(image, sizeof(image), "%s/image", dir);
    write_file(kernel, k.data, k.len);
    write_file(image, zeroes, sizeof(zeroes));
    free(k.data);
    fake_reset();
    fake_store_reset();
    fake_store_served = true;
    fake_store_set("/tool/xenstored", "");
    fake_store_set("/local/domain/0/name", "Domain-0");
    return serai_open(&s, &opt, &err);
}

static int teardown(void **unused)
{
    char command[128];

    fake_fail_at = 0;
    serai_close(s);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

static struct serai_config *config(const char *name, const char *more)
{
    char line[2][160];
    const char *args[4] = {line[0], line[1], "memory=24", more};
    struct serai_config *c;

    snprintf(line[0], sizeof(line[0]), "name=%s", name);
    snprintf(line[1], sizeof(line[1]), "kernel=%s", kernel);
    if (serai_config_load(s, NULL, args, more ? 4 : 3, &c, &err)) {
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

static const char *disk_line(const char *access)
{
    static char line[160];

    snprintf(line, sizeof(line), "disk=['%s,raw,xvda,%s,backendtype=blkd']", image, access);
    return line;
}

static void check(const char *path, const char *value)
{
    const char *found = fake_store_value(path);

    if (!found || strcmp(found, value) != 0) {
        fail_msg("%s is %s, not %s", path, found ? found : "absent", value);
    }
}

static void test_nodes(void **unused)
{
    unsigned before = fake_store_nodes();
    char uuid[SERAI_UUID_TEXT], vm[64];
    struct serai_domain d;
    uint32_t id;

    assert_int_equal(create("web", "maxvcpus=3", &id), 0);
    assert_int_equal(serai_domain_get(s, id, &d, &err), 0);
    snprintf(vm, sizeof(vm), "/vm/%s", serai_uuid_format(d.uuid, uuid));
    check("/local/domain/1/name", "web");
    check("/local/domain/1/domid", "1");
    check("/local/domain/1/vm", vm);
    check("/local/domain/1/memory/static-max", "24576");
    check("/local/domain/1/memory/target", "24576");
    check("/local/domain/1/cpu/0/availability", "online");
    check("/local/domain/1/cpu/2/availability", "offline");
    check("/local/domain/1/control/shutdown", "");
    check("/local/domain/1/control/platform-feature-xs_reset_watches", "1");
    check("/local/domain/1/console/port", "1");
    check("/local/domain/1/console/tty", "");
    check("/local/domain/1/store/port", "2");
    check("/libxl/1/type", "pv");
    /* Its own home is the guest's to read; only some places are its to write. */
    assert_string_equal(fake_store_perms("/local/domain/1/name"), "n0,r1");
    assert_string_equal(fake_store_perms("/local/domain/1/control"), "n0,r1");
    assert_string_equal(fake_store_perms("/local/domain/1/control/shutdown"), "n1");
    assert_string_equal(fake_store_perms("/local/domain/1/data"), "n1");
    assert_string_equal(fake_store_perms("/local/domain/1/device"), "n0,r1");
    assert_string_equal(fake_store_perms("/libxl/1/type"), "n0");
    assert_int_equal(fake_store_introduced, 1);
    assert_int_equal(fake_domain[1].ports, 2);
    assert_int_equal(serai_domain_destroy(s, id, &err), 0);
    assert_int_equal(fake_store_introduced, 0);
    assert_null(fake_store_value(vm));
    assert_true(fake_store_nodes() <= before + 6); /* directories that domains have in common */
    before = fake_store_nodes();
    assert_int_equal(create("web", NULL, &id), 0);
    assert_int_equal(serai_domain_destroy(s, id, &err), 0);
    assert_int_equal(fake_store_nodes(), before);
}

/* What Linux noted about devices of guests that are no more goes with the next guest. */
static void test_notes(void **unused)
{
    uint32_t first, second;

    assert_int_equal(create("first", NULL, &first), 0);
    assert_int_equal(create("second", NULL, &second), 0);
    assert_int_equal(first, 1);
    assert_int_equal(second, 2);
    fake_store_set("/local/domain/0/error/backend/vif/1/0/error", "1 of a guest that goes");
    fake_store_set("/local/domain/0/error/backend/vif/2/0/error", "1 of one that stays");
    fake_store_set("/local/domain/0/error/backend/vbd/77/51712/error", "1 of one long gone");
    assert_int_equal(serai_domain_destroy(s, first, &err), 0);
    assert_null(fake_store_value("/local/domain/0/error/backend/vif/1/0/error"));
    assert_null(fake_store_value("/local/domain/0/error/backend/vbd/77/51712/error"));
    check("/local/domain/0/error/backend/vif/2/0/error", "1 of one that stays");
    assert_int_equal(serai_domain_destroy(s, second, &err), 0);
    assert_null(fake_store_value("/local/domain/0/error/backend/vif/2/0/error"));
}

/* The daemon's disk is full: nothing half-made, and what cannot be cleared away is later. */
static void test_full(void **unused)
{
    char path[4096];
    uint32_t id;

    assert_int_equal(create("web", disk_line("w"), &id), 0);
    assert_int_equal(serai_domain_destroy(s, id, &err), 0);
    unsigned nodes = fake_store_nodes();
    fake_store_full = true;
    assert_int_equal(create("web", NULL, &id), -ENOSPC);
    assert_non_null(strstr(err.text, "No space left"));
    fake_store_full = false;
    assert_true(serai_sweep(s, &err) >= 0);
    assert_int_equal(fake_store_nodes(), nodes);

    assert_int_equal(create("web", disk_line("w"), &id), 0);
    fake_store_full = true;
    assert_int_equal(serai_domain_destroy(s, id, &err), 0);
    snprintf(path, sizeof(path), "%s/%u", serai_domain_dir(s), id);
    assert_int_equal(access(path, F_OK), 0);
    serai_sweep(s, &err); /* too early */
    assert_int_equal(access(path, F_OK), 0);
    assert_true(fake_store_nodes() > nodes);
    fake_store_full = false;
    assert_true(serai_sweep(s, &err) > 0);
    assert_int_equal(fake_store_nodes(), nodes);
    assert_true(access(path, F_OK) != 0);
}

static void test_without_daemon(void **unused)
{
    uint32_t id;

    fake_store_served = false;
    assert_int_equal(create("web", disk_line("w"), &id), -ENOTCONN);
    assert_non_null(strstr(err.text, "xenstore is not served"));
    assert_int_equal(create("web", NULL, &id), 0);
    assert_int_equal(fake_domain[1].ports, 1);
    fake_store_served = true;
    assert_int_equal(serai_domain_request(s, id, SERAI_REQUEST_REBOOT, 1000, &err), -EBUSY);
    assert_int_equal(serai_domain_unpause(s, id, &err), 0);
    assert_int_equal(serai_domain_request(s, id, SERAI_REQUEST_REBOOT, 1000, &err), -EOPNOTSUPP);
    assert_non_null(strstr(err.text, "without xenstore"));
    struct serai_disk d;
    assert_int_equal(serai_disk_parse("/dev/null,,xvda,backendtype=blkd", &d, &err), 0);
    free(d.target);
    d.target = strdup(image);
    assert_int_equal(serai_disk_attach(s, id, &d, &err), -EOPNOTSUPP);
    assert_non_null(strstr(err.text, "made without xenstore"));
    serai_disk_clear(&d);
}

static void test_disk(void **unused)
{
    struct serai_disk_status *list;
    struct serai_config *c;
    size_t count;
    uint32_t id;

    fake_store_busy = 3;
    assert_int_equal(create("web", disk_line("r"), &id), 0);
    check("/local/domain/0/backend/serai/1/51712/params", image);
    check("/local/domain/0/backend/serai/1/51712/mode", "r");
    check("/local/domain/0/backend/serai/1/51712/online", "1");
    check("/local/domain/0/backend/serai/1/51712/frontend", "/local/domain/1/device/vbd/51712");
    check("/local/domain/1/device/vbd/51712/backend", "/local/domain/0/backend/serai/1/51712");
    check("/local/domain/1/device/vbd/51712/virtual-device", "51712");
    assert_string_equal(fake_store_perms("/local/domain/1/device/vbd/51712/state"), "n1,r0");
    assert_string_equal(fake_store_perms("/local/domain/0/backend/serai/1/51712/state"), "n0,r1");
    assert_int_equal(serai_disk_list(s, id, &list, &count, &err), 0);
    assert_int_equal(count, 1);
    assert_string_equal(list[0].disk.vdev, "xvda");
    assert_string_equal(list[0].disk.target, image);
    assert_string_equal(list[0].backend, "blkd");
    assert_true(list[0].disk.readonly);
    serai_disk_list_free(list, count);

    assert_int_equal(serai_disk_detach(s, id, 51728, false, &err), -ENOENT);
    assert_int_equal(serai_disk_detach(s, id, 51712, false, &err), 0);
    assert_null(fake_store_value("/local/domain/0/backend/serai/1/51712"));
    assert_null(fake_store_value("/local/domain/1/device/vbd/51712"));
    assert_int_equal(serai_domain_config(s, id, &c, &err), 0);
    assert_int_equal(c->nr_disks, 0);
    serai_config_free(c);
}

/* A disk that is plugged in while the guest runs is there again after a restart. */
static void test_hot_plug(void **unused)
{
    struct serai_disk d;
    struct serai_config *c;
    char text[160];
    uint32_t id;

    assert_int_equal(create("web", NULL, &id), 0);
    snprintf(text, sizeof(text), "%s,raw,xvdb,w,backendtype=blkd", image);
    assert_int_equal(serai_disk_parse(text, &d, &err), 0);
    assert_int_equal(serai_disk_attach(s, id, &d, &err), 0);
    assert_int_equal(serai_disk_attach(s, id, &d, &err), -EEXIST);
    assert_int_equal(serai_domain_config(s, id, &c, &err), 0);
    assert_int_equal(c->nr_disks, 1);
    assert_string_equal(c->disks[0].vdev, "xvdb");
    assert_int_equal(serai_domain_destroy(s, id, &err), 0);
    assert_null(fake_store_value("/local/domain/0/backend/serai/1"));
    assert_int_equal(serai_domain_create(s, c, NULL, &id, &err), 0);
    check("/local/domain/0/backend/serai/1/51728/params", image);
    serai_config_free(c);

    /* Connected, its guest has to let go. */
    fake_store_set("/local/domain/1/device/vbd/51728/state", "4");
    fake_store_set("/local/domain/0/backend/serai/1/51728/state", "4");
    assert_int_equal(serai_disk_detach(s, id, 51728, false, &err), 0);
    assert_null(fake_store_value("/local/domain/0/backend/serai/1/51728"));
    serai_disk_clear(&d);
}

static void test_sick_backend(void **unused)
{
    uint64_t free_before = fake_free();
    uint32_t id;

    fake_store_blkd_sick = true;
    assert_int_equal(create("web", disk_line("w"), &id), -EIO);
    assert_non_null(strstr(err.text, "sick"));
    assert_int_equal(fake_alive(), 1);
    assert_int_equal(fake_free(), free_before);
    assert_int_equal(fake_store_introduced, 0);
    assert_null(fake_store_value("/local/domain/1"));
}

static void test_shared(void **unused)
{
    uint32_t id;

    assert_int_equal(create("a", disk_line("w"), &id), 0);
    assert_int_equal(create("b", disk_line("w"), &id), -EBUSY);
    assert_non_null(strstr(err.text, "domain 1 has it"));
    assert_int_equal(create("b", disk_line("r"), &id), -EBUSY);
    assert_int_equal(create("b", disk_line("w!"), &id), 0);
    assert_int_equal(serai_domain_destroy(s, 1, &err), 0);
    assert_int_equal(serai_domain_destroy(s, 2, &err), 0);
    assert_int_equal(create("a", disk_line("r"), &id), 0);
    assert_int_equal(create("b", disk_line("r"), &id), 0);
}

static void test_bad_targets(void **unused)
{
    uint32_t id;

    assert_int_equal(create("a", "disk=['/nowhere,raw,xvda,w']", &id), -ENOENT);
    assert_non_null(strstr(err.text, "/nowhere"));
    assert_int_equal(create("a", "disk=['/dev/null,raw,xvda,w']", &id), -ENOTBLK);
    write_file(image, "short", 5);
    assert_int_equal(create("a", disk_line("w"), &id), -EINVAL);
    assert_non_null(strstr(err.text, "too short"));
    assert_int_equal(fake_alive(), 1);
}

/* Whatever call fails, to the hypervisor or to xenstore: nothing stays behind. */
static void test_failure_anywhere(void **unused)
{
    uint64_t free_before = fake_free();
    unsigned nodes, failed = 0, call;
    uint32_t id;

    assert_int_equal(create("first", disk_line("w"), &id), 0);
    assert_int_equal(serai_domain_destroy(s, id, &err), 0);
    nodes = fake_store_nodes();
    for (call = 1; call < 1000; call++) {
        fake_calls = 0;
        fake_fail_at = call;
        err.text[0] = '\0';
        if (!create("frail", disk_line("w"), &id)) {
            bool reached = fake_calls >= call;
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
        if (fake_alive() != 1 || fake_free() != free_before || fake_mapped ||
            fake_store_introduced || fake_store_nodes() != nodes) {
            fail_msg("call %u left something behind (%s)", call, err.text);
        }
    }
    assert_true(failed > 60 && call < 1000);
}

static void test_names(void **unused)
{
    struct serai_domain d;
    char vm[64], uuid[SERAI_UUID_TEXT];
    uint32_t id;

    assert_int_equal(create("old", NULL, &id), 0);
    assert_int_equal(serai_domain_rename(s, id, "new", &err), 0);
    check("/local/domain/1/name", "new");
    assert_int_equal(serai_domain_get(s, id, &d, &err), 0);
    snprintf(vm, sizeof(vm), "/vm/%s/name", serai_uuid_format(d.uuid, uuid));
    check(vm, "new");
    assert_int_equal(serai_domain_set_aside(s, id, &err), 0);
    check("/local/domain/1/name", "new-1");
    assert_null(fake_store_value(vm));

    /* Made by another toolstack. */
    fake_domain[5] = (struct fake_domain){.alive = true, .max_vcpus = 1};
    fake_store_set("/local/domain/5/name", "by\033xl");
    assert_int_equal(serai_domain_get(s, 5, &d, &err), 0);
    assert_string_equal(d.name, "by?xl");
    assert_false(d.flags & SERAI_DOMAIN_MANAGED);
    assert_int_equal(create("by?xl", NULL, &id), -EEXIST);
    assert_int_equal(serai_domain_find(s, "by?xl", &d, &err), 0);
}

static void test_requests(void **unused)
{
    uint32_t id;

    assert_int_equal(create("web", NULL, &id), 0);
    assert_int_equal(serai_domain_request(s, id, SERAI_REQUEST_POWEROFF, 1000, &err), -EBUSY);
    assert_non_null(strstr(err.text, "paused"));
    assert_int_equal(serai_domain_unpause(s, id, &err), 0);
    assert_int_equal(serai_domain_request(s, id, SERAI_REQUEST_POWEROFF, 1000, &err), 0);
    fake_store_set("/local/domain/1/control/feature-reboot", "0");
    assert_int_equal(serai_domain_request(s, id, SERAI_REQUEST_REBOOT, 1000, &err), -EOPNOTSUPP);
    fake_store_guest = false;
    assert_int_equal(serai_domain_request(s, id, SERAI_REQUEST_POWEROFF, 50, &err), -ETIMEDOUT);
    check("/local/domain/1/control/shutdown", "poweroff");
    assert_int_equal(serai_domain_request(s, id, SERAI_REQUEST_POWEROFF, 0, &err), 0);
    assert_int_equal(serai_domain_wait_end(s, id, 50, &err), -ETIMEDOUT);
    fake_domain[1].shutdown = SERAI_SHUTDOWN_POWEROFF + 1;
    assert_int_equal(serai_domain_wait_end(s, id, 50, &err), 0);
    assert_int_equal(serai_domain_request(s, id, SERAI_REQUEST_POWEROFF, 0, &err), -EBUSY);
    assert_int_equal(serai_domain_request(s, 0, SERAI_REQUEST_POWEROFF, 0, &err), -EPERM);
    assert_int_equal(serai_domain_request(s, 9, SERAI_REQUEST_POWEROFF, 0, &err), -ESRCH);
    assert_int_equal(serai_domain_sysrq(s, id, '\n', &err), -EINVAL);
}

static void test_memory_and_vcpus(void **unused)
{
    struct serai_config *c;
    uint32_t id;

    assert_int_equal(create("web", "maxvcpus=2", &id), 0);
    assert_int_equal(serai_domain_set_target(s, id, 16 << 10, &err), 0);
    check("/local/domain/1/memory/target", "16384");
    assert_int_equal(fake_domain[1].max_kb, (16 << 10) + 1024);
    assert_int_equal(serai_domain_set_target(s, id, 25 << 10, &err), -EINVAL);
    assert_non_null(strstr(err.text, "at most 24 MB"));
    assert_int_equal(serai_domain_set_max(s, id, 8 << 10, &err), -EINVAL);
    assert_int_equal(serai_domain_set_max(s, id, 24 << 10, &err), 0);
    assert_int_equal(serai_domain_set_vcpus(s, id, 2, &err), 0);
    check("/local/domain/1/cpu/1/availability", "online");
    assert_int_equal(serai_domain_set_vcpus(s, id, 3, &err), -EINVAL);
    assert_int_equal(serai_domain_config(s, id, &c, &err), 0);
    assert_int_equal(c->memory_mb, 16);
    assert_int_equal(c->maxmem_mb, 24);
    assert_int_equal(c->vcpus, 2);
    serai_config_free(c);
}

static bool busy_ends;

/* A guest that reads all the time, as blkd counts it. */
static void *busy(void *path)
{
    for (unsigned n = 1; !__atomic_load_n(&busy_ends, __ATOMIC_SEQ_CST); n++) {
        char text[64];
        snprintf(text, sizeof(text), "1 51712 %u 0 0 0 0 0\n", n);
        assert_int_equal(file_write_atomic(path, text, strlen(text), 0644), 0);
        usleep(20000);
    }
    return NULL;
}

static void test_busy(void **unused)
{
    char path[400];
    pthread_t thread;
    uint32_t id;

    assert_int_equal(create("web", disk_line("w"), &id), 0);
    fake_store_set("/local/domain/1/device/vbd/51712/state", "4");
    fake_store_set("/local/domain/0/backend/serai/1/51712/state", "4");
    snprintf(path, sizeof(path), "%s/blkd.stats", state);
    assert_int_equal(pthread_create(&thread, NULL, busy, path), 0);
    assert_int_equal(serai_disk_detach(s, id, 51712, false, &err), -EBUSY);
    assert_non_null(strstr(err.text, "is using disk 51712"));
    check("/local/domain/0/backend/serai/1/51712/state", "4");
    __atomic_store_n(&busy_ends, true, __ATOMIC_SEQ_CST);
    pthread_join(thread, NULL);
    assert_int_equal(serai_disk_detach(s, id, 51712, false, &err), 0);
    assert_null(fake_store_value("/local/domain/0/backend/serai/1/51712"));
    unlink(path);
}

static void test_disk_rate(void **unused)
{
    struct serai_disk_status *list;
    struct serai_config *c;
    size_t count;
    uint32_t id;
    char text[400];

    snprintf(text, sizeof(text), "disk=['%s,raw,xvda,w,rate=2MB/s,iops=50']", image);
    assert_int_equal(create("web", text, &id), 0);
    check("/local/domain/0/backend/serai/1/51712/rate-limit", "2000000 50");
    assert_int_equal(serai_disk_set_rate(s, id, 51712, 500, 0, &err), 0);
    check("/local/domain/0/backend/serai/1/51712/rate-limit", "500 0");
    assert_int_equal(serai_disk_list(s, id, &list, &count, &err), 0);
    assert_true(count == 1 && list[0].disk.rate_bytes == 500 && !list[0].disk.rate_requests);
    serai_disk_list_free(list, count);
    assert_int_equal(serai_disk_set_rate(s, id, 51728, 500, 0, &err), -ENOENT);

    /* It stays when the guest is made again. */
    assert_int_equal(serai_domain_config(s, id, &c, &err), 0);
    assert_int_equal(serai_domain_destroy(s, id, &err), 0);
    assert_int_equal(serai_domain_create(s, c, NULL, &id, &err), 0);
    check("/local/domain/0/backend/serai/1/51712/rate-limit", "500 0");
    serai_config_free(c);
    fake_store_set("/libxl/1/device/vbd/51712/backend", "/local/domain/0/backend/vbd/1/51712");
    assert_int_equal(serai_disk_set_rate(s, id, 51712, 500, 0, &err), -EOPNOTSUPP);
    assert_non_null(strstr(err.text, "not served by blkd"));
}

static void test_cd(void **unused)
{
    struct serai_config *c;
    uint32_t id;

    assert_int_equal(create("web", "disk=[',,hdc,cdrom,backendtype=blkd']", &id), 0);
    check("/local/domain/0/backend/serai/1/5632/params", "");
    assert_int_equal(serai_disk_insert(s, id, 5632, image, &err), 0);
    check("/local/domain/0/backend/serai/1/5632/params", image);
    assert_int_equal(serai_disk_insert(s, id, 5632, "/nowhere", &err), -ENOENT);
    assert_int_equal(serai_domain_config(s, id, &c, &err), 0);
    assert_string_equal(c->disks[0].target, image);
    serai_config_free(c);
    assert_int_equal(serai_disk_insert(s, id, 5632, NULL, &err), 0);
    check("/local/domain/0/backend/serai/1/5632/params", "");
    assert_int_equal(serai_disk_insert(s, id, 51712, image, &err), -ENOENT);

    /* In use: blkd has the last word, and the old medium stays when it says no. */
    fake_store_set("/local/domain/0/backend/serai/1/5632/medium", "");
    fake_store_set("/local/domain/1/device/vbd/5632/state", "4");
    fake_store_set("/local/domain/0/backend/serai/1/5632/state", "4");
    assert_int_equal(serai_disk_insert(s, id, 5632, image, &err), 0);
    check("/local/domain/0/backend/serai/1/5632/medium", image);
    fake_store_blkd_sick = true;
    assert_int_equal(serai_disk_insert(s, id, 5632, NULL, &err), -EIO);
    assert_non_null(strstr(err.text, "sick"));
    check("/local/domain/0/backend/serai/1/5632/params", image);
    check("/libxl/1/device/vbd/5632/params", image);
    assert_int_equal(serai_domain_config(s, id, &c, &err), 0);
    assert_string_equal(c->disks[0].target, image);
    serai_config_free(c);
    /* Nobody may have it as a CD while somebody writes it. */
    fake_store_blkd_sick = false;
    assert_int_equal(serai_disk_insert(s, id, 5632, NULL, &err), 0);
    assert_int_equal(create("writer", disk_line("w"), &id), 0);
    assert_int_equal(serai_disk_insert(s, 1, 5632, image, &err), -EBUSY);
    assert_non_null(strstr(err.text, "domain 2 has it"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nodes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_notes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_daemon, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hot_plug, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sick_backend, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shared, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_targets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failure_anywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_and_vcpus, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disk_rate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_busy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cd, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
