// SPDX-License-Identifier: BSD-2-Clause
// CPUID as PV guests see it when they ask through the forced prefix (or fault): the host's leaves,
// less what a guest cannot use in ring 3 or what names the machine beneath.
#include "x86/arch/time.h"
#include "x86/cpu/cpuid.h"
#include "x86/pv/cpu_policy.h"
#include "x86/pv/pv_internal.h"

#include <xen/arch-x86/cpuid.h>

#define XEN_VERSION_4_17        (4u << 16 | 17)
#define HYPERCALL_MSR           0x40000000u
#define LEAF_HYPERVISOR         0x40000000u
#define LEAF_EXTENDED           0x80000000u
#define MAX_BASIC_LEAF          0xdu
#define XSAVE_LEGACY_AND_HEADER 576u
#define XSAVE_COMPONENT_ALIGNED 2u // leaf 0xd, ECX of a component
#define MAX_EXT_LEAF            0x80000008u

// Leaf 1: FPU DE TSC MSR PAE MCE CX8 APIC MCA CMOV PAT CLFLUSH ACPI MMX FXSR SSE SSE2 SS HTT; SSE3
// PCLMUL SSSE3 FMA CX16 SSE4.1 SSE4.2 MOVBE POPCNT AES XSAVE AVX F16C RDRAND.
#define LEAF1_EDX_GUEST 0x1fc9c3f5u
#define LEAF1_ECX_GUEST 0x76d83203u
#define EDX_SEP         (1u << 11)
#define EDX_APIC        (1u << 9)
#define ECX_OSXSAVE     (1u << 27)
#define ECX_HYPERVISOR  (1u << 31)
// Leaf 7: FSGSBASE BMI1 HLE AVX2 BMI2 ERMS RTM AVX512* RDSEED ADX IFMA CLFLUSHOPT CLWB SHA.
#define LEAF7_EBX_GUEST 0xfdaf0b39u
#define EBX_AVX512      0xdc230000u // what of that needs AVX-512 state
#define LEAF7_ECX_GUEST 0x00405f42u // VBMI VBMI2 GFNI VAES VPCLMUL VNNI BITALG VPOPCNTDQ RDPID
#define ECX_AVX512      0x00005842u
#define LEAF7_EDX_GUEST 0x00000410u // FSRM MD_CLEAR
#define XCR0_AVX512     0xe0u
// Leaf 0x80000001: LAHF ABM SSE4A MISALIGNSSE PREFETCHW XOP FMA4 TBM; SYSCALL NX MMXEXT RDTSCP LM
// 3DNOW, and on AMD the copies of leaf 1.
#define EXT1_ECX_GUEST  0x002109e1u
#define EXT1_EDX_GUEST  0xe8500800u
#define EXT1_EDX_COPIES 0x0183f3ffu
#define EXT8_EBX_GUEST  0x00000005u // CLZERO, FP error pointers
#define EXT7_EDX_ITSC   (1u << 8)

static void hypervisor_leaf(const struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    out[0] = out[1] = out[2] = out[3] = 0;
    switch (leaf - LEAF_HYPERVISOR) {
    case 0:
        out[0] = LEAF_HYPERVISOR + XEN_CPUID_MAX_NUM_LEAVES;
        out[1] = XEN_CPUID_SIGNATURE_EBX;
        out[2] = XEN_CPUID_SIGNATURE_ECX;
        out[3] = XEN_CPUID_SIGNATURE_EDX;
        break;
    case 1:
        out[0] = XEN_VERSION_4_17;
        break;
    case 2:
        out[0] = 1;
        out[1] = HYPERCALL_MSR;
        out[2] = XEN_CPUID_FEAT1_MMU_PT_UPDATE_PRESERVE_AD;
        break;
    case 3:
        if (subleaf == 0) {
            out[0] = (cpu_features.tsc_invariant ? 2 : 0) | (cpu_features.rdtscp ? 4 : 0);
            out[1] = v->domain->arch.tsc_mode;
            out[2] = arch_tsc_khz();
            out[3] = v->domain->arch.tsc_incarnation;
        } else if (subleaf == 2) {
            out[0] = arch_tsc_khz();
        }
        break;
    case 5:
        out[1] = cpu_features.phys_bits;
        break;
    }
}

// Bytes of an XSAVE area in compacted form with these components. Not every CPU model that we run
// on says it right, and guests check it.
static uint32_t compacted_size(uint64_t xcr0)
{
    uint32_t size = XSAVE_LEGACY_AND_HEADER;

    for (unsigned int i = 2; i < 63; i++) {
        if (!(xcr0 >> i & 1))
            continue;
        struct cpuid_result r = cpuid(0xd, i);
        if (r.c & XSAVE_COMPONENT_ALIGNED)
            size = ROUND_UP(size, 64u);
        size += r.a;
    }
    return size;
}

