// SPDX-License-Identifier: BSD-2-Clause
// Model-specific registers as PV guests see them: one table of policies; what is not in it faults.
#include "lib/string.h"
#include "x86/arch/page.h"
#include "x86/cpu/cpuid.h"
#include "x86/cpu/msr.h"
#include "x86/cpu/traps.h"
#include "x86/pv/pv_internal.h"

#define MSR_PLATFORM_INFO   0x000000ce
#define MSR_MCG_CTL         0x0000017b
#define MSR_MTRR_PHYS0      0x00000200
#define MSR_MTRR_PHYS_LAST  0x0000020f
#define MSR_MTRR_FIX64K     0x00000250
#define MSR_MTRR_FIX_LAST   0x0000026f
#define MSR_MTRR_DEF_TYPE   0x000002ff
#define MSR_MC_FIRST        0x00000400
#define MSR_MC_LAST         0x0000047f
#define MSR_XEN_HYPERCALL   0x40000000
#define MSR_AMD_SYSCFG      0xc0010010
#define MSR_AMD_HWCR        0xc0010015
#define MSR_AMD_TOP_MEM     0xc001001a
#define MSR_AMD_TOP_MEM2    0xc001001d
#define MSR_AMD_NB_CFG      0xc001001f
#define MSR_AMD_INT_PENDING 0xc0010055
#define MSR_AMD_LS_CFG      0xc0011020
#define MSR_AMD_IC_CFG      0xc0011021
#define MSR_AMD_DE_CFG      0xc0011029
#define MSR_AMD_BU_CFG2     0xc001102a
#define DE_CFG_LFENCE       2 // LFENCE serialises

#define MISC_ENABLE_NO_PEBS (1 << 12)
#define MISC_ENABLE_NO_BTS  (1 << 11)
#define MISC_ENABLE_PERF    (1 << 7)
#define MISC_ENABLE_MWAIT   (1 << 18)
#define DEBUGCTL_VALID      3 // branch records and traps, which do nothing
#define EFER_VISIBLE        (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)

enum msr_read {
    READ_FAULT,
    READ_ZERO,
    READ_HOST,         // every domain may know
    READ_HOST_CONTROL, // the control domain only; 0 for others
    READ_CUSTOM,
};
enum msr_write { WRITE_FAULT, WRITE_IGNORE, WRITE_CUSTOM };

// clang-format off
static const struct msr_policy {
    uint32_t first, last;
    uint8_t read, write;
    uint8_t vendor; // VENDOR_OTHER: any
} policies[] = {
    {MSR_FS_BASE, MSR_KERNEL_GS_BASE, READ_CUSTOM, WRITE_CUSTOM, 0},
    {MSR_TSC_AUX, MSR_TSC_AUX, READ_CUSTOM, WRITE_CUSTOM, 0},
    {MSR_EFER, MSR_EFER, READ_CUSTOM, WRITE_CUSTOM, 0},
    // STAR and its like are not here: what they do is set up by callbacks.
    {MSR_TSC, MSR_TSC, READ_CUSTOM, WRITE_IGNORE, 0},
    {MSR_APIC_BASE, MSR_APIC_BASE, READ_CUSTOM, WRITE_IGNORE, 0},
    {MSR_PLATFORM_ID, MSR_PLATFORM_ID, READ_HOST_CONTROL, WRITE_FAULT, VENDOR_INTEL},
    {MSR_UCODE_REVISION, MSR_UCODE_REVISION, READ_HOST, WRITE_IGNORE, 0},
    {MSR_PLATFORM_INFO, MSR_PLATFORM_INFO, READ_ZERO, WRITE_FAULT, VENDOR_INTEL},
    {MSR_MISC_ENABLE, MSR_MISC_ENABLE, READ_CUSTOM, WRITE_IGNORE, VENDOR_INTEL},
    {MSR_PAT, MSR_PAT, READ_CUSTOM, WRITE_CUSTOM, 0},
    {MSR_DEBUGCTL, MSR_DEBUGCTL, READ_ZERO, WRITE_CUSTOM, 0},
    // No banks: machine checks are the hypervisor's.
    {MSR_MCG_CAP, MSR_MCG_CTL, READ_ZERO, WRITE_IGNORE, 0},
    {MSR_MC_FIRST, MSR_MC_LAST, READ_ZERO, WRITE_IGNORE, 0},
    {MSR_MTRRCAP, MSR_MTRRCAP, READ_HOST_CONTROL, WRITE_FAULT, 0},
    {MSR_MTRR_PHYS0, MSR_MTRR_PHYS_LAST, READ_HOST_CONTROL, WRITE_FAULT, 0},
    {MSR_MTRR_FIX64K, MSR_MTRR_FIX_LAST, READ_HOST_CONTROL, WRITE_FAULT, 0},
    {MSR_MTRR_DEF_TYPE, MSR_MTRR_DEF_TYPE, READ_HOST_CONTROL, WRITE_FAULT, 0},
    {MSR_XEN_HYPERCALL, MSR_XEN_HYPERCALL, READ_ZERO, WRITE_CUSTOM, 0},
    {MSR_AMD_SYSCFG, MSR_AMD_SYSCFG, READ_HOST_CONTROL, WRITE_IGNORE, VENDOR_AMD},
    {MSR_AMD_HWCR, MSR_AMD_HWCR, READ_ZERO, WRITE_IGNORE, VENDOR_AMD},
    {MSR_AMD_TOP_MEM, MSR_AMD_TOP_MEM, READ_HOST_CONTROL, WRITE_FAULT, VENDOR_AMD},
    {MSR_AMD_TOP_MEM2, MSR_AMD_TOP_MEM2, READ_HOST_CONTROL, WRITE_FAULT, VENDOR_AMD},
    {MSR_AMD_NB_CFG, MSR_AMD_NB_CFG, READ_ZERO, WRITE_IGNORE, VENDOR_AMD},
    {MSR_AMD_INT_PENDING, MSR_AMD_INT_PENDING, READ_ZERO, WRITE_IGNORE, VENDOR_AMD},
    {MSR_AMD_LS_CFG, MSR_AMD_IC_CFG, READ_ZERO, WRITE_IGNORE, VENDOR_AMD},
    {MSR_AMD_DE_CFG, MSR_AMD_DE_CFG, READ_CUSTOM, WRITE_IGNORE, VENDOR_AMD},
    {MSR_AMD_BU_CFG2, MSR_AMD_BU_CFG2, READ_ZERO, WRITE_IGNORE, VENDOR_AMD},
};
// clang-format on

