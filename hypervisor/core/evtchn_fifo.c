// SPDX-License-Identifier: BSD-2-Clause
// The FIFO ABI. The guest supplies an array of event words (one per port) and a control block per
// vCPU. Pending events are linked, port to port, into one queue per vCPU and priority:
//
//   control block head[p] --> word[5].link = 9 --> word[9].link = 7 --> word[7].link = 0
//                                                                      (our tail: 7)
//
// The guest takes from the head: it clears LINKED and the link of a word in one go. We add at the
// tail: if the tail's word is no longer LINKED the guest has emptied the queue, and the new event
// becomes the head. Everything in guest memory is untrusted: a broken word loses the guest's own
// events, and tail is kept on our side.
#include "core/evtchn_private.h"
#include "memory/frame.h"
#include "memory/heap.h"

#define WORDS_PER_PAGE (PAGE_SIZE / sizeof(event_word_t))
#define ARRAY_PAGES    (EVTCHN_FIFO_NR_CHANNELS / WORDS_PER_PAGE)
#define PENDING        (1u << EVTCHN_FIFO_PENDING)
#define MASKED         (1u << EVTCHN_FIFO_MASKED)
#define LINKED         (1u << EVTCHN_FIFO_LINKED)
#define LINK_TRIES     64 // the guest changes a word a few times at most while we link to it

struct evtchn_fifo {
    uint32_t pages; // of the array; grows only
    event_word_t *array[ARRAY_PAGES];
};

struct fifo_queue {
    spinlock_t lock; // irqsave
    uint32_t tail;   // last port linked; 0: none
};

struct evtchn_vcpu {
    struct evtchn_fifo_control_block *control;
    struct fifo_queue queue[EVTCHN_FIFO_MAX_QUEUES];
};

// Map a page of d that the hypervisor writes: reference and type are held until unmap_page().
static void *map_page(struct domain *d, uint64_t gfn)
{
    mfn_t mfn = MFN(gfn);
    struct frame *f;

    if (!mfn_valid(mfn) || !frame_get(mfn, d))
        return NULL;
    f = mfn_to_frame(mfn);
    if (!frame_get_type_simple(f, FRAME_TYPE_WRITABLE)) {
        frame_put(f);
        return NULL;
    }
    return mfn_to_virt(mfn);
}

static void unmap_page(void *va)
{
    struct frame *f = mfn_to_frame(virt_to_mfn(va));

    frame_put_type_simple(f);
    frame_put(f);
}

static event_word_t *word_of(const struct domain *d, evtchn_port_t port)
{
    const struct evtchn_fifo *fifo = d->evtchn->fifo;
    uint32_t page = port / WORDS_PER_PAGE;

    if (unlikely(page >= READ_ONCE(fifo->pages)))
        return NULL;
    return fifo->array[index_nospec(page, ARRAY_PAGES)] + port % WORDS_PER_PAGE;
}

static uint32_t word_set(event_word_t *w, uint32_t bit)
{
    return __atomic_fetch_or(w, bit, __ATOMIC_SEQ_CST) & bit;
}

