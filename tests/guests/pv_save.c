// SPDX-License-Identifier: BSD-2-Clause
// What a toolstack needs beside the usual to save a PV domain and to make it again: the rest of its
// vCPUs' state, and the machine-to-physical table in its own address space. And what it gets where
// only fully virtualised domains have something.
#define __XEN_TOOLS__ 1
#include "lib/guest.h"
#include <xen/domctl.h>
#include <xen/platform.h>
#include <xen/sysctl.h>

enum { AREA = 4096, XSTATE_BV = 2 + 512 / 8, MXCSR = 24 };
#define MSR_TSC_AUX 0xc0000103

static struct xen_domctl op;
static unsigned int domain;
static uint64_t area[AREA / 8];

static long domctl(uint32_t cmd, unsigned int id)
{
    op.cmd = cmd;
    op.domain = (domid_t)id;
    op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    return HC(__HYPERVISOR_domctl, &op, 0, 0, 0);
}

static void new_domain(void)
{
    op.u.createdomain = (struct xen_domctl_createdomain){
        .max_vcpus = 1,
        .max_evtchn_port = -1,
        .max_grant_frames = 4,
        .max_maptrack_frames = 4,
        .grant_opts = XEN_DOMCTL_GRANT_version(2),
    };
    is(domctl(XEN_DOMCTL_createdomain, 0), 0, "a domain");
    domain = op.domain;
    memset(&op, 0, sizeof(op));
    op.u.max_vcpus.max = 1;
    is(domctl(XEN_DOMCTL_max_vcpus, domain), 0, "its vCPU");
}

// ---- the entry points of 32-bit system calls
// -----------------------------------------------------

static struct xen_domctl_ext_vcpucontext *entries(void)
{
    memset(&op, 0, sizeof(op));
    return &op.u.ext_vcpucontext;
}

static void entry_points(void)
{
    struct xen_domctl_ext_vcpucontext *c = entries();
    uint32_t size;

    is(domctl(XEN_DOMCTL_get_ext_vcpucontext, domain), 0, "entry points of a new vCPU");
    size = c->size;
    ok(size >= 40 && size <= 128, "the size is within reason");
    is(c->sysenter_callback_eip, 0, "there is none");
    c->size = size;
    c->sysenter_callback_eip = 0xffffffff81000000;
    c->sysenter_disables_events = 1;
    c->syscall32_callback_eip = 0xffffffff82000000;
    is(domctl(XEN_DOMCTL_set_ext_vcpucontext, domain), 0, "set them");
    c = entries();
    is(domctl(XEN_DOMCTL_get_ext_vcpucontext, domain), 0, "look");
    is(c->sysenter_callback_eip, 0xffffffff81000000, "SYSENTER");
    is(c->syscall32_callback_eip, 0xffffffff82000000, "SYSCALL");
    is(c->sysenter_disables_events, 1, "with events off");
    is(c->syscall32_disables_events, 0, "with events on");
    c = entries();
    c->size = 8;
    is(domctl(XEN_DOMCTL_set_ext_vcpucontext, domain), -XEN_EINVAL, "too short");
    c = entries();
    c->size = size;
    c->sysenter_callback_eip = 0x800000000000;
    if (on_serai())
        is(domctl(XEN_DOMCTL_set_ext_vcpucontext, domain), -XEN_EINVAL, "no canonical address");
    c = entries();
    c->vcpu = 7;
    is(domctl(XEN_DOMCTL_get_ext_vcpucontext, domain), -XEN_ESRCH, "no such vCPU");
}

// ---- extended registers ------------------------------------------------------------------------

static struct xen_domctl_vcpuextstate *extended(uint64_t size, uint64_t mask)
{
    memset(&op, 0, sizeof(op));
    op.u.vcpuextstate.size = size;
    op.u.vcpuextstate.xfeature_mask = mask;
    set_xen_guest_handle_raw(op.u.vcpuextstate.buffer, area);
    return &op.u.vcpuextstate;
}

static long set_extended(uint64_t size)
{
    extended(size, 0);
    return domctl(XEN_DOMCTL_setvcpuextstate, domain);
}

