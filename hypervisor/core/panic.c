// SPDX-License-Identifier: BSD-2-Clause
#include "core/panic.h"
#include "core/cmdline.h"
#include "core/console.h"
#include "core/domain.h"
#include "core/lock_check.h"
#include "x86/arch/crash.h"

enum { NO_CPU = ~0u, REBOOT_DELAY_MS = 5000 };

static uint32_t panic_cpu = NO_CPU;

bool panic_in_progress(void)
{
    return READ_ONCE(panic_cpu) != NO_CPU;
}

void panic_park(void)
{
    for (;;)
        asm volatile("cli; hlt");
}

// One CPU goes on; others that panic as well stop here. A panic while panicking ends at once.
static void claim_panic(void)
{
    uint32_t none = NO_CPU;
    irq_disable();
    if (__atomic_compare_exchange_n(&panic_cpu, &none, cpu_id(), false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_RELAXED)) {
        lock_check_stop();
        arch_stop_other_cpus();
        console_force_unlock();
        return;
    }
    if (none != cpu_id())
        panic_park();
    printk("\nFault while reporting a fault\n");
    console_flush();
    arch_machine_halt();
}

static void print_context(void)
{
    const struct vcpu *v = this_cpu(current_vcpu);
    if (!v)
        printk("CPU %u, before the first domain\n", cpu_id());
    else if (v->is_idle)
        printk("CPU %u, idle\n", cpu_id());
    else
        printk("CPU %u, running d%uv%u\n", cpu_id(), v->domain->id, v->id);
}

static __noreturn void finish_quietly(void)
{
    if (options.noreboot) {
        printk("Halted, as noreboot asks\n");
        console_flush();
        arch_machine_halt();
    }
    printk("Reboot in five seconds...\n");
    console_flush();
    arch_delay_ms(REBOOT_DELAY_MS);
    arch_machine_restart();
}

static __noreturn void finish(const struct cpu_user_regs *regs)
{
    print_context();
    arch_registers_dump(regs);
    arch_backtrace(regs);
    printk("****************************************\n");
    finish_quietly();
}

void panic(const char *fmt, ...)
{
    va_list ap;
    claim_panic();
    printk("\n****************************************\nPANIC: ");
    va_start(ap, fmt);
    vprintk(fmt, ap);
    va_end(ap);
    printk("\n");
    finish(NULL);
}

void fatal(const char *fmt, ...)
{
    va_list ap;
    claim_panic();
    printk(LOG_ERR "FATAL: ");
    va_start(ap, fmt);
    vprintk(fmt, ap);
    va_end(ap);
    printk("\n");
    finish_quietly();
}

void panic_regs(const struct cpu_user_regs *regs, const char *fmt, ...)
{
    va_list ap;
    claim_panic();
    printk("\n****************************************\nPANIC: ");
    va_start(ap, fmt);
    vprintk(fmt, ap);
    va_end(ap);
    printk("\n");
    finish(regs);
}

void bug_report(const char *what, const char *file, int line)
{
    claim_panic();
    printk("\n****************************************\n%s at %s:%d\n", what, file, line);
    finish(NULL);
}

void warn_report(const char *what, const char *file, int line)
{
    if (printk_ratelimit())
        printk(LOG_WARN "%s at %s:%d\n", what, file, line);
}
