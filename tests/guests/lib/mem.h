// SPDX-License-Identifier: BSD-2-Clause
// Memory of this guest: a pool of mapped pages, unmapped frames from the end of the p2m, the
// start-of-day page tables and ways to change them.
#pragma once

#include "hypercall.h"
#include "layout.h"

#define PAGE_SHIFT 12
#define PAGE_SIZE  4096UL
#define PAGE_MASK  (~(PAGE_SIZE - 1))

#define PTE_P       (1UL << 0)
#define PTE_W       (1UL << 1)
#define PTE_U       (1UL << 2)
#define PTE_PWT     (1UL << 3)
#define PTE_PCD     (1UL << 4)
#define PTE_A       (1UL << 5)
#define PTE_D       (1UL << 6)
#define PTE_PSE     (1UL << 7)
#define PTE_PAT     (1UL << 7)
#define PTE_G       (1UL << 8)
#define PTE_AVAIL0  (1UL << 9)
#define PTE_NX      (1UL << 63)
#define PTE_ADDR    0x000ffffffffff000UL
#define PTE_RO_DATA (PTE_P | PTE_U | PTE_A | PTE_D)
#define PTE_RW_DATA (PTE_RO_DATA | PTE_W)
#define PTE_TABLE   (PTE_P | PTE_W | PTE_U | PTE_A | PTE_D)

#define M2P ((const volatile unsigned long *)MACH2PHYS_VIRT_START)

// A part of the address space that nothing else uses (kernel L4 slot 2).
#define SCRATCH_VA 0x10000000000UL

void mem_init(void);

// One zeroed, mapped, writable page of the pool; the guest dies when there is none left.
void *page_alloc(void);
void page_free(void *page);

// A frame that belongs to this domain and that no mapping points to.
unsigned long frame_take(void); // returns its pfn
unsigned long pfn_to_mfn(unsigned long pfn);
void pfn_set_mfn(unsigned long pfn, unsigned long mfn); // corrects this guest's own p2m
unsigned long va_to_pfn(const void *va);                // start-of-day region alone
unsigned long va_to_mfn(const void *va);
void *mfn_to_va(unsigned long mfn); // the same, through the m2p

static inline uint64_t make_pte(unsigned long mfn, uint64_t flags)
{
    return (uint64_t)mfn << PAGE_SHIFT | flags;
}

// The entry that maps va at a level (1 to 4) in the current kernel tables: a read-only view of
// it, or NULL when a level above is absent.
const volatile uint64_t *pte_of(unsigned long va, int level);
uint64_t pte_maddr(unsigned long va, int level); // its machine address, 0 when absent

// Raw updates: 0 or -errno.
long pte_write(uint64_t maddr, uint64_t pte);
long pte_set(unsigned long va, uint64_t pte); // update_va_mapping + local invlpg

// Makes va mapped by pte, adding page tables from the pool where they miss.
long map_page(unsigned long va, uint64_t pte);

long page_set_ro(void *page);
long page_set_rw(void *page);

// A zeroed page of the pool, mapped read-only, ready to become a page table.
uint64_t *table_alloc(void);

// One mmuext operation on a frame or without argument.
long mmuext(unsigned int cmd, unsigned long arg1);
