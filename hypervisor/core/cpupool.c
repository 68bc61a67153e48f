// SPDX-License-Identifier: BSD-2-Clause
#include "core/cpupool.h"
#include "core/console.h"
#include "core/sched.h"
#include "memory/heap.h"
#include <xen/domctl.h>
#include <xen/sysctl.h>

#define SLICE_MS     10
#define RATELIMIT_US 1000
#define MAX_POOLS    256

static spinlock_t pool_lock = SPINLOCK_INIT;
static struct cpupool pool0;
static struct list pools = LIST_INIT(pools); // by id
static uint32_t pool_count;
static unsigned long free_cpus[BITMAP_WORDS(MAX_CPUS)];
// For domains in no pool: the idle domain has vCPUs before there are pools.
static const unsigned long all_cpus[BITMAP_WORDS(MAX_CPUS)] = {[0 ... BITMAP_WORDS(MAX_CPUS) - 1] =
                                                                   ~0ul};

void cpupool_lock(void)
{
    spin_lock(&pool_lock);
}

void cpupool_unlock(void)
{
    spin_unlock(&pool_lock);
}

static void pool_setup(struct cpupool *p, uint32_t id, uint32_t sched_id)
{
    p->id = id;
    p->sched_id = sched_id;
    p->slice_ms = SLICE_MS;
    p->ratelimit_us = RATELIMIT_US;
}

void cpupool_init(void)
{
    pool_setup(&pool0, 0, XEN_SCHEDULER_CREDIT2);
    bitmap_copy(pool0.cpus, cpu_online_map, MAX_CPUS);
    list_add(&pool0.link, &pools);
    pool_count = 1;
}

// The first pool with an id of at least `id`.
static struct cpupool *pool_from(uint32_t id)
{
    struct cpupool *p;

    list_for_each (p, &pools, link)
        if (p->id >= id)
            return p;
    return NULL;
}

static struct cpupool *pool_find(uint32_t id)
{
    struct cpupool *p = pool_from(id);

    return p && p->id == id ? p : NULL;
}

static bool pool_empty(const struct cpupool *p)
{
    return bitmap_next(p->cpus, MAX_CPUS, 0) >= MAX_CPUS;
}

// Its place in the list: behind the last pool with a smaller id.
static void pool_link(struct cpupool *new)
{
    struct cpupool *next = pool_from(new->id);

    list_add_tail(&new->link, next ? &next->link : &pools);
    pool_count++;
}

static uint32_t unused_id(void)
{
    uint32_t id = 0;
    const struct cpupool *p;

    list_for_each (p, &pools, link)
        if (p->id == id)
            id++;
    return id;
}

int cpupool_create(uint32_t *id, uint32_t sched_id)
{
    int rc = 0;

    if (sched_id != XEN_SCHEDULER_CREDIT && sched_id != XEN_SCHEDULER_CREDIT2)
        return -ENOENT;
    struct cpupool *new = heap_new(struct cpupool);
    if (!new)
        return -ENOMEM;
    spin_lock(&pool_lock);
    if (*id == CPUPOOL_ANY)
        *id = unused_id();
    if (pool_find(*id))
        rc = -EEXIST;
    else if (pool_count == MAX_POOLS)
        rc = -ENOSPC;
    if (!rc) {
        pool_setup(new, *id, sched_id);
        pool_link(new);
    }
    spin_unlock(&pool_lock);
    if (rc)
        heap_free(new);
    return rc;
}

int cpupool_destroy(uint32_t id)
{
    struct cpupool *p;
    int rc = 0;

    spin_lock(&pool_lock);
    p = pool_find(id);
    if (!p)
        rc = -ENOENT;
    else if (p == &pool0 || p->domains || !pool_empty(p))
        rc = -EBUSY;
    if (!rc) {
        list_del(&p->link);
        pool_count--;
    }
    spin_unlock(&pool_lock);
    if (!rc)
        heap_free(p);
    return rc;
}

int cpupool_get_info(uint32_t from_id, struct cpupool_info *out)
{
    const struct cpupool *p;

    spin_lock(&pool_lock);
    p = pool_from(from_id);
    if (p) {
        *out = (struct cpupool_info){p->id, p->sched_id, p->domains, {0}};
        bitmap_copy(out->cpus, p->cpus, MAX_CPUS);
    }
    spin_unlock(&pool_lock);
    return p ? 0 : -ENOENT;
}

void cpupool_free_cpus(unsigned long *out)
{
    spin_lock(&pool_lock);
    bitmap_copy(out, free_cpus, MAX_CPUS);
    spin_unlock(&pool_lock);
}

