// SPDX-License-Identifier: BSD-2-Clause
// sched_op, set_timer_op and the timers behind them.
#include "core/access.h"
#include "core/console.h"
#include "core/evtchn.h"
#include "core/hypercall.h"
#include "core/sched.h"
#include "x86/arch/guest_access.h"
#include "x86/arch/time.h"

#define POLL_MAX_PORTS  128
#define TIMEOUT_FOREVER (INT64_MAX / 4) // 73 years: a later deadline never comes

void sched_singleshot_timer_fn(void *data)
{
    evtchn_send_vcpu_virq(data, VIRQ_TIMER);
}

// Ticks keep to the grid of the first one; those missed while the vCPU was away come as one.
void sched_periodic_timer_fn(void *data)
{
    struct vcpu *v = data;
    stime_t period = READ_ONCE(v->periodic_period), now = now_ns();

    if (!period)
        return;
    evtchn_send_vcpu_virq(v, VIRQ_TIMER);
    v->periodic_last += period;
    if (v->periodic_last + period <= now)
        v->periodic_last = now - (now - v->periodic_last) % period;
    timer_set(&v->periodic_timer, v->periodic_last + period);
}

void sched_poll_timer_fn(void *data)
{
    struct vcpu *v = data;

    if (READ_ONCE(v->pause_flags) & VPF_BLOCKED_POLL)
        vcpu_unblock(v);
}

void sched_watchdog_fn(void *data)
{
    struct domain *d = data;

    if (READ_ONCE(d->dying) || READ_ONCE(d->shutting_down))
        return;
    guest_log(d, "watchdog expired");
    domain_shutdown(d, SHUTDOWN_watchdog);
}

void vcpu_set_singleshot(struct vcpu *v, stime_t deadline)
{
    timer_migrate(&v->singleshot_timer, v->cpu);
    timer_set(&v->singleshot_timer, deadline);
}

long hc_set_timer_op(unsigned long timeout)
{
    struct vcpu *v = current;

    // 0 and "negative" deadlines stop the timer; what is past fires at once.
    if (timeout == 0 || timeout > (unsigned long)TIMEOUT_FOREVER)
        timer_stop(&v->singleshot_timer);
    else
        vcpu_set_singleshot(v, (stime_t)timeout);
    return 0;
}

static int poll_any_pending(struct domain *d, const struct sched_poll *p)
{
    for (unsigned int i = 0; i < p->nr_ports; i++) {
        evtchn_port_t port;

        if (guest_handle_from(&port, p->ports, i, 1))
            return -EFAULT;
        if (!evtchn_port_valid(d, port))
            return -EINVAL;
        if (evtchn_port_pending(d, port))
            return 1;
    }
    return 0;
}

static int sched_op_poll(unsigned long arg)
{
    struct vcpu *v = current;
    struct sched_poll p;
    evtchn_port_t only = POLL_ANY;
    int ret;

    if (guest_copy_from(&p, (void *)arg, sizeof(p)))
        return -EFAULT;
    if (p.nr_ports > POLL_MAX_PORTS)
        return -EINVAL;
    if (p.nr_ports == 1 && guest_handle_from(&only, p.ports, 0, 1))
        return -EFAULT;
    // The flags come first: an event that arrives from here on wakes us.
    evtchn_poll_begin(v, only);
    __atomic_fetch_or(&v->pause_flags, VPF_BLOCKED | VPF_BLOCKED_POLL, __ATOMIC_SEQ_CST);
    ret = poll_any_pending(v->domain, &p);
    if (!ret && arch_vcpu_event_pending(v))
        ret = 1;
    if (ret) {
        vcpu_unblock(v);
        evtchn_poll_end(v);
        return MIN(ret, 0);
    }
    if (p.timeout && p.timeout <= (uint64_t)TIMEOUT_FOREVER) {
        timer_migrate(&v->poll_timer, v->cpu);
        timer_set(&v->poll_timer, (stime_t)p.timeout);
    } else {
        timer_stop(&v->poll_timer);
    }
    vcpu_wake(v); // see the flags
    return 0;
}

static int sched_op_shutdown(unsigned long arg)
{
    struct sched_shutdown s;

    if (guest_copy_from(&s, (void *)arg, sizeof(s)))
        return -EFAULT;
    if (s.reason > SHUTDOWN_MAX)
        return -EINVAL;
    domain_shutdown(current->domain, (uint8_t)s.reason);
    return 0;
}

