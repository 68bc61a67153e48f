// SPDX-License-Identifier: BSD-2-Clause
// The buddy allocator. Each node has a pool of its own. Zone z of it holds the blocks whose last
// frame number has z significant bits, so that any address limit is a range of zones. Clean and
// dirty blocks are kept apart and merge only with their like: a dirty block is dirty all over, and
// idle CPUs turn dirty ones into clean ones.
//
// A free block is known by its first frame: count 0 (FRAME_STAMPED may be set), type
// FRAME_FREE_HEAD (| FRAME_FREE_DIRTY), order in `linear`, list links in next and prev.
#include "memory/buddy.h"

#include "core/spinlock.h"
#include "lib/bug.h"
#include "lib/string.h"
#include "memory/boot_alloc.h"
#include "memory/frame.h"
#include "memory/nodes.h"
#include "memory/sections.h"

enum { ZONES = 41, SCRUB_ORDER = 0 }; // one page at a time: idle CPUs must wake up fast

struct pool {
    spinlock_t lock;
    uint32_t heads[ZONES][2][BUDDY_MAX_ORDER + 1]; // [zone][dirty][order]: frame index
    uint32_t orders_free[ZONES][2];                // bit per order that has blocks
    uint64_t zones_free;                           // bit per zone that has blocks
    uint64_t free_pages, dirty_pages;
};

static struct pool first_pool;
static struct pool *pools[NODES_MAX] = {&first_pool};

void __init buddy_init(void)
{
    for (unsigned int node = 1; node < node_count; node++) {
        pools[node] = paddr_to_virt(boot_alloc(sizeof(struct pool), PAGE_SIZE));
        memset(pools[node], 0, sizeof(struct pool));
    }
    for (unsigned int node = 0; node < node_count; node++)
        spin_lock_init(&pools[node]->lock);
}

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

static void push(struct pool *p, struct frame *f, unsigned int order, bool dirty)
{
    uint32_t i = index_of(f);
    unsigned int zone = zone_of(i, order);
    uint32_t *head = &p->heads[zone][dirty][order];

    f->type = FRAME_FREE_HEAD | (dirty ? FRAME_FREE_DIRTY : 0);
    f->linear = order;
    f->prev = FRAME_NONE;
    f->next = *head;
    if (*head != FRAME_NONE)
        frame_at(*head)->prev = i;
    *head = i;
    p->orders_free[zone][dirty] |= 1u << order;
    p->zones_free |= 1ul << zone;
}

static void pull(struct pool *p, struct frame *f)
{
    unsigned int order = f->linear, zone = zone_of(index_of(f), order);
    bool dirty = f->type & FRAME_FREE_DIRTY;
    uint32_t *head = &p->heads[zone][dirty][order];

    if (f->next != FRAME_NONE)
        frame_at(f->next)->prev = f->prev;
    if (f->prev != FRAME_NONE)
        frame_at(f->prev)->next = f->next;
    else
        *head = f->next;
    f->type = 0;
    if (*head != FRAME_NONE)
        return;
    p->orders_free[zone][dirty] &= ~(1u << order);
    if (!(p->orders_free[zone][0] | p->orders_free[zone][1]))
        p->zones_free &= ~(1ul << zone);
}

// A block of `order`, which may be larger still: it is cut to size, low part first.
static struct frame *cut(struct pool *p, struct frame *f, unsigned int order, bool dirty)
{
    unsigned int o = f->linear;

    pull(p, f);
    while (o > order) {
        o--;
        push(p, f + (1ul << o), o, dirty);
    }
    p->free_pages -= 1ul << order;
    if (dirty)
        p->dirty_pages -= 1ul << order;
    return f;
}

struct frame *buddy_alloc(unsigned int node, unsigned int order, unsigned int bits, bool *dirty)
{
    struct pool *p = pools[node];
    struct frame *f = NULL;
    uint64_t allowed = ~0ul;

    if (order > BUDDY_MAX_ORDER)
        return NULL;
    if (bits && bits < ZONES + PAGE_SHIFT)
        allowed = bits >= PAGE_SHIFT ? (1ul << (bits - PAGE_SHIFT + 1)) - 1 : 0;
    spin_lock(&p->lock);
    // The highest zone that can serve keeps low memory for those who need it.
    for (uint64_t zones = p->zones_free & allowed; zones;) {
        unsigned int zone = 63 - __builtin_clzl(zones);
        uint32_t clean = p->orders_free[zone][0] >> order;
        uint32_t soiled = p->orders_free[zone][1] >> order;
        if (clean | soiled) {
            *dirty = !clean;
            unsigned int o = order + __builtin_ctz(clean ? clean : soiled);
            f = cut(p, frame_at(p->heads[zone][*dirty][o]), order, *dirty);
            break;
        }
        zones &= ~(1ul << zone);
    }
    spin_unlock(&p->lock);
    return f;
}