static void extended_state(void)
{
    struct xen_domctl_vcpuextstate *e = extended(0, 0);
    uint64_t size, mask;

    is(domctl(XEN_DOMCTL_getvcpuextstate, domain), 0, "size of the extended state");
    size = e->size;
    mask = e->xfeature_mask;
    if (!size) {
        tap_skip("extended state", "the CPU has none");
        return;
    }
    ok(size >= 16 + 576 && size <= AREA && (mask & 3) == 3, "within reason");
    extended(size - 8, mask);
    is(domctl(XEN_DOMCTL_getvcpuextstate, domain), -XEN_EINVAL, "another size");
    e = extended(size, mask);
    is(domctl(XEN_DOMCTL_getvcpuextstate, domain), 0, "the extended state");

    memset(area, 0, sizeof(area));
    area[0] = area[1] = 3;
    area[XSTATE_BV] = 3;
    area[(16 + 160) / 8] = 0x1122334455667788; // XMM0
    ((uint32_t *)area)[(16 + MXCSR) / 4] = 0x1fa0;
    is(set_extended(16 + 576), 0, "set it, of a smaller CPU");
    memset(area, 0, sizeof(area));
    extended(size, mask);
    is(domctl(XEN_DOMCTL_getvcpuextstate, domain), 0, "look");
    is(area[(16 + 160) / 8], 0x1122334455667788, "a register");
    is(((uint32_t *)area)[(16 + MXCSR) / 4], 0x1fa0, "control bits");
    is(area[0], 3, "XCR0");

    area[0] = area[1] = 2;
    is(set_extended(16 + 576), -XEN_EINVAL, "XCR0 without x87");
    area[0] = area[1] = 3;
    area[XSTATE_BV] = 1ul << 62;
    is(set_extended(16 + 576), -XEN_EINVAL, "a component that is not there");
    area[XSTATE_BV] = 3;
    area[XSTATE_BV + 2] = 1;
    is(set_extended(16 + 576), -XEN_EINVAL, "reserved words of the header");
    area[XSTATE_BV + 2] = 0;
    if (on_serai()) {
        ((uint32_t *)area)[(16 + MXCSR) / 4] = ~0u;
        is(set_extended(16 + 576), -XEN_EINVAL, "reserved control bits");
        ((uint32_t *)area)[(16 + MXCSR) / 4] = 0x1f80;
        is(set_extended(AREA), -XEN_EINVAL, "longer than the CPU's");
        is(set_extended(100), -XEN_EINVAL, "shorter than any");
    }
    is(set_extended(16 + 576), 0, "a good one after all");
}

// ---- model-specific registers
// --------------------------------------------------------------------

static struct xen_domctl_vcpu_msr msr;

static struct xen_domctl_vcpu_msrs *msrs(uint32_t count, bool handle)
{
    memset(&op, 0, sizeof(op));
    op.u.vcpu_msrs.msr_count = count;
    if (handle)
        set_xen_guest_handle_raw(op.u.vcpu_msrs.msrs, &msr);
    return &op.u.vcpu_msrs;
}

static void registers(void)
{
    struct xen_domctl_vcpu_msrs *m = msrs(0, false);

    is(domctl(XEN_DOMCTL_get_vcpu_msrs, domain), 0, "how many registers there are");
    ok(m->msr_count <= 64, "within reason");
    if (!on_serai())
        return; // which ones is its own affair
    is(m->msr_count, 1, "one");
    msrs(1, true);
    is(domctl(XEN_DOMCTL_get_vcpu_msrs, domain), 0, "those that are not zero");
    is(m->msr_count, 0, "none");
    msr = (struct xen_domctl_vcpu_msr){.index = MSR_TSC_AUX, .value = 77};
    msrs(1, true);
    is(domctl(XEN_DOMCTL_set_vcpu_msrs, domain), 0, "set TSC_AUX");
    msr.value = 0;
    msrs(1, true);
    is(domctl(XEN_DOMCTL_get_vcpu_msrs, domain), 0, "look");
    is(m->msr_count, 1, "one");
    is(msr.value, 77, "as set");
    msrs(0, true);
    is(domctl(XEN_DOMCTL_get_vcpu_msrs, domain), -XEN_ENOBUFS, "no room");
    is(m->msr_count, 1, "how much is wanted");
    msr.value = 1ul << 32;
    msrs(1, true);
    is(domctl(XEN_DOMCTL_set_vcpu_msrs, domain), -XEN_EINVAL, "a value that is too wide");
    is(m->msr_count, 0, "it was the first");
    msr = (struct xen_domctl_vcpu_msr){.index = 0x10};
    msrs(1, true);
    is(domctl(XEN_DOMCTL_set_vcpu_msrs, domain), -XEN_EINVAL, "another register");
}

// ---- the machine-to-physical table
// -----------------------------------------------------------------

static long map(uint64_t slot, unsigned long mfn, uint64_t flags)
{
    mmu_update_t u = {.ptr = slot, .val = make_pte(mfn, flags)};
    long rc = hc_mmu_update(&u, 1, NULL, DOMID_XEN);

    mmuext(MMUEXT_INVLPG_LOCAL, SCRATCH_VA);
    return rc;
}

static void machine_to_physical(void)
{
    static xen_pfn_t extents[64];
    struct xen_machphys_mfn_list list = {.max_extents = 64};
    unsigned long mfn = va_to_mfn((void *)start_info), page = (mfn % (1 << 18)) / 512, wrong = 0;
    uint64_t slot;

    set_xen_guest_handle(list.extent_start, extents);
    is(hc_memory_op(XENMEM_machphys_mfn_list, &list), 0, "where the table is");
    is(map_page(SCRATCH_VA, make_pte(va_to_mfn((void *)start_info), PTE_RO_DATA)), 0, "a place");
    slot = pte_maddr(SCRATCH_VA, 1);
    is(map(slot, extents[mfn >> 18] + page, PTE_RO_DATA), 0, "a page of it, read-only");
    for (unsigned int i = 0; i < 512; i++)
        wrong += ((const volatile uint64_t *)SCRATCH_VA)[i] != M2P[(mfn & ~511ul) + i];
    is(wrong, 0, "has the same entries");
    is_error(map(slot, extents[mfn >> 18] + page, PTE_RW_DATA), "not writable");
    is_error(map(slot, mfn, PTE_RO_DATA), "a frame of ours is not part of it");
    for (unsigned int i = 0; i < list.nr_extents; i++)
        wrong += !!map(slot, extents[i] + 511, PTE_RO_DATA);
    is(wrong, 0, "whole extents can be mapped");
    is(map_page(SCRATCH_VA, 0), 0, "unmap");
}

