// SPDX-License-Identifier: BSD-2-Clause
// Virtual space for I/O memory, scattered pages and hypervisor stacks.
#include "x86/mm/paging.h"

#include "core/spinlock.h"
#include "lib/bitmap.h"
#include "lib/bug.h"
#include "memory/frame.h"
#include "memory/heap.h"
#include "x86/arch/percpu.h"

// The area begins with stack slots: each is a guard and a stack of the same size.
enum { STACK_SLOTS = 1 << 16, VMAP_PAGES = 1 << 18 };
#define STACK_SLOT_SIZE (2 * STACK_SIZE)
#define STACKS_VIRT     VMAP_VIRT
#define VMAP_BASE       (STACKS_VIRT + STACK_SLOTS * STACK_SLOT_SIZE)

static spinlock_t vmap_lock = SPINLOCK_INIT;
static unsigned long used[BITMAP_WORDS(VMAP_PAGES)];
static unsigned long stack_used[BITMAP_WORDS(STACK_SLOTS)];
static unsigned int stack_hint; // no free slot below

// Reserve n pages with a free page on each side; aligned to 2 MiB when larger than that, so that
// superpages can be used. 0: no space.
static unsigned long space_alloc(unsigned long n)
{
    unsigned long align = n >= 512 ? 512 : 1, start = align, at = 0;

    spin_lock(&vmap_lock);
    for (;;) {
        start = ROUND_UP(start, align);
        if (start + n >= VMAP_PAGES)
            break;
        // used[start-1 .. start+n] must be clear.
        unsigned long next = bitmap_next(used, start + n + 1, start - 1);
        if (next == start + n + 1) {
            at = start;
            for (unsigned long i = 0; i < n; i++)
                bit_set(used, at + i);
            break;
        }
        start = bitmap_next_zero(used, VMAP_PAGES, next) + 1;
    }
    spin_unlock(&vmap_lock);
    return at ? VMAP_BASE + (at << PAGE_SHIFT) : 0;
}

static unsigned long space_length(unsigned long va)
{
    unsigned long first = (va - VMAP_BASE) >> PAGE_SHIFT;
    return bitmap_next_zero(used, VMAP_PAGES, first) - first;
}

static void space_free(unsigned long va, unsigned long n)
{
    spin_lock(&vmap_lock);
    for (unsigned long i = 0, first = (va - VMAP_BASE) >> PAGE_SHIFT; i < n; i++)
        bit_clear(used, first + i);
    spin_unlock(&vmap_lock);
}

void *vmap(const mfn_t *mfns, unsigned long n, uint64_t prot)
{
    unsigned long va = space_alloc(n);

    if (!va)
        return NULL;
    for (unsigned long i = 0; i < n; i++) {
        if (paging_map(va + (i << PAGE_SHIFT), mfns[i], 1, prot)) {
            paging_unmap(va, i);
            space_free(va, n);
            return NULL;
        }
    }
    return (void *)va;
}

void *ioremap(paddr_t pa, size_t size)
{
    unsigned long first = PFN_DOWN(pa.v), n = PFN_UP(pa.v + size) - first;
    unsigned long va = size ? space_alloc(n) : 0;

    if (!va)
        return NULL;
    if (paging_map(va, MFN(first), n, PROT_HV_UC)) {
        paging_unmap(va, n);
        space_free(va, n);
        return NULL;
    }
    return (void *)(va + (pa.v & ~PAGE_MASK));
}

void vunmap(void *p)
{
    unsigned long va = (unsigned long)p & PAGE_MASK;

    if (!p)
        return;
    BUG_ON(va < VMAP_BASE || va >= VMAP_BASE + ((unsigned long)VMAP_PAGES << PAGE_SHIFT));
    unsigned long n = space_length(va);
    paging_unmap(va, n);
    space_free(va, n);
}

void *stack_alloc(void)
{
    void *pages = page_alloc_zero(STACK_ORDER);

    if (!pages)
        return NULL;
    spin_lock(&vmap_lock);
    unsigned int slot = bitmap_next_zero(stack_used, STACK_SLOTS, stack_hint);
    if (slot < STACK_SLOTS) {
        bit_set(stack_used, slot);
        stack_hint = slot + 1;
    }
    spin_unlock(&vmap_lock);
    if (slot == STACK_SLOTS)
        goto out_pages;
    unsigned long va = STACKS_VIRT + slot * STACK_SLOT_SIZE + STACK_SIZE;
    if (!paging_map(va, virt_to_mfn(pages), 1ul << STACK_ORDER, PROT_HV_RW))
        return (void *)va;
    bit_clear(stack_used, slot);

out_pages:
    page_free(pages, STACK_ORDER);
    return NULL;
}

void stack_free(void *stack)
{
    if (!stack)
        return;
    unsigned long va = (unsigned long)stack;
    unsigned int slot = (va - STACKS_VIRT) / STACK_SLOT_SIZE;
    mfn_t mfn = paging_mfn_of(va);

    paging_unmap(va, 1ul << STACK_ORDER);
    page_free(mfn_to_virt(mfn), STACK_ORDER);
    spin_lock(&vmap_lock);
    bit_clear(stack_used, slot);
    stack_hint = MIN(stack_hint, slot);
    spin_unlock(&vmap_lock);
}
