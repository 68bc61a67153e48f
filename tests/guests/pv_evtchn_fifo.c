// SPDX-License-Identifier: BSD-2-Clause
// Event channels, FIFO: control block, event array, order by priority, masks, errors.
#include "lib/guest.h"

static evtchn_fifo_control_block_t *block;
static volatile event_word_t *array[4];
static uint32_t heads[EVTCHN_FIFO_MAX_QUEUES];
static uint32_t order[600];
static unsigned int taken;

static volatile event_word_t *word_of(uint32_t port)
{
    return &array[port / 1024][port % 1024];
}

static void take(unsigned int queue)
{
    uint32_t port = heads[queue] ? heads[queue] : READ_ONCE(block->head[queue]);
    volatile event_word_t *w = word_of(port);
    event_word_t old = *w;

    // Clear LINKED and the link in one step; the link read is the next in the queue.
    while (!__atomic_compare_exchange_n(w, &old,
                                        old & ~((1U << EVTCHN_FIFO_LINKED) | EVTCHN_FIFO_LINK_MASK),
                                        false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
    heads[queue] = old & EVTCHN_FIFO_LINK_MASK;
    if ((old & 1U << EVTCHN_FIFO_PENDING) && !(old & 1U << EVTCHN_FIFO_MASKED)) {
        __atomic_fetch_and(w, ~(1U << EVTCHN_FIFO_PENDING), __ATOMIC_SEQ_CST);
        if (taken < ARRAY_SIZE(order))
            order[taken++] = port;
        event_count[port]++;
    }
}

static void scan_fifo(void)
{
    uint32_t ready;

    while ((ready = __atomic_exchange_n(&block->ready, 0, __ATOMIC_SEQ_CST))) {
        while (ready) {
            unsigned int q = (unsigned int)__builtin_ctz(ready);

            take(q);
            if (!heads[q])
                ready &= ~(1U << q);
            ready |= __atomic_exchange_n(&block->ready, 0, __ATOMIC_SEQ_CST);
        }
    }
}

static void fifo_mask(uint32_t port)
{
    __atomic_fetch_or(word_of(port), 1U << EVTCHN_FIFO_MASKED, __ATOMIC_SEQ_CST);
}

static void fifo_clear_mask(uint32_t port)
{
    __atomic_fetch_and(word_of(port), ~(1U << EVTCHN_FIFO_MASKED), __ATOMIC_SEQ_CST);
}

static long set_priority(evtchn_port_t port, uint32_t priority)
{
    struct evtchn_set_priority p = {.port = port, .priority = priority};

    return hc_event_channel_op(EVTCHNOP_set_priority, &p);
}

static long expand(void *page)
{
    struct evtchn_expand_array e = {.array_gfn = va_to_mfn(page)};

    return hc_event_channel_op(EVTCHNOP_expand_array, &e);
}

static void init(void)
{
    struct evtchn_init_control c = {.offset = 0, .vcpu = 0};

    block = page_alloc();
    array[0] = page_alloc();
    is_error(expand((void *)array[0]), "expand_array before init_control");
    c.control_gfn = 0x7ffffffff;
    is_error(hc_event_channel_op(EVTCHNOP_init_control, &c), "a frame out of range");
    c.control_gfn = va_to_mfn(block);
    c.offset = PAGE_SIZE - 8;
    is_error(hc_event_channel_op(EVTCHNOP_init_control, &c), "a block across the end of its page");
    c.offset = 4;
    is_error(hc_event_channel_op(EVTCHNOP_init_control, &c), "a block that is not aligned");
    c.offset = 0;
    c.vcpu = 9999;
    is_error(hc_event_channel_op(EVTCHNOP_init_control, &c), "no such vCPU");
    c.vcpu = 0;
    is(hc_event_channel_op(EVTCHNOP_init_control, &c), 0, "init_control");
    is(c.link_bits, EVTCHN_FIFO_LINK_BITS, "link bits");
    event_scan = scan_fifo;
    is(expand((void *)array[0]), 0, "expand_array");
}

static void delivery(void)
{
    long p = event_bind_ipi(0);

    ok(p > 0, "bind_ipi");
    fifo_clear_mask((uint32_t)p);
    event_enable();
    event_count[p] = 0;
    is(event_send((evtchn_port_t)p), 0, "send");
    is(event_count[p], 1, "delivered");
    event_disable();
    event_send((evtchn_port_t)p);
    event_send((evtchn_port_t)p);
    is(event_count[p], 1, "not while disabled");
    event_enable();
    is(event_count[p], 2, "once when enabled");
    fifo_mask((uint32_t)p);
    event_send((evtchn_port_t)p);
    is(event_count[p], 2, "not while the port is masked");
    ok(*word_of((uint32_t)p) >> EVTCHN_FIFO_PENDING & 1, "but pending");
    is(event_unmask((evtchn_port_t)p), 0, "unmask");
    is(event_count[p], 3, "delivers it");
    event_close((evtchn_port_t)p);
}

static void priorities(void)
{
    uint32_t p[3];

    for (int i = 0; i < 3; i++) {
        p[i] = (uint32_t)event_bind_ipi(0);
        fifo_clear_mask(p[i]);
    }
    is(set_priority(p[0], EVTCHN_FIFO_PRIORITY_MIN), 0, "lowest priority");
    is(set_priority(p[1], EVTCHN_FIFO_PRIORITY_DEFAULT), 0, "middle priority");
    is(set_priority(p[2], EVTCHN_FIFO_PRIORITY_MAX), 0, "highest priority");
    is_error(set_priority(p[0], 16), "no such priority");
    is_error(set_priority(4000, 3), "no such port");
    event_disable();
    taken = 0;
    for (int i = 0; i < 3; i++)
        event_send(p[i]);
    event_enable();
    is(taken, 3, "three events");
    ok(order[0] == p[2] && order[1] == p[1] && order[2] == p[0], "in the order of priority");
    is(set_priority(p[0], EVTCHN_FIFO_PRIORITY_MAX), 0, "raise the lowest");
    event_disable();
    taken = 0;
    event_send(p[1]);
    event_send(p[0]);
    event_enable();
    ok(taken == 2 && order[0] == p[0] && order[1] == p[1], "it comes first now");
    for (int i = 0; i < 3; i++)
        event_close(p[i]);
}

static void queue_order(void)
{
    enum { N = 500 };
    static uint32_t p[N];
    unsigned int right = 0;

    for (unsigned int i = 0; i < N; i++) {
        p[i] = (uint32_t)event_bind_ipi(0);
        fifo_clear_mask(p[i]);
    }
    event_disable();
    taken = 0;
    for (unsigned int i = 0; i < N; i++)
        event_send(p[(i * 7) % N]);
    event_enable();
    for (unsigned int i = 0; i < N; i++)
        right += order[i] == p[(i * 7) % N];
    is(taken, N, "five hundred events");
    is(right, N, "first in, first out");
    for (unsigned int i = 0; i < N; i++)
        event_close(p[i]);
}

static void beyond_one_page(void)
{
    unsigned int n = 0;
    long p, last = 0;

    while (n < 1100 && (p = event_bind_ipi(0)) > 0) {
        last = p;
        n++;
    }
    tap_note("%u ports fit one page", n);
    array[1] = page_alloc();
    if (n < 1100) {
        is(expand((void *)array[1]), 0, "a second page");
        p = event_bind_ipi(0);
        if (p == -XEN_ENOSPC) {
            tap_skip("gives more ports", "this domain may not have more");
            return;
        }
        ok(p > last, "gives more ports");
        fifo_clear_mask((uint32_t)p);
        event_count[p] = 0;
        event_enable();
        event_send((evtchn_port_t)p);
        is(event_count[p], 1, "that work");
    }
    is_error(page_set_ro((void *)array[0]) ||
                     mmuext(MMUEXT_PIN_L1_TABLE, va_to_mfn((void *)array[0]))
                 ? -1
                 : 0,
             "the array page is held writable");
    page_set_rw((void *)array[0]);
}

static void reset(void)
{
    struct evtchn_reset r = {.dom = DOMID_SELF};
    long p;

    if (!(start_info->flags & SIF_INITDOMAIN)) {
        tap_skip("reset", "it would close the console");
        return;
    }
    event_disable();
    is(hc_event_channel_op(EVTCHNOP_reset, &r), 0, "reset");
    event_scan = NULL;
    p = event_bind_ipi(0);
    ok(p > 0, "2-level again");
    event_port_clear_mask((evtchn_port_t)p);
    event_enable();
    event_count[p] = 0;
    event_send((evtchn_port_t)p);
    is(event_count[p], 1, "and works");
}

void guest_main(void)
{
    init();
    delivery();
    priorities();
    queue_order();
    beyond_one_page();
    reset();
}
