// SPDX-License-Identifier: BSD-2-Clause
// scripts/hypercalls-doc reads this table: one row per line.
#include "core/hypercall.h"
#include "core/console.h"
#include "core/multicall.h"
#include "core/sched.h"
#include "core/softirq.h"

// clang-format off
// A handler takes as many of the six register arguments as it has; the rest are ignored.
#define FN(f)                ((hypercall_fn_t *)(void *)(f))
#define PV(name, fn, n)      {name, {[ABI_PV64] = FN(fn)}, n, WHO_ANY}
#define PV_PRIV(name, fn, n) {name, {[ABI_PV64] = FN(fn)}, n, WHO_PRIVILEGED}
// Not there, on purpose or not yet: the reason is for the documentation.
#define REFUSED(name, why)   {name, {NULL}, 0, WHO_ANY}
#define TO_COME(name, why)   {name, {NULL}, 0, WHO_ANY}

const struct hypercall hypercall_table[HYPERCALL_COUNT] = {
    [__HYPERVISOR_set_trap_table]          = PV("set_trap_table", hc_set_trap_table, 1),
    [__HYPERVISOR_mmu_update]              = PV("mmu_update", hc_mmu_update, 4),
    [__HYPERVISOR_set_gdt]                 = PV("set_gdt", hc_set_gdt, 2),
    [__HYPERVISOR_stack_switch]            = PV("stack_switch", hc_stack_switch, 2),
    [__HYPERVISOR_set_callbacks]           = PV("set_callbacks", hc_set_callbacks, 3),
    [__HYPERVISOR_fpu_taskswitch]          = PV("fpu_taskswitch", hc_fpu_taskswitch, 1),
    [__HYPERVISOR_sched_op_compat]         = PV("sched_op_compat", hc_sched_op_compat, 2),
    [__HYPERVISOR_platform_op]             = PV_PRIV("platform_op", hc_platform_op, 1),
    [__HYPERVISOR_set_debugreg]            = PV("set_debugreg", hc_set_debugreg, 2),
    [__HYPERVISOR_get_debugreg]            = PV("get_debugreg", hc_get_debugreg, 1),
    [__HYPERVISOR_update_descriptor]       = PV("update_descriptor", hc_update_descriptor, 2),
    [__HYPERVISOR_memory_op]               = PV("memory_op", hc_memory_op, 2),
    [__HYPERVISOR_multicall]               = PV("multicall", hc_multicall, 2),
    [__HYPERVISOR_update_va_mapping]       = PV("update_va_mapping", hc_update_va_mapping, 3),
    [__HYPERVISOR_set_timer_op]            = PV("set_timer_op", hc_set_timer_op, 1),
    [__HYPERVISOR_event_channel_op_compat] = PV("event_channel_op_compat", hc_event_channel_op_compat, 1),
    [__HYPERVISOR_xen_version]             = PV("xen_version", hc_xen_version, 2),
    [__HYPERVISOR_console_io]              = PV("console_io", hc_console_io, 3),
    [__HYPERVISOR_physdev_op_compat]       = PV("physdev_op_compat", hc_physdev_op_compat, 1),
    [__HYPERVISOR_grant_table_op]          = PV("grant_table_op", hc_grant_table_op, 3),
    [__HYPERVISOR_vm_assist]               = PV("vm_assist", hc_vm_assist, 2),
    [__HYPERVISOR_update_va_mapping_otherdomain] = PV("update_va_mapping_otherdomain", hc_update_va_mapping_otherdomain, 4),
    [__HYPERVISOR_iret]                    = PV("iret", hc_iret, 0),
    [__HYPERVISOR_vcpu_op]                 = PV("vcpu_op", hc_vcpu_op, 3),
    [__HYPERVISOR_set_segment_base]        = PV("set_segment_base", hc_set_segment_base, 2),
    [__HYPERVISOR_mmuext_op]               = PV("mmuext_op", hc_mmuext_op, 4),
    [__HYPERVISOR_xsm_op]                  = REFUSED("xsm_op", "no loadable security policies: core/access.c decides"),
    [__HYPERVISOR_nmi_op]                  = PV("nmi_op", hc_nmi_op, 2),
    [__HYPERVISOR_sched_op]                = PV("sched_op", hc_sched_op, 2),
    [__HYPERVISOR_callback_op]             = PV("callback_op", hc_callback_op, 2),
    [__HYPERVISOR_xenoprof_op]             = REFUSED("xenoprof_op", "its only client left the Linux kernel"),
    [__HYPERVISOR_event_channel_op]        = PV("event_channel_op", hc_event_channel_op, 2),
    [__HYPERVISOR_physdev_op]              = PV("physdev_op", hc_physdev_op, 2),
    [__HYPERVISOR_hvm_op]                  = PV("hvm_op", hc_hvm_op, 2),
    [__HYPERVISOR_sysctl]                  = PV_PRIV("sysctl", hc_sysctl, 1),
    [__HYPERVISOR_domctl]                  = PV("domctl", hc_domctl, 1),
    [__HYPERVISOR_kexec_op]                = REFUSED("kexec_op", "no crash kernel: a panic restarts or halts"),
    [__HYPERVISOR_tmem_op]                 = REFUSED("tmem_op", "withdrawn from the interface"),
    [__HYPERVISOR_argo_op]                 = REFUSED("argo_op", "no client without patches"),
    [__HYPERVISOR_xenpmu_op]               = REFUSED("xenpmu_op", "no virtual performance counters"),
    [__HYPERVISOR_dm_op]                   = TO_COME("dm_op", "with fully virtualised guests"),
    [__HYPERVISOR_hypfs_op]                = TO_COME("hypfs_op", "with run-time parameters"),
    [__HYPERVISOR_arch_0]                  = REFUSED("mca", "machine checks are logged; there is no error record to fetch"),
};
// clang-format on

DEFINE_PER_CPU(uint64_t[HYPERCALL_COUNT], hypercall_counts);

static long not_there(unsigned long a1, unsigned long a2, unsigned long a3, unsigned long a4,
                      unsigned long a5, unsigned long a6)
{
    return -ENOSYS;
}

static long not_permitted(unsigned long a1, unsigned long a2, unsigned long a3, unsigned long a4,
                          unsigned long a5, unsigned long a6)
{
    return -EPERM;
}

hypercall_fn_t *hypercall_unknown(unsigned long nr)
{
    static DECLARE_BITMAP(seen, HYPERCALL_COUNT);
    unsigned long bit = nr < HYPERCALL_COUNT ? nr : 0;

    if (!bit_test_and_set_atomic(seen, bit))
        guest_log(current->domain, "hypercall %lu (%s) is not there: -ENOSYS", nr,
                  nr < HYPERCALL_COUNT && hypercall_table[bit].name ? hypercall_table[bit].name
                                                                    : "unknown");
    return not_there;
}

hypercall_fn_t *hypercall_refused(void)
{
    return not_permitted;
}

long hypercall_continue(unsigned long nr, unsigned int nargs, const unsigned long *args)
{
    if (multicall_active())
        return multicall_continue(nr, nargs, args);
    return arch_hypercall_continue(nr, nargs, args);
}

bool hypercall_preempt_check(void)
{
    return READ_ONCE(this_cpu(softirq_pending)) || arch_vcpu_event_pending(current);
}
