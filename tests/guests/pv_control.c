// SPDX-License-Identifier: BSD-2-Clause
// What toolstacks ask for beside the life of a guest: CPU pools, CPU policies, the walk over
// domains, scheduler parameters.
#define __XEN_TOOLS__ 1
#include "lib/guest.h"
#include <xen/domctl.h>
#include <xen/sysctl.h>

#define POOL_ANY   XEN_SYSCTL_CPUPOOL_PAR_ANY
#define MAX_LEAVES 256
#define ECX_AVX    (1u << 28)

static xen_cpuid_leaf_t leaves[MAX_LEAVES];
static xen_msr_entry_t msrs[16];
static uint64_t cpu_bits;

static long sysctl(struct xen_sysctl *op, uint32_t cmd)
{
    op->cmd = cmd;
    op->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    return HC(__HYPERVISOR_sysctl, op, 0, 0, 0);
}

static long domctl(struct xen_domctl *op, uint32_t cmd, unsigned int domain)
{
    op->cmd = cmd;
    op->domain = (domid_t)domain;
    op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    return HC(__HYPERVISOR_domctl, op, 0, 0, 0);
}

static struct xen_sysctl_cpupool_op result;

static long pool(uint32_t what, uint32_t id, uint32_t cpu, uint32_t other)
{
    static struct xen_sysctl op;

    memset(&op, 0, sizeof(op));
    op.u.cpupool_op = (struct xen_sysctl_cpupool_op){
        .op = what, .cpupool_id = id, .cpu = cpu, .sched_id = other, .domid = other};
    set_xen_guest_handle(op.u.cpupool_op.cpumap.bitmap, (uint8_t *)&cpu_bits);
    op.u.cpupool_op.cpumap.nr_bits = 64;
    cpu_bits = 0;
    long rc = sysctl(&op, XEN_SYSCTL_cpupool_op);
    result = op.u.cpupool_op;
    return rc;
}

static long create(uint32_t id, uint32_t sched)
{
    return pool(XEN_SYSCTL_CPUPOOL_OP_CREATE, id, 0, sched);
}

static long info(uint32_t from)
{
    return pool(XEN_SYSCTL_CPUPOOL_OP_INFO, from, 0, 0);
}

static long add(uint32_t id, uint32_t cpu)
{
    return pool(XEN_SYSCTL_CPUPOOL_OP_ADDCPU, id, cpu, 0);
}

static long take(uint32_t id, uint32_t cpu)
{
    return pool(XEN_SYSCTL_CPUPOOL_OP_RMCPU, id, cpu, 0);
}

static long move(uint32_t id, uint32_t domain)
{
    return pool(XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN, id, 0, domain);
}

static long destroy(uint32_t id)
{
    return pool(XEN_SYSCTL_CPUPOOL_OP_DESTROY, id, 0, 0);
}

static void pools_alone(void)
{
    is(info(0), 0, "pool 0");
    is(result.cpupool_id, 0, "its id");
    is(result.n_dom, 1, "its domains");
    is(result.sched_id, XEN_SCHEDULER_CREDIT2, "its scheduler");
    ok(cpu_bits & 1, "its CPUs");
    is(info(1), -XEN_ENOENT, "no other pool");
    is(pool(XEN_SYSCTL_CPUPOOL_OP_FREEINFO, 0, 0, 0), 0, "free CPUs");
    is(cpu_bits, 0, "there are none");
    is(pool(99, 0, 0, 0), -XEN_ENOSYS, "an unknown operation on pools");

    is(create(POOL_ANY, XEN_SCHEDULER_CREDIT), 0, "a pool of any id");
    is(result.cpupool_id, 1, "it is 1");
    is(create(1, XEN_SCHEDULER_CREDIT), -XEN_EEXIST, "an id twice");
    is(create(2, XEN_SCHEDULER_RTDS), -XEN_ENOENT, "a scheduler that is not there");
    is(create(7, XEN_SCHEDULER_CREDIT2), 0, "a pool of id 7");
    is(info(2), 0, "the next pool after 1");
    is(result.cpupool_id, 7, "is 7");
    is(destroy(5), -XEN_ENOENT, "no pool 5 to destroy");
    is(destroy(0), -XEN_EBUSY, "pool 0 stays");
    is(add(1, 0), -XEN_ENODEV, "a CPU that is not free");
    is(add(1, 100000), -XEN_EINVAL, "a CPU that does not exist");
    is(add(5, 0), -XEN_ENOENT, "a CPU for no pool");
    is_either(take(1, 0), -XEN_ENODEV, -XEN_EADDRNOTAVAIL, "a CPU of another pool");
    is(move(1, 0), -XEN_EPERM, "nobody moves itself");
    is(move(1, 4000), -XEN_ESRCH, "no such domain to move");
}

