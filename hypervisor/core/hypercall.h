// SPDX-License-Identifier: BSD-2-Clause
// THE hypercall table. A handler hc_<abi name> takes up to six unsigned longs and returns the
// guest's result. Long ones return hypercall_continue(...): the guest's registers are set so that
// the instruction runs again with the new arguments.
#pragma once

#include "core/domain.h"

typedef long hypercall_fn_t(unsigned long, unsigned long, unsigned long, unsigned long,
                            unsigned long, unsigned long);

enum hypercall_abi { ABI_PV64, ABI_PV32, ABI_HVM64, ABI_HVM32, ABI_COUNT };
enum hypercall_who { WHO_ANY, WHO_PRIVILEGED }; // further checks: core/access.c

struct hypercall {
    const char *name;
    hypercall_fn_t *fn[ABI_COUNT]; // NULL: -ENOSYS for that ABI
    uint8_t nargs;
    uint8_t who;
};

#define HYPERCALL_COUNT 64
extern const struct hypercall hypercall_table[HYPERCALL_COUNT];
DECLARE_PER_CPU(uint64_t[HYPERCALL_COUNT], hypercall_counts);

// Stand-ins for what is not in the table (logged once) or not for this domain.
hypercall_fn_t *hypercall_unknown(unsigned long nr); // returns -ENOSYS
hypercall_fn_t *hypercall_refused(void);             // returns -EPERM

// THE way to a handler, for entries and multicall: bounds, counter, access. Never NULL.
static __always_inline hypercall_fn_t *hypercall_handler(enum hypercall_abi abi, unsigned long nr)
{
    if (unlikely(nr >= HYPERCALL_COUNT))
        return hypercall_unknown(nr);
    nr = index_nospec(nr, HYPERCALL_COUNT);
    const struct hypercall *h = &hypercall_table[nr];
    this_cpu(hypercall_counts)[nr]++;
    if (unlikely(!h->fn[abi]))
        return hypercall_unknown(nr);
    if (unlikely(h->who == WHO_PRIVILEGED) && !current->domain->is_control)
        return hypercall_refused();
    // cppcheck-suppress CastIntegerToAddressAtReturn; it does not see the function type
    return h->fn[abi];
}

// Ask that hypercall `nr` be run again with these arguments, after softirqs and guest events.
// Return its result from the handler. In a multicall the rest of the batch is kept.
long hypercall_continue(unsigned long nr, unsigned int nargs, const unsigned long *args);

// All handlers, by file.
long hc_xen_version(unsigned long cmd, unsigned long arg);                         // version.c
long hc_console_io(unsigned long cmd, unsigned long count, unsigned long buf);     // console_io.c
long hc_sched_op(unsigned long cmd, unsigned long arg);                            // sched_op.c
long hc_sched_op_compat(unsigned long cmd, unsigned long arg);                     // sched_op.c
long hc_set_timer_op(unsigned long timeout);                                       // sched_op.c
long hc_vcpu_op(unsigned long cmd, unsigned long vcpu, unsigned long arg);         // vcpu_op.c
long hc_event_channel_op(unsigned long cmd, unsigned long arg);                    // evtchn_op.c
long hc_event_channel_op_compat(unsigned long op);                                 // evtchn_op.c
long hc_grant_table_op(unsigned long cmd, unsigned long ops, unsigned long count); // grant_op.c
long hc_memory_op(unsigned long cmd, unsigned long arg);                           // memory_op.c
long hc_multicall(unsigned long calls, unsigned long count);                       // multicall.c
long hc_vm_assist(unsigned long cmd, unsigned long type);                          // version.c
long hc_hvm_op(unsigned long op, unsigned long arg);                               // version.c
long hc_callback_op(unsigned long cmd, unsigned long arg); // x86/pv/callback.c
long hc_nmi_op(unsigned long cmd, unsigned long arg);      // x86/pv/callback.c
long hc_domctl(unsigned long arg);                         // control/domctl.c
long hc_sysctl(unsigned long arg);                         // control/sysctl.c
long hc_platform_op(unsigned long arg);                    // control/platform.c
long hc_physdev_op(unsigned long cmd, unsigned long arg);  // x86/cpu/physdev.c
long hc_physdev_op_compat(unsigned long op);               // x86/cpu/physdev.c
// x86/pv
long hc_set_trap_table(unsigned long traps);
long hc_mmu_update(unsigned long req, unsigned long count, unsigned long done, unsigned long dom);
long hc_mmuext_op(unsigned long ops, unsigned long count, unsigned long done, unsigned long dom);
long hc_update_va_mapping(unsigned long va, unsigned long val, unsigned long flags);
long hc_update_va_mapping_otherdomain(unsigned long va, unsigned long val, unsigned long flags,
                                      unsigned long dom);
long hc_set_gdt(unsigned long frames, unsigned long entries);
long hc_update_descriptor(unsigned long ma, unsigned long desc);
long hc_stack_switch(unsigned long ss, unsigned long sp);
long hc_set_callbacks(unsigned long event, unsigned long failsafe, unsigned long syscall);
long hc_fpu_taskswitch(unsigned long set);
long hc_set_debugreg(unsigned long reg, unsigned long value);
long hc_get_debugreg(unsigned long reg);
long hc_set_segment_base(unsigned long which, unsigned long base);
long hc_iret(void);
