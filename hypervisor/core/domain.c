// SPDX-License-Identifier: BSD-2-Clause
#include "core/domain.h"

#include <xen/domctl.h>

#include "core/console.h"
#include "core/cpupool.h"
#include "core/evtchn.h"
#include "core/grant.h"
#include "core/rangeset.h"
#include "core/sched.h"
#include "core/softirq.h"
#include "lib/string.h"
#include "memory/frame.h"
#include "memory/heap.h"
#include "memory/nodes.h"

struct domain *control_domain;
struct domain *idle_domain;
struct domain *dom_io;
struct domain *dom_xen;

// Domains by id, in chunks allocated when first needed. Readers look up with interrupts off and
// take a reference; domain_free() waits for an IPI to reach every CPU between unlinking a domain
// and freeing it, so a reader never sees freed memory. Writers hold table_lock.
#define TABLE_CHUNK 256
static struct domain **domain_table[DIV_ROUND_UP(DOMID_FIRST_RESERVED, TABLE_CHUNK)];
static spinlock_t table_lock = SPINLOCK_INIT;
static domid_t last_id;

// Events for vCPUs that have no vcpu_info of their own (id >= 32, none registered yet) end here:
// everything is masked and already pending, so nothing is ever delivered through it.
static union {
    vcpu_info_t info;
    uint8_t bytes[PAGE_SIZE];
} dummy_info __aligned(PAGE_SIZE);

static struct domain *table_lookup(domid_t id)
{
    if (id >= DOMID_FIRST_RESERVED)
        return NULL;
    id = index_nospec(id, DOMID_FIRST_RESERVED);
    struct domain **chunk = READ_ONCE(domain_table[id / TABLE_CHUNK]);
    return chunk ? READ_ONCE(chunk[id % TABLE_CHUNK]) : NULL;
}

bool domain_get(struct domain *d)
{
    int32_t old = READ_ONCE(d->refs);
    do {
        if (old <= 0)
            return false;
    } while (!__atomic_compare_exchange_n(&d->refs, &old, old + 1, false, __ATOMIC_ACQUIRE,
                                          __ATOMIC_RELAXED));
    return true;
}

struct domain *domain_get_by_id(domid_t id)
{
    unsigned long flags = irq_save();
    struct domain *d = table_lookup(id);
    if (d && !domain_get(d))
        d = NULL;
    irq_restore(flags);
    return d;
}

struct domain *domain_get_by_any_id(domid_t id)
{
    if (id != DOMID_SELF)
        return domain_get_by_id(id);
    return domain_get(current->domain) ? current->domain : NULL;
}

struct domain *domain_get_next(domid_t id)
{
    for (unsigned int i = id; i < DOMID_FIRST_RESERVED;) {
        if (!READ_ONCE(domain_table[i / TABLE_CHUNK])) {
            i = ROUND_DOWN(i, TABLE_CHUNK) + TABLE_CHUNK;
            continue;
        }
        struct domain *d = domain_get_by_id(i);
        if (d)
            return d;
        i++;
    }
    return NULL;
}

// Everything but the structure itself. The id stays taken meanwhile: frames know their owner by it.
static void domain_destroy_parts(struct domain *d)
{
    for (unsigned int i = 0; i < d->max_vcpus; i++) {
        struct vcpu *v = d->vcpu ? d->vcpu[i] : NULL;
        if (!v)
            continue;
        timer_kill(&v->periodic_timer);
        timer_kill(&v->singleshot_timer);
        timer_kill(&v->poll_timer);
        sched_vcpu_destroy(v);
        evtchn_vcpu_destroy(v);
        arch_vcpu_destroy(v);
        heap_free(v);
    }
    for (unsigned int i = 0; i < ARRAY_SIZE(d->watchdog_timer); i++)
        timer_kill(&d->watchdog_timer[i]);
    grant_domain_destroy(d);
    evtchn_domain_destroy(d);
    arch_domain_destroy(d);
    cpupool_domain_destroy(d);
    sched_domain_destroy(d);
    rangeset_free(d->iomem_caps);
    rangeset_free(d->irq_caps);
    if (d->shared_info) {
        frame_unshare(mfn_to_frame(d->shared_info_mfn));
        page_free(d->shared_info, 0);
    }
    heap_free(d->memory_map);
    heap_free(d->vcpu);
}