// Append to the tail's word unless the guest has taken that event. True: appended.
static bool append(event_word_t *tail, evtchn_port_t port)
{
    event_word_t old = READ_ONCE(*tail);

    for (int i = 0; i < LINK_TRIES && (old & LINKED); i++)
        if (__atomic_compare_exchange_n(tail, &old, (old & ~EVTCHN_FIFO_LINK_MASK) | port, false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
            return true;
    return false;
}

// The queue that the port was linked to last; NULL when its vCPU has none.
static struct fifo_queue *last_queue(const struct domain *d, const struct port *p)
{
    const struct vcpu *v = d->vcpu[READ_ONCE(p->last_vcpu)];

    return v->evtchn ? &v->evtchn->queue[READ_ONCE(p->last_priority)] : NULL;
}

// Lock q, which the port is to join, and *last, which it was in last (NULL when that is q or none).
// An event is only ever claimed and linked under both: whoever finds a tail LINKED under its
// queue's lock knows that it is in that queue.
static unsigned long lock_queues(const struct domain *d, const struct port *p, struct fifo_queue *q,
                                 struct fifo_queue **last)
{
    for (;;) {
        struct fifo_queue *other = last_queue(d, p);
        bool same = !other || other == q;
        unsigned long flags = spin_lock_irqsave(same || q < other ? &q->lock : &other->lock);

        if (unlikely(!same))
            spin_lock(q < other ? &other->lock : &q->lock);
        *last = same ? NULL : other;
        if (likely(last_queue(d, p) == other))
            return flags;
        if (!same)
            spin_unlock(&other->lock);
        spin_unlock_irqrestore(&q->lock, flags);
    }
}

// Take the right to link the event: clear the link, set LINKED.
static bool claim(event_word_t *w)
{
    event_word_t old = READ_ONCE(*w);

    do {
        if (old & (MASKED | LINKED))
            return false;
    } while (!__atomic_compare_exchange_n(w, &old, (old & ~EVTCHN_FIFO_LINK_MASK) | LINKED, false,
                                          __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    return true;
}

// Put a claimed event at the end of q. True when it is the first one there.
static bool link_event(const struct vcpu *v, struct fifo_queue *q, evtchn_port_t port,
                       unsigned int priority)
{
    event_word_t *tail = q->tail ? word_of(v->domain, q->tail) : NULL;
    bool appended = tail && q->tail != port && append(tail, port);

    if (!appended)
        WRITE_ONCE(v->evtchn->control->head[priority], port);
    q->tail = port;
    return !appended;
}

static void link_if_wanted(struct vcpu *v, evtchn_port_t port, struct port *p, event_word_t *w)
{
    unsigned int priority = p->priority;
    struct fifo_queue *q, *last;
    unsigned long flags;
    bool first = false;

    // A vCPU without control block gets nothing.
    if (unlikely(!v->evtchn) || (READ_ONCE(*w) & (MASKED | LINKED)))
        return;
    q = &v->evtchn->queue[priority];
    flags = lock_queues(v->domain, p, q, &last);
    if (claim(w)) {
        // If the port is still the other queue's tail, that queue is empty.
        if (unlikely(last) && last->tail == port)
            last->tail = 0;
        WRITE_ONCE(p->last_vcpu, (uint8_t)v->id);
        WRITE_ONCE(p->last_priority, (uint8_t)priority);
        first = link_event(v, q, port, priority);
    }
    if (unlikely(last))
        spin_unlock(&last->lock);
    spin_unlock_irqrestore(&q->lock, flags);
    if (first && !(__atomic_fetch_or(&v->evtchn->control->ready, 1u << priority, __ATOMIC_SEQ_CST) &
                   (1u << priority)))
        evtchn_mark_upcall(v);
}

void evtchn_fifo_set_pending(struct vcpu *v, evtchn_port_t port, struct port *p)
{
    event_word_t *w = word_of(v->domain, port);

    if (unlikely(!w)) {
        WRITE_ONCE(p->missed, 1);
        smp_mb(); // pairs with the expansion, which publishes the page before it looks
        w = word_of(v->domain, port);
        if (!w)
            return;
    }
    word_set(w, PENDING);
    link_if_wanted(v, port, p, w);
}

void evtchn_fifo_clear_pending(struct domain *d, evtchn_port_t port)
{
    event_word_t *w = word_of(d, port);

    if (w)
        __atomic_fetch_and(w, ~PENDING, __ATOMIC_SEQ_CST);
}

bool evtchn_fifo_is_pending(struct domain *d, evtchn_port_t port)
{
    event_word_t *w = word_of(d, port);

    return w && (READ_ONCE(*w) & PENDING);
}

bool evtchn_fifo_is_masked(struct domain *d, evtchn_port_t port)
{
    event_word_t *w = word_of(d, port);

    return !w || (READ_ONCE(*w) & MASKED);
}

void evtchn_fifo_unmask(struct vcpu *v, evtchn_port_t port, struct port *p)
{
    event_word_t *w = word_of(v->domain, port);

    if (!w)
        return;
    __atomic_fetch_and(w, ~MASKED, __ATOMIC_SEQ_CST);
    if (READ_ONCE(*w) & PENDING)
        link_if_wanted(v, port, p, w);
}

// The first control block switches the domain over. Called with the domain's lock held.
int evtchn_fifo_init_control(struct domain *d, struct evtchn_init_control *op)
{
    struct evtchn_domain *e = d->evtchn;
    struct vcpu *v = domain_vcpu(d, op->vcpu);
    struct evtchn_vcpu *ev;
    char *page;

    op->link_bits = EVTCHN_FIFO_LINK_BITS;
    if (!v)
        return -ENOENT;
    if (op->offset > PAGE_SIZE - sizeof(struct evtchn_fifo_control_block) || (op->offset & 7))
        return -EINVAL;
    if (v->evtchn)
        return -EINVAL;
    page = map_page(d, op->control_gfn);
    if (!page)
        return -EINVAL;
    ev = heap_new(struct evtchn_vcpu);
    if (ev && !e->fifo) {
        WRITE_ONCE(e->fifo, heap_new(struct evtchn_fifo));
        e->first_free = 1;
    }
    if (!ev || !e->fifo) {
        heap_free(ev);
        unmap_page(page);
        return -ENOMEM;
    }
    ev->control = (struct evtchn_fifo_control_block *)(page + op->offset);
    for (unsigned int i = 0; i < EVTCHN_FIFO_MAX_QUEUES; i++)
        spin_lock_init(&ev->queue[i].lock);
    __atomic_store_n(&v->evtchn, ev, __ATOMIC_RELEASE);
    return 0;
}

// Called with the domain's lock held.
int evtchn_fifo_expand(struct domain *d, const struct evtchn_expand_array *op)
{
    struct evtchn_fifo *fifo = d->evtchn->fifo;
    evtchn_port_t first, port;
    event_word_t *page;

    if (!fifo)
        return -EOPNOTSUPP;
    if (fifo->pages >= ARRAY_PAGES)
        return -ENOSPC;
    page = map_page(d, op->array_gfn);
    if (!page)
        return -EINVAL;
    fifo->array[fifo->pages] = page;
    first = (evtchn_port_t)(fifo->pages * WORDS_PER_PAGE);
    __atomic_store_n(&fifo->pages, fifo->pages + 1, __ATOMIC_SEQ_CST);
    for (port = first; port < first + WORDS_PER_PAGE; port++) {
        struct port *p = port_lookup(d->evtchn, port);

        if (!p) {
            port |= PORTS_PER_CHUNK - 1;
        } else if (p->missed) {
            p->missed = 0;
            evtchn_raise(d, p);
        }
    }
    return 0;
}

// No vCPU of d runs but the caller's, and its ports are closed.
void evtchn_fifo_destroy(struct domain *d)
{
    struct evtchn_fifo *fifo = d->evtchn->fifo;
    struct vcpu *v;

    if (!fifo)
        return;
    WRITE_ONCE(d->evtchn->fifo, NULL);
    // Wait for interrupt handlers that still raise a port which was closed meanwhile.
    arch_cpu_sync();
    for_each_vcpu (d, v) {
        if (!v->evtchn)
            continue;
        unmap_page((void *)((unsigned long)v->evtchn->control & PAGE_MASK));
        heap_free(v->evtchn);
        v->evtchn = NULL;
    }
    for (uint32_t i = 0; i < fifo->pages; i++)
        unmap_page(fifo->array[i]);
    heap_free(fifo);
}