// ---- what kind of frame it is
// ------------------------------------------------------------------------------------

static unsigned long frame_kind(unsigned long mfn)
{
    static xen_pfn_t frame;

    frame = mfn;
    memset(&op, 0, sizeof(op));
    op.u.getpageframeinfo3.num = 1;
    set_xen_guest_handle_raw(op.u.getpageframeinfo3.array, &frame);
    is(domctl(XEN_DOMCTL_getpageframeinfo3, 0), 0, "ask of what kind a frame is");
    return frame;
}

static void frame_kinds(void)
{
    uint64_t *page = page_alloc();
    unsigned long mfn = va_to_mfn(page);

    is(frame_kind(mfn), XEN_DOMCTL_PFINFO_NOTAB, "a page of data");
    page_set_ro(page);
    is(mmuext(MMUEXT_PIN_L1_TABLE, mfn), 0, "make it a page table");
    is(frame_kind(mfn), XEN_DOMCTL_PFINFO_L1TAB | XEN_DOMCTL_PFINFO_LPINTAB, "a page table, held");
    is(mmuext(MMUEXT_UNPIN_TABLE, mfn), 0, "let it go");
    is(frame_kind(mfn), XEN_DOMCTL_PFINFO_NOTAB, "no page table any more");
    is(page_set_rw(page), 0, "writable again");
    is(frame_kind(mfn), XEN_DOMCTL_PFINFO_NOTAB, "a page of data again");
    is(frame_kind(0x7ffffffff), XEN_DOMCTL_PFINFO_XTAB, "no frame at all");
    page_free(page);
    memset(&op, 0, sizeof(op));
    op.u.getpageframeinfo3.num = 1025;
    is(domctl(XEN_DOMCTL_getpageframeinfo3, 0), -XEN_E2BIG, "too many at once");
}

// ---- refusals
// ------------------------------------------------------------------------------------

static long sysctl(uint32_t cmd)
{
    static struct xen_sysctl s;

    memset(&s, 0, sizeof(s));
    s.cmd = cmd;
    s.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    return HC(__HYPERVISOR_sysctl, &s, 0, 0, 0);
}

static void refusals(void)
{
    static const uint32_t none[] = {
        XEN_DOMCTL_gethvmcontext, XEN_DOMCTL_sethvmcontext, XEN_DOMCTL_gethvmcontext_partial,
        XEN_DOMCTL_soft_reset,    XEN_DOMCTL_debug_op,      XEN_DOMCTL_get_paging_mempool_size,
        XEN_DOMCTL_psr_alloc,     XEN_DOMCTL_psr_cmt_op,    XEN_DOMCTL_vmtrace_op,
        XEN_DOMCTL_real_mode_area};

    for (unsigned int i = 0; i < ARRAY_SIZE(none); i++) {
        memset(&op, 0, sizeof(op));
        is_error(domctl(none[i], domain), "what a PV domain does not have");
    }
    is(sysctl(XEN_SYSCTL_get_pmstat), -XEN_ENODEV, "no statistics of power states");
    is_error(sysctl(XEN_SYSCTL_psr_alloc), "no cache allocation");
    memset(&op, 0, sizeof(op));
    is_error(domctl(XEN_DOMCTL_get_ext_vcpucontext, 0), "no state of oneself");
    is(domctl(XEN_DOMCTL_get_vcpu_msrs, 4000), -XEN_ESRCH, "no such domain");
}

static void symbols(void)
{
    static char name[128];
    static struct xen_platform_op p;
    unsigned int n = 0, wrong = 0;
    uint64_t last = 0;

    for (;; n++) {
        p.cmd = XENPF_get_symbol;
        p.interface_version = XENPF_INTERFACE_VERSION;
        p.u.symdata.namelen = sizeof(name);
        p.u.symdata.symnum = n;
        set_xen_guest_handle(p.u.symdata.name, name);
        if (HC(__HYPERVISOR_platform_op, &p, 0, 0, 0) || p.u.symdata.symnum == n)
            break;
        wrong += p.u.symdata.address < last || !name[0];
        last = p.u.symdata.address;
        if (n == 200)
            break;
    }
    ok(n == 200, "names of the hypervisor's functions");
    is(wrong, 0, "in order");
}

void guest_main(void)
{
    new_domain();
    entry_points();
    extended_state();
    registers();
    machine_to_physical();
    frame_kinds();
    refusals();
    symbols();
    is(domctl(XEN_DOMCTL_destroydomain, domain), 0, "destroy the domain");
}
