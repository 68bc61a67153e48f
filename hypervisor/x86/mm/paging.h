// SPDX-License-Identifier: BSD-2-Clause
// The hypervisor's own page tables and the TLB.
#pragma once

#include "lib/types.h"
#include "x86/arch/page.h"

struct domain;

#define PTE_P            (1ull << 0)
#define PTE_RW           (1ull << 1)
#define PTE_US           (1ull << 2)
#define PTE_PWT          (1ull << 3)
#define PTE_PCD          (1ull << 4)
#define PTE_A            (1ull << 5)
#define PTE_D            (1ull << 6)
#define PTE_PSE          (1ull << 7) // L2, L3: superpage
#define PTE_PAT          (1ull << 7) // L1
#define PTE_G            (1ull << 8)
#define PTE_AVAIL        (7ull << 9)
#define PTE_GUEST_KERNEL (1ull << 52) // entry of a PV guest without PTE_US, which it got from us
#define PTE_GUEST_IO     (1ull << 53) // of a PV guest, maps I/O memory: holds no reference
#define PTE_NX           (1ull << 63)
#define PTE_ADDR_MASK    0x000ffffffffff000ull

#define L1_SHIFT 12
#define L2_SHIFT 21
#define L3_SHIFT 30
#define L4_SHIFT 39

#define PROT_HV_RW (PTE_P | PTE_RW | PTE_A | PTE_D | PTE_NX | PTE_G)
#define PROT_HV_RO (PTE_P | PTE_A | PTE_NX | PTE_G)
#define PROT_HV_RX (PTE_P | PTE_A | PTE_G)
#define PROT_HV_UC (PROT_HV_RW | PTE_PCD | PTE_PWT)

extern uint64_t idle_l4[512]; // page tables with the hypervisor's slots alone
paddr_t paging_idle_cr3(void);
// Build idle_l4 with the direct map and the image, and load it. Boot CPU, once; sets max_mfn.
void paging_init(void);
// End of boot: ro_after_boot data become read-only, the init sections are unmapped.
void paging_seal(void);

// Map/unmap [va, va+n pages) in the hypervisor's slots, splitting and merging superpages; all page
// tables of the machine see it (slots share L3s). 0 or -ENOMEM. Unmapping flushes all TLBs.
int __must_check paging_map(unsigned long va, mfn_t mfn, unsigned long n, uint64_t prot);
void paging_unmap(unsigned long va, unsigned long n);
int __must_check paging_protect(unsigned long va, unsigned long n, uint64_t prot);
// The frame mapped at a hypervisor address; INVALID_MFN: none.
mfn_t paging_mfn_of(unsigned long va);

// vmap area: a run of pages with a guard page on each side. NULL: none.
void *vmap(const mfn_t *mfns, unsigned long n, uint64_t prot);
void *ioremap(paddr_t pa, size_t size); // uncached; offset inside the page is kept
void vunmap(void *va);
// A hypervisor stack: STACK_SIZE aligned to itself with an unmapped guard below. NULL: none.
void *stack_alloc(void);
void stack_free(void *stack);

// Fill L4 slots [L4_SLOT_FIRST, L4_SLOT_END) of a guest's root table.
void paging_init_guest_l4(uint64_t *l4, const uint64_t *perdomain_l3);

// ---- TLB ----------------------------------------------------------------------------------
// Each full flush of a CPU advances the clock; a frame whose last use ended at `stamp` needs a
// flush only on CPUs that have not flushed since.
uint32_t tlb_clock_now(void);
void tlb_flush_local(void);        // all but global entries
void tlb_flush_local_global(void); // everything
void tlb_invlpg(unsigned long va);
// Load a page-table base: flushes non-global entries and advances the clock. Interrupts off.
// Everything is flushed, global entries too: what a guest's user mode has used is global.
void tlb_write_cr3(uint64_t cr3);
void tlb_cpu_init(void); // each CPU, once CR4 has its final value
// On every CPU of the mask (bits of CPUs): all entries, or one page when va_valid.
void tlb_flush_mask(const unsigned long *cpus, const void *va, bool va_valid);
void tlb_flush_all_global(void);
// CPUs where d's page tables may be loaded now or lazily (superset).
void tlb_domain_dirty_mask(const struct domain *d, unsigned long *mask);
// Flush the CPUs where d runs and that have not flushed since the stamp. Interrupts on.
void tlb_flush_domain_since(const struct domain *d, uint32_t stamp);
// Flush everything where d runs (or one page).
void tlb_flush_domain(const struct domain *d, const void *va, bool va_valid);
// Drop from `mask` the CPUs that have flushed since `stamp`.
void tlb_filter(unsigned long *mask, uint32_t stamp);
