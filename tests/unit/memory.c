// SPDX-License-Identifier: BSD-2-Clause
/* Boot allocator, sections, buddy, domain pages and heap on a made-up machine. */
#include "memory_fake.h"

#include "memory/buddy.h"
#include "memory/heap.h"

enum { MIB = 256 }; /* pages */

static int machine_up(void **state)
{
    const uint64_t top = 8 * GiB;

    machine_map_tables(top);
    ram(0, 0x9f000);
    ram(1 * MiB, 160 * MiB - 0x20000);
    ram(1 * GiB + 16 * MiB, 1 * GiB + 80 * MiB);
    ram(4 * GiB, 4 * GiB + 100 * MiB + 0x3000);
    dom = (struct domain){.id = 7, .refs = 1, .max_pages = ~0ul, .page_list = FRAME_NONE};

    boot_reserve(PADDR(2 * MiB), 1 * MiB);
    boot_reserve(PADDR(64 * MiB), 32 * MiB);
    paddr_t a = boot_alloc(100, PAGE_SIZE), b = boot_alloc(2 * MiB, 2 * MiB);
    assert_int_equal(a.v % PAGE_SIZE, 0);
    assert_int_equal(b.v % (2 * MiB), 0);
    assert_true(b.v + 2 * MiB <= a.v);
    frame_table_init();
    memory_init_late();
    memory_scrub_enable();
    assert_false(mfn_valid(MFN(0x100)));
    return 0;
}

static uint64_t list_length(const struct domain *d)
{
    uint64_t n = 0;
    uint32_t prev = FRAME_NONE;

    for (uint32_t i = d->page_list; i != FRAME_NONE; i = mfn_to_frame(MFN(i))->next) {
        assert_int_equal(mfn_to_frame(MFN(i))->prev, prev);
        assert_int_equal(mfn_to_frame(MFN(i))->owner, d->id);
        prev = i;
        n++;
    }
    return n;
}

/* ---- tests ---- */

static bool reserved(uint64_t mfn)
{
    for (unsigned int i = 0; i < boot_reserved_count(); i++) {
        uint64_t first, end;
        boot_reserved_range(i, &first, &end);
        if (mfn >= first && mfn < end)
            return true;
    }
    return false;
}

static void everything_once(void **state)
{
    uint64_t promised = memory_free_pages(), n = 0, total = max_mfn;
    unsigned char *seen = calloc(1, total);
    struct frame *f, **list = calloc(total, sizeof(*list));

    while ((f = frame_alloc(0, 0))) {
        uint64_t mfn = frame_to_mfn(f).v;
        assert_true(mfn && mfn < total && mfn_is_ram(MFN(mfn)) && mfn_valid(MFN(mfn)));
        assert_false(reserved(mfn));
        assert_false(seen[mfn]);
        seen[mfn] = 1;
        list[n++] = f;
    }
    assert_true(n >= promised);
    assert_true(n < promised + 512);
    assert_int_equal(memory_free_pages(), 0);
    assert_false(mfn_valid(MFN(0xa0))); /* a hole in a section */
    assert_false(mfn_has_frame(MFN(3 * GiB >> PAGE_SHIFT)));
    assert_false(mfn_valid(MFN(~0ul)));
    assert_false(mfn_is_ram(MFN(0xa0)));
    for (uint64_t i = 0; i < n; i++)
        frame_free(list[i], 0);
    assert_int_equal(memory_free_pages(), n);
    /* Everything merged again: large blocks are there. */
    f = frame_alloc(13, 0);
    assert_non_null(f);
    frame_free(f, 13);
    free(seen);
    free(list);
}

static void address_limits(void **state)
{
    for (unsigned int bits = 20; bits < 40; bits++)
        for (unsigned int order = 0; order < 10; order++) {
            struct frame *f = frame_alloc_bits(order, 0, bits);
            if (!f) {
                assert_true(bits < 24);
                continue;
            }
            uint64_t last = frame_to_mfn(f).v + (1ul << order) - 1;
            assert_true(last << PAGE_SHIFT < 1ull << bits);
            assert_int_equal(frame_to_mfn(f).v % (1ul << order), 0);
            frame_free(f, order);
        }
    assert_null(frame_alloc_bits(0, 0, 11));
    struct frame *f = frame_alloc(0, ALLOC_BELOW_4G);
    assert_true(frame_to_mfn(f).v < 4 * GiB >> PAGE_SHIFT);
    frame_free(f, 0);
    f = frame_alloc(0, 0); /* low memory is spared */
    assert_true(frame_to_mfn(f).v >= 4 * GiB >> PAGE_SHIFT);
    frame_free(f, 0);
}

