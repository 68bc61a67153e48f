// SPDX-License-Identifier: BSD-2-Clause
#include "fake_xen.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xencall.h>
#include <xenforeignmemory.h>

#include <xen/xen.h>
#include <xen/domctl.h>
#include <xen/event_channel.h>
#include <xen/memory.h>
#include <xen/sysctl.h>
#include <xen/version.h>

#define PAGE     4096ull
#define MFN_BASE 0x100ull
#define NOBODY   0xffff

struct fake_domain fake_domain[FAKE_DOMAINS];
unsigned fake_calls, fake_fail_at;
int fake_errno = EIO;
unsigned fake_mapped;
unsigned fake_nodes = 1;

static uint16_t owner[FAKE_FRAMES];
static uint8_t mapped[FAKE_FRAMES];
static uint8_t *memory; /* all frames in a row, shared with every mapping */
static int memory_fd = -1;
static unsigned last_id;
bool fake_rotate;

/* A condition that only a wrong caller violates. */
#define CHECK(x)                                                  \
    do {                                                          \
        if (!(x)) {                                               \
            fprintf(stderr, "fake_xen.c:%d: %s\n", __LINE__, #x); \
            abort();                                              \
        }                                                         \
    } while (0)

void fake_reset(void)
{
    if (memory_fd < 0) {
        memory_fd = memfd_create("frames", 0);
        CHECK(memory_fd >= 0 && !ftruncate(memory_fd, FAKE_FRAMES * PAGE));
        memory = mmap(NULL, FAKE_FRAMES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
        CHECK(memory != MAP_FAILED);
    }
    memset(memory, 0xcc, FAKE_FRAMES * PAGE); /* nobody may count on zeroes */
    memset(owner, 0xff, sizeof(owner));
    memset(mapped, 0, sizeof(mapped));
    memset(fake_domain, 0, sizeof(fake_domain));
    fake_domain[0] = (struct fake_domain){.alive = true, .max_vcpus = 1, .weight = 256};
    fake_calls = fake_fail_at = fake_mapped = last_id = 0;
    fake_nodes = 1;
}

void *fake_frame(uint64_t mfn)
{
    CHECK(mfn >= MFN_BASE && mfn - MFN_BASE < FAKE_FRAMES);
    return memory + (mfn - MFN_BASE) * PAGE;
}

uint64_t fake_free(void)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < FAKE_FRAMES; i++) {
        n += owner[i] == NOBODY;
    }
    return n;
}

unsigned fake_owner(uint64_t mfn)
{
    return mfn - MFN_BASE < FAKE_FRAMES ? owner[mfn - MFN_BASE] : NOBODY;
}

unsigned fake_alive(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < FAKE_DOMAINS; i++) {
        n += fake_domain[i].alive;
    }
    return n;
}

bool fake_failing(void)
{
    if (++fake_calls != fake_fail_at) {
        return false;
    }
    errno = fake_errno;
    return true;
}

static long fail(int error)
{
    errno = error;
    return -1;
}

/* 2^order frames in a row for a domain, or 0. */
static uint64_t fake_allocate(unsigned id, unsigned order)
{
    uint64_t count = 1ull << order;

    for (uint64_t at = 0; at + count <= FAKE_FRAMES; at += count) {
        uint64_t n = 0;

        while (n < count && owner[at + n] == NOBODY) {
            n++;
        }
        if (n == count) {
            for (n = 0; n < count; n++) {
                owner[at + n] = id;
            }
            return at + MFN_BASE;
        }
    }
    return 0;
}

static struct fake_domain *find(uint32_t id)
{
    return id < FAKE_DOMAINS && fake_domain[id].alive ? &fake_domain[id] : NULL;
}

