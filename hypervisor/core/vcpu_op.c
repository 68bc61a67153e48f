// SPDX-License-Identifier: BSD-2-Clause
#include "core/domain.h"
#include "core/hypercall.h"
#include "core/sched.h"
#include "memory/heap.h"
#include "x86/arch/guest_access.h"
#include "x86/arch/time.h"

#define PERIOD_MIN (100 * NS_PER_US)

static int vcpu_op_initialise(struct vcpu *v, void *arg)
{
    struct vcpu_guest_context *c;
    int ret = -EEXIST;

    if (READ_ONCE(v->initialised))
        return -EEXIST;
    // Nothing tells such a vCPU of events, and what stands in for its vcpu_info is everyone's.
    if (v->id >= XEN_LEGACY_MAX_VCPUS && mfn_eq(v->info_mfn, INVALID_MFN))
        return -EINVAL;
    // 5 KiB: too much for the stack.
    c = heap_new(struct vcpu_guest_context);
    if (!c)
        return -ENOMEM;
    if (guest_copy_from(c, arg, sizeof(*c))) {
        heap_free(c);
        return -EFAULT;
    }
    if (!spin_trylock(&v->domain->hypercall_lock)) {
        heap_free(c);
        return -ERESTART;
    }
    if (!v->initialised) {
        ret = arch_vcpu_set_context(v, c);
        if (!ret)
            v->initialised = true;
    }
    spin_unlock(&v->domain->hypercall_lock);
    heap_free(c);
    return ret;
}

static int vcpu_op_up(struct vcpu *v)
{
    if (!READ_ONCE(v->initialised))
        return -EINVAL;
    if (__atomic_fetch_and(&v->pause_flags, ~VPF_DOWN, __ATOMIC_SEQ_CST) & VPF_DOWN)
        vcpu_wake(v);
    return 0;
}

static int vcpu_op_down(struct vcpu *v)
{
    struct domain *d = v->domain;
    struct vcpu *other;
    bool last = true;

    // The last vCPU would leave a domain that nothing can wake.
    for_each_vcpu (d, other)
        if (other != v && !(READ_ONCE(other->pause_flags) & VPF_DOWN))
            last = false;
    if (last) {
        domain_shutdown(d, SHUTDOWN_poweroff);
        return 0;
    }
    if (!(__atomic_fetch_or(&v->pause_flags, VPF_DOWN, __ATOMIC_SEQ_CST) & VPF_DOWN))
        vcpu_sleep_nosync(v);
    return 0;
}

static int vcpu_op_get_runstate_info(struct vcpu *v, void *arg)
{
    vcpu_runstate_info_t r;

    vcpu_runstate_get(v, &r);
    return guest_copy_to(arg, &r, sizeof(r));
}

static int vcpu_op_register_runstate_memory_area(struct vcpu *v, const void *arg)
{
    struct vcpu_register_runstate_memory_area a;
    vcpu_runstate_info_t r;

    if (guest_copy_from(&a, arg, sizeof(a)))
        return -EFAULT;
    if (a.addr.p && !guest_range_ok(a.addr.v, sizeof(r)))
        return -EFAULT;
    WRITE_ONCE(v->runstate_area, (void *)a.addr.p);
    if (!a.addr.p)
        return 0;
    if (v == current) {
        r = v->runstate;
        return guest_copy_to(a.addr.v, &r, sizeof(r));
    }
    vcpu_runstate_get(v, &r);
    return guest_copy_to(a.addr.v, &r, sizeof(r));
}

static int vcpu_op_set_periodic_timer(struct vcpu *v, const void *arg)
{
    struct vcpu_set_periodic_timer t;

    if (guest_copy_from(&t, arg, sizeof(t)))
        return -EFAULT;
    if (t.period_ns < PERIOD_MIN || t.period_ns > INT64_MAX / 4)
        return -EINVAL;
    timer_stop(&v->periodic_timer);
    v->periodic_last = now_ns();
    WRITE_ONCE(v->periodic_period, (stime_t)t.period_ns);
    timer_migrate(&v->periodic_timer, v->cpu);
    timer_set(&v->periodic_timer, v->periodic_last + v->periodic_period);
    return 0;
}

static int vcpu_op_stop_periodic_timer(struct vcpu *v)
{
    WRITE_ONCE(v->periodic_period, 0);
    timer_stop(&v->periodic_timer);
    return 0;
}

