// SPDX-License-Identifier: BSD-2-Clause
// What memory/ asks of the machine: page tables for its tables, and the TLB.
#pragma once

#include "lib/types.h"

// Map n frames from mfn (2 MiB pages where aligned) read-write at va inside the frame table or the
// M2P; the M2P read-only for guests as well. 0 or -ENOMEM. Boot: never fails.
int __must_check arch_map_memory_tables(unsigned long va, mfn_t mfn, unsigned long n);
// Give a page to the stock that page-table pages for the above are taken from, so that mapping a
// section's tables never needs the allocator it feeds.
void arch_paging_stock_add(mfn_t mfn);
unsigned int arch_paging_stock(void);
// Pages of the allocator that are kept: set aside for page tables; and in tables made since boot.
unsigned int arch_paging_spare(void);
unsigned int arch_paging_tables(void);
// boot_alloc() is over: other page-table pages come from page_alloc() from now on.
void arch_paging_ready(void);

// The clock that advances with TLB flushes, for frame.tlb_stamp.
uint32_t arch_tlb_stamp(void);
// Flush every CPU that has not flushed since the stamp. Interrupts on.
void arch_tlb_flush_since(uint32_t stamp);

// The first of the frames in a row that hold the 2 MiB of M2P for mfns [n * 2^18, (n+1) * 2^18);
// INVALID_MFN: none yet, or not in a row.
mfn_t arch_m2p_frame(unsigned long n);
