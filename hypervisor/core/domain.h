// SPDX-License-Identifier: BSD-2-Clause
// Domains and vCPUs: what every domain has, on any machine. State that belongs to one module
// (event channels, grants, scheduler, x86) hangs off a pointer that this module defines.
//
// Life: domain_create -> (domctl) max_vcpus, build, unpause -> running -> shut down and/or killed
// -> relinquished by domain_kill -> destroyed with the last reference.
#pragma once

#include "abi.h"
#include "core/spinlock.h"
#include "core/softirq.h"
#include "core/timer.h"
#include "lib/bitmap.h"
#include "lib/list.h"
#include "x86/arch/domain.h"
#include "x86/arch/percpu.h"

#define MAX_VIRT_CPUS 128

struct evtchn_domain; // core/evtchn.h
struct evtchn_vcpu;
struct grant_table;  // core/grant.h
struct sched_domain; // core/sched.h
struct sched_vcpu;
struct cpupool; // core/cpupool.h
struct rangeset;
struct xen_domctl_createdomain;

enum domain_dying { DOMAIN_ALIVE, DOMAIN_DYING, DOMAIN_DEAD };

struct domain {
    domid_t id;
    bool is_control;       // dom0: may do everything
    bool is_system;        // DOMID_IO, DOMID_XEN: own frames only, never run
    uint8_t dying;         // enum domain_dying
    bool shutting_down;    // all vCPUs are (being) paused after SCHEDOP_shutdown
    bool shut_down;        // ... and are
    bool creation_done;    // first unpause happened
    uint8_t shutdown_code; // SHUTDOWN_*
    uint8_t latched_code;  // SCHEDOP_shutdown_code: 1 + what the next shutdown reports; 0: none
    int32_t refs;          // domain_get/domain_put; memory is freed at 0
    int32_t pause_count;   // > 0: no vCPU runs
    uint32_t controller_pauses; // DOMCTL_pausedomain balance
    struct domain *target;      // the domain this one is device model for, or NULL
    uint8_t handle[16];         // toolstack's UUID
    uint32_t create_flags;      // XEN_DOMCTL_CDF_*

    struct vcpu **vcpu; // max_vcpus slots, NULL until allocated
    uint32_t max_vcpus;

    // Memory accounting; page_lock (plain) covers the list and the counts.
    spinlock_t page_lock;
    uint32_t page_list;     // first frame of the list of frames owned (memory/frame.h), by index
    uint64_t tot_pages;     // owned now
    uint64_t max_pages;     // ceiling
    uint64_t node_affinity; // NUMA nodes that its memory comes from, if they have some; not 0
    unsigned int last_node; // where its last frames came from
    uint64_t outstanding_pages; // claimed and not yet allocated
    void *memory_map;           // XENMEM_set_memory_map: E820 entries, or NULL
    uint32_t memory_map_entries;
    uint32_t shared_frames; // hypervisor-allocated frames shared with the guest, not in tot_pages

    struct shared_info *shared_info; // hypervisor's mapping
    mfn_t shared_info_mfn;

    struct evtchn_domain *evtchn;
    struct grant_table *grant;
    struct sched_domain *sched;
    struct cpupool *pool;        // covered by the lock of pools
    struct rangeset *iomem_caps; // frames of I/O memory the domain may map
    struct rangeset *irq_caps;   // pirqs it may bind

    spinlock_t shutdown_lock; // shutting_down, shut_down, shutdown_code
    spinlock_t watchdog_lock;
    uint32_t watchdog_in_use; // bit per timer
    struct timer watchdog_timer[2];

    uint64_t vm_assist; // bit per VMASST_TYPE_*
    uint32_t suspend_evtchn;
    spinlock_t hypercall_lock; // serialises domctls on this domain (trylock, -ERESTART)
    struct deferred_call free_call;
    struct arch_domain arch;
};

// Why a vCPU cannot run: bits of vcpu.pause_flags.
enum {
    VPF_BLOCKED = 1 << 0,      // SCHEDOP_block / poll, waits for an event
    VPF_DOWN = 1 << 1,         // not brought up, or VCPUOP_down
    VPF_BLOCKED_POLL = 1 << 2, // with VPF_BLOCKED: only the polled ports wake it
};

struct vcpu {
    struct domain *domain;
    uint32_t id;
    bool is_idle;
    bool initialised; // has a context
    bool is_running;  // on a CPU right now (set and cleared by the scheduler)
    bool paused_for_shutdown;
    uint32_t cpu;         // where it runs or ran last
    uint32_t pause_flags; // VPF_*, atomic bit operations
    int32_t pause_count;  // vcpu_pause
    uint32_t controller_pauses;