static long new_domain(uint32_t in_pool, unsigned int *id)
{
    static struct xen_domctl op;

    memset(&op, 0, sizeof(op));
    op.u.createdomain.max_vcpus = 2;
    op.u.createdomain.max_evtchn_port = -1;
    op.u.createdomain.max_grant_frames = 4;
    op.u.createdomain.max_maptrack_frames = 4;
    op.u.createdomain.grant_opts = XEN_DOMCTL_GRANT_version(2);
    op.u.createdomain.cpupool_id = in_pool;
    long rc = domctl(&op, XEN_DOMCTL_createdomain, 0);
    *id = op.domain;
    return rc;
}

static long domain_info(unsigned int from, struct xen_domctl_getdomaininfo *out)
{
    static struct xen_domctl op;

    memset(&op, 0, sizeof(op));
    long rc = domctl(&op, XEN_DOMCTL_getdomaininfo, from);
    *out = op.u.getdomaininfo;
    return rc;
}

static void kill(unsigned int id)
{
    static struct xen_domctl op;

    is(domctl(&op, XEN_DOMCTL_destroydomain, id), 0, "destroy the domain");
}

static void pools_and_domains(void)
{
    struct xen_domctl_getdomaininfo d;
    struct xen_domctl op = {.u.max_vcpus.max = 2};
    unsigned int id, last;

    is(new_domain(7, &id), -XEN_ENODEV, "no domain in a pool without CPUs");
    is(new_domain(99, &id), -XEN_ESRCH, "no domain in a pool that is not there");
    is(info(0), 0, "pool 0 again");
    last = 63 - (unsigned int)__builtin_clzl(cpu_bits);
    if (last == 0) {
        is(take(0, 0), -XEN_EBUSY, "the last CPU under a domain stays");
        tap_skip("CPUs between pools", "one CPU");
        return;
    }
    is(take(0, last), 0, "take a CPU");
    is(pool(XEN_SYSCTL_CPUPOOL_OP_FREEINFO, 0, 0, 0), 0, "it is free");
    is(cpu_bits, 1ul << last, "it alone");
    is(add(1, POOL_ANY), 0, "give it to pool 1");
    is(new_domain(1, &id), 0, "a domain in pool 1");
    is(domctl(&op, XEN_DOMCTL_max_vcpus, id), 0, "its vCPUs");
    is(domain_info(1, &d), 0, "the walk over domains goes on");
    is(d.domain, id, "to it");
    is(d.cpupool, 1, "it is in pool 1");
    is(domain_info(id + 1, &d), -XEN_ESRCH, "and ends");
    is(take(1, last), -XEN_EBUSY, "the last CPU of a pool with a domain");
    is(destroy(1), -XEN_EBUSY, "a pool with a domain");
    is(move(0, id), 0, "move it");
    is(domain_info(id, &d), 0, "look");
    is(d.cpupool, 0, "it is in pool 0");
    is(move(1, id), 0, "and back");
    is_error(move(7, id), "not to a pool without CPUs");
    is(move(5, id), -XEN_ENOENT, "nor to one that is not there");
    kill(id);
    is(info(1), 0, "pool 1");
    is(result.n_dom, 0, "it has no domain");
    is(destroy(1), -XEN_EBUSY, "a pool with a CPU");
    is(take(1, POOL_ANY), 0, "take its last CPU");
    is(add(0, last), 0, "back to pool 0");
}

static void parameters(void)
{
    static struct xen_sysctl op;
    struct xen_sysctl_scheduler_op *s = &op.u.scheduler_op;

    *s = (struct xen_sysctl_scheduler_op){
        .cpupool_id = 1, .sched_id = XEN_SCHEDULER_CREDIT, .cmd = XEN_SYSCTL_SCHEDOP_getinfo};
    is(sysctl(&op, XEN_SYSCTL_scheduler_op), 0, "parameters of a credit pool");
    s->cmd = XEN_SYSCTL_SCHEDOP_putinfo;
    s->u.sched_credit.tslice_ms = 7;
    is(sysctl(&op, XEN_SYSCTL_scheduler_op), 0, "another time slice");
    s->u.sched_credit.tslice_ms = 2000;
    is(sysctl(&op, XEN_SYSCTL_scheduler_op), -XEN_EINVAL, "one too long");
    s->cmd = XEN_SYSCTL_SCHEDOP_getinfo;
    is(sysctl(&op, XEN_SYSCTL_scheduler_op), 0, "look");
    is(s->u.sched_credit.tslice_ms, 7, "what was set is kept");
    s->cpupool_id = 0;
    is(sysctl(&op, XEN_SYSCTL_scheduler_op), -XEN_EINVAL, "another scheduler than the pool's");
    s->cpupool_id = 5;
    is(sysctl(&op, XEN_SYSCTL_scheduler_op), -XEN_ESRCH, "no such pool");
    is(destroy(1), 0, "destroy pool 1");
    is(destroy(7), 0, "destroy pool 7");
    is(info(1), -XEN_ENOENT, "only pool 0 is left");
}

