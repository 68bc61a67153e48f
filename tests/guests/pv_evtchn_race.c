// SPDX-License-Identifier: BSD-2-Clause
// Event channels, FIFO: two vCPUs raise events for the same queue at the same time, again and
// again, each waiting until its own has come. None may be lost.
#include "lib/guest.h"

enum { ROUNDS = 60000, QUEUE = EVTCHN_FIFO_PRIORITY_DEFAULT };

static evtchn_fifo_control_block_t *block;
static volatile event_word_t *words;
static uint32_t heads[EVTCHN_FIFO_MAX_QUEUES];
static volatile unsigned int seen[2], stop;
static evtchn_port_t port[2];

static void take(unsigned int queue)
{
    uint32_t at = heads[queue] ? heads[queue] : READ_ONCE(block->head[queue]);
    event_word_t old = words[at];

    while (!__atomic_compare_exchange_n(&words[at], &old,
                                        old & ~((1U << EVTCHN_FIFO_LINKED) | EVTCHN_FIFO_LINK_MASK),
                                        false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
    heads[queue] = old & EVTCHN_FIFO_LINK_MASK;
    if (!(old & 1U << EVTCHN_FIFO_PENDING))
        return;
    __atomic_fetch_and(&words[at], ~(1U << EVTCHN_FIFO_PENDING), __ATOMIC_SEQ_CST);
    for (unsigned int i = 0; i < 2; i++)
        if (port[i] == at)
            seen[i]++;
}

static void scan(void)
{
    uint32_t ready = __atomic_exchange_n(&block->ready, 0, __ATOMIC_SEQ_CST);

    while (ready) {
        unsigned int q = (unsigned int)__builtin_ctz(ready);

        take(q);
        if (!heads[q])
            ready &= ~(1U << q);
        ready |= __atomic_exchange_n(&block->ready, 0, __ATOMIC_SEQ_CST);
    }
}

static void send_from_other(void *arg)
{
    unsigned int *rounds = arg;

    for (*rounds = 0; *rounds < ROUNDS && !stop; ++*rounds) {
        unsigned int before = seen[1];

        event_send(port[1]);
        while (seen[1] == before && !stop)
            cpu_relax();
    }
}

static bool come(unsigned int i, unsigned int before)
{
    uint64_t end = clock_now() + 5000 * MS;

    while (seen[i] == before && clock_now() < end)
        scan();
    return seen[i] != before;
}

// Both raise at this vCPU's queue; with `moving`, one of the ports changes its queue each time.
static void race(bool moving)
{
    static volatile unsigned int other;
    unsigned int rounds = 0;

    stop = 0;
    smp_post(1, send_from_other, (void *)&other);
    for (; rounds < ROUNDS; rounds++) {
        unsigned int before = seen[0];

        if (moving) {
            struct evtchn_set_priority p = {.port = port[0], .priority = QUEUE - (rounds & 1)};

            hc_event_channel_op(EVTCHNOP_set_priority, &p);
        }
        event_send(port[0]);
        if (!come(0, before))
            break;
    }
    for (unsigned int before = seen[1]; other < ROUNDS && come(1, before); before = seen[1])
        ;
    stop = 1;
    smp_wait(1);
    is(rounds, ROUNDS, "none of this vCPU's own was lost");
    is(other, ROUNDS, "none of the other's was lost");
}

void guest_main(void)
{
    struct evtchn_init_control c = {.offset = 0, .vcpu = 0};
    struct evtchn_expand_array e;

    if (smp_count() < 2) {
        tap_skip("two vCPUs", "this domain has one");
        return;
    }
    is(smp_start(1), 0, "start vCPU 1");
    event_disable();
    block = page_alloc();
    words = page_alloc();
    c.control_gfn = va_to_mfn(block);
    e.array_gfn = va_to_mfn((void *)words);
    is(hc_event_channel_op(EVTCHNOP_init_control, &c), 0, "init_control");
    is(hc_event_channel_op(EVTCHNOP_expand_array, &e), 0, "expand_array");
    for (unsigned int i = 0; i < 2; i++) {
        port[i] = (evtchn_port_t)event_bind_ipi(0);
        __atomic_fetch_and(&words[port[i]], ~(1U << EVTCHN_FIFO_MASKED), __ATOMIC_SEQ_CST);
    }
    race(false);
    race(true);
}
