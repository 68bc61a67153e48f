// SPDX-License-Identifier: BSD-2-Clause
// The x86 part of a domain and a vCPU, and the contract that core/ uses. The fields are x86's own:
// core/, memory/ and control/ pass the structs along and call the functions below.
#pragma once

#include "lib/types.h"
#include "core/spinlock.h"
#include "abi.h"

struct domain;
struct vcpu;
struct rangeset;
struct frame;

struct pv_domain;  // x86/pv/pv.h
struct irq_domain; // x86/cpu/pirq.h: which PIRQs the domain has

struct arch_domain {
    struct pv_domain *pv;
    struct irq_domain *irq;
    struct rangeset *ioport_caps; // ports the domain may use (and grant to its kernel by iobitmap)
    uint64_t *perdomain_l3;       // L4_SLOT_PERDOMAIN's table: GDT/LDT areas
    int64_t time_offset_s;        // wall-clock offset (settimeoffset)
    struct cpuid_policy *cpuid;   // NULL: host defaults for PV
    uint32_t tsc_mode;
    uint32_t tsc_incarnation;
};

// What TSS/IDT-level code needs to bounce an exception into a PV guest.
struct pv_trap {
    uint64_t address; // 0: none set
    uint16_t cs;
    uint8_t flags; // TI_* of the ABI
    uint8_t pad[5];
};

// What a vCPU must be told at its next entry to the guest (arch_vcpu.trap_pending).
#define TRAP_PENDING_NMI      1 // the guest's vector 2
#define TRAP_PENDING_FAILSAFE 2 // its segments could not be loaded

enum vcpu_fpu_state { FPU_UNUSED, FPU_SAVED, FPU_LIVE };

struct arch_vcpu {
    // Entry path: keep together, offsets are used by assembly (x86/asm_offsets.c).
    struct cpu_user_regs *regs; // at the top of the vCPU's stack
    uint64_t cr3;               // paging base with the hypervisor slots that is/was loaded
    uint64_t kernel_l4;         // guest kernel's root, physical address
    uint64_t user_l4;           // guest user's root, physical address; 0: none
    uint64_t kernel_sp, kernel_ss;
    uint64_t syscall_rip, syscall32_rip, sysenter_rip;
    uint64_t event_rip, failsafe_rip;
    uint8_t in_kernel; // guest kernel mode (TF_kernel_mode): GS and CR3 are the kernel's
    uint8_t syscall_masks_events, syscall32_masks_events, sysenter_masks_events;
    uint8_t failsafe_masks_events;
    uint8_t trap_pending;  // TRAP_PENDING_*: to deliver before anything else
    uint8_t iopl;          // as set with PHYSDEVOP_set_iopl, 0..3
    uint8_t ts_set;        // guest asked for fpu_taskswitch: CR0.TS
    struct pv_trap *traps; // 256 entries
    uint64_t fs_base, gs_base_kernel, gs_base_user; // valid while not running
    uint16_t ds, es, fs, gs;                        // saved selectors while not running
    uint64_t cr2;                                   // pending #PF address for the guest's vcpu_info
    uint64_t guest_cr0, guest_cr4;
    uint64_t dr[8];
    uint64_t debug_active; // DR7 bits in force: switch debug registers
    // Descriptors.
    mfn_t gdt_frames[16];
    uint32_t gdt_entries;
    uint64_t ldt_base;
    uint32_t ldt_entries;
    uint32_t iobitmap_limit; // number of ports covered by iobitmap; 0: none
    uint8_t *iobitmap;       // guest virtual address
    // FPU and extended state.
    enum vcpu_fpu_state fpu;
    void *xsave; // XSAVE area, xstate_size bytes
    uint64_t xcr0;
    // Time.
    uint64_t time_version;
    void *time_area;         // guest address registered for vcpu_time_info, or NULL
    void *time_area_written; // the same once it holds the time (x86/cpu/time.c)
    unsigned long hv_sp;     // hypervisor stack pointer while switched out
    uint64_t nmi_rip;        // guest's NMI callback; 0: none
    spinlock_t ldt_lock;     // ldt_shadow and its PTEs: other vCPUs drop them too; irqsave
    uint16_t ldt_shadow;     // bit n: page n of the LDT is mapped and referenced
    uint64_t *table_ptes;    // the 32 page-table entries of its GDT and LDT areas
    void *xsave_memory;      // what xsave was allocated as
    uint32_t tsc_aux;
    // Page tables with references that a preempted operation of this vCPU left (x86/pv/mm_types.h):
    struct frame *mm_partial; // validation to be continued
    struct frame *mm_put;     // invalidation to be finished
};

// Set-up and tear-down. All return 0 or -E; *_destroy tolerate half-made objects.
int __must_check arch_domain_create(struct domain *d, uint32_t flags);
void arch_domain_destroy(struct domain *d); // nothing of the domain runs any more
int __must_check arch_vcpu_create(struct vcpu *v);
void arch_vcpu_destroy(struct vcpu *v);
// Give back page tables, grants' mappings and all memory; preemptible: -ERESTART to be called
// again.
int __must_check arch_domain_relinquish(struct domain *d);

// Switch from prev (current) to next on this CPU: interrupts off; returns when prev runs again.
void arch_context_switch(struct vcpu *prev, struct vcpu *next);
// The stack's first function for a new vCPU, run with interrupts on; never returns.
void arch_vcpu_first_run(struct vcpu *v);
// Make current's guest run the hypercall instruction again, as hypercall `nr` with these arguments.
// Returns what the entry code must leave in the guest's result register.
long arch_hypercall_continue(unsigned long nr, unsigned int nargs, const unsigned long *args);
// guest_copy_to in current's kernel address space, also when it was interrupted in user mode.
int __must_check arch_copy_to_guest_kernel(void *gva, const void *src, size_t size);
// v (not running, or current) must look at its pending events before it enters the guest again.
void arch_vcpu_kick(struct vcpu *v);
// The guest's event flags: v wants an upcall and has not masked it.
bool arch_vcpu_event_pending(const struct vcpu *v);
// VCPUOP_initialise / DOMCTL_setvcpucontext / getvcpucontext. Not for current.
int __must_check arch_vcpu_set_context(struct vcpu *v, const struct vcpu_guest_context *c);
void arch_vcpu_get_context(struct vcpu *v, struct vcpu_guest_context *c);
void arch_vcpu_reset(struct vcpu *v);
// Register vcpu_info at (gfn, offset): maps it and moves the contents.
int __must_check arch_vcpu_map_info(struct vcpu *v, gfn_t gfn, unsigned int offset);
void arch_vcpu_unmap_info(struct vcpu *v);
void arch_vcpu_send_nmi(struct vcpu *v);
// Print registers and, where possible, a back trace of the guest. For keyhandlers and crashes.
void arch_vcpu_dump(struct vcpu *v);
