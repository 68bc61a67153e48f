// SPDX-License-Identifier: BSD-2-Clause
// Which CPU a vCPU goes to. No lock is waited for beyond the caller's, and nothing but bitmaps is
// searched over all CPUs.
#include "core/sched_private.h"

#define SEARCH_LIMIT 16 // elements of another queue that are looked at

unsigned long sched_idle_map[BITMAP_WORDS(MAX_CPUS)];

static bool has_siblings; // some core has several threads

void sched_join_siblings(unsigned int cpu)
{
    struct cpu_topology mine = arch_cpu_topology(cpu);

    per_cpu(sched_cpu, cpu).sibling = cpu;
    for (unsigned int other = 0; other < cpu; other++) {
        struct cpu_topology t = arch_cpu_topology(other);
        if (t.core != mine.core || t.socket != mine.socket)
            continue;
        per_cpu(sched_cpu, cpu).sibling = per_cpu(sched_cpu, other).sibling;
        WRITE_ONCE(per_cpu(sched_cpu, other).sibling, cpu);
        WRITE_ONCE(has_siblings, true);
        return;
    }
}

static bool siblings_idle(unsigned int cpu)
{
    unsigned int other = cpu;

    while ((other = READ_ONCE(per_cpu(sched_cpu, other).sibling)) != cpu)
        if (!bit_test(sched_idle_map, other))
            return false;
    return true;
}

static bool claim(unsigned int cpu)
{
    return bit_test(sched_idle_map, cpu) && bit_test_and_clear_atomic(sched_idle_map, cpu);
}

// An idle CPU of both masks, near `start`, if so wanted of an idle core; MAX_CPUS: none.
static unsigned int claim_idle(const unsigned long *a, const unsigned long *b, unsigned int start,
                               bool whole_core)
{
    for (unsigned int i = 0; i <= BITMAP_WORDS(MAX_CPUS); i++) {
        unsigned int w = (start / BITS_PER_LONG + i) % BITMAP_WORDS(MAX_CPUS);
        unsigned long bits = READ_ONCE(sched_idle_map[w]) & a[w] & b[w] & cpu_online_map[w];

        if (i == 0)
            bits &= ~0ul << (start % BITS_PER_LONG);
        for (; bits; bits &= bits - 1) {
            unsigned int cpu = w * BITS_PER_LONG + __builtin_ctzl(bits);
            if ((!whole_core || siblings_idle(cpu)) && claim(cpu))
                return cpu;
        }
    }
    return MAX_CPUS;
}

static uint32_t cpu_load(const struct sched_cpu *c)
{
    const struct vcpu *curr = READ_ONCE(c->curr);

    return READ_ONCE(c->load) + (curr && !curr->is_idle ? curr->sched->weight : 0);
}

unsigned int sched_first_cpu(const struct sched_vcpu *s)
{
    unsigned int cpu, best = MAX_CPUS;
    uint32_t best_load = ~0u;

    for (int pass = 0; pass < 2 && best == MAX_CPUS; pass++) {
        for_each_online_cpu (cpu) {
            uint32_t load = cpu_load(&per_cpu(sched_cpu, cpu));

            if (!bit_test(s->hard, cpu) || (pass == 0 && !bit_test(s->soft, cpu)))
                continue;
            if (load < best_load) {
                best = cpu;
                best_load = load;
            }
        }
    }
    return best == MAX_CPUS ? bitmap_next(cpu_online_map, MAX_CPUS, 0) : best;
}

unsigned int sched_choose_cpu(const struct vcpu *v)
{
    const struct sched_vcpu *s = v->sched;
    unsigned int last = v->cpu, cpu = MAX_CPUS;
    bool liked = bit_test(s->hard, last) && bit_test(s->soft, last);

    if (READ_ONCE(has_siblings)) {
        if (liked && siblings_idle(last) && claim(last))
            return last;
        cpu = claim_idle(s->hard, s->soft, last, true);
    }
    if (cpu == MAX_CPUS && liked && claim(last))
        return last;
    if (cpu == MAX_CPUS)
        cpu = claim_idle(s->hard, s->soft, last, false);
    if (cpu == MAX_CPUS)
        cpu = claim_idle(s->hard, s->hard, last, false);
    if (cpu != MAX_CPUS)
        return cpu;
    return bit_test(s->hard, last) ? last : sched_first_cpu(s);
}

// Someone on c's queue who may run on `cpu` and weighs at most max_weight; who likes it there
// first.
static struct sched_vcpu *find_movable(const struct sched_cpu *c, unsigned int cpu,
                                       uint32_t max_weight)
{
    struct sched_vcpu *found = NULL;
    unsigned int n = 0;

    for (struct heap_node *e = heap_walk(&c->queue, NULL); e && n < SEARCH_LIMIT;
         e = heap_walk(&c->queue, e), n++) {
        struct sched_vcpu *s = node_to_sched(e);

        if (READ_ONCE(s->v->is_running) || !bit_test(s->hard, cpu) || s->weight > max_weight)
            continue;
        if (bit_test(s->soft, cpu))
            return s;
        if (!found)
            found = s;
    }
    return found;
}

bool sched_steal(struct sched_cpu *c)
{
    for (unsigned int i = 0; i <= BITMAP_WORDS(MAX_CPUS); i++) {
        unsigned int w = (c->cpu / BITS_PER_LONG + i) % BITMAP_WORDS(MAX_CPUS);
        unsigned long bits = READ_ONCE(sched_waiting_map[w]);

        for (; bits; bits &= bits - 1) {
            unsigned int cpu = w * BITS_PER_LONG + __builtin_ctzl(bits);
            struct sched_cpu *from = &per_cpu(sched_cpu, cpu);
            struct sched_vcpu *s = NULL;

            if (cpu == c->cpu || !spin_trylock(&from->lock))
                continue;
            // An idle CPU is about to run what it has.
            if (!from->curr->is_idle)
                s = find_movable(from, c->cpu, ~0u);
            if (s) {
                sched_charge(from, now_ns());
                sched_dequeue(from, s);
                sched_move(from, c, s);
            }
            spin_unlock(&from->lock);
            if (s) {
                sched_enqueue(c, s);
                return true;
            }
        }
    }
    return false;
}

void sched_push(struct sched_cpu *c, stime_t now)
{
    unsigned int cpu = bitmap_next(cpu_online_map, cpu_count, c->balance_cursor);
    struct sched_cpu *to;
    struct sched_vcpu *s = NULL;
    uint32_t mine, theirs;

    c->balance_at = now + BALANCE_PERIOD;
    if (cpu >= cpu_count)
        cpu = bitmap_next(cpu_online_map, cpu_count, 0);
    c->balance_cursor = cpu + 1;
    to = &per_cpu(sched_cpu, cpu);
    if (cpu == c->cpu || !spin_trylock(&to->lock))
        return;
    mine = cpu_load(c);
    theirs = cpu_load(to);
    if (mine > theirs + 1) {
        s = find_movable(c, cpu, mine - theirs - 1);
        // Three equal vCPUs on two CPUs: the lone one changes now and then.
        if (!s && now >= c->rotate_at) {
            s = find_movable(c, cpu, mine - theirs);
            c->rotate_at = now + ROTATE_PERIOD;
        }
    }
    if (s) {
        sched_charge(to, now);
        sched_dequeue(c, s);
        sched_move(c, to, s);
        sched_enqueue(to, s);
        sched_check_preempt(to, s, now);
    }
    spin_unlock(&to->lock);
}