static void at_random(void **state)
{
    enum { SLOTS = 400 };
    static struct {
        struct frame *f;
        unsigned int order;
    } slot[SLOTS];
    uint64_t before = memory_free_pages();

    srand(4711);
    for (unsigned int step = 0; step < 40000; step++) {
        unsigned int i = rand() % SLOTS;
        if (!slot[i].f) {
            slot[i].order = rand() % 9;
            slot[i].f = frame_alloc(slot[i].order, 0);
            assert_true(slot[i].f || memory_free_pages() < before / 2);
            continue;
        }
        for (unsigned int j = 0; j < SLOTS; j++)
            if (j != i && slot[j].f)
                assert_true(slot[j].f >= slot[i].f + (1ul << slot[i].order) ||
                            slot[i].f >= slot[j].f + (1ul << slot[j].order));
        frame_free(slot[i].f, slot[i].order);
        slot[i].f = NULL;
        if (step % 7 == 0)
            memory_scrub_idle();
    }
    for (unsigned int i = 0; i < SLOTS; i++)
        if (slot[i].f)
            frame_free(slot[i].f, slot[i].order);
    assert_int_equal(memory_free_pages(), before);
}

static void scrubbed_and_flushed(void **state)
{
    uint64_t before = memory_free_pages();

    /* All memory to a domain, and back, full of secrets. */
    for (unsigned int round = 0; round < 2; round++) {
        unsigned int had = flushes;
        for (unsigned int i = 0; i < 64; i++) {
            struct frame *f = frame_alloc_domain(&dom, 4, 0, 0);
            assert_non_null(f);
            assert_int_equal(f->state, 1 | FRAME_ALLOCATED);
            assert_int_equal(f->owner, 7);
            for (unsigned int k = 0; k < 16; k++) {
                uint64_t *p = frame_to_virt(&f[k]);
                for (unsigned int w = 0; round && w < 512; w++)
                    assert_int_equal(p[w], 0);
                p[0] = p[511] = 0x5ec4e7;
            }
        }
        assert_int_equal(dom.tot_pages, 1024);
        assert_int_equal(list_length(&dom), 1024);
        assert_int_equal(dom.refs, 2);
        while (dom.page_list != FRAME_NONE)
            drop_domain_frame(mfn_to_frame(MFN(dom.page_list)));
        assert_int_equal(dom.tot_pages, 0);
        assert_int_equal(dom.refs, 1);
        if (round)
            assert_true(flushes > had);
        /* The second round shall get those: they are what is dirty or was. */
        while (memory_scrub_idle())
            ;
        assert_int_equal(buddy_dirty_pages(), 0);
    }
    assert_int_equal(memory_free_pages(), before);
}

static void references(void **state)
{
    struct domain other = {.id = 9};
    struct frame *f = frame_alloc_domain(&dom, 0, 0, 0);
    mfn_t mfn = frame_to_mfn(f);

    assert_true(frame_get(mfn, &dom));
    assert_false(frame_get(mfn, &other));
    assert_int_equal(f->state, 2 | FRAME_ALLOCATED);
    assert_int_equal(frame_get_owner(mfn), 7);
    frame_put(f);
    assert_true(frame_get_type_simple(f, FRAME_TYPE_WRITABLE));
    assert_false(frame_get_type_simple(f, FRAME_TYPE_SHARED));
    assert_int_equal(frame_steal(&dom, f), -EINVAL);
    frame_put_type_simple(f);
    frame_put(f);
    assert_int_equal(frame_steal(&dom, f), 0);
    assert_int_equal(list_length(&dom), 0);
    assert_int_equal(frame_get_owner(mfn), DOMID_INVALID);
    assert_int_equal(frame_assign(&dom, f), 0);
    assert_int_equal(list_length(&dom), 1);
    assert_true(frame_get(mfn, &dom));
    drop_domain_frame(f);
    assert_int_equal(dom.tot_pages, 1); /* still mapped somewhere */
    frame_put(f);
    assert_int_equal(dom.tot_pages, 0);
    assert_false(frame_get(mfn, &dom));
}

static void sharing(void **state)
{
    uint64_t before = memory_free_pages();
    void *p = page_alloc_zero(0);
    struct frame *f = mfn_to_frame(virt_to_mfn(p));

    frame_share(f, &dom, false);
    assert_int_equal(dom.shared_frames, 1);
    assert_true(frame_get(frame_to_mfn(f), &dom));
    assert_false(frame_get_type_simple(f, FRAME_TYPE_WRITABLE));
    frame_unshare(f);
    page_free(p, 0);
    assert_int_equal(memory_free_pages(), before - 1); /* mapped by the guest */
    frame_put(f);
    assert_int_equal(memory_free_pages(), before);
    assert_int_equal(dom.shared_frames, 0);
}

