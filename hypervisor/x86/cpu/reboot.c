// SPDX-License-Identifier: BSD-2-Clause
// Ways to end it.
#include "core/cmdline.h"
#include "core/console.h"
#include "drivers/acpi.h"
#include "lib/string.h"
#include "x86/arch/cpu.h"
#include "x86/arch/crash.h"
#include "x86/arch/io.h"
#include "x86/arch/time.h"
#include "x86/cpu/clock.h"

enum {
    KBD_COMMAND = 0x64,
    KBD_INPUT_FULL = 2,
    KBD_PULSE_RESET = 0xfe,
    PCI_RESET = 0xcf9,
    PCI_RESET_COLD = 0x0e,
    WAIT_MS = 50,
};

static bool wanted(const char *method)
{
    return !options.reboot[0] || !strncmp(options.reboot, method, 1);
}

static void reset_by_keyboard(void)
{
    for (unsigned int i = 0; i < 0x10000 && (inb(KBD_COMMAND) & KBD_INPUT_FULL); i++)
        cpu_relax();
    outb(KBD_COMMAND, KBD_PULSE_RESET);
}

static void reset_by_pci(void)
{
    uint8_t v = inb(PCI_RESET) & ~PCI_RESET_COLD;
    outb(PCI_RESET, v | 2);
    arch_delay_ms(1);
    outb(PCI_RESET, v | 6);
}

static __noreturn void reset_by_triple_fault(void)
{
    const struct {
        uint16_t limit;
        uint64_t base;
    } __packed nothing = {};
    asm volatile("lidt %0; int3" ::"m"(nothing));
    arch_machine_halt();
}

void arch_machine_restart(void)
{
    irq_disable();
    console_flush();
    if (wanted("acpi")) {
        acpi_reset();
        arch_delay_ms(WAIT_MS);
    }
    if (wanted("kbd")) {
        reset_by_keyboard();
        arch_delay_ms(WAIT_MS);
    }
    if (wanted("pci")) {
        reset_by_pci();
        arch_delay_ms(WAIT_MS);
    }
    reset_by_triple_fault();
}

void arch_machine_halt(void)
{
    irq_disable();
    console_flush();
    for (;;)
        asm volatile("cli; hlt");
}

void arch_machine_poweroff(void)
{
    irq_disable();
    console_flush();
    acpi_power_off();
    printk("The machine can be switched off now\n");
    arch_machine_halt();
}

void arch_machine_restart_or_halt(void)
{
    if (options.noreboot)
        arch_machine_halt();
    arch_machine_restart();
}

void arch_delay_ms(unsigned int ms)
{
    while (ms--)
        time_delay_us(1000);
}
