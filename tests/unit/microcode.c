// SPDX-License-Identifier: BSD-2-Clause
/* x86/cpu/microcode_parse.c: made-up Intel updates and AMD containers, whole, cut off and damaged.
 */
#include "unit.h"

#include "lib/errno.h"
#include "x86/cpu/microcode.h"

enum {
    INTEL_SIG = 0x000906ea,
    AMD_SIG = 0x00800f12,
    AMD_ID = 0x8012,
    BIG = 1 << 16,
};

static const struct microcode_cpu intel = {VENDOR_INTEL, INTEL_SIG, 1 << 1, 0x80};
static const struct microcode_cpu amd = {VENDOR_AMD, AMD_SIG, 0, 0x08001100};

static uint8_t blob[BIG];
static uint32_t used;

static void put(uint32_t at, uint32_t v, unsigned int bytes)
{
    memcpy(blob + at, &v, bytes);
}

static uint32_t sum(uint32_t at, uint32_t bytes)
{
    uint32_t total = 0, v;

    for (uint32_t i = 0; i < bytes; i += 4) {
        memcpy(&v, blob + at + i, 4);
        total += v;
    }
    return total;
}

static int restart(void **state)
{
    (void)state;
    memset(blob, 0, sizeof(blob));
    used = 0;
    return 0;
}

/* In a block of its own size, so that the sanitizer sees a step beside it. */
static int search(const struct microcode_cpu *cpu, uint32_t size, uint32_t *revision)
{
    struct microcode_patch best = {.revision = cpu->revision};
    const char *why = NULL;
    uint8_t *copy = malloc(size ? size : 1);

    memcpy(copy, blob, size);
    int ret = microcode_search(size ? copy : copy + 1, size, cpu, &best, &why);

    assert_int_equal(ret == -EINVAL, why != NULL);
    assert_int_equal(ret == 0, best.revision > cpu->revision);
    if (!ret) {
        assert_true(best.data >= copy && best.data + best.size <= copy + size);
    } else {
        assert_int_equal(best.revision, cpu->revision);
        assert_null(best.data);
    }
    *revision = best.revision;
    free(copy);
    return ret;
}

static int search_all(const struct microcode_cpu *cpu, uint32_t *revision)
{
    return search(cpu, used, revision);
}

/* ---- Intel ------------------------------------------------------------------------------- */

/* An update, with a table of `extra` signatures (0: none). Returns where it starts. */
static uint32_t add_intel(uint32_t revision, uint32_t sig, uint32_t platforms, uint32_t data,
                          const uint32_t (*extra)[2], uint32_t extras)
{
    uint32_t at = used, table = at + 48 + data;
    uint32_t total = 48 + data + (extras ? 20 + 12 * extras : 0);

    put(at, 1, 4);
    put(at + 4, revision, 4);
    put(at + 8, 0x11202026, 4);
    put(at + 12, sig, 4);
    put(at + 20, 1, 4);
    put(at + 24, platforms, 4);
    put(at + 28, data, 4);
    put(at + 32, total, 4);
    for (uint32_t i = 0; i < data; i++)
        blob[at + 48 + i] = i * 7 + revision;
    uint32_t checksum = -sum(at, 48 + data);
    put(at + 16, checksum, 4);
    if (extras) {
        put(table, extras, 4);
        for (uint32_t i = 0; i < extras; i++) {
            put(table + 20 + 12 * i, extra[i][0], 4);
            put(table + 24 + 12 * i, extra[i][1], 4);
            put(table + 28 + 12 * i, sig + platforms + checksum - extra[i][0] - extra[i][1], 4);
        }
        put(table + 4, -sum(table, 20 + 12 * extras), 4);
    }
    used += total;
    return at;
}

static void intel_takes_the_newest(void **state)
{
    uint32_t revision;

    (void)state;
    add_intel(0x90, INTEL_SIG, 1 << 1, 2000, NULL, 0);
    add_intel(0xb4, INTEL_SIG, 0x22, 976, NULL, 0);
    add_intel(0x100, INTEL_SIG, 1 << 2, 976, NULL, 0);     /* another platform */
    add_intel(0x200, INTEL_SIG + 1, 1 << 1, 976, NULL, 0); /* another stepping */
    add_intel(0xa0, INTEL_SIG, 1 << 1, 976, NULL, 0);
    assert_int_equal(search_all(&intel, &revision), 0);
    assert_int_equal(revision, 0xb4);

    used += 64; /* a module's last page may be filled up */
    assert_int_equal(search_all(&intel, &revision), 0);

    struct microcode_cpu current = intel;
    current.revision = 0xb4;
    assert_int_equal(search_all(&current, &revision), -ENOENT);
    assert_int_equal(search_all(&amd, &revision), -ENOENT);
}

