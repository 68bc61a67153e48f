// SPDX-License-Identifier: BSD-2-Clause
/* The syntax of `vif`, rates, MAC and IP addresses. */
#include "unit.h"

#include <errno.h>

#include "internal.h"
#include "net_internal.h"

/* The library's error functions, without the rest of it. */
static int put_error(struct serai_error *err, int code, const char *fmt, va_list ap)
{
    if (err) {
        err->code = code;
        vsnprintf(err->text, sizeof(err->text), fmt, ap);
    }
    return code;
}

int err_set(struct serai_error *err, int code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    put_error(err, code, fmt, ap);
    va_end(ap);
    return code;
}

int err_sys(struct serai_error *err, int code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    put_error(err, code, fmt, ap);
    va_end(ap);
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

static struct serai some_handle;

static struct serai_vif parse(const char *text)
{
    struct serai_vif v;
    struct serai_error err;

    note[0] = '\0';
    if (serai_vif_parse(&some_handle, text, &v, &err)) {
        fail_msg("%s: %s", text, err.text);
    }
    return v;
}

static void refuse(const char *text, const char *expected)
{
    struct serai_vif v;
    struct serai_error err = {0};

    assert_true(serai_vif_parse(NULL, text, &v, &err) < 0);
    if (!strstr(err.text, expected)) {
        fail_msg("%s: \"%s\" does not contain \"%s\"", text, err.text, expected);
    }
}

static void test_defaults(void **unused)
{
    static const char *const empty[] = {"", " ", ",", " , ,, "};

    for (size_t i = 0; i < 4; i++) {
        struct serai_vif v = parse(empty[i]);

        assert_int_equal(v.devid, -1);
        assert_int_equal(v.setup, SERAI_NET_DEFAULT);
        assert_int_equal(v.isolated, -1);
        assert_false(v.has_mac);
        assert_false(v.untrusted);
        assert_int_equal(v.rate_bytes, 0);
        assert_int_equal(v.mtu, 0);
    }
}

static void test_everything(void **unused)
{
    static const uint8_t mac[6] = {0x00, 0x16, 0x3e, 0x74, 0x3d, 0x76};
    char text[SERAI_IP_TEXT];
    struct serai_vif v = parse("mac=00:16:3E:74:3d:76, bridge = br1 ,vifname=web0,type=vif,"
                               "ip=10.0.0.5 192.168.7.0/24;2001:db8::5,rate=10Mb/s,devid=3,"
                               "mtu=9000,untrusted,backend=Domain-0,script=/etc/x/vif-bridge,"
                               "isolated,guard=ip,model=e1000");

    assert_true(v.has_mac);
    assert_memory_equal(v.mac, mac, 6);
    assert_string_equal(v.bridge, "br1");
    assert_string_equal(v.ifname, "web0");
    assert_int_equal(v.nr_ips, 3);
    assert_string_equal(serai_ip_format(&v.ips[0], text), "10.0.0.5");
    assert_string_equal(serai_ip_format(&v.ips[1], text), "192.168.7.0/24");
    assert_string_equal(serai_ip_format(&v.ips[2], text), "2001:db8::5");
    assert_int_equal(v.rate_bytes, 1250000);
    assert_int_equal(v.rate_usec, 50000);
    assert_int_equal(v.devid, 3);
    assert_int_equal(v.mtu, 9000);
    assert_true(v.untrusted);
    assert_int_equal(v.setup, SERAI_NET_BRIDGE);
    assert_int_equal(v.isolated, 1);
    assert_int_equal(v.guard, SERAI_GUARD_IP);
    assert_non_null(strstr(note, "model=e1000"));
}

static void test_setups(void **unused)
{
    struct serai_vif v = parse("script=vif-route,ip=10.1.1.1,netdev=eth0");

    assert_int_equal(v.setup, SERAI_NET_ROUTE);
    assert_string_equal(v.gatewaydev, "eth0");
    v = parse("script=/etc/xen/scripts/vif-nat,trusted");
    assert_int_equal(v.setup, SERAI_NET_NAT);
    assert_false(v.untrusted);
    assert_true(parse("trusted=0").untrusted);
    assert_false(parse("untrusted=no").untrusted);
    assert_int_equal(parse("isolated=0").isolated, 0);
}

static void test_refused(void **unused)
{
    refuse("brige=xenbr0", "unknown key \"brige\"; did you mean \"bridge\"?");
    refuse("zzz", "unknown key \"zzz\"");
    refuse("bridge", "bridge: has no value");
    refuse("bridge=", "bridge: has no value");
    refuse("mac=00:16:3e:00:00:01,mac=00:16:3e:00:00:02", "mac: given twice");
    refuse("type=ioemu", "needs an HVM guest");
    refuse("type=nic", "none of vif, ioemu");
    refuse("script=vif-openvswitch", "no scripts are run");
    refuse("backend=driver", "only the control domain");
    refuse("accel=1", "accel: known, but not supported");
    refuse("forwarddev=eth0", "known, but not supported");
    refuse("colo_checkpoint_host=x", "known, but not supported");
    refuse("vifname=a-name-that-is-too-long", "1 to 15");
    refuse("vifname=a/b", "no name");
    refuse("bridge=..", "no name");
    refuse("vifname=all", "no name");
    refuse("trusted,untrusted", "exclude");
    refuse("trusted=maybe", "neither 0 nor 1");
    refuse("devid=-1", "no number");
    refuse("devid=65536", "0 to 65535");
    refuse("mtu=67", "68 to 65517");
    refuse("mtu=1500x", "no number");
    refuse("mtu=99999999999999999999", "no number");
    refuse("ip=10.0.0.256", "no IPv4 or IPv6 address");
    refuse("ip=10.0.0.1/33", "the prefix must be 1 to 32");
    refuse("ip=10.0.0.1/", "the prefix");
    refuse("ip=224.0.0.1", "multicast");
    refuse("ip=0.0.0.0", "no address");
    refuse("ip=255.255.255.255", "reserved");
    refuse("ip=127.0.0.1", "loopback");
    refuse("ip=ff02::1", "multicast");
    refuse("ip=::1", "loopback");
    refuse("ip=10.0.0.1 10.0.0.1", "given twice");
    refuse("ip=;", "no address");
    refuse("ip=1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4 1.1.1.5 1.1.1.6 1.1.1.7 1.1.1.8 1.1.1.9 1.1.1.10 "
           "1.1.1.11 1.1.1.12 1.1.1.13 1.1.1.14 1.1.1.15 1.1.1.16 1.1.1.17",
           "more than 16");
    refuse("guard=on", "none of off, mac, ip");
    refuse("guard=ip", "needs the addresses");
    refuse("bridge=br0,script=vif-route", "bridge: not together");
    refuse("bridge=br0,gatewaydev=eth0", "gatewaydev: not together");
    refuse("netdev=a,gatewaydev=b", "given twice");
}

static void test_too_long(void **unused)
{
    char text[4000];

    memset(text, ' ', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    refuse(text, "longer than");
}

static void test_rates(void **unused)
{
    static const struct {
        const char *text;
        uint64_t bytes;
        uint32_t usec;
        const char *node;
    } good[] = {
        {"10Mb/s", 1250000, 50000, "62500,50000"},
        {"250KB/s", 250000, 50000, "12500,50000"},
        {"1MB/s@20ms", 1000000, 20000, "20000,20000"},
        {"1GB/s@1s", 1000000000, 1000000, "1000000000,1000000"},
        {"10Gb/s@100us", 1250000000, 100, "125000,100"},
        {"8000b/s@1s", 1000, 1000000, "1000,1000000"},
        {"100KB/s@5000", 100000, 5000, "500,5000"},
        {"20B/s", 20, 50000, "1,50000"},
        {"100Mb/s@4294967295us", 12500000, 4294967295u, "53687091187,4294967295"},
    };
    static const char *const bad[] = {
        "",
        "Mb/s",
        "10",
        "10M/s",
        "10Mb",
        "10mb/s",
        "-1Mb/s",
        "10Mb/s@",
        "10Mb/s@x",
        "10Mb/s@0ms",
        "10Mb/s@5m",
        "10Mb/sx",
        "1.5MB/s",
        "0MB/s",
        "19B/s",
        "10Mb/s@-1ms",
        "10 Mb/s",
        "10TB/s",
        "10Mb/s@5000s",
        "18446744073709551615GB/s",
        "18446744073709551616B/s",
        "18446744073709551615B/s@1s",
    };
    char text[128], node[64];

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct serai_vif v;

        snprintf(text, sizeof(text), "rate=%s", good[i].text);
        v = parse(text);
        assert_int_equal(v.rate_bytes, good[i].bytes);
        assert_int_equal(v.rate_usec, good[i].usec);
        assert_int_equal(serai_vif_rate_node(&v, node, sizeof(node)), 0);
        assert_string_equal(node, good[i].node);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(text, sizeof(text), "rate=%s", bad[i]);
        refuse(text, "rate: ");
    }
    struct serai_vif none = parse("");
    assert_int_equal(serai_vif_rate_node(&none, node, sizeof(node)), -EINVAL);
}

static void test_macs(void **unused)
{
    static const char *const bad[] = {
        "",
        "00:16:3e:00:00",
        "00:16:3e:00:00:0g",
        "00-16-3e-00-00-01",
        "0:16:3e:00:00:01",
        "00:16:3e:00:00:011",
        "00:00:00:00:00:00",
        "01:00:5e:00:00:01",
        "ff:ff:ff:ff:ff:ff",
        "fe:ff:ff:ff:ff:ff",
        "00:16:3e:00:00:01:",
        " 0:16:3e:00:00:1",
    };
    uint8_t mac[6] = {9, 9, 9, 9, 9, 9};
    char text[SERAI_MAC_TEXT];

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(serai_mac_parse(bad[i], mac, NULL), -EINVAL);
        assert_int_equal(mac[0], 9);
    }
    assert_int_equal(serai_mac_parse("aA:bB:Cc:0d:E0:ff", mac, NULL), 0);
    assert_string_equal(serai_mac_format(mac, text), "aa:bb:cc:0d:e0:ff");
    assert_int_equal(serai_mac_random(mac, NULL), 0);
    assert_memory_equal(mac, "\x00\x16\x3e", 3);
    assert_true(mac[3] < 0x80);
}