static const xen_cpuid_leaf_t *find(uint32_t leaf, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (leaves[i].leaf == leaf)
            return &leaves[i];
    return NULL;
}

static void host_policy(void)
{
    static struct xen_sysctl op;
    struct xen_sysctl_cpu_policy *p = &op.u.cpu_policy;

    *p = (struct xen_sysctl_cpu_policy){.index = XEN_SYSCTL_cpu_policy_pv_default};
    is(sysctl(&op, XEN_SYSCTL_get_cpu_policy), 0, "size of a policy");
    ok(p->nr_leaves >= 32 && p->nr_leaves <= MAX_LEAVES && p->nr_msrs >= 2 && p->nr_msrs <= 16,
       "within reason");
    set_xen_guest_handle(p->leaves, leaves);
    set_xen_guest_handle(p->msrs, msrs);
    is(sysctl(&op, XEN_SYSCTL_get_cpu_policy), 0, "the default for PV domains");
    ok(find(0x80000008, p->nr_leaves) && find(1, p->nr_leaves), "it has its leaves");
    p->nr_leaves = 3;
    is(sysctl(&op, XEN_SYSCTL_get_cpu_policy), -XEN_ENOBUFS, "too little room");
    p->index = 99;
    is(sysctl(&op, XEN_SYSCTL_get_cpu_policy), -XEN_EINVAL, "no such policy");
    p->index = XEN_SYSCTL_cpu_policy_hvm_max;
    is_error(sysctl(&op, XEN_SYSCTL_get_cpu_policy), "one for HVM, with no room");
}

static struct xen_domctl_cpu_policy *policy(struct xen_domctl *op, uint32_t nr_leaves)
{
    memset(op, 0, sizeof(*op));
    op->u.cpu_policy.nr_leaves = nr_leaves;
    set_xen_guest_handle(op->u.cpu_policy.leaves, leaves);
    return &op->u.cpu_policy;
}

static void domain_policy(void)
{
    static struct xen_domctl op;
    struct xen_domctl_cpu_policy *p;
    unsigned int id;

    is(new_domain(0, &id), 0, "a domain");
    p = policy(&op, MAX_LEAVES);
    is(domctl(&op, XEN_DOMCTL_get_cpu_policy, id), 0, "its policy");
    const xen_cpuid_leaf_t *one = find(1, p->nr_leaves);
    uint32_t features = one ? one->c : 0;
    ok(features, "it has features");

    leaves[0] = (xen_cpuid_leaf_t){
        .leaf = 1, .subleaf = XEN_CPUID_NO_SUBLEAF, .a = one ? one->a : 0, .c = ~ECX_AVX, .d = ~0u};
    policy(&op, 1);
    is(domctl(&op, XEN_DOMCTL_set_cpu_policy, id), 0, "take a feature away, ask for all others");
    p = policy(&op, MAX_LEAVES);
    is(domctl(&op, XEN_DOMCTL_get_cpu_policy, id), 0, "look");
    const xen_cpuid_leaf_t *now = find(1, p->nr_leaves);
    ok(now && !(now->c & ECX_AVX), "that feature is gone");
    // What depends on it may go with it.
    ok(now && (!on_serai() || !(now->c & ~features)), "none came");

    leaves[0] = (xen_cpuid_leaf_t){.leaf = 0x123, .subleaf = XEN_CPUID_NO_SUBLEAF};
    p = policy(&op, 1);
    is(domctl(&op, XEN_DOMCTL_set_cpu_policy, id), -XEN_ERANGE, "an unknown leaf");
    is(p->err_leaf, 0x123, "is named");
    policy(&op, 100000);
    is(domctl(&op, XEN_DOMCTL_set_cpu_policy, id), -XEN_E2BIG, "too many leaves");
    policy(&op, 1);
    is(domctl(&op, XEN_DOMCTL_set_cpu_policy, 0), -XEN_EINVAL, "not for oneself");
    kill(id);
}

void guest_main(void)
{
    pools_alone();
    pools_and_domains();
    parameters();
    host_policy();
    domain_policy();
}
