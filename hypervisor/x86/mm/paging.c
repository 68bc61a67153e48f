// SPDX-License-Identifier: BSD-2-Clause
// The hypervisor's page tables. Every root has the same entries in the hypervisor's L4 slots (the
// per-domain one aside), and the L3 tables behind them exist from the start, so that a change in
// L3 and below is seen by all.
#include "x86/mm/paging.h"

#include "abi.h"
#include "core/console.h"
#include "core/spinlock.h"
#include "lib/bug.h"
#include "lib/string.h"
#include "memory/boot_alloc.h"
#include "memory/heap.h"
#include "x86/arch/memory.h"
#include "x86/arch/image.h"
#include "x86/cpu/cpuid.h"

#define TABLE_FLAGS (PTE_P | PTE_RW | PTE_A | PTE_D)
#define L2_PAGES    (1ul << (L2_SHIFT - PAGE_SHIFT))
#define L3_PAGES    (1ul << (L3_SHIFT - PAGE_SHIFT))

uint64_t idle_l4[512] __aligned(PAGE_SIZE);
unsigned long max_mfn __read_only_after_boot;

static spinlock_t paging_lock = SPINLOCK_INIT;
static bool have_1g __read_only_after_boot;
static bool booting = true; // page-table pages come from boot_alloc

// Page-table pages set aside (arch_paging_stock_add).
enum { STOCK_SIZE = 12 };
static uint64_t stock[STOCK_SIZE];
static unsigned int stock_count;

void arch_paging_stock_add(mfn_t mfn)
{
    spin_lock(&paging_lock);
    BUG_ON(stock_count == STOCK_SIZE);
    stock[stock_count++] = mfn.v;
    spin_unlock(&paging_lock);
}

void arch_paging_ready(void)
{
    booting = false;
}

unsigned int arch_paging_stock(void)
{
    return READ_ONCE(stock_count);
}

// Pages for all other tables, taken from the allocator before the lock: an allocation may bring a
// section online, which maps that section's tables.
enum { SPARE_SIZE = 8, SPARE_WANTED = 4 }; // a mapping within one 2 MiB needs three at most
static uint64_t *spare[SPARE_SIZE];
static unsigned int spare_count;
static unsigned int tables_made; // from them; tables are never given back

unsigned int arch_paging_spare(void)
{
    return READ_ONCE(spare_count);
}

unsigned int arch_paging_tables(void)
{
    return READ_ONCE(tables_made);
}

static bool spare_fill(void)
{
    while (!booting && READ_ONCE(spare_count) < SPARE_WANTED) {
        void *p = page_alloc(0);
        if (!p)
            return false;
        spin_lock(&paging_lock);
        bool keep = spare_count < SPARE_SIZE;
        if (keep)
            spare[spare_count++] = p;
        spin_unlock(&paging_lock);
        if (!keep)
            page_free(p, 0);
    }
    return true;
}

static uint64_t *table_alloc(bool from_stock)
{
    void *p;

    if (booting)
        p = paddr_to_virt(boot_alloc(PAGE_SIZE, PAGE_SIZE));
    else if (from_stock && stock_count)
        p = mfn_to_virt(MFN(stock[--stock_count]));
    else
        p = from_stock || !spare_count ? NULL : spare[--spare_count];
    if (p && !booting && !from_stock)
        tables_made++;
    if (p)
        clear_page(p);
    return p;
}

static uint64_t *entry_table(uint64_t e)
{
    return paddr_to_virt(PADDR(e & PTE_ADDR_MASK));
}

static unsigned int level_shift(unsigned int level)
{
    return PAGE_SHIFT + 9 * (level - 1);
}

static uint64_t *entry_of(uint64_t *table, unsigned long va, unsigned int level)
{
    return &table[(va >> level_shift(level)) & 511];
}

// Replace a superpage entry of `level` by a table of smaller pages.
static bool split(uint64_t *e, unsigned int level, bool from_stock)
{
    uint64_t *t = table_alloc(from_stock);
    uint64_t step = 1ull << level_shift(level - 1), flags = *e & ~PTE_ADDR_MASK;

    if (!t)
        return false;
    if (level == 2)
        flags &= ~PTE_PSE;
    for (unsigned int i = 0; i < 512; i++)
        t[i] = ((*e & PTE_ADDR_MASK) + i * step) | flags;
    WRITE_ONCE(*e, virt_to_paddr(t).v | TABLE_FLAGS | (*e & PTE_US));
    return true;
}