static void sharing_the_m2p(void **state)
{
    mfn_t first = m2p_share(0);

    assert_int_equal(first.v % 512, 0);
    for (unsigned int i = 0; i < 512; i++) {
        struct frame *f = mfn_to_frame(MFN(first.v + i));
        assert_true(frame_get(frame_to_mfn(f), dom_xen));
        assert_false(frame_get_type_simple(f, FRAME_TYPE_WRITABLE));
        frame_put(f);
    }
    assert_int_equal(dom_xen->shared_frames, 512);
    assert_true(mfn_eq(m2p_share(0), first)); /* once is enough */
    assert_int_equal(dom_xen->shared_frames, 512);
    /* Nothing but the map in it, also behind the end of the section's memory. */
    assert_int_equal(*m2p_entry(MFN(200 * MIB)), M2P_INVALID);
    assert_true(mfn_eq(m2p_share(2), INVALID_MFN)); /* no memory there */
    assert_true(mfn_eq(m2p_share(1ul << 40), INVALID_MFN));
}

static void limits_and_claims(void **state)
{
    struct domain rich = {.id = 8, .refs = 1, .max_pages = ~0ul};
    uint64_t free = memory_free_pages();

    dom.max_pages = 10;
    assert_null(frame_alloc_domain(&dom, 4, 0, 0));
    assert_int_equal(dom.tot_pages, 0);
    assert_int_equal(memory_claim(&dom, 11), -EINVAL);
    dom.max_pages = ~0ul;
    assert_int_equal(memory_claim(&rich, free - 10), 0);
    assert_int_equal(memory_unclaimed_pages(), 10);
    assert_null(frame_alloc_domain(&dom, 4, 0, 0));
    struct frame *f = frame_alloc_domain(&dom, 3, 0, 0);
    assert_non_null(f);
    assert_int_equal(memory_unclaimed_pages(), 2);
    assert_int_equal(memory_claim(&rich, 0), 0);
    for (unsigned int i = 0; i < 8; i++)
        drop_domain_frame(&f[i]);
    assert_int_equal(memory_free_pages(), free);
    dom.dying = DOMAIN_DYING;
    assert_null(frame_alloc_domain(&dom, 0, 0, 0));
    dom.dying = DOMAIN_ALIVE;
}

static void heap_at_random(void **state)
{
    enum { SLOTS = 500 };
    static struct {
        unsigned char *p;
        size_t size;
        unsigned char fill;
    } slot[SLOTS];
    uint64_t before = memory_free_pages(), bytes = heap_bytes_in_use();

    for (unsigned int step = 0; step < 60000; step++) {
        unsigned int i = rand() % SLOTS;
        if (slot[i].p) {
            for (size_t k = 0; k < slot[i].size; k++)
                assert_int_equal(slot[i].p[k], slot[i].fill);
            heap_free(slot[i].p);
            slot[i].p = NULL;
            continue;
        }
        slot[i].size = rand() % 8 ? rand() % 600 + 1 : rand() % 40000 + 1;
        slot[i].fill = rand();
        slot[i].p = heap_alloc(slot[i].size);
        assert_non_null(slot[i].p);
        assert_int_equal((unsigned long)slot[i].p % 16, 0);
        for (size_t k = 0; k < slot[i].size; k++)
            assert_int_equal(slot[i].p[k], 0);
        memset(slot[i].p, slot[i].fill, slot[i].size);
    }
    for (unsigned int i = 0; i < SLOTS; i++) {
        heap_free(slot[i].p);
        slot[i].p = NULL;
    }
    assert_int_equal(heap_bytes_in_use(), bytes);
    assert_int_equal(memory_free_pages(), before);
    assert_null(heap_alloc_array(1ul << 40, 1ul << 40));
    heap_free(NULL);
}

static void boot_memory_comes_back(void **state)
{
    uint64_t before = memory_free_pages();

    boot_release(PADDR(64 * MiB), 32 * MiB);
    assert_int_equal(memory_free_pages(), before + 32 * MIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_once), cmocka_unit_test(address_limits),
        cmocka_unit_test(at_random),       cmocka_unit_test(scrubbed_and_flushed),
        cmocka_unit_test(references),      cmocka_unit_test(sharing),
        cmocka_unit_test(sharing_the_m2p), cmocka_unit_test(limits_and_claims),
        cmocka_unit_test(heap_at_random),  cmocka_unit_test(boot_memory_comes_back),
    };
    return cmocka_run_group_tests_name("memory", tests, machine_up, NULL);
}
