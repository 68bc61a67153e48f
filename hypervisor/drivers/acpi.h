// SPDX-License-Identifier: BSD-2-Clause
// ACPI's static tables: read once at boot, every length and checksum checked. The control domain
// interprets the rest (AML) itself.
#pragma once

#include "lib/types.h"
#include "x86/arch/cpu.h"

enum {
    ACPI_MAX_IOAPICS = 32,
    ACPI_MAX_OVERRIDES = 32,
    ACPI_MAX_MCFG = 16,
    ACPI_MAX_MEMORY = 128,
    ACPI_MAX_PROXIMITY = 64, // proximity domains that SLIT's distances are kept for
};

struct acpi_cpu {
    uint32_t apic_id, acpi_id;
    uint32_t proximity; // SRAT domain, 0 without SRAT
};
struct acpi_ioapic {
    uint32_t id, gsi_base;
    paddr_t address;
};
struct acpi_override {
    uint8_t isa_irq;
    bool level, active_low;
    uint32_t gsi;
};
struct acpi_memory { // of SRAT, as listed
    uint64_t start, size;
    uint32_t proximity;
};
struct acpi_mcfg {
    paddr_t base;
    uint16_t segment;
    uint8_t first_bus, last_bus;
};
// Generic address: space 0 memory, 1 port, 2 PCI configuration.
struct acpi_address {
    uint8_t space, width, offset, access;
    uint64_t address;
} __packed;

struct acpi_info {
    paddr_t rsdp;                   // 0: no ACPI
    struct acpi_cpu cpus[MAX_CPUS]; // enabled ones, as listed
    unsigned int cpu_count;
    unsigned int cpus_ignored; // beyond MAX_CPUS
    struct acpi_ioapic ioapics[ACPI_MAX_IOAPICS];
    unsigned int ioapic_count;
    struct acpi_override overrides[ACPI_MAX_OVERRIDES];
    unsigned int override_count;
    struct acpi_mcfg mcfg[ACPI_MAX_MCFG];
    unsigned int mcfg_count;
    struct acpi_memory memory[ACPI_MAX_MEMORY];
    unsigned int memory_count; // 0 without SRAT
    unsigned int memory_ignored;
    // SLIT: relative, 10 is a domain to itself; 0: not told.
    uint8_t distance[ACPI_MAX_PROXIMITY][ACPI_MAX_PROXIMITY];
    paddr_t hpet;      // 0: none
    uint16_t pm_timer; // port, 0: none
    bool pm_timer_32bit;
    uint16_t pm1a_cnt, pm1b_cnt; // ports, 0: none
    uint16_t pm1a_evt, pm1b_evt;
    uint16_t sci_irq;
    uint8_t rtc_century; // CMOS register, 0: none
    bool s5_known;       // _S5 of the DSDT was found:
    uint8_t s5_type_a, s5_type_b;
    bool no_vga, reset_supported;
    struct acpi_address reset_reg;
    uint8_t reset_value;
};
extern struct acpi_info acpi_info;

// rsdp 0: look in the BIOS areas. Machines without ACPI leave acpi_info empty.
void acpi_init(paddr_t rsdp);

struct xenpf_enter_acpi_sleep;
// XENPF_enter_acpi_sleep of the control domain: S5 with its values does not return. -EINVAL for
// values that make no sense, -EOPNOTSUPP for other states, -ENODEV without PM1 registers.
int __must_check acpi_enter_sleep(const struct xenpf_enter_acpi_sleep *sleep);
// ACPI processor id of a CPU of ours (x86/boot/smp_boot.c).
uint32_t acpi_id_of_cpu(unsigned int cpu);
// S5 with the DSDT's own values; returns when that is not possible.
void acpi_power_off(void);
// Try the FADT's reset register.
void acpi_reset(void);