// The entry for va at `level` (1..3), making the tables above it. NULL: no memory.
static uint64_t *walk_alloc(unsigned long va, unsigned int level, uint64_t us, bool from_stock)
{
    uint64_t *table = idle_l4;

    for (unsigned int l = 4;; l--) {
        uint64_t *e = entry_of(table, va, l);
        if (l == level)
            return e;
        if (!(*e & PTE_P)) {
            BUG_ON(l == 4 && !booting); // other roots would not see it
            uint64_t *t = table_alloc(from_stock);
            if (!t)
                return NULL;
            WRITE_ONCE(*e, virt_to_paddr(t).v | TABLE_FLAGS | us);
        } else if (l < 4 && (*e & PTE_PSE) && !split(e, l, from_stock)) {
            return NULL;
        }
        table = entry_table(*e);
    }
}

// The lowest entry that exists for va; its level in *level.
static uint64_t *walk(unsigned long va, unsigned int *level)
{
    uint64_t *table = idle_l4;

    for (unsigned int l = 4;; l--) {
        uint64_t *e = entry_of(table, va, l);
        *level = l;
        if (l == 1 || !(*e & PTE_P) || (l < 4 && (*e & PTE_PSE)))
            return e;
        table = entry_table(*e);
    }
}

static unsigned int best_level(unsigned long va, uint64_t mfn, unsigned long n)
{
    unsigned long align = (va >> PAGE_SHIFT) | mfn;

    if (have_1g && !(align & (L3_PAGES - 1)) && n >= L3_PAGES)
        return 3;
    return !(align & (L2_PAGES - 1)) && n >= L2_PAGES ? 2 : 1;
}

static int map_locked(unsigned long va, mfn_t mfn, unsigned long n, uint64_t prot, bool from_stock)
{
    while (n) {
        unsigned int level = best_level(va, mfn.v, n);
        uint64_t *e = walk_alloc(va, level, prot & PTE_US, from_stock);
        if (!e)
            return -ENOMEM;
        // A table that is there already stays: smaller pages then.
        if (level > 1 && (*e & PTE_P) && !(*e & PTE_PSE)) {
            level--;
            e = walk_alloc(va, level, prot & PTE_US, from_stock);
            if (level == 2 && (*e & PTE_P) && !(*e & PTE_PSE))
                e = walk_alloc(va, level = 1, prot & PTE_US, from_stock);
            if (!e)
                return -ENOMEM;
        }
        WRITE_ONCE(*e, mfn.v << PAGE_SHIFT | prot | (level > 1 ? PTE_PSE : 0));
        unsigned long pages = 1ul << (level_shift(level) - PAGE_SHIFT);
        va += pages << PAGE_SHIFT;
        mfn.v += pages;
        n -= pages;
    }
    return 0;
}

int paging_map(unsigned long va, mfn_t mfn, unsigned long n, uint64_t prot)
{
    int rc;

    // -ENOMEM: the spare pages were not enough; what they made stays, so the next round gets on.
    do {
        if (!spare_fill())
            return -ENOMEM;
        spin_lock(&paging_lock);
        rc = map_locked(va, mfn, n, prot, false);
        spin_unlock(&paging_lock);
    } while (rc == -ENOMEM);
    return rc;
}

int arch_map_memory_tables(unsigned long va, mfn_t mfn, unsigned long n)
{
    spin_lock(&paging_lock);
    int rc = map_locked(va, mfn, n, PROT_HV_RW, true);
    if (!rc && va >= M2P_VIRT && va < PERDOMAIN_VIRT)
        rc = map_locked(va - M2P_VIRT + M2P_RO_VIRT, mfn, n, (PROT_HV_RO | PTE_US) & ~PTE_G, true);
    spin_unlock(&paging_lock);
    return rc;
}

// Change [va, va+n pages): new flags, or none (unmap) when prot is 0. Splits what is larger.
static int change_locked(unsigned long va, unsigned long n, uint64_t prot)
{
    while (n) {
        unsigned int level;
        uint64_t *e = walk(va, &level);
        unsigned long pages = 1ul << (level_shift(level) - PAGE_SHIFT);
        unsigned long skip = pages - ((va >> PAGE_SHIFT) & (pages - 1));

        if (*e & PTE_P) {
            if (level > 1 && (skip != pages || n < pages)) {
                if (!split(e, level, false))
                    return -ENOMEM;
                continue;
            }
            WRITE_ONCE(*e, prot ? (*e & PTE_ADDR_MASK) | prot | (level > 1 ? PTE_PSE : 0) : 0);
        }
        skip = MIN(skip, n);
        va += skip << PAGE_SHIFT;
        n -= skip;
    }
    return 0;
}

static int change(unsigned long va, unsigned long n, uint64_t prot)
{
    int rc;

    do {
        if (!spare_fill())
            return -ENOMEM;
        spin_lock(&paging_lock);
        rc = change_locked(va, n, prot);
        spin_unlock(&paging_lock);
    } while (rc == -ENOMEM);
    return rc;
}

