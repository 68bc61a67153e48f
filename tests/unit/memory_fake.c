// SPDX-License-Identifier: BSD-2-Clause
#include "memory_fake.h"

#include <sys/mman.h>

#include "core/cmdline.h"
#include "lib/bug.h"
#include "x86/arch/memory.h"

struct options options;
struct boot_range machine_map[BOOT_MAX_RANGES];
unsigned int machine_map_count;
unsigned long max_mfn;

struct domain dom;
static struct domain shared_by_all = {.id = DOMID_XEN};
struct domain *dom_xen = &shared_by_all;
static mfn_t m2p_chunk[8]; /* by section; 0: single pages */
static unsigned int stock;
unsigned int flushes;
static uint32_t stamp = 1;

void bug_report(const char *what, const char *file, int line)
{
    fprintf(stderr, "%s at %s:%d\n", what, file, line);
    abort();
}

void panic(const char *fmt, ...)
{
    fprintf(stderr, "panic: %s\n", fmt);
    abort();
}

void printk(const char *fmt, ...) {}

int arch_map_memory_tables(unsigned long va, mfn_t mfn, unsigned long n)
{
    unsigned long piece = (va - M2P_VIRT) / (2 * MiB);

    if (va >= M2P_VIRT && piece < ARRAY_SIZE(m2p_chunk) && n == 2 * MiB >> PAGE_SHIFT)
        m2p_chunk[piece] = mfn;
    return 0; /* all of it is mapped */
}

mfn_t arch_m2p_frame(unsigned long n)
{
    return n < ARRAY_SIZE(m2p_chunk) && m2p_chunk[n].v ? m2p_chunk[n] : INVALID_MFN;
}

void arch_paging_stock_add(mfn_t mfn)
{
    stock++;
}

unsigned int arch_paging_stock(void)
{
    return stock;
}

void arch_paging_ready(void) {}

uint32_t arch_tlb_stamp(void)
{
    return stamp;
}

void arch_tlb_flush_since(uint32_t since)
{
    flushes++;
    stamp++;
}

bool domain_get(struct domain *d)
{
    d->refs++;
    return true;
}

void domain_put(struct domain *d)
{
    d->refs--;
}

struct domain *domain_get_by_id(domid_t id)
{
    return id == dom.id && domain_get(&dom) ? &dom : NULL;
}

static void map_at(unsigned long va, uint64_t bytes)
{
    void *p = mmap((void *)va, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    assert_ptr_equal(p, (void *)va);
}

void ram(uint64_t start, uint64_t end)
{
    machine_map[machine_map_count++] =
        (struct boot_range){.start = PADDR(start), .size = end - start, .type = BOOT_RANGE_RAM};
    max_mfn = PFN_DOWN(end);
}

void machine_map_tables(uint64_t top)
{
    map_at(DIRECTMAP_VIRT, top);
    map_at(FRAME_TABLE_VIRT, (top >> PAGE_SHIFT) * sizeof(struct frame));
    map_at(M2P_VIRT, (top >> PAGE_SHIFT) * 8);
}

void drop_domain_frame(struct frame *f)
{
    __atomic_fetch_and(&f->count, ~FRAME_ALLOCATED, __ATOMIC_SEQ_CST);
    frame_put(f);
}
