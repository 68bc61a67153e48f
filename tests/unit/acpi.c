// SPDX-License-Identifier: BSD-2-Clause
/* drivers/acpi.c: tables as firmware writes them, and damaged ones, in a memory of our own. */
#include "unit.h"

#include "core/console.h"
#include "drivers/acpi.h"
#include "x86/arch/mapping.h"

enum {
    MEMORY = 0x2000,
    RSDP = 0x10,
    RSDT = 0x100,
    FADT = 0x200,
    DSDT = 0x400,
    MADT = 0x600,
    MCFG = 0x900,
    SRAT = 0xa00,
    SLIT = 0xb00,
    ROUNDS = 20000
};

static uint8_t memory[MEMORY];
static int maps;

void printk(const char *fmt, ...)
{
    (void)fmt;
}
void console_flush(void) {}
void arch_machine_halt(void)
{
    abort();
}

/* A copy of its own for every mapping, so that the sanitizer sees a step beside it. */
const void *boot_map(paddr_t pa, size_t size)
{
    if (!size || pa.v >= MEMORY || size > MEMORY - pa.v)
        return NULL;
    void *p = malloc(size);
    memcpy(p, memory + pa.v, size);
    maps++;
    return p;
}

void boot_unmap(const void *p, size_t size)
{
    (void)size;
    maps--;
    free((void *)p);
}

static void put(uint32_t at, uint64_t v, unsigned int bytes)
{
    memcpy(memory + at, &v, bytes);
}

static void finish_table(uint32_t at, const char *signature, uint32_t length)
{
    uint8_t sum = 0;

    memcpy(memory + at, signature, 4);
    put(at + 4, length, 4);
    memory[at + 9] = 0;
    for (uint32_t i = 0; i < length; i++)
        sum += memory[at + i];
    memory[at + 9] = -sum;
}

static void finish_rsdp(void)
{
    uint8_t sum = 0;

    memcpy(memory + RSDP, "RSD PTR ", 8);
    memory[RSDP + 8] = 0;
    for (int i = 0; i < 20; i++)
        sum += memory[RSDP + i];
    memory[RSDP + 8] = -sum;
}

/* CPU 1 and the memory from 1 GiB on are near each other, in domain 0x10002; what comes last is not
 * in use. */
static void build_nodes(void)
{
    static const uint8_t distance[] = {10, 21, 10, 255};
    uint32_t p = SRAT + 48;

    put(p, 0x1000, 2);
    memory[p + 2] = 2;
    memory[p + 3] = 1;
    put(p + 4, 1, 4);
    memory[p + 10] = 1;
    p += 16;
    for (int i = 0; i < 3; i++, p += 40) {
        put(p, 0x2801, 2);
        put(p + 2, i ? 0x10002 : 0, 4);
        put(p + 8, (uint64_t)i << 30, 8);
        put(p + 16, 1 << 30, 8);
        put(p + 28, i < 2, 4);
    }
    finish_table(SRAT, "SRAT", p - SRAT);
    put(SLIT + 36, 2, 8);
    memcpy(memory + SLIT + 44, distance, sizeof(distance));
    finish_table(SLIT, "SLIT", 48);
}

static void build(void)
{
    static const uint8_t s5[] = {0x08, '_',  'S',  '5',  '_', 0x12, 0x0a,
                                 0x04, 0x0a, 0x05, 0x01, 0,   0};
    uint32_t p = MADT + 44;

    memset(memory, 0, sizeof(memory));
    memset(&acpi_info, 0, sizeof(acpi_info));
    put(RSDP + 16, RSDT, 4);
    finish_rsdp();
    put(RSDT + 36, FADT, 4);
    put(RSDT + 40, MADT, 4);
    put(RSDT + 44, MCFG, 4);
    put(RSDT + 48, SRAT, 4);
    put(RSDT + 52, SLIT, 4);
    finish_table(RSDT, "RSDT", 56);
    put(FADT + 40, DSDT, 4);
    put(FADT + 46, 9, 2);
    put(FADT + 64, 0x604, 4);
    put(FADT + 76, 0x608, 4);
    memory[FADT + 91] = 4;
    finish_table(FADT, "FACP", 116);
    memcpy(memory + DSDT + 60, s5, sizeof(s5));
    finish_table(DSDT, "DSDT", 100);
    for (int i = 0; i < 3; i++, p += 8) { /* the third CPU is switched off */
        put(p, 0x0800, 2);
        memory[p + 2] = 10 + i;
        memory[p + 3] = i;
        put(p + 4, i < 2, 4);
    }
    put(p, 0x0c01, 2);
    put(p + 4, 0xfec00000, 4);
    p += 12;
    put(p, 0x0a02, 2);
    memory[p + 3] = 0;
    put(p + 4, 2, 4);
    put(p + 8, 0xf, 2);
    finish_table(MADT, "APIC", p + 10 - MADT);
    put(MCFG + 44, 0xb0000000, 8);
    memory[MCFG + 55] = 255;
    finish_table(MCFG, "MCFG", 60);
    build_nodes();
}

