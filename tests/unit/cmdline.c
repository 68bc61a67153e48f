// SPDX-License-Identifier: BSD-2-Clause
/* core/cmdline.c: spellings, values, and what happens to words that mean nothing. */
#include "unit.h"

#include "core/cmdline.h"
#include "core/console.h"

static char logged[4096];

void printk(const char *fmt, ...)
{
    va_list ap;
    size_t used = strlen(logged);

    va_start(ap, fmt);
    vsnprintf(logged + used, sizeof(logged) - used, fmt, ap);
    va_end(ap);
}

size_t strlcpy(char *dst, const char *src, size_t size)
{
    snprintf(dst, size, "%s", src);
    return strlen(src);
}

static struct options fresh;

static int keep_defaults(void **state)
{
    (void)state;
    fresh = options;
    return 0;
}

static int restore(void **state)
{
    (void)state;
    options = fresh;
    logged[0] = 0;
    return 0;
}

static void takes_xen_spellings(void **state)
{
    (void)state;
    cmdline_parse(
        "console=com1,vga  com1=115200,8n1,0x3f8,4\tdom0_mem=512M,max:1G loglvl=all "
        "guest_loglvl=error/debug noreboot smap=0 smep=off no-xsave console_timestamps=raw "
        "dom0_max_vcpus=2-4 mem=3G maxcpus=0x10 conring_size=64k smp=0");
    assert_string_equal(logged, "");
    assert_string_equal(options.console, "com1,vga");
    assert_string_equal(options.com1, "115200,8n1,0x3f8,4");
    assert_int_equal(options.dom0_mem, 512 * MiB);
    assert_int_equal(options.dom0_mem_max, GiB);
    assert_int_equal(options.loglvl, 3);
    assert_int_equal(options.guest_loglvl, 0);
    assert_true(options.noreboot);
    assert_false(options.smap);
    assert_false(options.smep);
    assert_false(options.xsave);
    assert_true(options.nosmp);
    assert_int_equal(options.console_timestamps, TIMESTAMPS_RAW);
    assert_int_equal(options.dom0_max_vcpus, 4);
    assert_int_equal(options.mem_limit, 3 * GiB);
    assert_int_equal(options.maxcpus, 16);
    assert_int_equal(options.conring_size, 64 * KiB);
}

static void memory_is_kib_without_a_suffix(void **state)
{
    (void)state;
    cmdline_parse("dom0_mem=524288");
    assert_int_equal(options.dom0_mem, 512 * MiB);
    cmdline_parse("dom0_mem=min:64M,1G");
    assert_int_equal(options.dom0_mem_min, 64 * MiB);
    assert_int_equal(options.dom0_mem, GiB);
    assert_string_equal(logged, "");
}

static void finds_the_microcode(void **state)
{
    static const struct {
        const char *word;
        int ucode, module;
    } good[] = {
        {"ucode=2", UCODE_MODULE, 2},
        {"ucode=-1", UCODE_MODULE, -1},
        {"ucode=scan", UCODE_SCAN, 0},
        {"ucode=scan=1", UCODE_SCAN, 0},
        {"ucode=nmi=0,scan", UCODE_SCAN, 0},
        {"ucode=scan=off", UCODE_BEHIND_INITRD, 0},
        {"ucode=no-nmi,-2", UCODE_MODULE, -2},
        {"ucode=off", UCODE_OFF, 0},
        {"ucode=0", UCODE_OFF, 0},
        {"", UCODE_BEHIND_INITRD, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        options = fresh;
        cmdline_parse(good[i].word);
        assert_int_equal(options.ucode, good[i].ucode);
        assert_int_equal(options.ucode_module, good[i].module);
    }
    assert_string_equal(logged, "");
}

static void names_what_it_ignores(void **state)
{
    static const char *const malformed[] = {
        "smap=2",
        "dom0_mem=lots",
        "dom0_mem=1G,",
        "loglvl=loud",
        "com1",
        "maxcpus=4x",
        "console_timestamps=never",
        "dom0_max_vcpus=many",
        "conring_size=",
        "mem=1Q",
        "conswitch=abcdef",
        "ucode",
        "ucode=yes",
        "ucode=-",
        "ucode=2x",
        "ucode=-300",
        "ucode=scan=maybe",
        "ucode=2,",
        "ucode=scan,averyveryverylongword",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
        logged[0] = 0;
        cmdline_parse(malformed[i]);
        assert_non_null(strstr(logged, malformed[i]));
        assert_non_null(strstr(logged, "malformed"));
    }
    logged[0] = 0;
    cmdline_parse("placeholder frobnicate=7 no-console");
    assert_non_null(strstr(logged, "Option placeholder is not known"));
    assert_non_null(strstr(logged, "Option frobnicate=7 is not known"));
    assert_non_null(strstr(logged, "Option no-console is not known"));
    assert_memory_equal(&options, &fresh, sizeof(options));
}

static void long_words_are_cut(void **state)
{
    char line[3000];

    (void)state;
    memset(line, 'a', sizeof(line) - 1);
    line[sizeof(line) - 1] = 0;
    cmdline_parse(line);
    assert_non_null(strstr(logged, "not known"));
    assert_int_equal(strlen(cmdline_text), sizeof(cmdline_text) - 1);
    cmdline_parse("");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(takes_xen_spellings, restore),
        cmocka_unit_test_setup(memory_is_kib_without_a_suffix, restore),
        cmocka_unit_test_setup(finds_the_microcode, restore),
        cmocka_unit_test_setup(names_what_it_ignores, restore),
        cmocka_unit_test_setup(long_words_are_cut, restore),
    };

    return cmocka_run_group_tests(tests, keep_defaults, NULL);
}
