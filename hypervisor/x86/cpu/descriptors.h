// SPDX-License-Identifier: BSD-2-Clause
// Per-CPU descriptor tables: the hypervisor's page of the GDT, TSS, IST stacks, and the MSRs and
// stack slots behind SYSCALL and SYSENTER.
#pragma once

#include "abi.h"

// Interrupt stack table slots. #DB has one because a guest can make it hit on the first
// instruction of an entry, before there is a stack.
enum { IST_NONE, IST_DF, IST_NMI, IST_MC, IST_DB, IST_COUNT = IST_DB };

struct tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3, iobitmap;
} __attribute__((packed));
_Static_assert(sizeof(struct tss) == 104, "TSS as in the manuals");

// One page for each CPU. Its first part is page 14 of every GDT that is loaded on this CPU.
#define GDT_HV_PAGE_OFFSET 0xe000 // of that page in a GDT
struct cpu_tables {
    uint64_t gdt[32];
    struct tss tss;
} __attribute__((aligned(4096)));
_Static_assert(sizeof(struct cpu_tables) == 4096, "one page");

// Where the SYSCALL stubs of a CPU (x86/pv/entry.S) keep the guest's RSP for a moment and find the
// end of the running vCPU's register frame (its stack just above SS).
struct syscall_slot {
    unsigned long guest_rsp;
    unsigned long frame_end;
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct syscall_slot) == 64, "entry.S strides by it");

struct vcpu;

// Makes CPU `cpu`'s tables. CPU 0's memory is static; others need the heap. 0 or -ENOMEM.
int __must_check descriptors_cpu_alloc(unsigned int cpu);
// Loads them: GDT, TSS, IDT, SYSCALL and SYSENTER MSRs. On the CPU itself, interrupts off. Calls
// descriptors_cpu_alloc() when that was not done; panics when there is no memory.
void descriptors_cpu_init(unsigned int cpu);
// The GDT page of a CPU, for the guests' GDTs.
mfn_t descriptors_gdt_mfn(unsigned int cpu);
// Entries from ring 3 on this CPU build their frame on v's stack.
void descriptors_set_entry_stack(unsigned int cpu, struct vcpu *v);
// Load the hypervisor's own GDT, without any guest's descriptors, and an empty LDT.
void descriptors_load_own(unsigned int cpu);
// LDT of the running guest: entries 8-byte descriptors at `base` (0 entries: none).
void descriptors_load_ldt(unsigned int cpu, unsigned long base, unsigned int entries);

// Boot CPU, once: fills the IDT and puts SMAP's instructions in place.
void trap_init(void);
void idt_load(void);
