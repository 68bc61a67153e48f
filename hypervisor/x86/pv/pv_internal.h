// SPDX-License-Identifier: BSD-2-Clause
// Between the files of the entry side of x86/pv and its callers in x86/.
#pragma once

#include "x86/pv/pv.h"

// ---- delivery (traps.c): all change current's frame and its kernel stack, and crash the domain
// when that stack cannot be written. Enter the guest kernel at `target` with `extra` words between
// r11 and rip; events are masked when `mask_events`.
void pv_bounce(struct vcpu *v, unsigned long target, const uint64_t *extra, unsigned int extras,
               bool mask_events);

// Guest addresses of code must be canonical, or SYSRET and IRET would fault.
static inline bool pv_canonical(unsigned long addr)
{
    return (unsigned long)((long)(addr << 16) >> 16) == addr;
}

// ---- descriptors.c
// The vCPU's descriptor tables were touched at linear address addr: true when a page of the LDT
// could be brought in (try again). in_guest: the guest itself ran into it; when nothing can be
// brought in, it gets its page fault at the address in its own LDT, and true is returned too.
bool pv_ldt_fault(unsigned long addr, bool in_guest);
// The same for a selector that is about to be loaded for v, which is current: true when its page
// was brought in. With interrupts on it is more often possible than in the fault of loading it.
bool pv_ldt_load(struct vcpu *v, unsigned int selector);
// Map CPU `cpu`'s page into v's GDT.
void pv_gdt_set_cpu_page(struct vcpu *v, unsigned int cpu);
void pv_load_gdt(const struct vcpu *v);
void pv_descriptors_init(struct vcpu *v); // empty tables; once per vCPU

// ---- misc.c
void pv_write_fs_base(struct vcpu *v, unsigned long base);
void pv_write_gs_base(struct vcpu *v, unsigned long base);       // of the mode it is in
void pv_write_other_gs_base(struct vcpu *v, unsigned long base); // of the other mode
unsigned long pv_read_fs_base(struct vcpu *v);
unsigned long pv_read_gs_base(struct vcpu *v);
unsigned long pv_read_other_gs_base(struct vcpu *v);
int __must_check pv_set_debugreg(struct vcpu *v, unsigned int reg, unsigned long value);
int __must_check pv_get_debugreg(struct vcpu *v, unsigned int reg, unsigned long *value);
void pv_set_ts(struct vcpu *v, bool set);
void pv_set_tsc_aux(struct vcpu *v, uint32_t value); // current's
void pv_debug_switch_in(const struct vcpu *v);
void pv_debug_switch_out(const struct vcpu *v);

// ---- emulation of what needs ring 0: #GP and #UD of the guest. False: not ours, reflect it.
bool pv_emulate_privileged(struct vcpu *v, struct cpu_user_regs *regs); // privop.c
void pv_set_cr4(struct vcpu *v, uint64_t value);                        // current, or not running
bool pv_emulate_forced(struct vcpu *v, struct cpu_user_regs *regs);     // forced-prefix CPUID
void pv_cpuid(const struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t out[4]); // cpuid.c
// The same without a vCPU and without the domain's own policy: with this XCR0.
void pv_cpuid_default(bool control, uint64_t xcr0, uint32_t leaf, uint32_t subleaf,
                      uint32_t out[4]);
// 0, or -EINVAL: the guest gets #GP.                                                      msr.c
int __must_check pv_read_msr(struct vcpu *v, uint32_t msr, uint64_t *value);
int __must_check pv_write_msr(struct vcpu *v, uint32_t msr, uint64_t value);
// Port permissions of the guest's own making and the access itself.                       ioport.c
bool pv_iopl_allows(const struct vcpu *v); // its IOPL lets it do I/O, CLI and STI
bool pv_port_allowed(struct vcpu *v, unsigned int port, unsigned int bytes);
uint32_t pv_port_read(struct vcpu *v, unsigned int port, unsigned int bytes);
void pv_port_write(struct vcpu *v, unsigned int port, unsigned int bytes, uint32_t value);
