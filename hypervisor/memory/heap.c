// SPDX-License-Identifier: BSD-2-Clause
// The heap: pages cut into objects of one size class each. All book-keeping is in the page's frame:
//   linear         class + 1, or HEAP_LARGE for a run of whole pages (their number in `next`)
//   next, prev     list of the class's pages with free objects
//   entries_valid  objects in use
//   partial        first free object's index + 1; each free object begins with the next one's
#include "memory/heap.h"

#include "core/spinlock.h"
#include "lib/bug.h"
#include "lib/string.h"
#include "memory/buddy.h"
#include "memory/frame.h"

enum { HEAP_LARGE = 0x100 };

static const uint16_t class_size[] = {16,  32,  48,  64,  96,   128,  192,
                                      256, 384, 512, 672, 1024, 1360, 2048};
#define CLASSES ARRAY_SIZE(class_size)

static struct {
    spinlock_t lock;
    uint32_t pages; // first page with free objects
} __cacheline classes[CLASSES];
static uint64_t in_use, small_pages;

static unsigned int class_of(size_t size)
{
    unsigned int c = 0;
    while (class_size[c] < size)
        c++;
    return c;
}

static inline uint16_t *object(struct frame *f, unsigned int c, unsigned int index)
{
    return (uint16_t *)((char *)frame_to_virt(f) + index * class_size[c]);
}

static void list_push(unsigned int c, struct frame *f)
{
    uint32_t i = frame_to_mfn(f).v;
    f->prev = FRAME_NONE;
    f->next = classes[c].pages;
    if (f->next != FRAME_NONE)
        mfn_to_frame(MFN(f->next))->prev = i;
    classes[c].pages = i;
}

static void list_pull(unsigned int c, struct frame *f)
{
    if (f->next != FRAME_NONE)
        mfn_to_frame(MFN(f->next))->prev = f->prev;
    if (f->prev != FRAME_NONE)
        mfn_to_frame(MFN(f->prev))->next = f->next;
    else
        classes[c].pages = f->next;
}

static struct frame *page_new(unsigned int c)
{
    struct frame *f = frame_alloc(0, 0);

    if (!f)
        return NULL;
    unsigned int n = PAGE_SIZE / class_size[c];
    for (unsigned int i = 0; i < n; i++)
        *object(f, c, i) = i + 1 < n ? i + 2 : 0;
    f->linear = c + 1;
    f->entries_valid = 0;
    f->partial = 1;
    __atomic_add_fetch(&small_pages, 1, __ATOMIC_RELAXED);
    return f;
}

static void *small_alloc(unsigned int c)
{
    struct frame *spare = NULL;

    spin_lock(&classes[c].lock);
    while (classes[c].pages == FRAME_NONE) {
        // The allocator may flush TLBs: not under our lock.
        spin_unlock(&classes[c].lock);
        spare = page_new(c);
        if (!spare)
            return NULL;
        spin_lock(&classes[c].lock);
        list_push(c, spare);
    }
    struct frame *f = mfn_to_frame(MFN(classes[c].pages));
    uint16_t *p = object(f, c, f->partial - 1);
    f->partial = *p;
    f->entries_valid++;
    if (!f->partial)
        list_pull(c, f);
    spin_unlock(&classes[c].lock);
    __atomic_add_fetch(&in_use, class_size[c], __ATOMIC_RELAXED);
    return p;
}

static void small_free(struct frame *f, void *p)
{
    unsigned int c = f->linear - 1u, offset = (unsigned long)p & ~PAGE_MASK;

    BUG_ON(c >= CLASSES || offset % class_size[c]);
    spin_lock(&classes[c].lock);
    if (!f->partial)
        list_push(c, f);
    *(uint16_t *)p = f->partial;
    f->partial = offset / class_size[c] + 1;
    bool empty = --f->entries_valid == 0;
    if (empty)
        list_pull(c, f);
    spin_unlock(&classes[c].lock);
    __atomic_sub_fetch(&in_use, class_size[c], __ATOMIC_RELAXED);
    if (empty) {
        f->linear = 0;
        __atomic_sub_fetch(&small_pages, 1, __ATOMIC_RELAXED);
        frame_free(f, 0);
    }
}

static void *large_alloc(size_t size)
{
    unsigned long n = PFN_UP(size);
    unsigned int order = n > 1 ? 64 - __builtin_clzl(n - 1) : 0;
    struct frame *f = order <= BUDDY_MAX_ORDER ? frame_alloc(order, 0) : NULL;

    if (!f)
        return NULL;
    if (n < 1ul << order) { // the tail is not needed
        uint64_t first = frame_to_mfn(f).v;
        buddy_free_range(first + n, first + (1ul << order), true);
    }
    f->linear = HEAP_LARGE;
    f->next = n;
    __atomic_add_fetch(&in_use, n << PAGE_SHIFT, __ATOMIC_RELAXED);
    return frame_to_virt(f);
}

void *heap_alloc(size_t size)
{
    if (size == 0)
        size = 1;
    bool small = size <= class_size[CLASSES - 1];
    void *p = small ? small_alloc(class_of(size)) : large_alloc(size);
    return p ? memset(p, 0, size) : NULL;
}

void *heap_alloc_array(size_t n, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(n, size, &bytes) ? NULL : heap_alloc(bytes);
}

void heap_free(void *p)
{
    if (!p)
        return;
    struct frame *f = mfn_to_frame(virt_to_mfn(p));
    if (f->linear != HEAP_LARGE) {
        small_free(f, p);
        return;
    }
    BUG_ON((unsigned long)p & ~PAGE_MASK);
    uint64_t first = frame_to_mfn(f).v, n = f->next;
    f->linear = 0;
    __atomic_sub_fetch(&in_use, n << PAGE_SHIFT, __ATOMIC_RELAXED);
    buddy_free_range(first, first + n, true);
}

uint64_t heap_bytes_in_use(void)
{
    return READ_ONCE(in_use);
}

uint64_t heap_small_pages(void)
{
    return READ_ONCE(small_pages);
}