static const struct msr_policy *find(uint32_t msr)
{
    for (const struct msr_policy *p = policies; p < policies + ARRAY_SIZE(policies); p++)
        if (msr >= p->first && msr <= p->last &&
            (p->vendor == VENDOR_OTHER || p->vendor == cpu_features.vendor))
            return p;
    return NULL;
}

static uint64_t read_custom(struct vcpu *v, uint32_t msr)
{
    switch (msr) {
    case MSR_FS_BASE:
        return pv_read_fs_base(v);
    case MSR_GS_BASE:
        return pv_read_gs_base(v);
    case MSR_TSC_AUX:
        return v->arch.tsc_aux;
    case MSR_EFER:
        return rdmsr(MSR_EFER) & EFER_VISIBLE;
    case MSR_TSC:
        return rdtsc();
    case MSR_APIC_BASE:
        return 0xfee00000 | APIC_BASE_ENABLE | (v->id == 0 ? APIC_BASE_BSP : 0);
    case MSR_PAT:
        return PAT_VALUE;
    case MSR_AMD_DE_CFG:
        return DE_CFG_LFENCE;
    case MSR_MISC_ENABLE: {
        uint64_t value;
        if (rdmsr_safe(MSR_MISC_ENABLE, &value))
            value = 1; // fast strings
        return (value & ~(uint64_t)(MISC_ENABLE_PERF | MISC_ENABLE_MWAIT)) | MISC_ENABLE_NO_PEBS |
               MISC_ENABLE_NO_BTS;
    }
    default:
        return 0;
    }
}

int pv_read_msr(struct vcpu *v, uint32_t msr, uint64_t *value)
{
    // Linux wants it at each switch of processes.
    if (msr == MSR_KERNEL_GS_BASE) {
        *value = pv_read_other_gs_base(v);
        return 0;
    }
    const struct msr_policy *p = find(msr);
    *value = 0;
    switch (p ? p->read : READ_FAULT) {
    case READ_ZERO:
        return 0;
    case READ_HOST_CONTROL:
        if (!v->domain->is_control)
            return 0;
        // fall through
    case READ_HOST:
        return rdmsr_safe(msr, value) ? -EINVAL : 0;
    case READ_CUSTOM:
        *value = read_custom(v, msr);
        return 0;
    default:
        guest_log(v->domain, "rdmsr %#x: #GP", msr);
        // The ABI: not before the guest can take it.
        return v->arch.traps[TRAP_GP].address ? -EINVAL : 0;
    }
}

// The guest names a frame of its own to hold the hypercall page.
static int write_hypercall_page(struct vcpu *v, uint64_t value)
{
    mfn_t mfn = MFN(value >> PAGE_SHIFT);

    if ((value & ~PAGE_MASK) || !frame_get(mfn, v->domain))
        return -EINVAL;
    struct frame *f = mfn_to_frame(mfn);
    bool ok = frame_get_type_simple(f, FRAME_TYPE_WRITABLE);
    if (ok) {
        pv_hypercall_page_init(mfn_to_virt(mfn));
        frame_put_type_simple(f);
    }
    frame_put(f);
    return ok ? 0 : -EINVAL;
}

static int write_custom(struct vcpu *v, uint32_t msr, uint64_t value)
{
    switch (msr) {
    case MSR_FS_BASE:
    case MSR_GS_BASE:
    case MSR_KERNEL_GS_BASE:
        if (!pv_canonical(value))
            return -EINVAL;
        if (msr == MSR_FS_BASE)
            pv_write_fs_base(v, value);
        else if (msr == MSR_GS_BASE)
            pv_write_gs_base(v, value);
        else
            pv_write_other_gs_base(v, value);
        return 0;
    case MSR_TSC_AUX:
        if (value >> 32)
            return -EINVAL;
        pv_set_tsc_aux(v, value);
        return 0;
    case MSR_EFER:
        return value == (rdmsr(MSR_EFER) & EFER_VISIBLE) ? 0 : -EINVAL;
    case MSR_PAT:
        return value == PAT_VALUE ? 0 : -EINVAL;
    case MSR_DEBUGCTL:
        return value & ~(uint64_t)DEBUGCTL_VALID ? -EINVAL : 0;
    case MSR_XEN_HYPERCALL:
        return write_hypercall_page(v, value);
    default:
        return -EINVAL;
    }
}

int pv_write_msr(struct vcpu *v, uint32_t msr, uint64_t value)
{
    const struct msr_policy *p = find(msr);

    switch (p ? p->write : WRITE_FAULT) {
    case WRITE_IGNORE:
        return 0;
    case WRITE_CUSTOM:
        return write_custom(v, msr, value);
    default:
        guest_log(v->domain, "wrmsr %#x = %#lx: #GP", msr, value);
        return v->arch.traps[TRAP_GP].address ? -EINVAL : 0;
    }
}