int paging_protect(unsigned long va, unsigned long n, uint64_t prot)
{
    int rc = change(va, n, prot);
    tlb_flush_all_global();
    return rc;
}

void paging_unmap(unsigned long va, unsigned long n)
{
    int rc = change(va, n, 0);
    BUG_ON(rc); // only a partial unmap of a superpage, which nobody does under memory pressure
    tlb_flush_all_global();
}

mfn_t paging_mfn_of(unsigned long va)
{
    unsigned int level;
    spin_lock(&paging_lock);
    uint64_t e = *walk(va, &level);
    spin_unlock(&paging_lock);
    if (!(e & PTE_P))
        return INVALID_MFN;
    uint64_t offset = va & ((1ul << level_shift(level)) - 1);
    return MFN(((e & PTE_ADDR_MASK) + offset) >> PAGE_SHIFT);
}

paddr_t paging_idle_cr3(void)
{
    return image_to_paddr(idle_l4);
}

void paging_init_guest_l4(uint64_t *l4, const uint64_t *perdomain_l3)
{
    memcpy(&l4[L4_SLOT_FIRST], &idle_l4[L4_SLOT_FIRST],
           (L4_SLOT_END - L4_SLOT_FIRST) * sizeof(*l4));
    l4[L4_SLOT_PERDOMAIN] = perdomain_l3 ? virt_to_paddr(perdomain_l3).v | TABLE_FLAGS : 0;
}

// ---- start ------------------------------------------------------------------------------------

static __init void map_or_panic(unsigned long va, mfn_t mfn, unsigned long n, uint64_t prot)
{
    if (map_locked(va, mfn, n, prot, false))
        panic("no memory for the hypervisor's page tables");
}

static __init void map_ram(void)
{
    for (unsigned int i = 0; i < machine_map_count; i++) {
        const struct boot_range *r = &machine_map[i];
        uint64_t first = PFN_UP(r->start.v), end = PFN_DOWN(r->start.v + r->size);
        if (r->type != BOOT_RANGE_RAM || first >= end)
            continue;
        end = MIN(end, (DIRECTMAP_VIRT_END - DIRECTMAP_VIRT) >> PAGE_SHIFT);
        if (first >= end)
            continue;
        map_or_panic((unsigned long)mfn_to_virt(MFN(first)), MFN(first), end - first, PROT_HV_RW);
        max_mfn = MAX(max_mfn, end);
    }
}

static __init void map_image(const char *from, const char *to, uint64_t prot)
{
    if (from != to)
        map_or_panic((unsigned long)from, MFN(image_to_paddr(from).v >> PAGE_SHIFT),
                     (to - from) >> PAGE_SHIFT, prot);
}

void __init paging_init(void)
{
    have_1g = cpuid(0x80000000, 0).a >= 0x80000001 && (cpuid(0x80000001, 0).d & (1u << 26));
    map_ram();
    // The L3s of the other slots, for all roots to share.
    for (unsigned int slot = L4_SLOT_FIRST; slot < 262; slot++) {
        if (slot == L4_SLOT_PERDOMAIN || slot == 258 || slot == 259)
            continue;
        if (!walk_alloc(~0ul << 48 | (unsigned long)slot << L4_SHIFT, 3, slot == 256 ? PTE_US : 0,
                        false))
            panic("no memory for the hypervisor's page tables");
    }
    map_image(image_start, text_end, PROT_HV_RX);
    map_image(init_start, init_text_end, PROT_HV_RX);
    map_image(init_text_end, init_end, PROT_HV_RW);
    map_image(rodata_start, rodata_end, PROT_HV_RO);
    map_image(ro_after_boot_start, image_end, PROT_HV_RW);
    asm volatile("mov %0, %%cr3" ::"r"(paging_idle_cr3().v) : "memory");
}

void paging_seal(void)
{
    unsigned long sealed = (unsigned long)ro_after_boot_start;
    unsigned long n = ((unsigned long)ro_after_boot_end - sealed) >> PAGE_SHIFT;

    if (n && paging_protect(sealed, n, PROT_HV_RO))
        panic("no memory to seal the image");
    paging_unmap((unsigned long)init_start, (init_end - init_start) >> PAGE_SHIFT);
}

mfn_t arch_m2p_frame(unsigned long n)
{
    unsigned long va = M2P_VIRT + n * (2 * MiB);
    mfn_t first = paging_mfn_of(va), last = paging_mfn_of(va + 2 * MiB - PAGE_SIZE);

    return last.v - first.v == (2 * MiB >> PAGE_SHIFT) - 1 ? first : INVALID_MFN;
}