static void intel_default_size(void **state)
{
    uint32_t revision;

    (void)state;
    add_intel(0x90, INTEL_SIG, 1 << 1, 2000, NULL, 0);
    put(28, 0, 4); /* both sizes 0 stand for 2000 and 2048 */
    put(32, 0, 4);
    put(16, 0, 4);
    put(16, -sum(0, 2048), 4);
    assert_int_equal(search_all(&intel, &revision), 0);
    assert_int_equal(search(&intel, used - 1, &revision), -EINVAL);
}

static void intel_further_signatures(void **state)
{
    const uint32_t extra[][2] = {{0x906e9, 2}, {INTEL_SIG, 0x2}, {0x906eb, 2}};
    uint32_t revision;

    (void)state;
    add_intel(0x95, 0x906e8, 1, 976, extra, 3);
    assert_int_equal(search_all(&intel, &revision), 0);
    assert_int_equal(revision, 0x95);

    uint32_t table = 48 + 976;
    blob[table + 28 + 12] ^= 1; /* this entry's checksum, and the table's */
    assert_int_equal(search_all(&intel, &revision), -EINVAL);
    put(table + 4, 0, 4);
    put(table + 4, -sum(table, 56), 4);
    assert_int_equal(search_all(&intel, &revision), -EINVAL);
    blob[table + 28 + 12] ^= 1;
    put(table, 4, 4); /* longer than there is room */
    assert_int_equal(search_all(&intel, &revision), -EINVAL);
    put(table, 0xffffffff, 4);
    assert_int_equal(search_all(&intel, &revision), -EINVAL);
}

static void intel_damage(void **state)
{
    static const struct {
        uint32_t at, value;
    } wrong[] = {
        {0, 2},           {20, 2},          {28, 977},        {28, 0xfffffffc}, {28, 980},
        {28, 0xffffffd0}, {32, 0xfffffffc}, {32, 1023},       {32, 44},         {32, 0},
        {32, 1028},       {16, 0},          {600, 0x1234567}, {32, 0x80000000},
    };
    uint32_t revision;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        restart(NULL);
        add_intel(0x90, INTEL_SIG, 1 << 1, 976, NULL, 0);
        put(wrong[i].at, wrong[i].value, 4);
        assert_int_equal(search_all(&intel, &revision), -EINVAL);
    }
    /* Damage behind a good one: nothing of such a file is trusted. */
    restart(NULL);
    add_intel(0x90, INTEL_SIG, 1 << 1, 976, NULL, 0);
    uint32_t second = add_intel(0x91, INTEL_SIG, 1 << 1, 976, NULL, 0);
    put(second + 100, 0, 4);
    assert_int_equal(search_all(&intel, &revision), -EINVAL);
}

static void intel_cut_anywhere(void **state)
{
    const uint32_t extra[][2] = {{INTEL_SIG, 2}};
    uint32_t revision;

    (void)state;
    uint32_t second = add_intel(0x90, INTEL_SIG, 1 << 1, 976, NULL, 0) + 1024;
    add_intel(0x95, 0x906e8, 1, 976, extra, 1);
    for (uint32_t size = 0; size < used; size++)
        assert_int_equal(search(&intel, size, &revision), size == second ? 0 : -EINVAL);
}

/* ---- AMD --------------------------------------------------------------------------------- */

static void add_container(const uint32_t (*table)[2], uint32_t entries)
{
    put(used, 0x00414d44, 4);
    put(used + 8, (entries + 1) * 16, 4);
    used += 12;
    for (uint32_t i = 0; i < entries; i++) {
        put(used + 16 * i, table[i][0], 4);
        put(used + 16 * i + 12, table[i][1], 2);
    }
    used += (entries + 1) * 16;
}

/* Returns where its header is. */
static uint32_t add_patch(uint32_t level, uint16_t id, uint32_t size)
{
    uint32_t at = used + 8;

    put(used, 1, 4);
    put(used + 4, size, 4);
    put(at + 4, level, 4);
    put(at + 24, id, 2);
    for (uint32_t i = 64; i < size; i++)
        blob[at + i] = i;
    used += 8 + size;
    return at;
}

