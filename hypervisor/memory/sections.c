// SPDX-License-Identifier: BSD-2-Clause
// The frame table and the M2P, section by section. A section's tables come out of its own memory:
// whole 2 MiB pages where nearly all of one is used, single pages else.
#include "memory/sections.h"

#include "core/cmdline.h"
#include "core/console.h"
#include "core/domain.h"
#include "core/spinlock.h"
#include "lib/bug.h"
#include "lib/string.h"
#include "memory/boot_alloc.h"
#include "memory/buddy.h"
#include "memory/frame.h"
#include "x86/arch/memory.h"

#define CHUNK_PAGES (2 * MiB >> PAGE_SHIFT)
enum {
    // Pages of a 2 MiB chunk of the frame table that must be in use to take it whole; the M2P,
    // whose
    // one chunk can be shared, always takes it.
    CHUNK_WORTHWHILE = 448,
    PAGE_TABLES_MAX = 9, // for one section's tables
    MAX_EXTENTS = 128,
};

struct range {
    uint64_t first, end;
}; // frames

struct section *sections __read_only_after_boot;
unsigned long section_count __read_only_after_boot;
static uint32_t *offline_estimate; // by section: what it will give; 0: online or no RAM
static uint64_t offline_pages[NODES_MAX];
uint8_t *section_nodes __read_only_after_boot;

static struct range *ram;
static unsigned int ram_count;
static uint64_t total_pages;

static spinlock_t section_lock = SPINLOCK_INIT;
static bool ready; // boot allocations are over

