// SPDX-License-Identifier: BSD-2-Clause
// Where things are in the hypervisor's part of the address space (docs/memory-map.md).
//
//   slot 256  0xffff800000000000  machine-to-phys map, read-only for guests (ABI)
//   slot 257  0xffff808000000000  the same frames, writable, hypervisor only
//   slot 260  0xffff820000000000  per-domain: GDT/LDT of each vCPU
//   slot 261  0xffff828000000000  frame table
//             0xffff82c000000000  vmap: stacks, I/O memory
//             0xffff82d040000000  hypervisor image
//   slot 262- 0xffff830000000000  direct map of all RAM (10 slots: 5 TiB)
#pragma once

#include "lib/types.h"

#define HYPERVISOR_HOLE_START 0xffff800000000000ul
#define HYPERVISOR_HOLE_END   0xffff880000000000ul
#ifndef MEMORY_ELSEWHERE // unit tests have their own
#define M2P_RO_VIRT      0xffff800000000000ul
#define M2P_VIRT         0xffff808000000000ul
#define FRAME_TABLE_VIRT 0xffff828000000000ul
#define DIRECTMAP_VIRT   0xffff830000000000ul
#endif
#define PERDOMAIN_VIRT     0xffff820000000000ul
#define VMAP_VIRT          0xffff82c000000000ul
#define VMAP_VIRT_END      0xffff82d000000000ul
#define IMAGE_VIRT         0xffff82d040000000ul // linked here
#define DIRECTMAP_VIRT_END 0xffff880000000000ul
#define L4_SLOT_FIRST      256 // hypervisor L4 slots [FIRST, END)
#define L4_SLOT_END        272
#define L4_SLOT_PERDOMAIN  260

extern unsigned long max_mfn; // one past the highest RAM frame

static inline void *paddr_to_virt(paddr_t pa)
{
    return (void *)(DIRECTMAP_VIRT + pa.v);
}
static inline void *mfn_to_virt(mfn_t m)
{
    return (void *)(DIRECTMAP_VIRT + (m.v << PAGE_SHIFT));
}
// Only for direct-map addresses.
static inline paddr_t virt_to_paddr(const void *va)
{
    return PADDR((unsigned long)va - DIRECTMAP_VIRT);
}
static inline mfn_t virt_to_mfn(const void *va)
{
    return MFN(virt_to_paddr(va).v >> PAGE_SHIFT);
}
// Only for addresses inside the hypervisor image.
paddr_t image_to_paddr(const void *va);

static inline void clear_page(void *p)
{
    unsigned long n = PAGE_SIZE / 8;
    asm volatile("rep stosq" : "+D"(p), "+c"(n) : "a"(0ul) : "memory");
}
static inline void copy_page(void *dst, const void *src)
{
    unsigned long n = PAGE_SIZE / 8;
    asm volatile("rep movsq" : "+D"(dst), "+S"(src), "+c"(n)::"memory");
}