static const uint32_t old_cpus[][2] = {{0x00600f12, 0x6012}, {0x00600f20, 0x6020}};
static const uint32_t our_cpus[][2] = {{0x00800f11, 0x8011}, {AMD_SIG, AMD_ID}};

static void amd_takes_the_newest(void **state)
{
    uint32_t revision;

    (void)state;
    add_container(old_cpus, 2);
    add_patch(0x0600063e, 0x6012, 2592);
    add_patch(0x09000000, AMD_ID, 2592); /* this table does not know our CPU */
    add_container(our_cpus, 2);
    add_patch(0x08001138, 0x8011, 3200);
    add_patch(0x08001230, AMD_ID, 3200);
    add_patch(0x0800126f, AMD_ID, 3200);
    add_patch(0x08001227, AMD_ID, 3200);
    add_container(old_cpus, 1);
    assert_int_equal(search_all(&amd, &revision), 0);
    assert_int_equal(revision, 0x0800126f);

    used += 13; /* zeros at the end */
    assert_int_equal(search_all(&amd, &revision), 0);

    struct microcode_cpu current = amd;
    current.revision = 0x0800126f;
    assert_int_equal(search_all(&current, &revision), -ENOENT);
    assert_int_equal(search_all(&intel, &revision), -ENOENT);
}

static void amd_chipset_patches_are_left_out(void **state)
{
    uint32_t revision;

    (void)state;
    add_container(our_cpus, 2);
    uint32_t at = add_patch(0x0800126f, AMD_ID, 3200);
    put(at + 16, 0x1234, 4);
    assert_int_equal(search_all(&amd, &revision), -ENOENT);
    put(at + 16, 0, 4);
    put(at + 20, 0x1234, 4);
    assert_int_equal(search_all(&amd, &revision), -ENOENT);
}

static void amd_size_limits(void **state)
{
    static const struct {
        uint32_t signature, limit;
    } families[] = {
        {0x00100f42, 2048}, {0x00500f20, 1824}, {0x00600f12, 4096},  {0x00700f01, 3458},
        {0x00800f12, 3200}, {0x00a20f10, 5568}, {0x00b40f40, 16384},
    };
    uint32_t revision;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
        const uint32_t table[][2] = {{families[i].signature, 0x7777}};
        struct microcode_cpu cpu = {VENDOR_AMD, families[i].signature, 0, 1};
        for (uint32_t more = 0; more < 2; more++) {
            restart(NULL);
            add_container(table, 1);
            add_patch(2, 0x7777, families[i].limit + more);
            assert_int_equal(search_all(&cpu, &revision), more ? -EINVAL : 0);
        }
    }
}

static void amd_damage(void **state)
{
    static const struct {
        uint32_t at, value;
    } wrong[] = {
        {0, 0x00414d45}, {4, 1},  {8, 0},           {8, 47},          {8, 0xfffffff0},
        {8, 0x7ffffff0}, {8, 32}, {60, 0},          {60, 2},          {64, 0xffffffff},
        {64, 0x1000},    {64, 0}, {64, 0xfffffff8}, {64, 0x80000000},
    };
    uint32_t revision;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        restart(NULL);
        add_container(our_cpus, 2);
        add_patch(0x0800126f, AMD_ID, 3200);
        put(wrong[i].at, wrong[i].value, 4);
        assert_int_equal(search_all(&amd, &revision), -EINVAL);
    }
}

static void amd_cut_anywhere(void **state)
{
    uint32_t revision;

    (void)state;
    add_container(our_cpus, 2);
    uint32_t empty = used;
    uint32_t first = add_patch(0x08001230, AMD_ID, 256) + 256;
    add_patch(0x0800126f, AMD_ID, 256);
    for (uint32_t size = 0; size < used; size++)
        assert_int_equal(search(&amd, size, &revision),
                         size == empty ? -ENOENT : (size == first ? 0 : -EINVAL));
}

/* ---- cpio ---------------------------------------------------------------------------------- */