static void domain_unlink_and_free(struct domain *d)
{
    spin_lock(&table_lock);
    WRITE_ONCE(domain_table[d->id / TABLE_CHUNK][d->id % TABLE_CHUNK], NULL);
    spin_unlock(&table_lock);
    arch_cpu_sync();
    heap_free(d);
}

// After the last reference, in softirq context.
static void domain_end(void *arg)
{
    domain_destroy_parts(arg);
    domain_unlink_and_free(arg);
    evtchn_send_global_virq(VIRQ_DOM_EXC);
}

void domain_put(struct domain *d)
{
    if (__atomic_sub_fetch(&d->refs, 1, __ATOMIC_ACQ_REL) == 0)
        deferred_call(&d->free_call, domain_end, d);
}

static int domain_link(struct domain *d, domid_t want)
{
    int rc = -ENOSPC;

    spin_lock(&table_lock);
    for (unsigned int tries = 0; tries < DOMID_FIRST_RESERVED; tries++) {
        domid_t id = want != DOMID_INVALID ? want : (last_id + 1 + tries) % DOMID_FIRST_RESERVED;
        if (want == DOMID_INVALID && id == 0)
            continue;
        struct domain **chunk = domain_table[id / TABLE_CHUNK];
        if (!chunk) {
            chunk = heap_alloc_array(TABLE_CHUNK, sizeof(*chunk));
            if (!chunk) {
                rc = -ENOMEM;
                break;
            }
            WRITE_ONCE(domain_table[id / TABLE_CHUNK], chunk);
        }
        if (chunk[id % TABLE_CHUNK]) {
            if (want == DOMID_INVALID)
                continue;
            rc = -EEXIST;
            break;
        }
        d->id = id;
        if (want == DOMID_INVALID)
            last_id = id;
        WRITE_ONCE(chunk[id % TABLE_CHUNK], d);
        rc = 0;
        break;
    }
    spin_unlock(&table_lock);
    return rc;
}

static struct domain *domain_new(domid_t id)
{
    struct domain *d = heap_new(struct domain);

    if (!d)
        return NULL;
    d->id = id;
    d->refs = 1;
    d->page_list = FRAME_NONE;
    d->node_affinity = nodes_all();
    d->shared_info_mfn = INVALID_MFN;
    spin_lock_init(&d->page_lock);
    spin_lock_init(&d->shutdown_lock);
    spin_lock_init(&d->watchdog_lock);
    spin_lock_init(&d->hypercall_lock);
    for (unsigned int i = 0; i < ARRAY_SIZE(d->watchdog_timer); i++)
        timer_init(&d->watchdog_timer[i], sched_watchdog_fn, d, cpu_id());
    return d;
}

static int domain_create_parts(struct domain *d, const struct xen_domctl_createdomain *config)
{
    int rc;

    d->vcpu = heap_alloc_array(config->max_vcpus, sizeof(*d->vcpu));
    d->iomem_caps = rangeset_new("iomem");
    d->irq_caps = rangeset_new("irq");
    d->shared_info = page_alloc_zero(0);
    if (!d->vcpu || !d->iomem_caps || !d->irq_caps || !d->shared_info)
        return -ENOMEM;
    d->max_vcpus = config->max_vcpus;
    d->shared_info_mfn = virt_to_mfn(d->shared_info);
    frame_share(mfn_to_frame(d->shared_info_mfn), d, true);
    rc = arch_domain_create(d, config->flags);
    if (rc)
        return rc;
    rc = sched_domain_init(d);
    if (rc)
        return rc;
    rc = cpupool_domain_init(d, config->cpupool_id);
    if (rc)
        return rc;
    rc = evtchn_domain_init(d);
    if (rc)
        return rc;
    evtchn_domain_set_limit(d, config->max_evtchn_port);
    return grant_domain_init(d, config->max_grant_frames, config->max_maptrack_frames,
                             config->grant_opts & XEN_DOMCTL_GRANT_version_mask);
}

