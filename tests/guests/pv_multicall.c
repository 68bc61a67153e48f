// SPDX-License-Identifier: BSD-2-Clause
// multicall: each result, order, refusal of nesting, long lists, bad lists.
#include "lib/guest.h"

static void put(multicall_entry_t *e, unsigned long op, unsigned long a, unsigned long b,
                unsigned long c, unsigned long d)
{
    *e = (multicall_entry_t){.op = op, .result = 0xdead, .args = {a, b, c, d}};
}

static void results(void)
{
    static multicall_entry_t m[4];

    put(&m[0], __HYPERVISOR_xen_version, XENVER_version, 0, 0, 0);
    put(&m[1], __HYPERVISOR_sched_op, 99, 0, 0, 0);
    put(&m[2], 200, 0, 0, 0, 0);
    put(&m[3], __HYPERVISOR_xen_version, XENVER_pagesize, 0, 0, 0);
    is(hc_multicall(m, 4), 0, "four calls");
    is(m[0].result, 0x40011, "the first one's result");
    is(m[1].result, -XEN_ENOSYS, "a bad sub-operation's error");
    is(m[2].result, -XEN_ENOSYS, "an unknown call's error");
    is(m[3].result, 4096, "the one after it was done");
    is(hc_multicall(m, 0), 0, "no calls");
}

static void effects(void)
{
    static multicall_entry_t m[3];
    unsigned long a = pfn_to_mfn(frame_take()), b = pfn_to_mfn(frame_take());
    mmuext_op_t flush = {.cmd = MMUEXT_TLB_FLUSH_LOCAL};

    map_page(SCRATCH_VA, 0);
    put(&m[0], __HYPERVISOR_update_va_mapping, SCRATCH_VA, make_pte(a, PTE_RW_DATA), UVMF_INVLPG,
        0);
    put(&m[1], __HYPERVISOR_update_va_mapping, SCRATCH_VA, make_pte(b, PTE_RW_DATA), UVMF_NONE, 0);
    put(&m[2], __HYPERVISOR_mmuext_op, (unsigned long)&flush, 1, 0, DOMID_SELF);
    is(hc_multicall(m, 3), 0, "map, map, flush");
    ok(!m[0].result && !m[1].result && !m[2].result, "all done");
    is(*pte_of(SCRATCH_VA, 1) & PTE_ADDR, b << 12, "in order");
}

static void nested(void)
{
    static multicall_entry_t inner, outer[2];

    put(&inner, __HYPERVISOR_xen_version, XENVER_version, 0, 0, 0);
    put(&outer[0], __HYPERVISOR_multicall, (unsigned long)&inner, 1, 0, 0);
    put(&outer[1], __HYPERVISOR_xen_version, XENVER_version, 0, 0, 0);
    is(hc_multicall(outer, 2), 0, "a multicall within a multicall");
    ok((long)outer[0].result < 0, "is refused");
    is(inner.result, 0xdead, "nothing of it was done");
    is(outer[1].result, 0x40011, "the rest was");
}

static void long_list(void)
{
    enum { N = 3000 };
    static multicall_entry_t m[N];
    unsigned int good = 0;
    long rc;

    for (unsigned int i = 0; i < N; i++)
        put(&m[i], __HYPERVISOR_xen_version, i & 1 ? XENVER_pagesize : XENVER_version, 0, 0, 0);
    rc = hc_multicall(m, N);
    is(rc, 0, "three thousand calls, preempted or not");
    for (unsigned int i = 0; i < N; i++)
        good += m[i].result == (i & 1 ? 4096UL : 0x40011UL);
    is(good, N, "each result is right");
}

static void with_batches(void)
{
    enum { N = 1500 };
    static mmu_update_t u[N];
    static multicall_entry_t m[4];
    uint64_t slot = pte_maddr(SCRATCH_VA, 1);
    unsigned long a = pfn_to_mfn(frame_take());
    unsigned int done[4];

    for (unsigned int i = 0; i < N; i++)
        u[i] = (mmu_update_t){.ptr = slot + 8 * (i % 512), .val = make_pte(a, PTE_RO_DATA)};
    for (int i = 0; i < 4; i++)
        put(&m[i], __HYPERVISOR_mmu_update, (unsigned long)u, N, (unsigned long)&done[i],
            DOMID_SELF);
    is(hc_multicall(m, 4), 0, "four calls that can be preempted themselves");
    ok(!m[0].result && !m[1].result && !m[2].result && !m[3].result, "all done");
    ok(done[0] == N && done[1] == N && done[2] == N && done[3] == N, "completely");
}

static void bad_lists(void)
{
    is_error(hc_multicall((void *)0x1000, 1), "a list that is not mapped");
    is_error(hc_multicall((void *)HYPERVISOR_VIRT_START, 1), "a list in the hypervisor");
    is_error(hc_multicall((void *)HYPERVISOR_VIRT_START, ~0U), "an absurd count of them");
    pte_set(SCRATCH_VA, make_pte(pfn_to_mfn(frame_take()), PTE_RW_DATA));
    pte_set(SCRATCH_VA + PAGE_SIZE, 0);
    put((multicall_entry_t *)(SCRATCH_VA + PAGE_SIZE - 64), __HYPERVISOR_xen_version,
        XENVER_version, 0, 0, 0);
    is_error(hc_multicall((multicall_entry_t *)(SCRATCH_VA + PAGE_SIZE - 64), 2),
             "a list that ends in a hole");
    is(((multicall_entry_t *)(SCRATCH_VA + PAGE_SIZE - 64))->result, 0x40011,
       "what came before the hole was done");
}

// iret inside a multicall changes who runs; hypervisors refuse it or do it. It must not crash.
static void control_flow(void)
{
    static multicall_entry_t m[2];

    put(&m[0], __HYPERVISOR_sched_op, SCHEDOP_yield, 0, 0, 0);
    put(&m[1], __HYPERVISOR_xen_version, XENVER_version, 0, 0, 0);
    is(hc_multicall(m, 2), 0, "a yield in a multicall");
    is(m[1].result, 0x40011, "the call after it was done");
}

void guest_main(void)
{
    results();
    effects();
    nested();
    long_list();
    with_batches();
    bad_lists();
    control_flow();
}
