// SPDX-License-Identifier: BSD-2-Clause
// The x86 part of domctl, sysctl and platform_op.
#include "control/control.h"
#include "core/rangeset.h"
#include "drivers/acpi.h"
#include "drivers/pci.h"
#include "lib/string.h"
#include "memory/frame.h"
#include "memory/heap.h"
#include "x86/arch/guest_access.h"
#include "x86/arch/io.h"
#include "x86/arch/time.h"
#include "x86/cpu/apic.h"
#include "x86/cpu/cpuid.h"
#include "x86/cpu/firmware.h"
#include "x86/cpu/xstate.h"
#include "x86/pv/cpu_policy.h"
#include "x86/pv/pv.h"
#include "x86/vcpu_state.h"

#define PFINFO_MAX      1024 // public header: more than this in one call is refused
#define PCI_DEVICES_MAX 256u // in one call

// CPU 0, and those that share its socket, or its core as well.
static uint32_t cpus_beside_first(bool core)
{
    struct cpu_topology first = arch_cpu_topology(0);
    uint32_t n = 1, cpu;

    for_each_online_cpu (cpu) {
        struct cpu_topology t = arch_cpu_topology(cpu);
        n += cpu && t.socket == first.socket && (!core || t.core == first.core);
    }
    return n;
}

void arch_physinfo(struct xen_sysctl_physinfo *info)
{
    info->threads_per_core = cpus_beside_first(true);
    info->cores_per_socket = cpus_beside_first(false) / info->threads_per_core;
    info->hw_cap[0] = cpuid(1, 0).d;
    info->hw_cap[1] = cpuid(1, 0).c;
    if (cpu_features.max_ext_leaf >= 0x80000001) {
        info->hw_cap[2] = cpuid(0x80000001, 0).d;
        info->hw_cap[3] = cpuid(0x80000001, 0).c;
    }
}

void arch_domaininfo(const struct domain *d, struct xen_domctl_getdomaininfo *info)
{
    info->gpaddr_bits = cpu_features.phys_bits;
}

static long domctl_ioport_permission(struct domain *d, struct xen_domctl *op)
{
    uint32_t first = op->u.ioport_permission.first_port, n = op->u.ioport_permission.nr_ports;

    if (n == 0 || first > 0xffff || n > 0x10000 - first)
        return -EINVAL;
    if (!rangeset_contains(current->domain->arch.ioport_caps, first, first + n - 1))
        return -EPERM;
    return op->u.ioport_permission.allow_access
               ? rangeset_add(d->arch.ioport_caps, first, first + n - 1)
               : rangeset_remove(d->arch.ioport_caps, first, first + n - 1);
}

static long domctl_hypercall_init(struct domain *d, struct xen_domctl *op)
{
    mfn_t mfn = MFN(op->u.hypercall_init.gmfn);

    if (!frame_get(mfn, d))
        return -EACCES;
    struct frame *f = mfn_to_frame(mfn);
    if (!frame_get_type_simple(f, FRAME_TYPE_WRITABLE)) {
        frame_put(f);
        return -EACCES;
    }
    pv_hypercall_page_init(mfn_to_virt(mfn));
    frame_put_type_simple(f);
    frame_put(f);
    return 0;
}

static uint32_t page_info(struct domain *d, mfn_t mfn)
{
    static const uint32_t by_type[] = {
        [FRAME_TYPE_L1 >> FRAME_TYPE_SHIFT] = XEN_DOMCTL_PFINFO_L1TAB,
        [FRAME_TYPE_L2 >> FRAME_TYPE_SHIFT] = XEN_DOMCTL_PFINFO_L2TAB,
        [FRAME_TYPE_L3 >> FRAME_TYPE_SHIFT] = XEN_DOMCTL_PFINFO_L3TAB,
        [FRAME_TYPE_L4 >> FRAME_TYPE_SHIFT] = XEN_DOMCTL_PFINFO_L4TAB,
    };

    if (!frame_get(mfn, d))
        return XEN_DOMCTL_PFINFO_XTAB;
    struct frame *f = mfn_to_frame(mfn);
    uint32_t type = READ_ONCE(f->type), index = type >> FRAME_TYPE_SHIFT;
    // Without uses the type is only what the frame was last: what it holds may be anything.
    bool table = index < ARRAY_SIZE(by_type) && (type & FRAME_TYPE_COUNT_MASK);
    uint32_t info = table ? by_type[index] : XEN_DOMCTL_PFINFO_NOTAB;
    if (type & FRAME_PINNED)
        info |= XEN_DOMCTL_PFINFO_LPINTAB;
    frame_put(f);
    return info;
}

static long domctl_getpageframeinfo3(struct domain *d, struct xen_domctl *op)
{
    struct xen_domctl_getpageframeinfo3 *g = &op->u.getpageframeinfo3;

    if (g->num > PFINFO_MAX)
        return -E2BIG;
    for (uint64_t i = 0; i < g->num; i++) {
        xen_pfn_t pfn;
        if (guest_handle_from(&pfn, g->array, i, 1))
            return -EFAULT;
        pfn = page_info(d, MFN(pfn));
        if (guest_handle_to(g->array, i, &pfn, 1))
            return -EFAULT;
    }
    return 0;
}