int domain_create(domid_t id, const struct xen_domctl_createdomain *config, bool is_control,
                  struct domain **out)
{
    if (config->max_vcpus == 0 || config->max_vcpus > MAX_VIRT_CPUS ||
        (id != DOMID_INVALID && id >= DOMID_FIRST_RESERVED))
        return -EINVAL;

    struct domain *d = domain_new(DOMID_INVALID);
    if (!d)
        return -ENOMEM;
    d->is_control = is_control;
    d->create_flags = config->flags;
    memcpy(d->handle, config->handle, sizeof(d->handle));
    // Until the toolstack unpauses it the domain does not run.
    d->pause_count = 1;
    d->controller_pauses = 1;

    // The id names the domain in all that the parts below set up; nobody can get a reference
    // while refs is 0.
    d->refs = 0;
    int rc = domain_link(d, id);
    if (rc) {
        heap_free(d);
        return rc;
    }
    rc = domain_create_parts(d, config);
    if (rc) {
        domain_destroy_parts(d);
        domain_unlink_and_free(d);
        return rc;
    }
    __atomic_store_n(&d->refs, 1, __ATOMIC_RELEASE);
    *out = d;
    return 0;
}

static struct vcpu *vcpu_new(struct domain *d, unsigned int id)
{
    struct vcpu *v = heap_new(struct vcpu);

    if (!v)
        return NULL;
    v->domain = d;
    v->id = id;
    v->info = id < XEN_LEGACY_MAX_VCPUS && d->shared_info ? &d->shared_info->vcpu_info[id]
                                                          : &dummy_info.info;
    v->info_mfn = INVALID_MFN;
    v->pause_flags = VPF_DOWN;
    v->runstate.state = RUNSTATE_offline;
    spin_lock_init(&v->virq_lock);
    timer_init(&v->periodic_timer, sched_periodic_timer_fn, v, cpu_id());
    timer_init(&v->singleshot_timer, sched_singleshot_timer_fn, v, cpu_id());
    timer_init(&v->poll_timer, sched_poll_timer_fn, v, cpu_id());
    return v;
}

struct vcpu *vcpu_create(struct domain *d, unsigned int id)
{
    if (id >= d->max_vcpus || d->vcpu[id])
        return NULL;
    struct vcpu *v = vcpu_new(d, id);
    if (!v)
        return NULL;
    if (evtchn_vcpu_init(v) || arch_vcpu_create(v))
        goto out_arch;
    if (sched_vcpu_init(v))
        goto out_arch;
    WRITE_ONCE(d->vcpu[id], v);
    sched_vcpu_published(v);
    return v;

out_arch:
    arch_vcpu_destroy(v);
    evtchn_vcpu_destroy(v);
    heap_free(v);
    return NULL;
}

struct vcpu *vcpu_create_idle(unsigned int cpu)
{
    struct vcpu *v = vcpu_new(idle_domain, cpu);

    if (!v)
        return NULL;
    v->is_idle = true;
    v->initialised = true;
    v->cpu = cpu;
    v->pause_flags = 0;
    // The boot CPU idles on the stack it booted on.
    if (cpu == 0)
        v->stack = (void *)ROUND_DOWN((unsigned long)stack_info(), STACK_SIZE);
    if (arch_vcpu_create(v) || sched_vcpu_init(v)) {
        arch_vcpu_destroy(v);
        heap_free(v);
        return NULL;
    }
    idle_domain->vcpu[cpu] = v;
    return v;
}

static struct domain *system_domain(domid_t id)
{
    struct domain *d = domain_new(id);

    if (!d)
        panic("no memory for system domain %u", id);
    d->is_system = true;
    return d;
}

void domain_init(void)
{
    memset(&dummy_info, 0xff, sizeof(dummy_info));
    idle_domain = system_domain(DOMID_IDLE);
    dom_io = system_domain(DOMID_IO);
    dom_xen = system_domain(DOMID_XEN);
    idle_domain->max_vcpus = cpu_count;
    idle_domain->vcpu = heap_alloc_array(cpu_count, sizeof(*idle_domain->vcpu));
    if (!idle_domain->vcpu || !vcpu_create_idle(0))
        panic("no memory for the idle domain");
}
