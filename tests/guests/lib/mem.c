// SPDX-License-Identifier: BSD-2-Clause
#include "guest.h"

enum { POOL_PAGES = 640 };

static uint8_t pool[POOL_PAGES][PAGE_SIZE] __attribute__((aligned(4096)));
static uint16_t pool_free[POOL_PAGES];
static unsigned int pool_count;
static unsigned long *p2m;
static unsigned long next_frame;

void mem_init(void)
{
    p2m = (unsigned long *)start_info->mfn_list;
    next_frame = start_info->nr_pages;
    for (unsigned int i = POOL_PAGES; i-- > 0;)
        pool_free[pool_count++] = (uint16_t)i;
}

void *page_alloc(void)
{
    void *page;

    if (!pool_count) {
        print("Bail out! the page pool is empty\n");
        guest_shutdown(SHUTDOWN_crash);
    }
    page = pool[pool_free[--pool_count]];
    memset(page, 0, PAGE_SIZE);
    return page;
}

void page_free(void *page)
{
    pool_free[pool_count++] = (uint16_t)(((uint8_t *)page - pool[0]) / PAGE_SIZE);
}

unsigned long frame_take(void)
{
    return --next_frame;
}

unsigned long pfn_to_mfn(unsigned long pfn)
{
    return p2m[pfn];
}

void pfn_set_mfn(unsigned long pfn, unsigned long mfn)
{
    p2m[pfn] = mfn;
}

unsigned long va_to_pfn(const void *va)
{
    return ((unsigned long)va - VIRT_BASE) >> PAGE_SHIFT;
}

unsigned long va_to_mfn(const void *va)
{
    return p2m[va_to_pfn(va)];
}

void *mfn_to_va(unsigned long mfn)
{
    return (void *)(VIRT_BASE + (M2P[mfn] << PAGE_SHIFT));
}

static unsigned int index_at(unsigned long va, int level)
{
    return va >> (PAGE_SHIFT + 9 * (level - 1)) & 511;
}

const volatile uint64_t *pte_of(unsigned long va, int level)
{
    const volatile uint64_t *table = (const volatile uint64_t *)this_vcpu()->root;

    for (int l = 4; l > level; l--) {
        uint64_t e = table[index_at(va, l)];

        if (!(e & PTE_P))
            return NULL;
        table = mfn_to_va((e & PTE_ADDR) >> PAGE_SHIFT);
    }
    return &table[index_at(va, level)];
}

uint64_t pte_maddr(unsigned long va, int level)
{
    const volatile uint64_t *e = pte_of(va, level);

    if (!e)
        return 0;
    return (va_to_mfn((const void *)e) << PAGE_SHIFT) + ((unsigned long)e & ~PAGE_MASK);
}

long pte_write(uint64_t maddr, uint64_t pte)
{
    mmu_update_t u = {.ptr = maddr | MMU_NORMAL_PT_UPDATE, .val = pte};

    return hc_mmu_update(&u, 1, NULL, DOMID_SELF);
}

long pte_set(unsigned long va, uint64_t pte)
{
    return hc_update_va_mapping(va, pte, UVMF_INVLPG);
}

uint64_t *table_alloc(void)
{
    uint64_t *table = page_alloc();

    page_set_ro(table);
    return table;
}

long map_page(unsigned long va, uint64_t pte)
{
    for (int level = 4; level > 1; level--) {
        uint64_t *table;
        long rc;

        if (*pte_of(va, level) & PTE_P)
            continue;
        table = table_alloc();
        rc = pte_write(pte_maddr(va, level), make_pte(va_to_mfn(table), PTE_TABLE));
        if (rc)
            return rc;
    }
    return pte_set(va, pte);
}

long page_set_ro(void *page)
{
    return pte_set((unsigned long)page, make_pte(va_to_mfn(page), PTE_RO_DATA));
}

long page_set_rw(void *page)
{
    return pte_set((unsigned long)page, make_pte(va_to_mfn(page), PTE_RW_DATA));
}

long mmuext(unsigned int cmd, unsigned long arg1)
{
    mmuext_op_t op = {.cmd = cmd};

    op.arg1.mfn = arg1;
    return hc_mmuext_op(&op, 1, NULL, DOMID_SELF);
}
