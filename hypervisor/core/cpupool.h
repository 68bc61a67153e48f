// SPDX-License-Identifier: BSD-2-Clause
// CPU pools: disjoint sets of physical CPUs. A domain belongs to one pool and its vCPUs run only
// there. Pool 0 exists always and has all CPUs at start; a CPU in no pool idles. Every pool is
// driven by the one scheduler, which answers as credit or credit2 (public sysctl.h).
//
// One lock covers pools, membership and affinities; it is taken before run queues' locks and never
// from interrupts.
#pragma once

#include "core/domain.h"

#define CPUPOOL_NONE (~0u) // getdomaininfo: in no pool
#define CPUPOOL_ANY  (~0u) // create, add, remove: choose an id or a CPU

struct cpupool {
    struct list link; // by id
    uint32_t id;
    uint32_t sched_id; // XEN_SCHEDULER_CREDIT or _CREDIT2
    uint32_t domains;
    uint32_t slice_ms;      // longest turn while others wait
    uint32_t ratelimit_us;  // shortest turn that who wakes again and again leaves to who runs
    uint32_t migr_delay_us; // likewise: who is hot stays with its queue until that is unfair
    DECLARE_BITMAP(cpus, MAX_CPUS);
};

// What the toolstack is told about a pool.
struct cpupool_info {
    uint32_t id, sched_id, domains;
    DECLARE_BITMAP(cpus, MAX_CPUS);
};

void cpupool_init(void); // pool 0 with the CPUs that are online

// 0, or the errors the public header lists for each operation; -ENODEV for a pool without CPUs,
// -ENOENT for a scheduler that is not there.
int __must_check cpupool_create(uint32_t *id, uint32_t sched_id);
int __must_check cpupool_destroy(uint32_t id);
int __must_check cpupool_get_info(uint32_t from_id,
                                  struct cpupool_info *out); // first id >= from_id
int __must_check cpupool_add_cpu(uint32_t id, uint32_t cpu);
int __must_check cpupool_remove_cpu(uint32_t id, uint32_t cpu);
int __must_check cpupool_move_domain(struct domain *d, uint32_t id);
void cpupool_free_cpus(unsigned long *out);

// Membership from a domain's creation to its end. 0, -ESRCH, -ENODEV (a pool without CPUs).
int __must_check cpupool_domain_init(struct domain *d, uint32_t id);
void cpupool_domain_destroy(struct domain *d);
uint32_t cpupool_id(const struct domain *d);

// Run fn with the pool under the lock; -ESRCH when there is none of that id.
int __must_check cpupool_with(uint32_t id, int (*fn)(struct cpupool *p, void *arg), void *arg);
void cpupool_lock(void);
void cpupool_unlock(void);
// The CPUs a domain's vCPUs may use at all; the lock is held or nobody else sees the domain.
const unsigned long *cpupool_cpus(const struct domain *d);
