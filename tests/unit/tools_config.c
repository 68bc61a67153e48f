// SPDX-License-Identifier: BSD-2-Clause
/* From the text of a configuration to what a guest is made from. */
#include "unit.h"

#include <errno.h>
#include <unistd.h>

#include "buf.h"
#include "fake_xen.h"
#include "serai.h"
#include "state.h"

static struct serai *s;
static struct serai_error err;
static char note[512];

static void keep_note(void *ctx, enum serai_log_level level, const char *text)
{
    snprintf(note, sizeof(note), "%s", text);
}

static int setup(void **unused)
{
    struct serai_options opt = {.log = keep_note};

    note[0] = '\0';
    return serai_open(&s, &opt, &err);
}

static int teardown(void **unused)
{
    serai_close(s);
    return 0;
}

static int load(const char *text, struct serai_config **c)
{
    char path[] = "/tmp/serai-unit-XXXXXX";
    int fd = mkstemp(path), ret;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    *c = NULL;
    ret = serai_config_load(s, path, NULL, 0, c, &err);
    unlink(path);
    return ret;
}

static void refuse(const char *text, const char *expected)
{
    struct serai_config *c;

    assert_true(load(text, &c) < 0);
    if (!strstr(err.text, expected)) {
        fail_msg("\"%s\" does not contain \"%s\"", err.text, expected);
    }
}

#define BASE "name = 'g'\nkernel = '/k'\nmemory = 64\n"

static void test_everything(void **unused)
{
    struct serai_config *c;

    assert_int_equal(load("# a guest\nname = \"web\"\ntype='pv'\nkernel = \"/boot/vmlinuz\"\n"
                          "ramdisk = \"/boot/initrd\"; root=\"/dev/xvda\"; extra = \"ro quiet\"\n"
                          "memory = 0x100\nmaxmem = \"512\"\nvcpus = 2\nmaxvcpus = 4\n"
                          "cpus = [ \"0-1\", 3 ]\ncpu_weight = 1024\ncap = 50\n"
                          "uuid = \"01234567-89AB-cdef-0123-456789abcdef\"\ntsc_mode='native'\n"
                          "on_poweroff = 'preserve'\non_reboot='destroy'\non_crash='restart'\n"
                          "on_watchdog='coredump-restart'\nminmem=128\ncpus_soft='1-2'\n",
                          &c),
                     0);
    assert_string_equal(c->name, "web");
    assert_string_equal(c->cmdline, "root=/dev/xvda ro quiet");
    assert_int_equal(c->memory_mb, 256);
    assert_int_equal(c->maxmem_mb, 512);
    assert_int_equal(c->vcpus, 2);
    assert_int_equal(c->maxvcpus, 4);
    assert_int_equal(c->cpus_count, 2);
    assert_true(serai_cpumap_has(&c->cpus[1], 3));
    assert_int_equal(c->cpu_weight, 1024);
    assert_int_equal(c->cap, 50);
    assert_int_equal(c->uuid[4], 0x89);
    assert_int_equal(c->tsc, SERAI_TSC_NATIVE);
    assert_int_equal(c->on_poweroff, SERAI_ACTION_PRESERVE);
    assert_int_equal(c->on_reboot, SERAI_ACTION_DESTROY);
    assert_int_equal(c->on_crash, SERAI_ACTION_RESTART);
    assert_int_equal(c->on_watchdog, SERAI_ACTION_COREDUMP_RESTART);
    assert_int_equal(c->minmem_mb, 128);
    assert_false(c->memory_pinned);
    assert_true(c->cpus_soft_count == 1 && serai_cpumap_has(&c->cpus_soft[0], 2));
    serai_config_free(c);
}

static void test_defaults(void **unused)
{
    struct serai_config *c;

    assert_int_equal(load(BASE, &c), 0);
    assert_null(c->ramdisk);
    assert_null(c->cmdline);
    assert_int_equal(c->vcpus, 1);
    assert_int_equal(c->cpu_weight, SERAI_SCHED_KEEP);
    assert_int_equal(c->on_poweroff, SERAI_ACTION_DESTROY);
    assert_int_equal(c->on_reboot, SERAI_ACTION_RESTART);
    assert_int_equal(c->on_crash, SERAI_ACTION_DESTROY);
    assert_int_equal(c->on_watchdog, SERAI_ACTION_DESTROY);
    assert_int_equal(c->minmem_mb, 0);
    serai_config_free(c);
}

