// SPDX-License-Identifier: BSD-2-Clause
/* network.conf, and the records of attached interfaces. */
#include "unit.h"

#include <errno.h>
#include <unistd.h>

#include "net_internal.h"

int err_set(struct serai_error *err, int code, const char *fmt, ...)
{
    if (err) {
        va_list ap;

        va_start(ap, fmt);
        vsnprintf(err->text, sizeof(err->text), fmt, ap);
        va_end(ap);
    }
    return code;
}

int err_sys(struct serai_error *err, int code, const char *fmt, ...)
{
    if (err) {
        va_list ap;

        va_start(ap, fmt);
        vsnprintf(err->text, sizeof(err->text), fmt, ap);
        va_end(ap);
    }
    return code;
}

static char note[512];

void serai_note(struct serai *s, enum serai_log_level level, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(note, sizeof(note), fmt, ap);
    va_end(ap);
}

static char dir[64], conf[96];
static struct serai handle = {.state_dir = dir, .network_conf = conf};
static struct serai_error err;

static int setup(void **unused)
{
    strcpy(dir, "/tmp/serai-unit-XXXXXX");
    note[0] = '\0';
    if (!mkdtemp(dir)) {
        return -1;
    }
    snprintf(conf, sizeof(conf), "%s/network.conf", dir);
    return 0;
}

static int teardown(void **unused)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -r %s", dir);
    return system(command);
}

static int load(const char *text, struct net_conf *out)
{
    FILE *f = fopen(conf, "w");

    fputs(text, f);
    fclose(f);
    return net_conf_load(&handle, out, &err);
}

static void refuse(const char *text, const char *expected)
{
    struct net_conf c;

    assert_true(load(text, &c) < 0);
    if (!strstr(err.text, expected)) {
        fail_msg("%s: \"%s\" does not contain \"%s\"", text, err.text, expected);
    }
}

static void test_conf_defaults(void **unused)
{
    struct net_conf c;
    char text[SERAI_IP_TEXT];

    assert_int_equal(net_conf_load(&handle, &c, &err), 0);
    assert_int_equal(c.setup, SERAI_NET_BRIDGE);
    assert_string_equal(c.bridge, "xenbr0");
    assert_false(c.bridge_create);
    assert_string_equal(serai_ip_format(&c.nat_subnet, text), "10.83.0.0/16");
    assert_int_equal(c.isolated, -1);
    assert_int_equal(c.guard, SERAI_GUARD_DEFAULT);
}

static void test_conf(void **unused)
{
    struct net_conf c;

    assert_int_equal(load("setup = 'nat' # comment\nbridge='br7'\nbridge_create=1\n"
                          "bridge_mtu = 9000\nbridge_ports = [ 'eth0', 'eth1' ]\n"
                          "bridge_address = '10.1.0.1/24'\ngatewaydev='eth2'\n"
                          "nat_subnet = '172.20.0.0/20'\nisolated = 0\nguard='mac'\ntimeout=3\n",
                          &c),
                     0);
    assert_int_equal(c.setup, SERAI_NET_NAT);
    assert_string_equal(c.bridge, "br7");
    assert_true(c.bridge_create);
    assert_int_equal(c.bridge_mtu, 9000);
    assert_int_equal(c.nr_bridge_ports, 2);
    assert_string_equal(c.bridge_ports[1], "eth1");
    assert_int_equal(c.nr_bridge_ips, 1);
    assert_int_equal(c.bridge_ips[0].prefix, 24);
    assert_string_equal(c.gatewaydev, "eth2");
    assert_int_equal(c.nat_subnet.prefix, 20);
    assert_int_equal(c.isolated, 0);
    assert_int_equal(c.guard, SERAI_GUARD_MAC);
    assert_int_equal(c.timeout_ms, 3000);
}

