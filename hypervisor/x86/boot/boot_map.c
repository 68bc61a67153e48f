// SPDX-License-Identifier: BSD-2-Clause
#include "x86/arch/mapping.h"
#include "x86/mm/paging.h"

enum { MAX_PAGES = 257 }; // a table of 1 MiB that starts inside a page

static mfn_t __initdata pages[MAX_PAGES];

const void *__init boot_map(paddr_t pa, size_t size)
{
    unsigned long offset = pa.v & ~PAGE_MASK;
    unsigned long n = PFN_UP(offset + size);
    if (!size || n > MAX_PAGES)
        return NULL;
    for (unsigned long i = 0; i < n; i++)
        pages[i] = MFN(PFN_DOWN(pa.v) + i);
    char *va = vmap(pages, n, PROT_HV_RO);
    return va ? va + offset : NULL;
}

void __init boot_unmap(const void *p, size_t size)
{
    vunmap((void *)((unsigned long)p & PAGE_MASK));
}