static inline bool is_free_block(const struct frame *f, unsigned int order, bool dirty)
{
    return (f->type == (FRAME_FREE_HEAD | (dirty ? FRAME_FREE_DIRTY : 0))) &&
           !(f->count & ~FRAME_STAMPED) && f->linear == order;
}

// A frame table entry of another node's may change under us, but never into a free block of the
// order that would make it one with ours and be of the same node: it is looked at by node first.
static bool can_merge(const struct pool *p, uint64_t buddy, unsigned int order, bool dirty)
{
    return mfn_has_frame(MFN(buddy)) && pools[node_of_mfn(buddy)] == p &&
           is_free_block(frame_at(buddy), order, dirty);
}

static void free_locked(struct pool *p, struct frame *f, unsigned int order, bool dirty)
{
    uint64_t i = index_of(f);

    p->free_pages += 1ul << order;
    if (dirty)
        p->dirty_pages += 1ul << order;
    for (; order < BUDDY_MAX_ORDER; order++) {
        uint64_t buddy = i ^ (1ul << order);
        if (!can_merge(p, buddy, order, dirty))
            break;
        pull(p, frame_at(buddy));
        i &= ~(1ul << order);
    }
    push(p, frame_at(i), order, dirty);
}

void buddy_free(struct frame *f, unsigned int order, bool dirty)
{
    struct pool *p = pools[node_of_mfn(index_of(f))];

    ASSERT(!(f->count & ~FRAME_STAMPED) && !(f->type & FRAME_FREE_HEAD));
    ASSERT(!(index_of(f) & ((1ul << order) - 1)) && index_of(f));
    spin_lock(&p->lock);
    free_locked(p, f, order, dirty);
    spin_unlock(&p->lock);
}

// No block lies in two nodes, so neither does one that blocks are merged to.
void buddy_free_range(uint64_t first, uint64_t end, bool dirty)
{
    if (first == 0)
        first = 1; // index 0 means none
    while (first < end) {
        uint64_t stop = MIN(end, node_run_end(first));
        unsigned int order = MIN(__builtin_ctzl(first), BUDDY_MAX_ORDER);
        while (first + (1ul << order) > stop)
            order--;
        buddy_free(mfn_to_frame(MFN(first)), order, dirty);
        first += 1ul << order;
    }
}

// A dirty block of at most SCRUB_ORDER, taken out; NULL: none is dirty.
static struct frame *take_dirty(struct pool *p, unsigned int *order)
{
    struct frame *f = NULL;

    if (!READ_ONCE(p->dirty_pages))
        return NULL;
    spin_lock(&p->lock);
    for (uint64_t zones = p->zones_free; zones; zones &= zones - 1) {
        unsigned int zone = __builtin_ctzl(zones);
        if (!p->orders_free[zone][1])
            continue;
        unsigned int o = __builtin_ctz(p->orders_free[zone][1]);
        *order = MIN(o, (unsigned int)SCRUB_ORDER);
        f = cut(p, frame_at(p->heads[zone][1][o]), *order, true);
        break;
    }
    spin_unlock(&p->lock);
    return f;
}

bool buddy_scrub_some(unsigned int node)
{
    struct frame *f = NULL;
    unsigned int order = 0;

    for (unsigned int i = 0; i < node_count && !f; i++)
        f = take_dirty(pools[node_near(node, i)], &order);
    if (!f)
        return false;
    for (unsigned int i = 0; i < 1u << order; i++)
        clear_page(frame_to_virt(&f[i]));
    buddy_free(f, order, false);
    return true;
}

uint64_t buddy_node_free_pages(unsigned int node)
{
    return READ_ONCE(pools[node]->free_pages);
}

uint64_t buddy_free_pages(void)
{
    uint64_t n = 0;
    for (unsigned int node = 0; node < node_count; node++)
        n += READ_ONCE(pools[node]->free_pages);
    return n;
}

uint64_t buddy_dirty_pages(void)
{
    uint64_t n = 0;
    for (unsigned int node = 0; node < node_count; node++)
        n += READ_ONCE(pools[node]->dirty_pages);
    return n;
}