static void info(unsigned id, struct xen_domctl_getdomaininfo *out)
{
    const struct fake_domain *d = &fake_domain[id];

    memset(out, 0, sizeof(*out));
    out->domain = id;
    out->flags = d->paused ? XEN_DOMINF_paused : XEN_DOMINF_running;
    if (d->shutdown) {
        out->flags |= XEN_DOMINF_shutdown | (d->shutdown - 1) << XEN_DOMINF_shutdownshift;
    }
    out->tot_pages = d->pages;
    out->max_pages = d->max_kb / 4;
    out->cpu_time = 1000000000ull * (id + 1);
    out->nr_online_vcpus = d->max_vcpus;
    out->max_vcpu_id = d->max_vcpus - 1;
    out->shared_info_frame = d->shared_info;
    memcpy(out->handle, d->handle, sizeof(out->handle));
}

static long create(struct xen_domctl *op)
{
    const struct xen_domctl_createdomain *c = &op->u.createdomain;
    unsigned id = 0;

    for (unsigned tries = 0; tries < FAKE_DOMAINS && (!id || fake_domain[id].alive); tries++) {
        id = (last_id + 1 + tries) % FAKE_DOMAINS;
    }
    if (!id || fake_domain[id].alive) {
        return fail(ENOMEM);
    }
    last_id = fake_rotate ? id : 0;
    CHECK(c->flags == 0 && c->max_vcpus > 0 && !c->arch.emulation_flags);
    fake_domain[id] = (struct fake_domain){.alive = true, .paused = true, .weight = 256};
    memcpy(fake_domain[id].handle, c->handle, sizeof(c->handle));
    fake_domain[id].max_vcpus = c->max_vcpus;
    fake_domain[id].shared_info = fake_allocate(id, 0);
    memset(fake_frame(fake_domain[id].shared_info), 0, PAGE);
    op->domain = id;
    return 0;
}

static long destroy(unsigned id)
{
    for (unsigned i = 0; i < FAKE_FRAMES; i++) {
        if (owner[i] == id) {
            CHECK(!mapped[i]);
            owner[i] = NOBODY;
        }
    }
    fake_domain[id].alive = false;
    return 0;
}

static long affinity(struct fake_domain *d, struct xen_domctl_vcpuaffinity *a, bool set)
{
    uint8_t *bits;

    if (a->vcpu >= d->max_vcpus) {
        return fail(ESRCH);
    }
    if (set && a->flags & XEN_VCPUAFFINITY_SOFT) {
        d->soft[a->vcpu] = a->cpumap_soft.bitmap.p[0];
    }
    if (!(a->flags & XEN_VCPUAFFINITY_HARD)) {
        return 0;
    }
    bits = a->cpumap_hard.bitmap.p;
    if (set && !(bits[0] & ((1u << FAKE_CPUS) - 1))) {
        return fail(EINVAL);
    }
    if (set) {
        d->affinity[a->vcpu] = bits[0];
    } else {
        bits[0] = d->affinity[a->vcpu];
    }
    return 0;
}

static long scheduler(struct fake_domain *d, struct xen_domctl_scheduler_op *s)
{
    if (s->sched_id != XEN_SCHEDULER_CREDIT2) {
        return fail(EINVAL);
    }
    if (s->cmd == XEN_DOMCTL_SCHEDOP_putinfo) {
        d->weight = s->u.credit2.weight;
        d->cap = s->u.credit2.cap;
    } else {
        s->u.credit2.weight = d->weight;
        s->u.credit2.cap = d->cap;
    }
    return 0;
}

static long context(struct fake_domain *d, const struct xen_domctl_vcpucontext *v)
{
    const vcpu_guest_context_t *c = v->ctxt.p;

    CHECK(d->root && c->ctrlreg[3] == d->root << 12);
    CHECK(c->flags & VGCF_in_kernel);
    d->rip = c->user_regs.rip;
    d->rsi = c->user_regs.rsi;
    return 0;
}