static void test_mistakes(void **unused)
{
    refuse(BASE "memroy = 3\n", ":4:1: unknown key \"memroy\"; did you mean \"memory\"?");
    refuse(BASE "qqqqqqqqqq = 3\n", ":4:1: unknown key \"qqqqqqqqqq\"");
    refuse(BASE "vcpus = [1]\n", ":4:9: vcpus: expected a number or a string, got a list");
    refuse(BASE "vcpus = 'two'\n", ":4:9: vcpus: expected a number, got the string \"two\"");
    refuse(BASE "vcpus = 0\n", "out of range");
    refuse(BASE "extra = 3\n", ":4:9: extra: expected a string, got a number");
    refuse(BASE "minmem = 65\n", "minmem: more than memory");
    refuse(BASE "memory_pinned = 1\n", "unknown key");
    refuse(BASE "cpus_soft = 'x'\n", "cpus_soft: ");
    refuse(BASE "maxmem = 32\n", "maxmem: less than memory");
    refuse(BASE "vcpus = 2\nmaxvcpus = 1\n", "maxvcpus: less than vcpus");
    refuse(BASE "on_crash = 'restrat'\n", "did you mean \"restart\"");
    refuse(BASE "on_crash = 'coredump'\n", "is none of destroy, restart");
    refuse(BASE "type = 'hvm'\n", "cannot be built yet");
    refuse(BASE "builder = 'hvm'\n", "cannot be built yet");
    refuse(BASE "type = 'vm'\n", "none of pv, pvh, hvm");
    refuse(BASE "cpus = '3-1'\n", "not a set of CPUs");
    refuse(BASE "cpus = [ [ 1 ] ]\n", "in the list");
    refuse(BASE "uuid = 'x'\n", "not a UUID");
    refuse(BASE "tsc_mode = 'fast'\n", "tsc_mode");
    refuse(BASE "console_mfn = 3\n", "unknown key");
    refuse("kernel = '/k'\nmemory = 64\n", "name: missing");
    refuse("name = 'g'\nmemory = 64\n", "kernel: missing");
    refuse("name = 'g'\nkernel = '/k'\n", "memory: missing");
    refuse("name = 'a/b'\n", ":1:8: name:");
    refuse("name = '17'\n", "looks like a domain id");
    refuse("name = 'Domain-0'\n", "reserved");
    refuse("name = ''\n", "1 to 64 characters");
}

static void test_long_command_line(void **unused)
{
    char text[2000];
    int n = snprintf(text, sizeof(text), "%sextra = '", BASE);

    memset(text + n, 'x', 1100);
    strcpy(text + n + 1100, "'\n");
    refuse(text, "1100 bytes, but a guest takes at most 1023");
}

static void test_known_without_effect(void **unused)
{
    struct serai_config *c;

    assert_int_equal(load(BASE "pci = [ '00:01.0' ]\n", &c), 0);
    assert_non_null(strstr(note, ":4:1: \"pci\" is not supported yet"));
    serai_config_free(c);
}

static void test_devices(void **unused)
{
    refuse(BASE "disk = '/a,,xvda'\n", "disk");
    refuse(BASE "disk = [ 7 ]\n", ":4:10: disk: expected strings");
    refuse(BASE "disk = [ '/a,,xvda',\n '/b,,vda' ]\n", ":5:2: disk: vdev: \"vda\" is no disk");
    refuse(BASE "disk = [ '/a,,xvda',\n '/b,,xvda' ]\n", ":5:2: disk: this vdev is given twice");
    refuse(BASE "vif = [ '', 'brigde=x' ]\n", ":4:13: vif: ");
}

static void test_overrides(void **unused)
{
    static const char *const args[] = {"name=g", "kernel=relative/kernel", "memory=64",
                                       "extra=console=hvc0 quiet", "memory=65"};
    static const char *const bad[] = {"name"};
    char cwd[512], path[600];
    struct serai_config *c;

    assert_int_equal(serai_config_load(s, NULL, args, 5, &c, &err), 0);
    assert_int_equal(c->memory_mb, 65);
    assert_string_equal(c->cmdline, "console=hvc0 quiet");
    assert_non_null(getcwd(cwd, sizeof(cwd)));
    snprintf(path, sizeof(path), "%s/relative/kernel", cwd);
    assert_string_equal(c->kernel, path);
    serai_config_free(c);
    assert_int_equal(serai_config_load(s, NULL, bad, 1, &c, &err), -EINVAL);
    assert_non_null(strstr(err.text, "command line:1:5: expected ="));
    assert_int_equal(serai_config_load(s, "/nonexistent", NULL, 0, &c, &err), -ENOENT);
}

/* What a record says is what was loaded. */
static void test_record_round_trip(void **unused)
{
    struct state_record r;
    struct serai_config *c;
    BUF_AUTO first = {0}, second = {0};

    assert_int_equal(load(BASE "extra = 'a \"quoted\\\\ word'\ncpus=['0','1-3,^2']\nvcpus=2\n"
                               "cap=10\nmaxmem=128\non_crash='rename-restart'\n"
                               "on_watchdog='coredump-destroy'\nminmem=32\ncpus_soft=['2','3']\n"
                               "disk=['/a,,xvda', 'vdev=hdc,cdrom,target=/b,c=\"d\"']\n"
                               "vif=['bridge=br0,mac=00:16:3e:00:00:01', '']\n",
                          &c),
                     0);
    c->memory_pinned = true;
    config_write(c, &first);
    assert_int_equal(config_parse_text(s, "record", first.data, first.len, &r, &err), 0);
    config_write(r.config, &second);
    assert_string_equal(first.data, second.data);
    assert_true(r.config->memory_pinned);
    assert_int_equal(r.config->nr_disks, 2);
    assert_string_equal(r.config->disks[1].target, "/b,c=\"d\"");
    assert_int_equal(r.config->nr_vifs, 2);
    assert_string_equal(r.config->vifs[0].bridge, "br0");
    assert_string_equal(r.config->cmdline, "a \"quoted\\ word");
    serai_config_free(r.config);
    serai_config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_everything, setup, teardown),
        cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mistakes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_command_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_known_without_effect, setup, teardown),
        cmocka_unit_test_setup_teardown(test_devices, setup, teardown),
        cmocka_unit_test_setup_teardown(test_overrides, setup, teardown),
        cmocka_unit_test_setup_teardown(test_record_round_trip, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