static uint32_t add_file(const char *name, const void *data, uint32_t size)
{
    uint32_t name_size = strlen(name) + 1, at = (used + 110 + name_size + 3) & ~3u;

    snprintf((char *)blob + used, BIG - used,
             "070701%08x%08x%08x%08x%08x%08x%08X%08x%08x%08x%08x%08x%08x", 1, 0100644, 0, 0, 1, 0,
             size, 0, 0, 0, 0, name_size, 0);
    memcpy(blob + used + 110, name, name_size);
    memcpy(blob + at, data, size);
    used = (at + size + 3) & ~3u;
    return at;
}

static int find(uint32_t size, enum cpu_vendor vendor, uint32_t *at, uint64_t *found_size)
{
    const char *why = NULL;
    const uint8_t *found = NULL;
    uint8_t *copy = malloc(size ? size : 1);

    memcpy(copy, blob, size);
    int ret = microcode_in_cpio(size ? copy : copy + 1, size, vendor, &found, found_size, &why);

    assert_int_equal(ret == -EINVAL, why != NULL);
    if (!ret) {
        assert_true(found >= copy && found + *found_size <= copy + size);
        *at = found - copy;
    }
    free(copy);
    return ret;
}

static void cpio_finds_the_vendors_file(void **state)
{
    uint64_t size;
    uint32_t at;

    (void)state;
    add_file("kernel", "", 0);
    uint32_t want_amd = add_file("kernel/x86/microcode/AuthenticAMD.bin", "0123456789abc", 13);
    add_file("TRAILER!!!", "", 0);
    used = (used + 511) & ~511u;
    uint32_t want_intel = add_file("./kernel/x86/microcode/GenuineIntel.bin", "xyz", 3);
    add_file("TRAILER!!!", "", 0);
    memcpy(blob + used, "\x1f\x8b compressed", 13);
    used += 13;

    assert_int_equal(find(used, VENDOR_AMD, &at, &size), 0);
    assert_int_equal(at, want_amd);
    assert_int_equal(size, 13);
    assert_int_equal(find(used, VENDOR_INTEL, &at, &size), 0);
    assert_int_equal(at, want_intel);
    assert_int_equal(size, 3);
    for (uint32_t cut = 0; cut < used; cut++)
        find(cut, VENDOR_INTEL, &at, &size);
    assert_int_equal(find(want_amd + 12, VENDOR_AMD, &at, &size), -EINVAL);
    assert_int_equal(find(want_amd, VENDOR_INTEL, &at, &size), -EINVAL);
}

static void cpio_damage(void **state)
{
    uint64_t size;
    uint32_t at;

    (void)state;
    memcpy(blob, "\x1f\x8b", 2);
    assert_int_equal(find(4096, VENDOR_AMD, &at, &size), -ENOENT);
    restart(NULL);
    uint32_t data = add_file("kernel/x86/microcode/AuthenticAMD.bin", "0123456789abc", 13);
    memcpy(blob + 54, "ffffffff", 8);
    assert_int_equal(find(used, VENDOR_AMD, &at, &size), -EINVAL);
    memcpy(blob + 54, "0000000g", 8);
    assert_int_equal(find(used, VENDOR_AMD, &at, &size), -EINVAL);
    memcpy(blob + 54, "0000000d", 8);
    assert_int_equal(find(used, VENDOR_AMD, &at, &size), 0);
    memcpy(blob + 94, "ffffffff", 8);
    assert_int_equal(find(used, VENDOR_AMD, &at, &size), -EINVAL);
    memcpy(blob + 94, "00000000", 8);
    assert_int_equal(find(used, VENDOR_AMD, &at, &size), -EINVAL);
    memcpy(blob + 94, "00000004", 8); /* a name without its end */
    assert_int_equal(find(used, VENDOR_AMD, &at, &size), -EINVAL);
    assert_true(data > 110);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(intel_takes_the_newest, restart),
        cmocka_unit_test_setup(intel_default_size, restart),
        cmocka_unit_test_setup(intel_further_signatures, restart),
        cmocka_unit_test_setup(intel_damage, restart),
        cmocka_unit_test_setup(intel_cut_anywhere, restart),
        cmocka_unit_test_setup(amd_takes_the_newest, restart),
        cmocka_unit_test_setup(amd_chipset_patches_are_left_out, restart),
        cmocka_unit_test_setup(amd_size_limits, restart),
        cmocka_unit_test_setup(amd_damage, restart),
        cmocka_unit_test_setup(amd_cut_anywhere, restart),
        cmocka_unit_test_setup(cpio_finds_the_vendors_file, restart),
        cmocka_unit_test_setup(cpio_damage, restart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