static long get_context(const struct fake_domain *d, const struct xen_domctl_vcpucontext *v)
{
    vcpu_guest_context_t *c = v->ctxt.p;

    if (v->vcpu >= d->max_vcpus) {
        return fail(ESRCH);
    }
    if (v->vcpu) {
        return fail(ENODATA); /* never started */
    }
    memset(c, 0, sizeof(*c));
    c->user_regs.rip = d->rip;
    c->ctrlreg[3] = d->root << 12;
    return 0;
}

static long domctl(struct xen_domctl *op)
{
    struct fake_domain *d = find(op->domain);

    CHECK(op->interface_version == XEN_DOMCTL_INTERFACE_VERSION);
    if (op->cmd == XEN_DOMCTL_createdomain) {
        return create(op);
    }
    if (!d) {
        return fail(ESRCH);
    }
    switch (op->cmd) {
    case XEN_DOMCTL_destroydomain:
        return destroy(op->domain);
    case XEN_DOMCTL_pausedomain:
    case XEN_DOMCTL_unpausedomain:
        d->paused = op->cmd == XEN_DOMCTL_pausedomain;
        return 0;
    case XEN_DOMCTL_getdomaininfo:
        info(op->domain, &op->u.getdomaininfo);
        return 0;
    case XEN_DOMCTL_max_vcpus:
        return op->u.max_vcpus.max == d->max_vcpus ? 0 : fail(EINVAL);
    case XEN_DOMCTL_max_mem:
        d->max_kb = op->u.max_mem.max_memkb;
        return 0;
    case XEN_DOMCTL_setdomainhandle:
        memcpy(d->handle, op->u.setdomainhandle.handle, sizeof(d->handle));
        return 0;
    case XEN_DOMCTL_hypercall_init:
        d->hypercall_mfn = op->u.hypercall_init.gmfn;
        return 0;
    case XEN_DOMCTL_setnodeaffinity:
        d->nodes = op->u.nodeaffinity.nodemap.bitmap.p[0];
        return 0;
    case XEN_DOMCTL_settscinfo:
        return 0;
    case XEN_DOMCTL_getvcpuinfo:
        op->u.getvcpuinfo.online = 1;
        return op->u.getvcpuinfo.vcpu < d->max_vcpus ? 0 : fail(ESRCH);
    case XEN_DOMCTL_setvcpuaffinity:
    case XEN_DOMCTL_getvcpuaffinity:
        return affinity(d, &op->u.vcpuaffinity, op->cmd == XEN_DOMCTL_setvcpuaffinity);
    case XEN_DOMCTL_scheduler_op:
        return scheduler(d, &op->u.scheduler_op);
    case XEN_DOMCTL_getvcpucontext:
        return get_context(d, &op->u.vcpucontext);
    case XEN_DOMCTL_setvcpucontext:
        return context(d, &op->u.vcpucontext);
    }
    return fail(ENOSYS);
}

static long domain_list(struct xen_sysctl_getdomaininfolist *l)
{
    l->num_domains = 0;
    for (unsigned id = l->first_domain; id < FAKE_DOMAINS && l->num_domains < l->max_domains;
         id++) {
        if (fake_domain[id].alive) {
            info(id, &l->buffer.p[l->num_domains++]);
        }
    }
    return 0;
}

/* The memory that is free is divided: all but a sixteenth is the last node's. */
static long numainfo(struct xen_sysctl_numainfo *n)
{
    for (unsigned i = 0; i < fake_nodes; i++) {
        uint64_t part = fake_free() * PAGE / 16;

        n->meminfo.p[i].memfree = i + 1 < fake_nodes ? part : fake_free() * PAGE - part;
    }
    n->num_nodes = fake_nodes;
    return 0;
}

static long cputopo(struct xen_sysctl_cputopoinfo *t)
{
    for (unsigned i = 0; i < FAKE_CPUS; i++) {
        t->cputopo.p[i] = (struct xen_sysctl_cputopo){.core = i, .node = i % fake_nodes};
    }
    t->num_cpus = FAKE_CPUS;
    return 0;
}

