// SPDX-License-Identifier: BSD-2-Clause
#include "memory/boot_alloc.h"

#include "core/console.h"
#include "lib/bug.h"
#include "lib/string.h"

// Reserved and allocated ranges, as frames [first, end), sorted and disjoint. Kept after boot:
// sections that come online later leave them out.
enum { MAX_RESERVED = 96 };
static struct {
    uint64_t first, end;
} reserved[MAX_RESERVED];
static unsigned int reserved_count;

#define BOOT_LIMIT_FRAMES (4 * GiB >> PAGE_SHIFT) // what the boot page tables map

unsigned int boot_reserved_count(void)
{
    return reserved_count;
}

void boot_reserved_range(unsigned int i, uint64_t *first, uint64_t *end)
{
    *first = reserved[i].first;
    *end = reserved[i].end;
}

static void reserve_frames(uint64_t first, uint64_t end)
{
    unsigned int i = 0, j;

    while (i < reserved_count && reserved[i].end < first)
        i++;
    // Ranges i..j-1 touch the new one: all become one.
    for (j = i; j < reserved_count && reserved[j].first <= end; j++) {
        first = MIN(first, reserved[j].first);
        end = MAX(end, reserved[j].end);
    }
    if (i == j) {
        if (reserved_count == MAX_RESERVED)
            panic("boot memory: too many reserved ranges");
        memmove(&reserved[i + 1], &reserved[i], (reserved_count - i) * sizeof(reserved[0]));
        reserved_count++;
    } else {
        memmove(&reserved[i + 1], &reserved[j], (reserved_count - j) * sizeof(reserved[0]));
        reserved_count -= j - i - 1;
    }
    reserved[i].first = first;
    reserved[i].end = end;
}

void boot_reserve(paddr_t start, uint64_t size)
{
    if (size)
        reserve_frames(PFN_DOWN(start.v), PFN_UP(start.v + size));
}

// The highest free run of n frames in [lo, hi), aligned; 0: none.
static uint64_t find_run(uint64_t lo, uint64_t hi, uint64_t n, uint64_t align)
{
    unsigned int i = reserved_count;

    while (hi >= n && hi - n >= lo && hi > n) {
        uint64_t start = ROUND_DOWN(hi - n, align);
        if (start < lo)
            return 0;
        while (i && reserved[i - 1].first >= start + n)
            i--;
        if (!i || reserved[i - 1].end <= start)
            return start;
        hi = reserved[i - 1].first;
    }
    return 0;
}

paddr_t boot_alloc(uint64_t bytes, uint64_t align)
{
    uint64_t n = PFN_UP(bytes), frames_align = MAX(align >> PAGE_SHIFT, (uint64_t)1);

    for (unsigned int i = machine_map_count; i-- > 0;) {
        const struct boot_range *r = &machine_map[i];
        if (r->type != BOOT_RANGE_RAM)
            continue;
        uint64_t lo = MAX(PFN_UP(r->start.v), (uint64_t)1);
        uint64_t hi = MIN(PFN_DOWN(r->start.v + r->size), BOOT_LIMIT_FRAMES);
        uint64_t start = hi > lo ? find_run(lo, hi, n, frames_align) : 0;
        if (start) {
            reserve_frames(start, start + n);
            return PADDR(start << PAGE_SHIFT);
        }
    }
    panic("boot memory: no %lu KiB of RAM left", (unsigned long)bytes >> 10);
}
