// SPDX-License-Identifier: BSD-2-Clause
/* Memory of a made-up machine with three nodes, whose borders are not those of sections: the first
 * has memory on both sides of the second's, the third has none. */
#include "memory_fake.h"

#include "memory/buddy.h"
#include "memory/nodes.h"

#define FRAMES(bytes) ((bytes) >> PAGE_SHIFT)
static const uint64_t border = 1 * GiB + 48 * MiB + 0x3000, back = 2 * GiB + 64 * MiB;

static unsigned int node_of(uint64_t mfn)
{
    return mfn >= FRAMES(border) && mfn < FRAMES(back) ? 1 : 0;
}

static int machine_up(void **state)
{
    machine_map_tables(8 * GiB);
    ram(0, 0x9f000);
    ram(1 * MiB, 160 * MiB);
    ram(1 * GiB, 1 * GiB + 128 * MiB);
    ram(2 * GiB, 2 * GiB + 128 * MiB);
    ram(4 * GiB, 4 * GiB + 128 * MiB);
    dom = (struct domain){.id = 7, .refs = 1, .max_pages = ~0ul, .page_list = FRAME_NONE};
    nodes_add_memory(0, 0x100);
    nodes_add_memory(1, FRAMES(border));
    nodes_add_memory(1, FRAMES(2 * GiB));
    nodes_add_memory(0, FRAMES(back));
    nodes_set_distance(0, 1, 30);
    nodes_set_distance(2, 0, 17);
    nodes_set_distance(2, 1, 16);
    nodes_finish(3);
    dom.node_affinity = nodes_all();
    frame_table_init();
    memory_init_late();
    return 0;
}

static void knows_where_things_are(void **state)
{
    assert_int_equal(node_search(0), 0);
    assert_int_equal(node_search(FRAMES(border) - 1), 0);
    assert_int_equal(node_search(FRAMES(border)), 1);
    assert_int_equal(node_search(FRAMES(back) - 1), 1);
    assert_int_equal(node_search(~0ul), 0);
    assert_int_equal(node_run_end(0), FRAMES(border));
    assert_int_equal(node_run_end(FRAMES(border)), FRAMES(back));
    assert_int_equal(node_run_end(FRAMES(back)), ~0ul);
    assert_int_equal(memory_node_pages(1), FRAMES(80 * MiB - 0x3000 + 64 * MiB));
    assert_int_equal(memory_node_pages(0) + memory_node_pages(1), memory_total_pages());
    assert_int_equal(memory_node_pages(2), 0);
    assert_int_equal(nodes_all(), 7);
}

static void distances(void **state)
{
    assert_int_equal(node_distance(0, 0), NODE_DISTANCE_LOCAL);
    assert_int_equal(node_distance(0, 1), 30);
    assert_int_equal(node_distance(1, 0), NODE_DISTANCE_REMOTE);
    assert_int_equal(node_near(0, 0), 0);
    assert_int_equal(node_near(0, 1), 2);
    assert_int_equal(node_near(2, 0), 2);
    assert_int_equal(node_near(2, 1), 1);
    assert_int_equal(node_near(2, 2), 0);
}

/* All of a node's memory, and that no more is had; freed, it is the node's again, in large blocks.
 */
static void one_node_alone(void **state)
{
    for (unsigned int node = 0; node < 2; node++) {
        uint64_t other = memory_node_free_pages(!node), n = 0;
        unsigned int flags = ALLOC_NODE(node) | ALLOC_THIS_NODE;
        struct frame *f;

        for (; (f = frame_alloc_domain(&dom, 0, flags, 0)); n++)
            assert_int_equal(node_of(frame_to_mfn(f).v), node);
        assert_true(n > memory_node_pages(node) / 2);
        assert_int_equal(memory_node_free_pages(node), 0);
        assert_int_equal(memory_node_free_pages(!node), other);
        /* Another one helps out, unless that is not wanted. */
        f = frame_alloc_domain(&dom, 0, ALLOC_NODE(node), 0);
        assert_int_equal(node_of(frame_to_mfn(f).v), !node);
        while (dom.page_list != FRAME_NONE)
            drop_domain_frame(mfn_to_frame(MFN(dom.page_list)));
        assert_int_equal(memory_node_free_pages(node), n);
        assert_int_equal(memory_node_free_pages(!node), other);
        f = frame_alloc_domain(&dom, 12, flags, 0);
        assert_non_null(f);
        assert_int_equal(node_of(frame_to_mfn(f).v), node);
        assert_int_equal(node_of(frame_to_mfn(f).v + 4095), node);
        while (dom.page_list != FRAME_NONE)
            drop_domain_frame(mfn_to_frame(MFN(dom.page_list)));
    }
    assert_null(frame_alloc_domain(&dom, 0, ALLOC_NODE(2) | ALLOC_THIS_NODE, 0));
}

static void share_of_node(unsigned int *count)
{
    count[0] = count[1] = 0;
    for (unsigned int i = 0; i < 60; i++) {
        struct frame *f = frame_alloc_domain(&dom, 0, 0, 0);
        count[node_of(frame_to_mfn(f).v)]++;
    }
    while (dom.page_list != FRAME_NONE)
        drop_domain_frame(mfn_to_frame(MFN(dom.page_list)));
}

static void as_the_domain_wants(void **state)
{
    unsigned int count[2];

    dom.node_affinity = 1;
    share_of_node(count);
    assert_int_equal(count[0], 60);
    dom.node_affinity = 2;
    share_of_node(count);
    assert_int_equal(count[1], 60);
    dom.node_affinity = 3;
    share_of_node(count);
    assert_int_equal(count[0], 30);
    dom.node_affinity = 4; /* no memory: the nearest one's */
    share_of_node(count);
    assert_int_equal(count[1], 60);
}

/* Blocks of both sides of a border that is not aligned never become one. */
static void never_across(void **state)
{
    enum { SLOTS = 300 };
    static struct {
        struct frame *f;
        unsigned int order;
    } slot[SLOTS];
    uint64_t before[2] = {memory_node_free_pages(0), memory_node_free_pages(1)};

    srand(4711);
    for (unsigned int step = 0; step < 30000; step++) {
        unsigned int i = rand() % SLOTS, node = rand() % 2;
        if (slot[i].f) {
            frame_free(slot[i].f, slot[i].order);
            slot[i].f = NULL;
            continue;
        }
        slot[i].order = rand() % 11;
        slot[i].f = frame_alloc(slot[i].order, ALLOC_NODE(node) | ALLOC_THIS_NODE);
        if (!slot[i].f)
            continue;
        uint64_t first = frame_to_mfn(slot[i].f).v;
        assert_int_equal(node_of(first), node);
        assert_int_equal(node_of(first + (1ul << slot[i].order) - 1), node);
    }
    for (unsigned int i = 0; i < SLOTS; i++)
        if (slot[i].f)
            frame_free(slot[i].f, slot[i].order);
    assert_int_equal(memory_node_free_pages(0), before[0]);
    assert_int_equal(memory_node_free_pages(1), before[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_where_things_are), cmocka_unit_test(distances),
        cmocka_unit_test(one_node_alone),         cmocka_unit_test(as_the_domain_wants),
        cmocka_unit_test(never_across),
    };
    return cmocka_run_group_tests(tests, machine_up, NULL);
}