static void reads_what_is_there(void **state)
{
    (void)state;
    build();
    acpi_init(PADDR(RSDP));
    assert_int_equal(acpi_info.cpu_count, 2);
    assert_int_equal(acpi_info.cpus[1].apic_id, 1);
    assert_int_equal(acpi_info.cpus[1].acpi_id, 11);
    assert_int_equal(acpi_info.cpus[0].proximity, 0);
    assert_int_equal(acpi_info.cpus[1].proximity, 0x10002);
    assert_int_equal(acpi_info.memory_count, 2);
    assert_int_equal(acpi_info.memory[1].start, 1 << 30);
    assert_int_equal(acpi_info.memory[1].size, 1 << 30);
    assert_int_equal(acpi_info.memory[1].proximity, 0x10002);
    assert_int_equal(acpi_info.distance[0][1], 21);
    assert_int_equal(acpi_info.distance[1][0], 10);
    assert_int_equal(acpi_info.distance[1][1], 0); /* unreachable */
    assert_int_equal(acpi_info.distance[2][0], 0);
    assert_int_equal(acpi_info.ioapic_count, 1);
    assert_int_equal(acpi_info.ioapics[0].address.v, 0xfec00000);
    assert_int_equal(acpi_info.override_count, 1);
    assert_int_equal(acpi_info.overrides[0].gsi, 2);
    assert_true(acpi_info.overrides[0].level);
    assert_true(acpi_info.overrides[0].active_low);
    assert_int_equal(acpi_info.pm_timer, 0x608);
    assert_int_equal(acpi_info.pm1a_cnt, 0x604);
    assert_int_equal(acpi_info.sci_irq, 9);
    assert_int_equal(acpi_info.mcfg_count, 1);
    assert_int_equal(acpi_info.mcfg[0].last_bus, 255);
    assert_true(acpi_info.s5_known);
    assert_int_equal(acpi_info.s5_type_a, 5);
    assert_int_equal(acpi_info.s5_type_b, 1);
    assert_int_equal(maps, 0);
}

static void ignores_wrong_checksums(void **state)
{
    (void)state;
    build();
    memory[MADT + 50] ^= 1;
    acpi_init(PADDR(RSDP));
    assert_int_equal(acpi_info.cpu_count, 0);
    assert_int_equal(acpi_info.mcfg_count, 1);
    build();
    memory[RSDP + 12] ^= 1;
    acpi_init(PADDR(RSDP));
    assert_int_equal(acpi_info.rsdp.v, 0);
    assert_int_equal(maps, 0);
}

/* Random damage with right checksums: no access outside a table, nothing left mapped. */
static void survives_damage(void **state)
{
    static const struct {
        uint32_t at;
        const char *signature;
    } tables[] = {{RSDT, "RSDT"}, {FADT, "FACP"}, {DSDT, "DSDT"}, {MADT, "APIC"},
                  {MCFG, "MCFG"}, {SRAT, "SRAT"}, {SLIT, "SLIT"}};

    (void)state;
    srand(1);
    for (int round = 0; round < ROUNDS; round++) {
        build();
        uint32_t t = rand() % (sizeof(tables) / sizeof(tables[0])), length = 0;
        memcpy(&length, memory + tables[t].at + 4, 4);
        for (int n = rand() % 6; n >= 0; n--)
            memory[tables[t].at + 36 + rand() % (length - 36)] = rand();
        if (rand() % 2)
            length = 36 + rand() % 300;
        finish_table(tables[t].at, tables[t].signature, length);
        acpi_init(PADDR(RSDP));
        assert_int_equal(maps, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_there),
        cmocka_unit_test(ignores_wrong_checksums),
        cmocka_unit_test(survives_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