// On a vCPU's own timer only: another's would fire on a CPU that may be elsewhere.
static int vcpu_op_set_singleshot_timer(struct vcpu *v, const void *arg)
{
    struct vcpu_set_singleshot_timer t;

    if (v != current)
        return -EINVAL;
    if (guest_copy_from(&t, arg, sizeof(t)))
        return -EFAULT;
    if ((t.flags & VCPU_SSHOTTMR_future) && t.timeout_abs_ns < (uint64_t)now_ns())
        return -ETIME;
    vcpu_set_singleshot(v, (stime_t)MIN(t.timeout_abs_ns, (uint64_t)INT64_MAX));
    return 0;
}

static int vcpu_op_stop_singleshot_timer(struct vcpu *v)
{
    if (v != current)
        return -EINVAL;
    timer_stop(&v->singleshot_timer);
    return 0;
}

static int vcpu_op_register_vcpu_info(struct vcpu *v, const void *arg)
{
    struct domain *d = v->domain;
    struct vcpu_register_vcpu_info r;
    int ret;

    if (guest_copy_from(&r, arg, sizeof(r)))
        return -EFAULT;
    if (!spin_trylock(&d->hypercall_lock))
        return -ERESTART;
    ret = arch_vcpu_map_info(v, GFN(r.mfn), r.offset);
    spin_unlock(&d->hypercall_lock);
    return ret;
}

static int vcpu_op_register_vcpu_time_memory_area(struct vcpu *v, const void *arg)
{
    struct vcpu_register_time_memory_area a;

    if (guest_copy_from(&a, arg, sizeof(a)))
        return -EFAULT;
    if (a.addr.p && !guest_range_ok(a.addr.v, sizeof(struct vcpu_time_info)))
        return -EFAULT;
    WRITE_ONCE(v->arch.time_area, (void *)a.addr.p);
    if (a.addr.p && v == current)
        arch_time_update_vcpu(v);
    return 0;
}

static int vcpu_op_get_physid(struct vcpu *v, void *arg)
{
    struct vcpu_get_physid p;
    const unsigned long *hard = vcpu_hard_affinity(v);
    int ret;

    // Only a vCPU that stays on one CPU has a physical identity.
    if (!v->domain->is_control || bitmap_weight(hard, MAX_CPUS) != 1)
        return -EINVAL;
    ret = arch_cpu_physid(bitmap_next(hard, MAX_CPUS, 0), &p.phys_id);
    return ret ? ret : guest_copy_to(arg, &p, sizeof(p));
}

static long vcpu_op(unsigned long cmd, struct vcpu *v, void *p)
{
    switch (cmd) {
    case VCPUOP_initialise:
        return vcpu_op_initialise(v, p);
    case VCPUOP_up:
        return vcpu_op_up(v);
    case VCPUOP_down:
        return vcpu_op_down(v);
    case VCPUOP_is_up:
        return !(READ_ONCE(v->pause_flags) & VPF_DOWN);
    case VCPUOP_get_runstate_info:
        return vcpu_op_get_runstate_info(v, p);
    case VCPUOP_register_runstate_memory_area:
        return vcpu_op_register_runstate_memory_area(v, p);
    case VCPUOP_set_periodic_timer:
        return vcpu_op_set_periodic_timer(v, p);
    case VCPUOP_stop_periodic_timer:
        return vcpu_op_stop_periodic_timer(v);
    case VCPUOP_set_singleshot_timer:
        return vcpu_op_set_singleshot_timer(v, p);
    case VCPUOP_stop_singleshot_timer:
        return vcpu_op_stop_singleshot_timer(v);
    case VCPUOP_register_vcpu_info:
        return vcpu_op_register_vcpu_info(v, p);
    case VCPUOP_send_nmi:
        arch_vcpu_send_nmi(v);
        return 0;
    case VCPUOP_get_physid:
        return vcpu_op_get_physid(v, p);
    case VCPUOP_register_vcpu_time_memory_area:
        return vcpu_op_register_vcpu_time_memory_area(v, p);
    default:
        return -ENOSYS;
    }
}

// The control domain may hold the lock of hypercalls on this domain until the caller is off its
// CPU: what needs the lock is tried again after softirqs, never waited for.
long hc_vcpu_op(unsigned long cmd, unsigned long id, unsigned long arg)
{
    struct vcpu *v = id <= UINT32_MAX ? domain_vcpu(current->domain, (unsigned int)id) : NULL;
    long ret = v ? vcpu_op(cmd, v, (void *)arg) : -ENOENT;

    if (ret == -ERESTART)
        return hypercall_continue(__HYPERVISOR_vcpu_op, 3, (unsigned long[]){cmd, id, arg});
    return ret;
}