bool mfn_is_ram(mfn_t mfn)
{
    unsigned int lo = 0, hi = ram_count;

    while (lo < hi) {
        unsigned int mid = (lo + hi) / 2;
        if (ram[mid].end <= mfn.v)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < ram_count && ram[lo].first <= mfn.v;
}

uint64_t memory_total_pages(void)
{
    return total_pages;
}

uint64_t sections_offline_node_pages(unsigned int node)
{
    return READ_ONCE(offline_pages[node]);
}

uint64_t sections_offline_pages(void)
{
    uint64_t n = 0;
    for (unsigned int node = 0; node < node_count; node++)
        n += READ_ONCE(offline_pages[node]);
    return n;
}

uint64_t memory_node_pages(unsigned int node)
{
    uint64_t n = 0;
    for (unsigned int i = 0; i < ram_count; i++)
        for (uint64_t at = ram[i].first, stop; at < ram[i].end; at = stop) {
            stop = MIN(ram[i].end, node_run_end(at));
            n += node_search(at) == node ? stop - at : 0;
        }
    return n;
}

// ---- free memory of a section before it is online ------------------------------------------

static struct range extents[MAX_EXTENTS]; // under section_lock
static unsigned int extent_count;

static void extent_add(uint64_t first, uint64_t end)
{
    if (first >= end)
        return;
    if (extent_count == MAX_EXTENTS) {
        printk(LOG_WARN "memory map too fragmented: %lu KiB unused\n", (end - first) * 4);
        return;
    }
    extents[extent_count++] = (struct range){first, end};
}

// RAM in [first, end) minus what is reserved, as extents.
static void extents_collect(uint64_t first, uint64_t end)
{
    extent_count = 0;
    for (unsigned int i = 0; i < ram_count; i++) {
        uint64_t at = MAX(ram[i].first, MAX(first, (uint64_t)1)), to = MIN(ram[i].end, end);
        for (unsigned int j = 0; j < boot_reserved_count() && at < to; j++) {
            uint64_t rf, re;
            boot_reserved_range(j, &rf, &re);
            if (re <= at || rf >= to)
                continue;
            extent_add(at, MIN(rf, to));
            at = re;
        }
        extent_add(at, to);
    }
}

static uint64_t extents_pages(void)
{
    uint64_t n = 0;
    for (unsigned int i = 0; i < extent_count; i++)
        n += extents[i].end - extents[i].first;
    return n;
}

// Cut an aligned run of n frames (a power of two) out of the highest extent that has one.
static bool extent_take(uint64_t n, uint64_t *out)
{
    for (unsigned int i = extent_count; i-- > 0;) {
        struct range *e = &extents[i];
        if (e->end - e->first < n)
            continue;
        uint64_t at = ROUND_DOWN(e->end - n, n);
        if (at < e->first)
            continue;
        uint64_t tail_first = at + n, tail_end = e->end;
        if (tail_first < tail_end && extent_count == MAX_EXTENTS)
            continue;
        e->end = at;
        extent_add(tail_first, tail_end);
        *out = at;
        return true;
    }
    return false;
}

// ---- online ------------------------------------------------------------------------------------

// Map memory for the page-rounded part of table [va, va + bytes) that lies in one 2 MiB chunk: a
// chunk from `worthwhile` pages on.
static bool back_chunk(unsigned long va, unsigned long pages, unsigned long worthwhile)
{
    uint64_t mfn;

    if (pages >= worthwhile && extent_take(CHUNK_PAGES, &mfn)) {
        unsigned long start = ROUND_DOWN(va, 2 * MiB);
        if (arch_map_memory_tables(start, MFN(mfn), CHUNK_PAGES))
            return false;
        return true;
    }
    for (unsigned long i = 0; i < pages; i++)
        if (!extent_take(1, &mfn) || arch_map_memory_tables(va + (i << PAGE_SHIFT), MFN(mfn), 1))
            return false;
    return true;
}

static bool back_table(unsigned long from, unsigned long to, unsigned long worthwhile)
{
    for (unsigned long va = from & PAGE_MASK; va < to;) {
        unsigned long end = MIN(ROUND_DOWN(va, 2 * MiB) + 2 * MiB, ROUND_UP(to, PAGE_SIZE));
        if (!back_chunk(va, (end - va) >> PAGE_SHIFT, worthwhile))
            return false;
        va = end;
    }
    return true;
}

static void fill_words(void *p, uint64_t value, unsigned long bytes)
{
    unsigned long n = bytes / 8;
    asm volatile("rep stosq" : "+D"(p), "+c"(n) : "a"(value) : "memory");
}

// Frames of [first, end) that are not RAM.
static void mark_holes(uint64_t first, uint64_t end)
{
    for (unsigned int i = 0; i < ram_count && first < end; i++) {
        if (ram[i].end <= first)
            continue;
        for (; first < MIN(ram[i].first, end); first++)
            mfn_to_frame(MFN(first))->owner = DOMID_IO;
        first = ram[i].end;
    }
}

// The RAM of section s as one range with possible holes; false: none.
static bool section_span(unsigned long s, uint64_t *first, uint64_t *end)
{
    uint64_t lo = s << SECTION_SHIFT, hi = lo + SECTION_FRAMES;

    *first = ~0ul;
    *end = 0;
    for (unsigned int i = 0; i < ram_count; i++) {
        if (ram[i].end <= lo || ram[i].first >= hi)
            continue;
        *first = MIN(*first, MAX(ram[i].first, lo));
        *end = MAX(*end, MIN(ram[i].end, hi));
    }
    return *end > *first;
}

// section_lock held.
static bool online_locked(unsigned long s)
{
    uint64_t first, end, mfn;

    if (sections[s].count)
        return true;
    if (!section_span(s, &first, &end))
        return false;
    if (offline_estimate[s])
        offline_pages[section_nodes[s]] -= offline_estimate[s];
    offline_estimate[s] = 0;
    extents_collect(first, end);
    // Enough page tables, first, so that nothing below can fail half-way.
    while (arch_paging_stock() < PAGE_TABLES_MAX) {
        if (!extent_take(1, &mfn))
            return false;
        arch_paging_stock_add(MFN(mfn));
    }
    struct frame *table = mfn_to_frame(MFN(first));
    uint64_t *m2p = m2p_entry(MFN(first));
    if (!back_table((unsigned long)table, (unsigned long)(table + (end - first)),
                    CHUNK_WORTHWHILE) ||
        !back_table((unsigned long)m2p, (unsigned long)(m2p + (end - first)), 1)) {
        printk(LOG_WARN "memory at %#lx is too small for its own tables: unused\n",
               first << PAGE_SHIFT);
        return false;
    }
    fill_words(table, 0, (end - first) * sizeof(*table));
    fill_words(m2p, M2P_INVALID, (end - first) * sizeof(*m2p));
    // Tools map whole pieces, so one that is a chunk has nothing else in it.
    if (!mfn_eq(arch_m2p_frame(s), INVALID_MFN))
        fill_words(m2p_entry(MFN(s << SECTION_SHIFT)), M2P_INVALID, 2 * MiB);
    mark_holes(first, end);
    sections[s].first = first & (SECTION_FRAMES - 1);
    __atomic_store_n(&sections[s].count, end - first, __ATOMIC_RELEASE);
    for (unsigned int i = 0; i < extent_count; i++)
        buddy_free_range(extents[i].first, extents[i].end, options.bootscrub);
    return true;
}

bool section_make_online(mfn_t mfn)
{
    unsigned long s = mfn.v >> SECTION_SHIFT;

    if (s >= section_count || !mfn_is_ram(mfn))
        return false;
    if (READ_ONCE(sections[s].count))
        return mfn_valid(mfn);
    if (!ready)
        return false;
    spin_lock(&section_lock);
    bool ok = online_locked(s);
    spin_unlock(&section_lock);
    return ok;
}

// Above 4 GiB from the bottom, then below 4 GiB from the top.
static long choose_section(unsigned int node, unsigned int bits)
{
    unsigned long limit = section_count, below_4g = 4;

    if (bits && bits < 64)
        limit = MIN(limit, DIV_ROUND_UP(1ul << bits, SECTION_FRAMES << PAGE_SHIFT));
    for (unsigned long s = below_4g; s < limit; s++)
        if (offline_estimate[s] && section_nodes[s] == node)
            return s;
    for (long s = (long)MIN(limit, below_4g) - 1; s >= 0; s--)
        if (offline_estimate[s] && section_nodes[s] == node)
            return s;
    return -1;
}

bool sections_online_next(unsigned int node, unsigned int bits)
{
    bool ok = false;

    if (!READ_ONCE(offline_pages[node]) || !ready)
        return false;
    spin_lock(&section_lock);
    for (long s; !ok && (s = choose_section(node, bits)) >= 0;)
        ok = online_locked(s);
    spin_unlock(&section_lock);
    return ok;
}

mfn_t m2p_share(unsigned long n)
{
    if (n >= section_count || !READ_ONCE(sections[n].count))
        return INVALID_MFN;
    mfn_t first = arch_m2p_frame(n);
    if (mfn_eq(first, INVALID_MFN))
        return first;
    spin_lock(&section_lock);
    // All of them or none.
    if (mfn_to_frame(first)->owner != DOMID_XEN)
        for (unsigned long i = 0; i < CHUNK_PAGES; i++)
            frame_share(mfn_to_frame(MFN(first.v + i)), dom_xen, false);
    spin_unlock(&section_lock);
    return first;
}

void boot_release(paddr_t start, uint64_t size)
{
    uint64_t first = PFN_UP(start.v), end = PFN_DOWN(start.v + size);

    while (first < end) {
        uint64_t stop = MIN(end, ROUND_DOWN(first, SECTION_FRAMES) + SECTION_FRAMES);
        if (section_make_online(MFN(first)))
            buddy_free_range(first, stop, true);
        first = stop;
    }
}

// ---- start -------------------------------------------------------------------------------------

void __init frame_table_init(void)
{
    ram = paddr_to_virt(boot_alloc(machine_map_count * sizeof(*ram), PAGE_SIZE));
    for (unsigned int i = 0; i < machine_map_count; i++) {
        const struct boot_range *r = &machine_map[i];
        struct range f = {PFN_UP(r->start.v), PFN_DOWN(r->start.v + r->size)};
        f.end = MIN(f.end, max_mfn);
        if (r->type != BOOT_RANGE_RAM || f.first >= f.end)
            continue;
        ram[ram_count++] = f;
        total_pages += f.end - f.first;
    }
    section_count = DIV_ROUND_UP(max_mfn, SECTION_FRAMES);
    uint64_t bytes =
        section_count * (sizeof(*sections) + sizeof(*offline_estimate) + sizeof(*section_nodes));
    sections = paddr_to_virt(boot_alloc(bytes, PAGE_SIZE));
    memset(sections, 0, bytes);
    offline_estimate = (uint32_t *)(sections + section_count);
    section_nodes = (uint8_t *)(offline_estimate + section_count);
    buddy_init();
}

// A section of several nodes comes online at once, so that all others are of one.
static void __init online_mixed(void)
{
    spin_lock(&section_lock);
    for (unsigned long s = 0; s < section_count; s++)
        if (section_nodes[s] == SECTION_OF_MANY)
            online_locked(s);
    spin_unlock(&section_lock);
}

void __init memory_init_late(void)
{
    arch_paging_ready();
    for (unsigned long s = 0; s < section_count; s++) {
        uint64_t first, end;
        if (!section_span(s, &first, &end))
            continue;
        section_nodes[s] = node_run_end(first) < end ? SECTION_OF_MANY : node_search(first);
        if (section_nodes[s] == SECTION_OF_MANY)
            continue;
        extents_collect(first, end);
        uint64_t pages = extents_pages();
        uint64_t tables =
            PFN_UP((end - first) * sizeof(struct frame)) + CHUNK_PAGES + PAGE_TABLES_MAX + 64;
        if (pages <= tables)
            continue;
        offline_estimate[s] = pages - tables;
        offline_pages[section_nodes[s]] += pages - tables;
    }
    ready = true;
    online_mixed();
}
