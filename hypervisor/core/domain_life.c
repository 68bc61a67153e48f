// SPDX-License-Identifier: BSD-2-Clause
// Pausing, shutting down, crashing and killing domains.
#include <stdarg.h>

#include "core/console.h"
#include "core/cpupool.h"
#include "core/domain.h"
#include "core/evtchn.h"
#include "core/grant.h"
#include "core/sched.h"
#include "lib/string.h"
#include "memory/frame.h"

void vcpu_pause_nosync(struct vcpu *v)
{
    __atomic_add_fetch(&v->pause_count, 1, __ATOMIC_SEQ_CST);
    vcpu_sleep_nosync(v);
}

void vcpu_pause(struct vcpu *v)
{
    ASSERT(v != current);
    __atomic_add_fetch(&v->pause_count, 1, __ATOMIC_SEQ_CST);
    vcpu_sleep_sync(v);
}

void vcpu_unpause(struct vcpu *v)
{
    if (__atomic_sub_fetch(&v->pause_count, 1, __ATOMIC_SEQ_CST) == 0)
        vcpu_wake(v);
}

void domain_pause_nosync(struct domain *d)
{
    struct vcpu *v;

    __atomic_add_fetch(&d->pause_count, 1, __ATOMIC_SEQ_CST);
    for_each_vcpu (d, v)
        vcpu_sleep_nosync(v);
}

void domain_pause(struct domain *d)
{
    struct vcpu *v;

    ASSERT(d != current->domain);
    __atomic_add_fetch(&d->pause_count, 1, __ATOMIC_SEQ_CST);
    for_each_vcpu (d, v)
        vcpu_sleep_sync(v);
}

void domain_unpause(struct domain *d)
{
    struct vcpu *v;

    if (__atomic_sub_fetch(&d->pause_count, 1, __ATOMIC_SEQ_CST) == 0)
        for_each_vcpu (d, v)
            vcpu_wake(v);
}

int domain_pause_by_controller(struct domain *d)
{
    uint32_t old = READ_ONCE(d->controller_pauses);

    do {
        if (old >= 255)
            return -EOVERFLOW;
    } while (!__atomic_compare_exchange_n(&d->controller_pauses, &old, old + 1, false,
                                          __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    domain_pause(d);
    return 0;
}

int domain_unpause_by_controller(struct domain *d)
{
    uint32_t old = READ_ONCE(d->controller_pauses);

    do {
        if (old == 0)
            return -EINVAL;
    } while (!__atomic_compare_exchange_n(&d->controller_pauses, &old, old - 1, false,
                                          __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    domain_unpause(d);
    return 0;
}

// The control domain's end is the machine's.
static __noreturn void control_domain_shutdown(uint8_t code)
{
    switch (code) {
    case SHUTDOWN_poweroff:
        printk("The control domain powered off\n");
        console_flush();
        arch_machine_poweroff();
    case SHUTDOWN_reboot:
    case SHUTDOWN_watchdog:
    case SHUTDOWN_soft_reset:
        printk("The control domain asked for a reboot (%u)\n", code);
        console_flush();
        arch_machine_restart();
    default:
        printk(LOG_ERR "The control domain crashed (%u)\n", code);
        console_flush();
        arch_machine_restart_or_halt();
    }
}

void domain_shutdown(struct domain *d, uint8_t code)
{
    struct vcpu *v;

    if (d->is_control)
        control_domain_shutdown(code);
    spin_lock(&d->shutdown_lock);
    if (!d->shutting_down) {
        d->shutting_down = true;
        d->shutdown_code = d->latched_code ? d->latched_code - 1 : code;
        for_each_vcpu (d, v)
            if (!v->paused_for_shutdown) {
                v->paused_for_shutdown = true;
                vcpu_pause_nosync(v);
            }
        d->shut_down = true;
    } else if (code == SHUTDOWN_crash) {
        d->shutdown_code = code;
    }
    spin_unlock(&d->shutdown_lock);
    evtchn_send_global_virq(VIRQ_DOM_EXC);
}

void domain_resume(struct domain *d)
{
    struct vcpu *v;

    domain_pause(d);
    spin_lock(&d->shutdown_lock);
    d->shutting_down = d->shut_down = false;
    d->shutdown_code = d->latched_code = 0;
    for_each_vcpu (d, v)
        if (v->paused_for_shutdown) {
            v->paused_for_shutdown = false;
            vcpu_unpause(v);
        }
    spin_unlock(&d->shutdown_lock);
    domain_unpause(d);
}

void domain_crash(struct domain *d, const char *why, ...)
{
    char text[128];
    va_list ap;

    if (d->shutting_down && !d->is_control)
        return;
    va_start(ap, why);
    vsnprintf(text, sizeof(text), why, ap);
    va_end(ap);
    printk(LOG_GUEST LOG_ERR "d%u crashed: %s\n", d->id, text);
    if (current->domain == d)
        arch_vcpu_dump(current);
    domain_shutdown(d, SHUTDOWN_crash);
}

void guest_log(const struct domain *d, const char *fmt, ...)
{
    char text[160];
    va_list ap;

    if (!printk_ratelimit())
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (current->domain == d)
        printk(LOG_GUEST LOG_WARN "d%uv%u: %s\n", d->id, current->id, text);
    else
        printk(LOG_GUEST LOG_WARN "d%u: %s\n", d->id, text);
}

int domain_kill(struct domain *d)
{
    struct vcpu *v;
    int rc;

    if (d == current->domain || d->is_control || d->is_system)
        return -EINVAL;
    if (d->dying == DOMAIN_DEAD)
        return 0;
    if (d->dying == DOMAIN_ALIVE) {
        domain_pause(d);
        d->dying = DOMAIN_DYING;
        // Its pool can be taken apart while frames of it are still held elsewhere.
        int moved = cpupool_move_domain(d, 0);
        (void)moved;
        int unused = memory_claim(d, 0);
        (void)unused;
        if (d->target)
            domain_put(d->target);
        d->target = NULL;
    }
    rc = evtchn_domain_relinquish(d);
    if (rc)
        return rc;
    rc = grant_domain_relinquish(d);
    if (rc)
        return rc;
    for_each_vcpu (d, v)
        arch_vcpu_unmap_info(v);
    rc = arch_domain_relinquish(d);
    if (rc)
        return rc;
    d->dying = DOMAIN_DEAD;
    domain_put(d);
    evtchn_send_global_virq(VIRQ_DOM_EXC);
    return 0;
}