static long sysctl(struct xen_sysctl *op)
{
    CHECK(op->interface_version == XEN_SYSCTL_INTERFACE_VERSION);
    switch (op->cmd) {
    case XEN_SYSCTL_physinfo:
        memset(&op->u.physinfo, 0, sizeof(op->u.physinfo));
        op->u.physinfo.capabilities = XEN_SYSCTL_PHYSCAP_pv | XEN_SYSCTL_PHYSCAP_gnttab_v1;
        op->u.physinfo.nr_cpus = FAKE_CPUS;
        op->u.physinfo.nr_nodes = fake_nodes;
        op->u.physinfo.max_cpu_id = FAKE_CPUS - 1;
        op->u.physinfo.total_pages = FAKE_FRAMES;
        op->u.physinfo.free_pages = fake_free();
        return 0;
    case XEN_SYSCTL_numainfo:
        return numainfo(&op->u.numainfo);
    case XEN_SYSCTL_cputopoinfo:
        return cputopo(&op->u.cputopoinfo);
    case XEN_SYSCTL_sched_id:
        op->u.sched_id.sched_id = XEN_SCHEDULER_CREDIT2;
        return 0;
    case XEN_SYSCTL_getdomaininfolist:
        return domain_list(&op->u.getdomaininfolist);
    }
    return fail(ENOSYS);
}

static long populate(struct xen_memory_reservation *r)
{
    struct fake_domain *d = find(r->domid);
    xen_ulong_t done = 0;

    CHECK(d);
    while (done < r->nr_extents) {
        uint64_t mfn = fake_allocate(r->domid, r->extent_order);

        if (!mfn || (d->pages + (1ull << r->extent_order)) * 4 > d->max_kb) {
            break;
        }
        r->extent_start.p[done++] = mfn;
        d->pages += 1ull << r->extent_order;
    }
    return (long)done;
}

static long memory_op(unsigned cmd, void *arg)
{
    struct xen_memory_reservation *r = arg;

    switch (cmd) {
    case XENMEM_populate_physmap:
        return populate(r);
    case XENMEM_claim_pages:
        return r->nr_extents <= fake_free() ? 0 : fail(ENOMEM);
    case XENMEM_set_memory_map:
        return 0;
    }
    return fail(ENOSYS);
}

/* Every frame of a table tree belongs to the domain and is mapped nowhere here; no table may be
 * written through an entry of level 1. */
static void check_tables(unsigned id, uint64_t mfn, unsigned level)
{
    const uint64_t *entry = fake_frame(mfn);

    CHECK(owner[mfn - MFN_BASE] == id && !mapped[mfn - MFN_BASE]);
    for (unsigned i = 0; i < 512; i++) {
        uint64_t target = (entry[i] & 0xffffffffff000ull) >> 12;

        if (!(entry[i] & 1)) {
            continue;
        }
        CHECK(target >= MFN_BASE && owner[target - MFN_BASE] == id);
        if (level > 1) {
            check_tables(id, target, level - 1);
        }
    }
}

static long mmuext(struct mmuext_op *op, uint32_t id)
{
    CHECK(op->cmd == MMUEXT_PIN_L4_TABLE && find(id));
    check_tables(id, op->arg1.mfn, 4);
    find(id)->root = op->arg1.mfn;
    return 0;
}

static long evtchn(int cmd, struct evtchn_alloc_unbound *op)
{
    CHECK(cmd == EVTCHNOP_alloc_unbound && find(op->dom));
    op->port = ++find(op->dom)->ports;
    return 0;
}

/* The library's side of libxencall. */
xencall_handle *xencall_open(struct xentoollog_logger *logger, unsigned flags)
{
    return (xencall_handle *)fake_domain;
}

int xencall_close(xencall_handle *h)
{
    return 0;
}