// xcr0: what the asking vCPU has enabled of its extended state.
static void basic_leaf(bool control, uint64_t xcr0, uint32_t leaf, uint32_t subleaf,
                       uint32_t out[4])
{
    switch (leaf) {
    case 0:
        out[0] = MIN(out[0], MAX_BASIC_LEAF);
        break;
    case 1:
        out[1] &= 0x0000ffff; // no APIC id, no siblings
        out[1] |= 1u << 16;
        out[2] &= LEAF1_ECX_GUEST;
        out[2] |= ECX_HYPERVISOR;
        // The host's XSAVE is on, and plain CPUID shows that to every guest.
        if (cpu_features.xsave)
            out[2] |= ECX_OSXSAVE;
        out[3] &= LEAF1_EDX_GUEST | (cpu_features.vendor == VENDOR_INTEL ? EDX_SEP : 0);
        if (!control)
            out[3] &= ~EDX_APIC;
        break;
    case 4:
        out[0] &= 0x3fff; // shared by nobody that the guest knows of
        break;
    case 7:
        if (subleaf) {
            out[0] = out[1] = out[2] = out[3] = 0;
            break;
        }
        out[0] = 0;
        out[1] &= LEAF7_EBX_GUEST;
        out[2] &= LEAF7_ECX_GUEST;
        out[3] &= LEAF7_EDX_GUEST;
        if ((cpu_features.xcr0_mask & XCR0_AVX512) != XCR0_AVX512) {
            out[1] &= ~EBX_AVX512;
            out[2] &= ~ECX_AVX512;
        }
        break;
    case 0xd:
        if (subleaf == 0) {
            out[0] = (uint32_t)cpu_features.xcr0_mask;
            out[2] = cpu_features.xstate_size;
            out[3] = cpu_features.xcr0_mask >> 32;
        } else if (subleaf == 1) {
            out[0] &= 7; // XSAVEOPT XSAVEC XGETBV1; no supervisor states
            out[1] = compacted_size(xcr0);
            out[2] = out[3] = 0;
        } else if (subleaf > 62 || !(cpu_features.xcr0_mask >> subleaf & 1)) {
            out[0] = out[1] = out[2] = out[3] = 0;
        }
        break;
    case 2:
        break;
    default: // serial number, MWAIT, power, performance counters, topology
        out[0] = out[1] = out[2] = out[3] = 0;
        break;
    }
}

static void extended_leaf(bool control, uint32_t leaf, uint32_t out[4])
{
    switch (leaf) {
    case LEAF_EXTENDED:
        out[0] = MIN(out[0], MAX_EXT_LEAF);
        break;
    case LEAF_EXTENDED + 1:
        out[2] &= EXT1_ECX_GUEST;
        out[3] &= EXT1_EDX_GUEST |
                  (cpu_features.vendor == VENDOR_AMD ? EXT1_EDX_COPIES & LEAF1_EDX_GUEST : 0);
        if (!control)
            out[3] &= ~EDX_APIC;
        break;
    case LEAF_EXTENDED + 7:
        out[0] = out[1] = out[2] = 0;
        out[3] &= control ? EXT7_EDX_ITSC : 0;
        break;
    case LEAF_EXTENDED + 8:
        out[1] &= EXT8_EBX_GUEST;
        out[2] = out[3] = 0;
        break;
    case LEAF_EXTENDED + 2 ... LEAF_EXTENDED + 6: // brand, caches
        break;
    default:
        out[0] = out[1] = out[2] = out[3] = 0;
        break;
    }
}

void pv_cpuid_default(bool control, uint64_t xcr0, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    struct cpuid_result r = cpuid(leaf, subleaf);

    out[0] = r.a;
    out[1] = r.b;
    out[2] = r.c;
    out[3] = r.d;
    if (leaf <= MIN(cpu_features.max_leaf, MAX_BASIC_LEAF))
        basic_leaf(control, xcr0, leaf, subleaf, out);
    else if (leaf >= LEAF_EXTENDED && leaf <= MIN(cpu_features.max_ext_leaf, MAX_EXT_LEAF))
        extended_leaf(control, leaf, out);
    else
        out[0] = out[1] = out[2] = out[3] = 0;
}

void pv_cpuid(const struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    if (leaf >> 8 == LEAF_HYPERVISOR >> 8) {
        hypervisor_leaf(v, leaf, subleaf, out);
        return;
    }
    pv_cpuid_default(v->domain->is_control, v->arch.xcr0, leaf, subleaf, out);
    cpu_policy_apply(v->domain, leaf, subleaf, out);
}