// All vCPUs of the pool's domains look again at where they may run.
static void pool_refresh(const struct cpupool *p)
{
    domid_t next = 0;
    struct domain *d;

    while ((d = domain_get_next(next))) {
        next = d->id + 1;
        if (d->pool == p)
            sched_domain_refresh(d);
        domain_put(d);
        if (next >= DOMID_FIRST_RESERVED)
            break;
    }
}

int cpupool_add_cpu(uint32_t id, uint32_t cpu)
{
    struct cpupool *p;
    int rc = 0;

    spin_lock(&pool_lock);
    p = pool_find(id);
    if (cpu == CPUPOOL_ANY)
        cpu = bitmap_next(free_cpus, MAX_CPUS, 0) < MAX_CPUS ? bitmap_next(free_cpus, MAX_CPUS, 0)
                                                             : 0;
    if (!p)
        rc = -ENOENT;
    else if (cpu >= cpu_count)
        rc = -EINVAL;
    else if (!bit_test(free_cpus, cpu))
        rc = -ENODEV;
    if (!rc) {
        bit_clear(free_cpus, cpu);
        bit_set(p->cpus, cpu);
        pool_refresh(p);
    }
    spin_unlock(&pool_lock);
    return rc;
}

static unsigned int last_cpu(const struct cpupool *p)
{
    unsigned int cpu, last = 0;

    bitmap_for_each (cpu, p->cpus, MAX_CPUS)
        last = cpu;
    return last;
}

// Whether a vCPU insists on the CPU (SCHEDOP_pin_override).
static bool pinned_to(const struct cpupool *p, unsigned int cpu)
{
    domid_t next = 0;
    struct domain *d;
    struct vcpu *v;
    bool found = false;

    while (!found && next < DOMID_FIRST_RESERVED && (d = domain_get_next(next))) {
        next = d->id + 1;
        if (d->pool == p)
            for_each_vcpu (d, v)
                found |= sched_pin_override(v) == (int)cpu;
        domain_put(d);
    }
    return found;
}

int cpupool_remove_cpu(uint32_t id, uint32_t cpu)
{
    struct cpupool *p;
    int rc = 0;

    spin_lock(&pool_lock);
    p = pool_find(id);
    if (p && cpu == CPUPOOL_ANY)
        cpu = last_cpu(p);
    if (!p)
        rc = -ENOENT;
    else if (cpu >= cpu_count)
        rc = -EINVAL;
    else if (!bit_test(p->cpus, cpu))
        rc = -ENODEV;
    else if (p->domains && bitmap_weight(p->cpus, MAX_CPUS) == 1)
        rc = -EBUSY;
    else if (pinned_to(p, cpu))
        rc = -EADDRINUSE;
    if (!rc) {
        bit_clear(p->cpus, cpu);
        bit_set(free_cpus, cpu);
        pool_refresh(p);
    }
    spin_unlock(&pool_lock);
    return rc;
}

// The lock is held.
static int domain_join(struct domain *d, struct cpupool *p)
{
    if (!p)
        return -ENOENT;
    if (pool_empty(p))
        return -ENODEV;
    if (d->pool)
        d->pool->domains--;
    d->pool = p;
    p->domains++;
    sched_domain_set_turns(d, p->ratelimit_us, p->slice_ms);
    return 0;
}

int cpupool_domain_init(struct domain *d, uint32_t id)
{
    spin_lock(&pool_lock);
    struct cpupool *p = pool_find(id);
    int rc = p ? domain_join(d, p) : -ESRCH;
    spin_unlock(&pool_lock);
    return rc;
}

void cpupool_domain_destroy(struct domain *d)
{
    if (!d->pool)
        return;
    spin_lock(&pool_lock);
    d->pool->domains--;
    d->pool = NULL;
    spin_unlock(&pool_lock);
}

int cpupool_move_domain(struct domain *d, uint32_t id)
{
    struct vcpu *v;
    int rc = 0;

    spin_lock(&pool_lock);
    if (d->pool && d->pool->id != id) {
        for_each_vcpu (d, v)
            if (sched_pin_override(v) >= 0)
                rc = -EBUSY;
        rc = rc ?: domain_join(d, pool_find(id));
        if (!rc)
            sched_domain_refresh(d);
    }
    spin_unlock(&pool_lock);
    return rc;
}

uint32_t cpupool_id(const struct domain *d)
{
    spin_lock(&pool_lock);
    uint32_t id = d->pool ? d->pool->id : CPUPOOL_NONE;
    spin_unlock(&pool_lock);
    return id;
}

const unsigned long *cpupool_cpus(const struct domain *d)
{
    return d->pool ? d->pool->cpus : all_cpus;
}

int cpupool_with(uint32_t id, int (*fn)(struct cpupool *p, void *arg), void *arg)
{
    spin_lock(&pool_lock);
    struct cpupool *p = pool_find(id);
    int rc = p ? fn(p, arg) : -ESRCH;
    spin_unlock(&pool_lock);
    return rc;
}
