// SPDX-License-Identifier: BSD-2-Clause
// The hypercalls as C functions. Results are as the ABI says: 0 or positive, or -errno.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#define __XEN_INTERFACE_VERSION__ 0x00040e00
#include <xen/arch-x86/xen.h>
#include <xen/callback.h>
#include <xen/errno.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/memory.h>
#include <xen/nmi.h>
#include <xen/physdev.h>
#include <xen/sched.h>
#include <xen/vcpu.h>
#include <xen/version.h>

static inline long hypercall5(unsigned long nr, unsigned long a, unsigned long b, unsigned long c,
                              unsigned long d, unsigned long e)
{
    register unsigned long r10 __asm__("r10") = d;
    register unsigned long r8 __asm__("r8") = e;

    __asm__ volatile("syscall"
                     : "+a"(nr), "+D"(a), "+S"(b), "+d"(c), "+r"(r10), "+r"(r8)
                     :
                     : "rcx", "r11", "memory");
    return (long)nr;
}

#define HC(nr, a, b, c, d)                                                       \
    hypercall5((nr), (unsigned long)(a), (unsigned long)(b), (unsigned long)(c), \
               (unsigned long)(d), 0)

static inline long hc_set_trap_table(const trap_info_t *t)
{
    return HC(__HYPERVISOR_set_trap_table, t, 0, 0, 0);
}

static inline long hc_mmu_update(const mmu_update_t *u, unsigned int n, unsigned int *done,
                                 unsigned int dom)
{
    return HC(__HYPERVISOR_mmu_update, u, n, done, dom);
}

static inline long hc_set_gdt(const unsigned long *frames, unsigned int entries)
{
    return HC(__HYPERVISOR_set_gdt, frames, entries, 0, 0);
}

static inline long hc_stack_switch(unsigned long ss, unsigned long sp)
{
    return HC(__HYPERVISOR_stack_switch, ss, sp, 0, 0);
}

static inline long hc_fpu_taskswitch(int set)
{
    return HC(__HYPERVISOR_fpu_taskswitch, set, 0, 0, 0);
}

static inline long hc_set_debugreg(int reg, unsigned long value)
{
    return HC(__HYPERVISOR_set_debugreg, reg, value, 0, 0);
}

static inline unsigned long hc_get_debugreg(int reg)
{
    return (unsigned long)HC(__HYPERVISOR_get_debugreg, reg, 0, 0, 0);
}

static inline long hc_update_descriptor(uint64_t maddr, uint64_t desc)
{
    return HC(__HYPERVISOR_update_descriptor, maddr, desc, 0, 0);
}

static inline long hc_memory_op(unsigned int cmd, void *arg)
{
    return HC(__HYPERVISOR_memory_op, cmd, arg, 0, 0);
}

static inline long hc_multicall(multicall_entry_t *calls, unsigned int n)
{
    return HC(__HYPERVISOR_multicall, calls, n, 0, 0);
}

static inline long hc_update_va_mapping(unsigned long va, uint64_t pte, unsigned long flags)
{
    return HC(__HYPERVISOR_update_va_mapping, va, pte, flags, 0);
}

static inline long hc_set_timer_op(uint64_t ns)
{
    return HC(__HYPERVISOR_set_timer_op, ns, 0, 0, 0);
}

static inline long hc_xen_version(unsigned int cmd, void *arg)
{
    return HC(__HYPERVISOR_xen_version, cmd, arg, 0, 0);
}

static inline long hc_console_io(unsigned int cmd, unsigned int n, void *buf)
{
    return HC(__HYPERVISOR_console_io, cmd, n, buf, 0);
}

static inline long hc_grant_table_op(unsigned int cmd, void *arg, unsigned int n)
{
    return HC(__HYPERVISOR_grant_table_op, cmd, arg, n, 0);
}

static inline long hc_vm_assist(unsigned int cmd, unsigned int type)
{
    return HC(__HYPERVISOR_vm_assist, cmd, type, 0, 0);
}

static inline long hc_vcpu_op(unsigned int cmd, unsigned int vcpu, void *arg)
{
    return HC(__HYPERVISOR_vcpu_op, cmd, vcpu, arg, 0);
}

static inline long hc_set_segment_base(unsigned int which, unsigned long base)
{
    return HC(__HYPERVISOR_set_segment_base, which, base, 0, 0);
}

static inline long hc_mmuext_op(const mmuext_op_t *op, unsigned int n, unsigned int *done,
                                unsigned int dom)
{
    return HC(__HYPERVISOR_mmuext_op, op, n, done, dom);
}

static inline long hc_nmi_op(unsigned int cmd, void *arg)
{
    return HC(__HYPERVISOR_nmi_op, cmd, arg, 0, 0);
}

static inline long hc_sched_op(unsigned int cmd, void *arg)
{
    return HC(__HYPERVISOR_sched_op, cmd, arg, 0, 0);
}

static inline long hc_callback_op(unsigned int cmd, void *arg)
{
    return HC(__HYPERVISOR_callback_op, cmd, arg, 0, 0);
}

static inline long hc_event_channel_op(unsigned int cmd, void *arg)
{
    return HC(__HYPERVISOR_event_channel_op, cmd, arg, 0, 0);
}

static inline long hc_physdev_op(unsigned int cmd, void *arg)
{
    return HC(__HYPERVISOR_physdev_op, cmd, arg, 0, 0);
}