static long domctl_tsc_info(struct domain *d, struct xen_domctl *op)
{
    struct xen_domctl_tsc_info *t = &op->u.tsc_info;

    if (op->cmd == XEN_DOMCTL_gettscinfo) {
        *t = (struct xen_domctl_tsc_info){.tsc_mode = d->arch.tsc_mode,
                                          .gtsc_khz = arch_tsc_khz(),
                                          .incarnation = d->arch.tsc_incarnation,
                                          .elapsed_nsec = now_ns()};
        return 0;
    }
    // 0 default, 1 always emulate, 2 never emulate: PV guests always see the machine's counter.
    if (t->tsc_mode > 2 || t->tsc_mode == 1)
        return -EOPNOTSUPP;
    d->arch.tsc_mode = t->tsc_mode;
    d->arch.tsc_incarnation = t->incarnation + 1;
    return 0;
}

long arch_domctl(struct domain *d, struct xen_domctl *op, bool *copy_back)
{
    switch (op->cmd) {
    case XEN_DOMCTL_ioport_permission:
        return domctl_ioport_permission(d, op);
    case XEN_DOMCTL_hypercall_init:
        return domctl_hypercall_init(d, op);
    case XEN_DOMCTL_getpageframeinfo3:
        return domctl_getpageframeinfo3(d, op);
    case XEN_DOMCTL_gettscinfo:
        *copy_back = true;
        return domctl_tsc_info(d, op);
    case XEN_DOMCTL_settscinfo:
        return domctl_tsc_info(d, op);
    case XEN_DOMCTL_set_address_size:
        return op->u.address_size.size == 64 ? 0 : -EOPNOTSUPP;
    case XEN_DOMCTL_get_address_size:
        op->u.address_size.size = 64;
        *copy_back = true;
        return 0;
    case XEN_DOMCTL_get_cpu_policy:
        *copy_back = true;
        return cpu_policy_get(d, &op->u.cpu_policy);
    case XEN_DOMCTL_set_cpu_policy:
        *copy_back = true;
        return cpu_policy_set(d, &op->u.cpu_policy);
    case XEN_DOMCTL_gethvmcontext:
    case XEN_DOMCTL_sethvmcontext:
    case XEN_DOMCTL_gethvmcontext_partial:
    case XEN_DOMCTL_soft_reset:
        return -EINVAL; // for fully virtualised domains
    case XEN_DOMCTL_debug_op:
    case XEN_DOMCTL_get_paging_mempool_size:
    case XEN_DOMCTL_set_paging_mempool_size:
    case XEN_DOMCTL_vmtrace_op:
        return -EOPNOTSUPP; // the same
    case XEN_DOMCTL_psr_cmt_op:
    case XEN_DOMCTL_psr_alloc:
        return -ENODEV;
    default:
        *copy_back = true;
        return vcpu_state_domctl(d, op);
    }
}

// Which node a device is near: nothing is known of that. The caller goes on where this stops.
static long sysctl_pcitopoinfo(struct xen_sysctl_pcitopoinfo *t)
{
    uint32_t n = MIN(t->num_devs, PCI_DEVICES_MAX);

    for (uint32_t i = 0; i < n; i++) {
        physdev_pci_device_t dev;
        if (guest_handle_from(&dev, t->devs, i, 1))
            return -EFAULT;
        bool there = pci_read16(PCI_ADDR(dev.seg, dev.bus, dev.devfn), 0) != 0xffff;
        uint32_t node = there ? XEN_INVALID_NODE_ID : XEN_INVALID_DEV;
        if (guest_handle_to(t->nodes, i, &node, 1))
            return -EFAULT;
    }
    t->num_devs = n;
    return 0;
}

long arch_sysctl(struct xen_sysctl *op, bool *copy_back)
{
    switch (op->cmd) {
    case XEN_SYSCTL_get_cpu_levelling_caps:
        // The CPU's own answers are never changed, but for faulting where there is that.
        op->u.cpu_levelling_caps.caps =
            cpu_features.cpuid_faulting ? XEN_SYSCTL_CPU_LEVELCAP_faulting : 0;
        return 0;
    case XEN_SYSCTL_pcitopoinfo:
        return sysctl_pcitopoinfo(&op->u.pcitopoinfo);
    case XEN_SYSCTL_get_cpu_featureset:
        return cpu_policy_featureset(&op->u.cpu_featureset);
    case XEN_SYSCTL_get_cpu_policy:
        return cpu_policy_sysctl(&op->u.cpu_policy);
    case XEN_SYSCTL_get_pmstat: // idle CPUs halt, and their clock is the firmware's
    case XEN_SYSCTL_pm_op:
    case XEN_SYSCTL_psr_cmt_op:
    case XEN_SYSCTL_psr_alloc:
        return -ENODEV;
    case XEN_SYSCTL_cpu_hotplug:
    case XEN_SYSCTL_page_offline_op:
    case XEN_SYSCTL_livepatch_op:
        return -EOPNOTSUPP;
    default:
        *copy_back = false;
        return -ENOSYS;
    }
}