static int order(const void *a, const void *b)
{
    return memcmp(a, b, 6);
}

/* Stable, and spread like random numbers: 2000 of 2^23 meet 0.24 times on average. */
static void test_derived_macs(void **unused)
{
    enum { MACS = 2000 };
    static uint8_t macs[MACS][6];
    uint8_t uuid[16] = {0x12, 0x34}, again[6];
    int same = 0;

    for (unsigned i = 0; i < MACS; i++) {
        uuid[15] = (uint8_t)(i / 8);
        uuid[14] = (uint8_t)(i / 8 >> 8);
        serai_mac_derive(uuid, i % 8, 0, macs[i]);
        serai_mac_derive(uuid, i % 8, 0, again);
        assert_memory_equal(macs[i], again, 6);
        assert_memory_equal(macs[i], "\x00\x16\x3e", 3);
        assert_true(macs[i][3] < 0x80);
        serai_mac_derive(uuid, i % 8, 1, again);
        assert_memory_not_equal(macs[i], again, 6);
    }
    qsort(macs, MACS, 6, order);
    for (unsigned i = 1; i < MACS; i++) {
        same += !memcmp(macs[i - 1], macs[i], 6);
    }
    assert_true(same <= 4);
}

static void test_complete(void **unused)
{
    const uint8_t uuid[16] = {7};
    struct serai_vif list[4] = {parse(""), parse("devid=0"), parse(""),
                                parse("mac=00:16:3e:00:00:01")};
    struct serai_vif again[4];
    struct serai_error err;

    memcpy(again, list, sizeof(list));
    assert_int_equal(serai_vif_complete(list, 4, uuid, NULL, 0, &err), 0);
    assert_int_equal(list[0].devid, 1);
    assert_int_equal(list[1].devid, 0);
    assert_int_equal(list[2].devid, 2);
    assert_int_equal(list[3].devid, 3);
    assert_true(list[0].has_mac && list[1].has_mac && list[2].has_mac);
    assert_int_equal(serai_vif_complete(again, 4, uuid, NULL, 0, &err), 0);
    assert_memory_equal(list, again, sizeof(list));

    /* A derived address that somebody has is not taken; a given one is refused. */
    const uint8_t taken[2][6] = {{0, 0x16, 0x3e, 1, 2, 3}, {0, 0x16, 0x3e, 0, 0, 1}};
    struct serai_vif one = parse("");
    uint8_t first[1][6];

    serai_mac_derive(uuid, 0, 0, first[0]);
    assert_int_equal(serai_vif_complete(&one, 1, uuid, first, 1, &err), 0);
    assert_memory_not_equal(one.mac, first[0], 6);
    assert_int_equal(serai_vif_complete(list, 4, uuid, taken, 2, &err), -EEXIST);
    assert_non_null(strstr(err.text, "in use by another guest"));

    struct serai_vif twice[2] = {parse("mac=00:16:3e:00:00:09"), parse("mac=00:16:3e:00:00:09")};
    assert_int_equal(serai_vif_complete(twice, 2, uuid, NULL, 0, &err), -EEXIST);
    assert_non_null(strstr(err.text, "given twice"));
    struct serai_vif devids[2] = {parse("devid=4"), parse("devid=4")};
    assert_int_equal(serai_vif_complete(devids, 2, uuid, NULL, 0, &err), -EEXIST);
    assert_non_null(strstr(err.text, "devid 4"));
}

static void test_format(void **unused)
{
    static const char *const texts[] = {
        "",
        "mac=00:16:3e:00:00:01,devid=2,script=vif-bridge,bridge=br0,ip=10.0.0.1 fd00::/64,"
        "rate=1250000B/s@50000us,mtu=1400,untrusted,isolated=1,guard=mac",
        "script=vif-route,gatewaydev=eth0,vifname=a",
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct serai_vif v = parse(texts[i]);
        char *text = serai_vif_format(&v);

        assert_string_equal(text, texts[i]);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_everything),
        cmocka_unit_test(test_setups),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_too_long), cmocka_unit_test(test_rates),
        cmocka_unit_test(test_macs),     cmocka_unit_test(test_derived_macs),
        cmocka_unit_test(test_complete), cmocka_unit_test(test_format),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