void *xencall_alloc_buffer(xencall_handle *h, size_t size)
{
    return malloc(size);
}

void xencall_free_buffer(xencall_handle *h, void *p)
{
    free(p);
}

int xencall1(xencall_handle *h, unsigned op, uint64_t a)
{
    if (fake_failing()) {
        return -1;
    }
    return (int)(op == __HYPERVISOR_domctl ? domctl((void *)a) : sysctl((void *)a));
}

int xencall2(xencall_handle *h, unsigned op, uint64_t a, uint64_t b)
{
    if (fake_failing()) {
        return -1;
    }
    if (op == __HYPERVISOR_xen_version) {
        return a == XENVER_version ? 4 << 16 | 17 : 0;
    }
    return (int)evtchn((int)a, (void *)b);
}

long xencall2L(xencall_handle *h, unsigned op, uint64_t a, uint64_t b)
{
    return fake_failing() ? -1 : memory_op((unsigned)a, (void *)b);
}

int xencall4(xencall_handle *h, unsigned op, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return fake_failing() ? -1 : (int)mmuext((void *)a, (uint32_t)d);
}

/* ... and of libxenforeignmemory. */
xenforeignmemory_handle *xenforeignmemory_open(struct xentoollog_logger *logger, unsigned flags)
{
    return (xenforeignmemory_handle *)fake_domain;
}

int xenforeignmemory_close(xenforeignmemory_handle *h)
{
    return 0;
}

void *xenforeignmemory_map(xenforeignmemory_handle *h, uint32_t dom, int prot, size_t pages,
                           const xen_pfn_t arr[], int err[])
{
    uint8_t *at;

    if (fake_failing()) {
        return NULL;
    }
    at = mmap(NULL, pages * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED);
    for (size_t i = 0; i < pages; i++) {
        uint64_t frame = arr[i] - MFN_BASE;

        if (err) {
            err[i] = frame < FAKE_FRAMES && owner[frame] == dom ? 0 : -EINVAL;
        }
        if (err && err[i]) {
            continue;
        }
        CHECK(frame < FAKE_FRAMES && owner[frame] == dom);
        CHECK(mmap(at + i * PAGE, PAGE, prot, MAP_SHARED | MAP_FIXED, memory_fd,
                   (off_t)(frame * PAGE)) != MAP_FAILED);
        mapped[frame]++;
    }
    fake_mapped += pages;
    return at;
}

int xenforeignmemory_unmap(xenforeignmemory_handle *h, void *addr, size_t pages)
{
    char line[256];
    FILE *maps = fopen("/proc/self/maps", "r");

    /* The kernel knows which frame is where. */
    CHECK(maps);
    while (fgets(line, sizeof(line), maps)) {
        unsigned long from, to, offset;

        if (strstr(line, "memfd:frames") &&
            sscanf(line, "%lx-%lx %*s %lx", &from, &to, &offset) == 3 && from >= (uintptr_t)addr &&
            to <= (uintptr_t)addr + pages * PAGE) {
            for (; from < to; from += PAGE, offset += PAGE) {
                mapped[offset / PAGE]--;
            }
        }
    }
    fclose(maps);
    fake_mapped -= pages;
    return munmap(addr, pages * PAGE);
}

xenforeignmemory_resource_handle *xenforeignmemory_map_resource(xenforeignmemory_handle *h,
                                                                domid_t domid, unsigned type,
                                                                unsigned id, unsigned long frame,
                                                                unsigned long nr, void **addr,
                                                                int prot, int flags)
{
    if (fake_failing()) {
        return NULL;
    }
    CHECK(type == XENMEM_resource_grant_table && nr == 1 && find(domid));
    *addr = calloc(1, PAGE);
    return *addr;
}

int xenforeignmemory_unmap_resource(xenforeignmemory_handle *h,
                                    xenforeignmemory_resource_handle *res)
{
    free(res);
    return 0;
}