static int sched_op_shutdown_code(unsigned long arg)
{
    struct domain *d = current->domain;
    struct sched_shutdown s;

    if (guest_copy_from(&s, (void *)arg, sizeof(s)))
        return -EFAULT;
    if (s.reason > SHUTDOWN_MAX)
        return -EINVAL;
    spin_lock(&d->shutdown_lock);
    d->latched_code = (uint8_t)(s.reason + 1);
    spin_unlock(&d->shutdown_lock);
    return 0;
}

static int sched_op_remote_shutdown(unsigned long arg)
{
    struct sched_remote_shutdown s;
    struct domain *d;
    int ret;

    if (guest_copy_from(&s, (void *)arg, sizeof(s)))
        return -EFAULT;
    if (s.reason > SHUTDOWN_MAX)
        return -EINVAL;
    d = domain_get_by_id(s.domain_id);
    if (!d)
        return -ESRCH;
    ret = access_check(current->domain, ACCESS_TARGET, d);
    if (!ret)
        domain_shutdown(d, (uint8_t)s.reason);
    domain_put(d);
    return ret;
}

static long watchdog_start(struct domain *d, uint32_t seconds)
{
    if (!seconds)
        return -EINVAL;
    for (unsigned int i = 0; i < ARRAY_SIZE(d->watchdog_timer); i++) {
        if (d->watchdog_in_use & (1u << i))
            continue;
        d->watchdog_in_use |= 1u << i;
        timer_set(&d->watchdog_timer[i], now_ns() + seconds * NS_PER_S);
        return i + 1;
    }
    return -ENOSPC;
}

static long sched_op_watchdog(unsigned long arg)
{
    struct domain *d = current->domain;
    struct sched_watchdog w;
    long ret = 0;

    if (guest_copy_from(&w, (void *)arg, sizeof(w)))
        return -EFAULT;
    if (w.id > ARRAY_SIZE(d->watchdog_timer))
        return -EINVAL;
    spin_lock(&d->watchdog_lock);
    if (!w.id) {
        ret = watchdog_start(d, w.timeout);
    } else {
        unsigned int i = (unsigned int)index_nospec(w.id - 1, ARRAY_SIZE(d->watchdog_timer));

        if (!(d->watchdog_in_use & (1u << i))) {
            ret = -EINVAL;
        } else if (w.timeout) {
            timer_set(&d->watchdog_timer[i], now_ns() + w.timeout * NS_PER_S);
        } else {
            timer_stop(&d->watchdog_timer[i]);
            d->watchdog_in_use &= ~(1u << i);
        }
    }
    spin_unlock(&d->watchdog_lock);
    return ret;
}

static int sched_op_pin_override(unsigned long arg)
{
    struct sched_pin_override p;

    if (access_check(current->domain, ACCESS_HARDWARE, NULL))
        return -EPERM;
    if (guest_copy_from(&p, (void *)arg, sizeof(p)))
        return -EFAULT;
    return vcpu_pin_override(current, p.pcpu);
}

long hc_sched_op(unsigned long cmd, unsigned long arg)
{
    switch (cmd) {
    case SCHEDOP_yield:
        vcpu_yield();
        return 0;
    case SCHEDOP_block:
        vcpu_block_enable_events();
        return 0;
    case SCHEDOP_shutdown:
        return sched_op_shutdown(arg);
    case SCHEDOP_poll:
        return sched_op_poll(arg);
    case SCHEDOP_remote_shutdown:
        return sched_op_remote_shutdown(arg);
    case SCHEDOP_shutdown_code:
        return sched_op_shutdown_code(arg);
    case SCHEDOP_watchdog:
        return sched_op_watchdog(arg);
    case SCHEDOP_pin_override:
        return sched_op_pin_override(arg);
    default:
        return -ENOSYS;
    }
}

// Before sched_op there were three commands, and shutdown took its reason directly.
long hc_sched_op_compat(unsigned long cmd, unsigned long arg)
{
    if (cmd == SCHEDOP_yield || cmd == SCHEDOP_block)
        return hc_sched_op(cmd, arg);
    if (cmd != SCHEDOP_shutdown)
        return -ENOSYS;
    if (arg > SHUTDOWN_MAX)
        return -EINVAL;
    domain_shutdown(current->domain, (uint8_t)arg);
    return 0;
}