    vcpu_info_t *info;  // in shared_info, in a registered page, or the dummy (never NULL)
    mfn_t info_mfn;     // registered page, INVALID_MFN while none
    uint32_t poll_port; // SCHEDOP_poll: the only port, 0: see poll mask in evtchn

    struct sched_vcpu *sched;
    struct evtchn_vcpu *evtchn;
    uint32_t virq_port[24]; // by VIRQ, 0: unbound
    spinlock_t virq_lock;

    struct timer periodic_timer;   // VIRQ_TIMER every periodic_period
    struct timer singleshot_timer; // set_timer_op, VCPUOP_set_singleshot_timer
    struct timer poll_timer;
    stime_t periodic_period;
    stime_t periodic_last;

    vcpu_runstate_info_t runstate; // updated by the scheduler
    void *runstate_area;           // guest address, or NULL
    void *stack;                   // STACK_SIZE bytes, see x86/arch/percpu.h
    struct arch_vcpu arch;
};

extern struct domain *control_domain;
extern struct domain *idle_domain; // its vcpu[n] idles on CPU n
extern struct domain *dom_io;      // owner of I/O memory
extern struct domain *dom_xen;     // owner of frames the hypervisor shares read-only

void domain_init(void); // system and idle domains; after the heap

// Create a domain with no vCPUs' contexts and no memory. Every failure undoes itself.
// id: wanted id, or DOMID_INVALID for any. 0 and *out, or -EINVAL, -EEXIST, -ENOMEM, -ENOSPC.
int __must_check domain_create(domid_t id, const struct xen_domctl_createdomain *config,
                               bool is_control, struct domain **out);
// Allocate vCPU `id` (< max_vcpus) on a first CPU. NULL: out of memory or there already.
struct vcpu *vcpu_create(struct domain *d, unsigned int id);
struct vcpu *vcpu_create_idle(unsigned int cpu);

// Look up and take a reference; NULL when there is none or it is dead. Any context but NMI.
struct domain *domain_get_by_id(domid_t id);
// The domain a hypercall names: DOMID_SELF or an id. Takes a reference.
struct domain *domain_get_by_any_id(domid_t id);
// Add a reference to a domain that cannot vanish now. False when it is already being freed.
bool domain_get(struct domain *d);
void domain_put(struct domain *d);
// For walking: the first domain with id >= `id`, with a reference, or NULL.
struct domain *domain_get_next(domid_t id);

static inline struct vcpu *domain_vcpu(const struct domain *d, unsigned int id)
{
    return id < d->max_vcpus ? d->vcpu[index_nospec(id, d->max_vcpus)] : NULL;
}
static inline bool vcpu_runnable(const struct vcpu *v)
{
    return !(READ_ONCE(v->pause_flags) | READ_ONCE(v->pause_count) |
             READ_ONCE(v->domain->pause_count));
}
#define for_each_vcpu(d, v)                                          \
    for (unsigned int v##_i_ = 0; v##_i_ < (d)->max_vcpus; v##_i_++) \
        if (((v) = (d)->vcpu[v##_i_]))

// Nested pause counts. *_pause waits until the vCPU is off its CPU; _nosync does not.
void vcpu_pause(struct vcpu *v);
void vcpu_pause_nosync(struct vcpu *v);
void vcpu_unpause(struct vcpu *v);
void domain_pause(struct domain *d); // not the caller's own
void domain_pause_nosync(struct domain *d);
void domain_unpause(struct domain *d);
// The toolstack's pauses, which a second unpause must not undo: 0 or -EOVERFLOW/-EINVAL.
int domain_pause_by_controller(struct domain *d);
int domain_unpause_by_controller(struct domain *d);

// SCHEDOP_shutdown and crashes: pause all vCPUs, tell the toolstack by VIRQ_DOM_EXC.
// Dom0's shutdown acts on the machine.
void domain_shutdown(struct domain *d, uint8_t code);
void domain_resume(struct domain *d);
// The guest broke itself: log why (rate-limited, with registers for current), SHUTDOWN_crash.
// Returns: the vCPU stops at its next return to the guest.
void domain_crash(struct domain *d, const char *why, ...) __printf(2, 3);
// DOMCTL_destroydomain: 0, -ERESTART (call again), -EINVAL (own domain or control domain).
int __must_check domain_kill(struct domain *d);

// Rate-limited guest-triggered log line tagged d3v1 (core/console.h has printk).
void guest_log(const struct domain *d, const char *fmt, ...) __printf(2, 3);
