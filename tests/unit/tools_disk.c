// SPDX-License-Identifier: BSD-2-Clause
/* The texts that describe disks, and the numbers of virtual disks. */
#include "unit.h"

#include <errno.h>

#include "serai.h"

static struct serai_error err;

static uint32_t number(const char *vdev)
{
    uint32_t n = 0;

    if (serai_vdev_parse(vdev, &n, &err)) {
        fail_msg("%s: %s", vdev, err.text);
    }
    return n;
}

static void test_numbers(void **unused)
{
    assert_int_equal(number("xvda"), 202 << 8);
    assert_int_equal(number("xvda1"), 202 << 8 | 1);
    assert_int_equal(number("xvdb"), 202 << 8 | 16);
    assert_int_equal(number("xvdp15"), 202 << 8 | 15 << 4 | 15);
    assert_int_equal(number("xvdq"), 1 << 28 | 16 << 8);
    assert_int_equal(number("xvdaa"), 1 << 28 | 26 << 8);
    assert_int_equal(number("xvda16"), 1 << 28 | 16);
    assert_int_equal(number("d0"), 202 << 8);
    assert_int_equal(number("d1p2"), 202 << 8 | 1 << 4 | 2);
    assert_int_equal(number("d536p37"), 1 << 28 | 536 << 8 | 37);
    assert_int_equal(number("sda"), 8 << 8);
    assert_int_equal(number("sdb3"), 8 << 8 | 16 | 3);
    assert_int_equal(number("hda"), 3 << 8);
    assert_int_equal(number("hdb1"), 3 << 8 | 64 | 1);
    assert_int_equal(number("hdc"), 22 << 8);
    assert_int_equal(number("hdd63"), 22 << 8 | 64 | 63);
    assert_int_equal(number("51712"), 51712);
    assert_int_equal(number("0xca00"), 51712);
}

static void test_no_numbers(void **unused)
{
    static const char *const wrong[] = {
        "",       "xvd",    "xvda0",    "xvdA",        "sdq", "sda16", "hde",     "hda64",
        "d",      "d01",    "d1p",      "d1p2x",       "vda", "0",     "12x",     "xvda-1",
        "xvda1x", "d1p256", "d1048576", "99999999999", "hd",  "sd1",   "xvda256", "xvdzzzzzzz"};
    uint32_t n;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (!serai_vdev_parse(wrong[i], &n, &err)) {
            fail_msg("\"%s\" is taken for %u", wrong[i], n);
        }
        assert_non_null(strstr(err.text, "vdev"));
    }
}

static struct serai_disk parse(const char *text)
{
    struct serai_disk d;

    if (serai_disk_parse(text, &d, &err)) {
        fail_msg("%s: %s", text, err.text);
    }
    return d;
}

/* The forms that the manual page calls equivalent. */
static void test_same_disk(void **unused)
{
    static const char *const same[] = {
        "/dev/vg/guest-volume,,hda",
        "/dev/vg/guest-volume,raw,hda,rw",
        "format=raw, vdev=hda, access=rw, target=/dev/vg/guest-volume",
        "raw:/dev/vg/guest-volume,hda,w",
        "vg/guest-volume,,hda",
        "phy:/dev/vg/guest-volume,hda,w",
        ",,hda,w,target=/dev/vg/guest-volume",
        "vdev=hda,/dev/vg/guest-volume",
    };
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        struct serai_disk d = parse(same[i]);

        assert_string_equal(d.target, "/dev/vg/guest-volume");
        assert_string_equal(d.vdev, "hda");
        assert_int_equal(d.devid, 768);
        assert_int_equal(d.format, SERAI_DISK_RAW);
        assert_false(d.readonly || d.cdrom || d.shared || d.no_discard || d.direct);
        serai_disk_clear(&d);
    }
}

static void test_same_cd(void **unused)
{
    static const char *const same[] = {
        "/root/image.iso,,hdc,cdrom",
        "/root/image.iso,,hdc,,cdrom",
        "/root/image.iso,raw,hdc,devtype=cdrom",
        "format=raw, vdev=hdc, access=ro, devtype=cdrom, target=/root/image.iso",
        "raw:/root/image.iso,hdc:cdrom,ro",
    };
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        struct serai_disk d = parse(same[i]);

        assert_string_equal(d.target, "/root/image.iso");
        assert_int_equal(d.devid, 22 << 8);
        assert_true(d.readonly && d.cdrom);
        serai_disk_clear(&d);
    }
    assert_null(parse(",,hdc,cdrom").target);
}

