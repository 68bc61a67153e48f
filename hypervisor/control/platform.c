// SPDX-License-Identifier: BSD-2-Clause
// HYPERVISOR_platform_op: the machine's clock, firmware, power and CPUs, for the control domain.
#include "control/control.h"
#include "core/access.h"
#include "core/hypercall.h"
#include "core/sched.h"
#include "core/symbols.h"
#include "lib/string.h"
#include "memory/heap.h"
#include "x86/arch/guest_access.h"
#include "x86/arch/time.h"

struct platform_row {
    const char *name;
    long (*fn)(struct xen_platform_op *op);
    bool copy_back;
};

static long platform_settime32(struct xen_platform_op *op)
{
    if (op->u.settime32.nsecs >= NS_PER_S)
        return -EINVAL;
    arch_time_set_wallclock(op->u.settime32.secs, op->u.settime32.nsecs,
                            op->u.settime32.system_time);
    return 0;
}

static long platform_settime64(struct xen_platform_op *op)
{
    if (op->u.settime64.mbz || op->u.settime64.nsecs >= NS_PER_S)
        return -EINVAL;
    arch_time_set_wallclock(op->u.settime64.secs, op->u.settime64.nsecs,
                            op->u.settime64.system_time);
    return 0;
}

static long platform_getidletime(struct xen_platform_op *op)
{
    struct xenpf_getidletime *g = &op->u.getidletime;
    uint32_t n = MIN(g->cpumap_nr_cpus, cpu_count);
    DECLARE_BITMAP(cpus, MAX_CPUS) = {0};
    unsigned int cpu;

    if (guest_copy_from(cpus, g->cpumap_bitmap.p, DIV_ROUND_UP(n, 8)))
        return -EFAULT;
    bitmap_and(cpus, cpus, cpu_online_map, MAX_CPUS);
    g->now = now_ns();
    bitmap_for_each (cpu, cpus, n) {
        uint64_t idle = sched_idle_time(cpu);
        if (guest_handle_to(g->idletime, cpu, &idle, 1))
            return -EFAULT;
    }
    return guest_copy_to(g->cpumap_bitmap.p, cpus, DIV_ROUND_UP(n, 8));
}

// The hypervisor's functions in order of address.
static long platform_get_symbol(struct xen_platform_op *op)
{
    struct xenpf_symdata *s = &op->u.symdata;
    uint32_t next = s->symnum;
    const char *name;
    unsigned long address;

    do // the ends of the table have no name
        if (!symbol_get(next++, &address, &name))
            return 0; // the number stays: that was the last
    while (!*name);
    uint32_t size = strlen(name) + 1;
    if (guest_copy_to(s->name.p, name, MIN(size, s->namelen)))
        return -EFAULT;
    // A name that is cut off ends with a zero as well.
    if (s->namelen && s->namelen < size && guest_copy_to(s->name.p + s->namelen - 1, "", 1))
        return -EFAULT;
    s->namelen = size - 1;
    s->address = address;
    s->type = 't';
    s->symnum = next;
    return 0;
}

#define ROW(op, handler, back) [XENPF_##op] = {.name = #op, .fn = handler, .copy_back = back}

static const struct platform_row platform_ops[] = {
    ROW(settime32, platform_settime32, false),
    ROW(settime64, platform_settime64, false),
    ROW(getidletime, platform_getidletime, true),
    ROW(get_symbol, platform_get_symbol, true),
};

long hc_platform_op(unsigned long arg)
{
    struct xen_platform_op op;
    const struct platform_row *row = NULL;
    bool copy_back = false;
    long rc;

    if (access_check(current->domain, ACCESS_HARDWARE, NULL))
        return -EPERM;
    if (guest_copy_from(&op, (void *)arg, sizeof(op)))
        return -EFAULT;
    if (op.interface_version != XENPF_INTERFACE_VERSION)
        return -EACCES;
    if (op.cmd < ARRAY_SIZE(platform_ops))
        row = &platform_ops[index_nospec(op.cmd, ARRAY_SIZE(platform_ops))];
    if (row && row->fn) {
        rc = row->fn(&op);
        copy_back = row->copy_back;
    } else {
        rc = arch_platform_op(&op, &copy_back);
    }
    if (rc == 0 && copy_back && guest_copy_to((void *)arg, &op, sizeof(op)))
        return -EFAULT;
    return rc;
}