static void test_conf_refused(void **unused)
{
    refuse("setup = 'router'", "network.conf:1:9: setup: \"router\" is none of");
    refuse("brige = 'x'", "bridge");
    refuse("bridge = 'much-too-long-a-name'", "no name");
    refuse("bridge = 3", "bridge");
    refuse("bridge_create = 2", "bridge_create");
    refuse("bridge_ports = [ 1 ]", "must be a string");
    refuse("bridge_address = 'x'", "no address");
    refuse("nat_subnet = '10.0.0.0/29'", "from /8 to /28");
    refuse("nat_subnet = '10.0.0.1/24'", "bits set behind its prefix");
    refuse("nat_subnet = 'fd00::/64'", "no IPv4 network");
    refuse("guard = 'yes'", "none of off, mac, ip");
    refuse("timeout = 0", "timeout");
    refuse("a = [", "network.conf:1:");
}

static struct net_record record(unsigned domain, int devid)
{
    struct net_record r = {.port = {.domain = domain, .device = "web0"},
                           .created = "vif3.1",
                           .index = 17,
                           .old_mtu = 1500,
                           .old_mac = {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff},
                           .shaped = true,
                           .done = true};

    assert_int_equal(serai_vif_parse(NULL, "mac=00:16:3e:00:00:01,script=vif-nat,ip=10.83.0.9",
                                     &r.port.vif, NULL),
                     0);
    r.port.vif.devid = devid;
    return r;
}

static void put(const char *name, const char *text)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof(path), "%s/net/%s", dir, name);
    f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
}

static int remove_file(const char *name)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/net/%s", dir, name);
    return unlink(path);
}

static void test_records(void **unused)
{
    struct net_record r = record(3, 1), out, *list;
    size_t count;
    int lock = net_lock(&handle, &err);

    assert_true(lock >= 0);
    assert_int_equal(net_record_read(&handle, 3, 1, &out, &err), -ENOENT);
    assert_int_equal(net_record_write(&handle, &r, &err), 0);
    assert_int_equal(net_record_read(&handle, 3, 1, &out, &err), 0);
    assert_memory_equal(&r, &out, sizeof(r));
    r = record(12, 0);
    assert_int_equal(net_record_write(&handle, &r, &err), 0);
    r = record(3, 0);
    assert_int_equal(net_record_write(&handle, &r, &err), 0);
    put("junk", "");
    put("3.0.1.tmp", "x");
    assert_int_equal(net_record_list(&handle, &list, &count, &err), 0);
    assert_int_equal(count, 3);
    assert_int_equal(list[0].port.vif.devid, 0);
    assert_int_equal(list[1].port.vif.devid, 1);
    assert_int_equal(list[2].port.domain, 12);
    free(list);
    assert_string_equal(note, "");
    /* The next one to take the lock clears away what a dead writer left. */
    close(lock);
    lock = net_lock(&handle, &err);
    assert_int_equal(remove_file("3.0.1.tmp"), -1);
    net_record_remove(&handle, &r);
    assert_int_equal(net_record_list(&handle, &list, &count, &err), 0);
    assert_int_equal(count, 2);
    free(list);
    close(lock);
}

static void test_damaged_records(void **unused)
{
    static const char *const bad[] = {
        "",
        "domain = 'x'",
        "domain = 5\nvif = 'mac=zz'",
        "\x01",
        "domain = 6\nindex = 1\ndevice='a'\ncreated='a'\nold_mac='00:00:00:00:00:00'\n"
        "vif='devid=0'\n",
        "domain = 5\nindex = 1\ndevice='../a'\ncreated='a'\nold_mac='00:00:00:00:00:00'\n"
        "vif='devid=0'\n",
    };
    struct net_record out, *list;
    size_t count;
    int lock = net_lock(&handle, &err);

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        put("5.0", bad[i]);
        assert_int_equal(net_record_read(&handle, 5, 0, &out, &err), -EINVAL);
        assert_non_null(strstr(err.text, "damaged record"));
    }
    assert_int_equal(net_record_list(&handle, &list, &count, &err), 0);
    assert_int_equal(count, 0);
    assert_non_null(strstr(note, "damaged record"));
    free(list);
    close(lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_conf_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_conf, setup, teardown),
        cmocka_unit_test_setup_teardown(test_conf_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_records, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_records, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