static long efi_vendor(union xenpf_efi_info *info)
{
    uint32_t room = info->vendor.bufsz / sizeof(firmware_efi.vendor[0]), n = 0;

    if (!room)
        return -EINVAL;
    while (n < room && firmware_efi.vendor[n])
        n++;
    if (n == room)
        return -EINVAL;
    info->vendor.revision = firmware_efi.vendor_revision;
    return guest_copy_to(info->vendor.name.p, firmware_efi.vendor,
                         (n + 1) * sizeof(firmware_efi.vendor[0]));
}

static long platform_efi_info(struct xenpf_firmware_info *f)
{
    union xenpf_efi_info *info = &f->u.efi_info;

    if (!firmware_efi.present)
        return -EOPNOTSUPP;
    switch (f->index) {
    case XEN_FW_EFI_VERSION:
        info->version = firmware_efi.revision;
        return 0;
    case XEN_FW_EFI_RT_VERSION:
        info->version = firmware_efi.runtime_revision;
        return 0;
    case XEN_FW_EFI_CONFIG_TABLE:
        info->cfg.addr = firmware_efi.config_table;
        info->cfg.nent = firmware_efi.config_count;
        return 0;
    case XEN_FW_EFI_VENDOR:
        return efi_vendor(info);
    default:
        return -ESRCH; // the memory map and option ROMs are not kept
    }
}

static long platform_firmware_info(struct xen_platform_op *op)
{
    struct xenpf_firmware_info *f = &op->u.firmware_info;

    switch (f->type) {
    case XEN_FW_KBD_SHIFT_FLAGS:
        if (f->index)
            return -ESRCH;
        // Left by the BIOS in its data area (0x417) until real mode was left.
        f->u.kbd_shift_flags = firmware_kbd_shift_flags;
        return 0;
    case XEN_FW_DISK_INFO:
    case XEN_FW_DISK_MBR_SIGNATURE:
    case XEN_FW_VBEDDC_INFO:
        return -ESRCH; // no real-mode calls were made
    case XEN_FW_EFI_INFO:
        return platform_efi_info(f);
    default:
        return -EOPNOTSUPP;
    }
}

static long platform_get_cpuinfo(struct xen_platform_op *op)
{
    struct xenpf_pcpuinfo *p = &op->u.pcpu_info;
    uint32_t cpu = p->xen_cpuid;

    p->max_present = cpu_count - 1;
    p->flags = XEN_PCPU_FLAGS_INVALID;
    p->apic_id = p->acpi_id = ~0u;
    if (cpu < cpu_count) {
        p->flags = bit_test(cpu_online_map, cpu) ? XEN_PCPU_FLAGS_ONLINE : 0;
        p->apic_id = apic_id_of(cpu);
        p->acpi_id = acpi_id_of_cpu(cpu);
    }
    return 0;
}

static long platform_get_cpu_version(struct xen_platform_op *op)
{
    struct xenpf_pcpu_version *p = &op->u.pcpu_version;
    struct cpuid_result vendor = cpuid(0, 0);

    p->max_present = cpu_count - 1;
    memset(p->vendor_id, 0, sizeof(p->vendor_id));
    p->family = p->model = p->stepping = 0;
    if (p->xen_cpuid >= cpu_count || !bit_test(cpu_online_map, p->xen_cpuid))
        return 0;
    // All CPUs of a machine are checked to be alike when they come up.
    memcpy(p->vendor_id, &vendor.b, 4);
    memcpy(p->vendor_id + 4, &vendor.d, 4);
    memcpy(p->vendor_id + 8, &vendor.c, 4);
    p->family = cpu_features.family;
    p->model = cpu_features.model;
    p->stepping = cpu_features.stepping;
    return 0;
}

long arch_platform_op(struct xen_platform_op *op, bool *copy_back)
{
    switch (op->cmd) {
    case XENPF_firmware_info:
        *copy_back = true;
        return platform_firmware_info(op);
    case XENPF_enter_acpi_sleep:
        return acpi_enter_sleep(&op->u.enter_acpi_sleep);
    case XENPF_get_cpuinfo:
        *copy_back = true;
        return platform_get_cpuinfo(op);
    case XENPF_get_cpu_version:
        *copy_back = true;
        return platform_get_cpu_version(op);
    case XENPF_set_processor_pminfo:
        return -ENOSYS; // of another error Linux complains, for each CPU
    case XENPF_change_freq:
    case XENPF_resource_op:
        return -ENODEV;
    case XENPF_cpu_online:
    case XENPF_cpu_offline:
    case XENPF_cpu_hotadd:
    case XENPF_mem_hotadd:
    case XENPF_core_parking:
        return -EOPNOTSUPP;
    default:
        return -ENOSYS;
    }
}
