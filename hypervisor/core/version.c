// SPDX-License-Identifier: BSD-2-Clause
// Who we are (xen_version), what a PV domain asked us to assist with (vm_assist), and hvm_op as PV
// domains may use it.
#include "core/access.h"
#include "core/cmdline.h"
#include "core/hypercall.h"
#include "lib/string.h"
#include "x86/arch/guest_access.h"
#include "x86/arch/page.h"
#include <xen/features.h>
#include <xen/hvm/hvm_op.h>

#define VERSION_MAJOR 4
#define VERSION_MINOR 17

#ifndef __VERSION__ // sparse has none
#define __VERSION__ "unknown"
#endif

static int put_string(void *arg, const char *s)
{
    return guest_copy_to(arg, s, strlen(s) + 1);
}

// Text that only the control domain may see.
static int put_private_string(void *arg, const char *s)
{
    return put_string(arg, current->domain->is_control ? s : "<denied>");
}

static int put_compile_info(void *arg)
{
    struct xen_compile_info info = {
        .compiler = __VERSION__,
        .compile_by = "serai",
        .compile_domain = "serai",
        .compile_date = "-", // builds are reproducible
    };

    return guest_copy_to(arg, &info, sizeof(info));
}

static uint32_t features(const struct domain *d)
{
    uint32_t f = 1u << XENFEAT_mmu_pt_update_preserve_ad | 1u << XENFEAT_highmem_assist |
                 1u << XENFEAT_gnttab_map_avail_bits | 1u << XENFEAT_memory_op_vnode_supported |
                 1u << XENFEAT_not_direct_mapped;

    if (d->vm_assist & (1u << VMASST_TYPE_pae_extended_cr3))
        f |= 1u << XENFEAT_pae_pgdir_above_4gb;
    if (d->is_control)
        f |= 1u << XENFEAT_dom0;
    return f;
}

static int get_features(void *arg)
{
    struct xen_feature_info info;

    if (guest_copy_from(&info, arg, sizeof(info)))
        return -EFAULT;
    if (info.submap_idx >= XENFEAT_NR_SUBMAPS)
        return -EINVAL;
    info.submap = features(current->domain);
    return guest_copy_to(arg, &info, sizeof(info));
}

static int put_platform_parameters(void *arg)
{
    struct xen_platform_parameters p = {.virt_start = HYPERVISOR_HOLE_START};

    return guest_copy_to(arg, &p, sizeof(p));
}

static __noinline long version_text_or_data(unsigned long cmd, unsigned long arg)
{
    void *p = (void *)arg;

    switch (cmd) {
    case XENVER_extraversion:
        return put_string(p, "-serai");
    case XENVER_compile_info:
        return put_compile_info(p);
    case XENVER_capabilities:
        return put_string(p, "xen-3.0-x86_64 ");
    case XENVER_changeset:
        return put_private_string(p, "none");
    case XENVER_platform_parameters:
        return put_platform_parameters(p);
    case XENVER_get_features:
        return get_features(p);
    case XENVER_pagesize:
        return PAGE_SIZE;
    case XENVER_guest_handle:
        return guest_copy_to(p, current->domain->handle, sizeof(current->domain->handle));
    case XENVER_commandline:
        return put_private_string(p, cmdline_text);
    case XENVER_build_id:
        return -ENODATA; // images carry none
    default:
        return -ENOSYS;
    }
}

// Kernels ask for the version whenever they want to be told of pending events.
long hc_xen_version(unsigned long cmd, unsigned long arg)
{
    if (likely(cmd == XENVER_version))
        return VERSION_MAJOR << 16 | VERSION_MINOR;
    return version_text_or_data(cmd, arg);
}

#define ASSISTS_PV64                                                                     \
    (1ull << VMASST_TYPE_4gb_segments | 1ull << VMASST_TYPE_4gb_segments_notify |        \
     1ull << VMASST_TYPE_writable_pagetables | 1ull << VMASST_TYPE_pae_extended_cr3 |    \
     1ull << VMASST_TYPE_architectural_iopl | 1ull << VMASST_TYPE_runstate_update_flag | \
     1ull << VMASST_TYPE_m2p_strict)

long hc_vm_assist(unsigned long cmd, unsigned long type)
{
    struct domain *d = current->domain;

    if (type >= 64 || !(ASSISTS_PV64 & (1ull << type)))
        return -EINVAL;
    switch (cmd) {
    case VMASST_CMD_enable:
        __atomic_fetch_or(&d->vm_assist, 1ull << type, __ATOMIC_SEQ_CST);
        return 0;
    case VMASST_CMD_disable:
        __atomic_fetch_and(&d->vm_assist, ~(1ull << type), __ATOMIC_SEQ_CST);
        return 0;
    default:
        return -ENOSYS;
    }
}

// Parameters of hardware-assisted domains: the domain named is looked at before anything else, so
// that a caller learns nothing about others.
static int hvm_param(unsigned long arg)
{
    struct domain *subject = current->domain, *d;
    struct xen_hvm_param p;
    int ret;

    if (guest_copy_from(&p, (void *)arg, sizeof(p)))
        return -EFAULT;
    d = domain_get_by_any_id(p.domid);
    if (!d)
        return -ESRCH;
    ret = d == subject ? 0 : access_check(subject, ACCESS_TARGET, d);
    domain_put(d);
    return ret ? ret : -EINVAL; // a PV domain has no such parameters
}

long hc_hvm_op(unsigned long op, unsigned long arg)
{
    switch (op) {
    case HVMOP_set_param:
    case HVMOP_get_param:
        return hvm_param(arg);
    case HVMOP_flush_tlbs:
    case HVMOP_set_evtchn_upcall_vector:
    case HVMOP_pagetable_dying:
        return -EINVAL; // for hardware-assisted callers only
    default:
        return -ENOSYS;
    }
}