static void test_parameters(void **unused)
{
    struct serai_disk d = parse("backendtype=blkd,no-discard,untrusted,vdev=xvdb,access=w!,"
                                "format=vhd,direct-io-safe,target=/a,b=c, d ");

    assert_string_equal(d.target, "/a,b=c, d ");
    assert_int_equal(d.backend, SERAI_DISK_BLKD);
    assert_int_equal(d.format, SERAI_DISK_VHD);
    assert_true(d.no_discard && d.untrusted && d.direct && d.shared && !d.readonly);
    serai_disk_clear(&d);
    d = parse("/x,qcow2,xvda,backendtype=qdisk,discard,trusted,backend=0,specification=xen");
    assert_int_equal(d.backend, SERAI_DISK_BLKD);
    assert_int_equal(d.format, SERAI_DISK_QCOW2);
    serai_disk_clear(&d);
}

static void test_written_back(void **unused)
{
    static const char *const texts[] = {"/x,,xvda",
                                        ",,hdc,cdrom",
                                        "/x,vhd,d3p2,r,no-discard,backendtype=blkd",
                                        "/x,raw,sda,w!,untrusted,backendtype=phy",
                                        "/x,raw,xvda,w,direct-io-safe",
                                        "/x,raw,xvda,w,rate=20MB/s,iops=300",
                                        "vdev=xvda,target=/a,b=c,\"d\\"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct serai_disk a = parse(texts[i]), b;
        char *text = serai_disk_text(&a);

        assert_non_null(text);
        b = parse(text);
        assert_int_equal(!a.target, !b.target);
        assert_string_equal(a.target ? a.target : "", b.target ? b.target : "");
        assert_string_equal(a.vdev, b.vdev);
        assert_true(a.format == b.format && a.backend == b.backend && a.cdrom == b.cdrom &&
                    a.readonly == b.readonly && a.shared == b.shared &&
                    a.no_discard == b.no_discard && a.untrusted == b.untrusted &&
                    a.direct == b.direct && a.rate_bytes == b.rate_bytes &&
                    a.rate_requests == b.rate_requests);
        free(text);
        serai_disk_clear(&a);
        serai_disk_clear(&b);
    }
}

static void refuse(const char *text, int code, const char *expected)
{
    struct serai_disk d;
    int ret = serai_disk_parse(text, &d, &err);

    serai_disk_clear(&d);
    if (ret != code || !strstr(err.text, expected)) {
        fail_msg("%s: %d \"%s\" without \"%s\"", text, ret, err.text, expected);
    }
}

static void test_refused(void **unused)
{
    refuse("/x,raw,xvda,w,script=block-nbd", -EOPNOTSUPP, "script");
    refuse("nbd:10.0.0.1:99,xvda,w", -EOPNOTSUPP, "script");
    refuse("/x,raw,xvda,backend=driver", -EOPNOTSUPP, "control domain");
    refuse("/x,raw,xvda,specification=virtio", -EOPNOTSUPP, "only xen");
    refuse("/x,raw", -EINVAL, "vdev: missing");
    refuse("", -EINVAL, "vdev: missing");
    refuse(",raw,xvda", -EINVAL, "target: missing");
    refuse("/x,vmdk,xvda", -EINVAL, "none of raw, vhd");
    refuse("/x,raw,xvda,x", -EINVAL, "none of r, ro");
    refuse("/x,raw,xvda,w,more", -EINVAL, "unknown parameter \"more\"");
    refuse("/x,raw,xvda,w,formt=raw", -EINVAL, "did you mean \"format\"");
    refuse("/a=b,raw,xvda", -EINVAL, "target=...");
    refuse("/x,raw,xvda,w,access=r", -EINVAL, "access: given twice");
    refuse("/x,raw,xvda,target=/y", -EINVAL, "target: given twice");
    refuse("/x,raw,xvda,cdrom=1", -EINVAL, "takes no value");
    refuse("/x,raw,xvda,devtype=tape", -EINVAL, "devtype");
    refuse("/x,raw,xvda:tape", -EINVAL, "neither disk nor cdrom");
    refuse("/x,vhd,xvda,backendtype=phy", -EINVAL, "format raw alone");
    refuse("/x,raw,xvda,backendtype=standalone", -EINVAL, "backendtype");
    refuse("/x,raw,xvda,discard,no-discard", -EINVAL, "contradict");
    refuse("/x,raw,xvda,trusted,untrusted", -EINVAL, "contradict");
    refuse("/x,raw,xvda,w,rate=20", -EINVAL, "rate");
    refuse("/x,raw,xvda,w,rate=20MB/s@5ms", -EINVAL, "interval");
    refuse("/x,raw,xvda,w,rate=900000GB/s", -EINVAL, "too much");
    refuse("/x,raw,xvda,w,iops=many", -EINVAL, "iops");
    refuse("/x,raw,xvda,w,iops=99999999999999999999", -EINVAL, "iops");
    refuse("/x,raw,xvda,w,iops=5,backendtype=phy", -EINVAL, "use backendtype=blkd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),    cmocka_unit_test(test_no_numbers),
        cmocka_unit_test(test_same_disk),  cmocka_unit_test(test_same_cd),
        cmocka_unit_test(test_parameters), cmocka_unit_test(test_written_back),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
