// SPDX-License-Identifier: BSD-2-Clause
// The buddy allocator. Zone z holds the blocks whose last frame number has z significant bits, so
// that any address limit is a range of zones. Clean and dirty blocks are kept apart and merge only
// with their like: a dirty block is dirty all over, and idle CPUs turn dirty ones into clean ones.
//
// A free block is known by its first frame: count 0 (FRAME_STAMPED may be set), type
// FRAME_FREE_HEAD (| FRAME_FREE_DIRTY), order in `linear`, list links in next and prev.
#include "memory/buddy.h"

#include "core/spinlock.h"
#include "lib/bug.h"
#include "memory/frame.h"

enum { ZONES = 41, SCRUB_ORDER = 0 }; // one page at a time: idle CPUs must wake up fast

static spinlock_t buddy_lock = SPINLOCK_INIT;
static uint32_t heads[ZONES][2][BUDDY_MAX_ORDER + 1]; // [zone][dirty][order]: frame index
static uint32_t orders_free[ZONES][2];                // bit per order that has blocks
static uint64_t zones_free;                           // bit per zone that has blocks
static uint64_t free_pages, dirty_pages;

static inline struct frame *frame_at(uint32_t index)
{
    return mfn_to_frame(MFN(index));
}

static inline uint32_t index_of(const struct frame *f)
{
    return frame_to_mfn(f).v;
}

static inline unsigned int zone_of(uint64_t first, unsigned int order)
{
    uint64_t last = first + (1ul << order) - 1;
    return last ? 64 - __builtin_clzl(last) : 0;
}

static void push(struct frame *f, unsigned int order, bool dirty)
{
    uint32_t i = index_of(f);
    unsigned int zone = zone_of(i, order);
    uint32_t *head = &heads[zone][dirty][order];

    f->type = FRAME_FREE_HEAD | (dirty ? FRAME_FREE_DIRTY : 0);
    f->linear = order;
    f->prev = FRAME_NONE;
    f->next = *head;
    if (*head != FRAME_NONE)
        frame_at(*head)->prev = i;
    *head = i;
    orders_free[zone][dirty] |= 1u << order;
    zones_free |= 1ul << zone;
}

static void pull(struct frame *f)
{
    unsigned int order = f->linear, zone = zone_of(index_of(f), order);
    bool dirty = f->type & FRAME_FREE_DIRTY;

    if (f->next != FRAME_NONE)
        frame_at(f->next)->prev = f->prev;
    if (f->prev != FRAME_NONE)
        frame_at(f->prev)->next = f->next;
    else
        heads[zone][dirty][order] = f->next;
    f->type = 0;
    if (heads[zone][dirty][order] != FRAME_NONE)
        return;
    orders_free[zone][dirty] &= ~(1u << order);
    if (!(orders_free[zone][0] | orders_free[zone][1]))
        zones_free &= ~(1ul << zone);
}

// A block of `order`, which may be larger still: it is cut to size, low part first.
static struct frame *cut(struct frame *f, unsigned int order, bool dirty)
{
    unsigned int o = f->linear;

    pull(f);
    while (o > order) {
        o--;
        push(f + (1ul << o), o, dirty);
    }
    free_pages -= 1ul << order;
    if (dirty)
        dirty_pages -= 1ul << order;
    return f;
}

struct frame *buddy_alloc(unsigned int order, unsigned int bits, bool *dirty)
{
    struct frame *f = NULL;
    uint64_t allowed = ~0ul;

    if (order > BUDDY_MAX_ORDER)
        return NULL;
    if (bits && bits < ZONES + PAGE_SHIFT)
        allowed = bits >= PAGE_SHIFT ? (1ul << (bits - PAGE_SHIFT + 1)) - 1 : 0;
    spin_lock(&buddy_lock);
    // The highest zone that can serve keeps low memory for those who need it.
    for (uint64_t zones = zones_free & allowed; zones;) {
        unsigned int zone = 63 - __builtin_clzl(zones);
        uint32_t clean = orders_free[zone][0] >> order, soiled = orders_free[zone][1] >> order;
        if (clean | soiled) {
            *dirty = !clean;
            unsigned int o = order + __builtin_ctz(clean ? clean : soiled);
            f = cut(frame_at(heads[zone][*dirty][o]), order, *dirty);
            break;
        }
        zones &= ~(1ul << zone);
    }
    spin_unlock(&buddy_lock);
    return f;
}

static inline bool is_free_block(const struct frame *f, unsigned int order, bool dirty)
{
    return (f->type == (FRAME_FREE_HEAD | (dirty ? FRAME_FREE_DIRTY : 0))) &&
           !(f->count & ~FRAME_STAMPED) && f->linear == order;
}

static void free_locked(struct frame *f, unsigned int order, bool dirty)
{
    uint64_t i = index_of(f);

    free_pages += 1ul << order;
    if (dirty)
        dirty_pages += 1ul << order;
    for (; order < BUDDY_MAX_ORDER; order++) {
        uint64_t buddy = i ^ (1ul << order);
        if (!mfn_has_frame(MFN(buddy)) || !is_free_block(frame_at(buddy), order, dirty))
            break;
        pull(frame_at(buddy));
        i &= ~(1ul << order);
    }
    push(frame_at(i), order, dirty);
}

void buddy_free(struct frame *f, unsigned int order, bool dirty)
{
    ASSERT(!(f->count & ~FRAME_STAMPED) && !(f->type & FRAME_FREE_HEAD));
    ASSERT(!(index_of(f) & ((1ul << order) - 1)) && index_of(f));
    spin_lock(&buddy_lock);
    free_locked(f, order, dirty);
    spin_unlock(&buddy_lock);
}

void buddy_free_range(uint64_t first, uint64_t end, bool dirty)
{
    if (first == 0)
        first = 1; // index 0 means none
    while (first < end) {
        unsigned int order = MIN(__builtin_ctzl(first), BUDDY_MAX_ORDER);
        while (first + (1ul << order) > end)
            order--;
        buddy_free(mfn_to_frame(MFN(first)), order, dirty);
        first += 1ul << order;
    }
}

bool buddy_scrub_some(void)
{
    struct frame *f = NULL;
    unsigned int order = 0;

    if (!READ_ONCE(dirty_pages))
        return false;
    spin_lock(&buddy_lock);
    for (uint64_t zones = zones_free; zones; zones &= zones - 1) {
        unsigned int zone = __builtin_ctzl(zones);
        if (!orders_free[zone][1])
            continue;
        unsigned int o = __builtin_ctz(orders_free[zone][1]);
        order = MIN(o, (unsigned int)SCRUB_ORDER);
        f = cut(frame_at(heads[zone][1][o]), order, true);
        break;
    }
    spin_unlock(&buddy_lock);
    if (!f)
        return false;
    for (unsigned int i = 0; i < 1u << order; i++)
        clear_page(frame_to_virt(&f[i]));
    buddy_free(f, order, false);
    return true;
}

uint64_t buddy_free_pages(void)
{
    return READ_ONCE(free_pages);
}

uint64_t buddy_dirty_pages(void)
{
    return READ_ONCE(dirty_pages);
}
