// SPDX-License-Identifier: BSD-2-Clause
#include "x86/cpu/cpuid.h"
#include "x86/cpu/msr.h"
#include "x86/arch/percpu.h"
#include "core/cmdline.h"
#include "core/console.h"
#include "lib/string.h"

struct cpu_features __read_only_after_boot cpu_features;

// A feature bit: register 0..3 = EAX..EDX of a leaf.
struct feature_bit {
    uint32_t leaf, sub;
    uint8_t reg, bit;
};

static bool has(struct feature_bit f)
{
    uint32_t top = f.leaf & 0x80000000 ? cpu_features.max_ext_leaf : cpu_features.max_leaf;
    if (f.leaf > top)
        return false;
    struct cpuid_result r = cpuid(f.leaf, f.sub);
    const uint32_t regs[4] = {r.a, r.b, r.c, r.d};
    return regs[f.reg] >> f.bit & 1;
}

enum { EAX, EBX, ECX, EDX };

static void __init read_features(struct cpu_features *f)
{
    const struct {
        bool *flag;
        struct feature_bit bit;
    } table[] = {
        {&f->vmx, {1, 0, ECX, 5}},
        {&f->x2apic, {1, 0, ECX, 21}},
        {&f->tsc_deadline, {1, 0, ECX, 24}},
        {&f->xsave, {1, 0, ECX, 26}},
        {&f->avx, {1, 0, ECX, 28}},
        {&f->mwait, {1, 0, ECX, 3}},
        {&f->pcid, {1, 0, ECX, 17}},
        {&f->pge, {1, 0, EDX, 13}},
        {&f->cmov, {1, 0, EDX, 15}},
        {&f->pat, {1, 0, EDX, 16}},
        {&f->fsgsbase, {7, 0, EBX, 0}},
        {&f->smep, {7, 0, EBX, 7}},
        {&f->erms, {7, 0, EBX, 9}},
        {&f->invpcid, {7, 0, EBX, 10}},
        {&f->smap, {7, 0, EBX, 20}},
        {&f->umip, {7, 0, ECX, 2}},
        {&f->ibrs, {7, 0, EDX, 26}},
        {&f->xsaveopt, {13, 1, EAX, 0}},
        {&f->xsavec, {13, 1, EAX, 1}},
        {&f->xsaves, {13, 1, EAX, 3}},
        {&f->svm, {0x80000001, 0, ECX, 2}},
        {&f->syscall, {0x80000001, 0, EDX, 11}},
        {&f->nx, {0x80000001, 0, EDX, 20}},
        {&f->page1gb, {0x80000001, 0, EDX, 26}},
        {&f->rdtscp, {0x80000001, 0, EDX, 27}},
        {&f->tsc_invariant, {0x80000007, 0, EDX, 8}},
    };
    for (unsigned int i = 0; i < ARRAY_SIZE(table); i++)
        *table[i].flag = has(table[i].bit);
}

static void __init read_identity(struct cpu_features *f)
{
    struct cpuid_result r = cpuid(0, 0);
    char vendor[13] = {};
    memcpy(vendor, &r.b, 4);
    memcpy(vendor + 4, &r.d, 4);
    memcpy(vendor + 8, &r.c, 4);
    f->max_leaf = r.a;
    f->max_ext_leaf = cpuid(0x80000000, 0).a;
    if (!strcmp(vendor, "GenuineIntel"))
        f->vendor = VENDOR_INTEL;
    else if (!strcmp(vendor, "AuthenticAMD") || !strcmp(vendor, "HygonGenuine"))
        f->vendor = VENDOR_AMD;
    r = cpuid(1, 0);
    f->family = r.a >> 8 & 15;
    f->model = r.a >> 4 & 15;
    f->stepping = r.a & 15;
    if (f->family == 6 || f->family == 15)
        f->model |= r.a >> 12 & 0xf0;
    if (f->family == 15)
        f->family += r.a >> 20 & 0xff;
    f->phys_bits = 36;
    f->virt_bits = 48;
    if (f->max_ext_leaf >= 0x80000008) {
        r = cpuid(0x80000008, 0);
        f->phys_bits = r.a & 0xff;
        f->virt_bits = r.a >> 8 & 0xff;
    }
}

// x87, SSE, AVX, and AVX-512's three parts. Protection keys are not for PV guests.
#define XCR0_ALLOWED ((1ull << 0) | (1 << 1) | (1 << 2) | (7 << 5))

// QEMU's software emulation makes the stack accesses of an IRET or far return in ring 3 with ring
// 0's rights, so that SMAP hits them (seen with QEMU 7.2).
static bool __init smap_is_broken(void)
{
    char name[13] = {};
    if (!(cpuid(1, 0).c >> 31))
        return false;
    struct cpuid_result r = cpuid(0x40000000, 0);
    memcpy(name, &r.b, 12);
    return !strcmp(name, "TCGTCGTCGTCG");
}

static void __init apply_options(struct cpu_features *f)
{
    if (f->smap && options.smap && smap_is_broken()) {
        printk("SMAP is left off: this emulator faults on IRET in ring 3 with it\n");
        f->smap = false;
    }
    f->smap &= options.smap;
    f->smep &= options.smep;
    f->x2apic &= options.x2apic;
    f->tsc_deadline &= options.tsc_deadline;
    f->xsave &= options.xsave && f->max_leaf >= 13;
    if (!f->xsave)
        f->avx = f->xsaveopt = f->xsavec = f->xsaves = false;
}

void __init cpuid_init(void)
{
    struct cpu_features *f = &cpu_features;
    read_identity(f);
    read_features(f);
    apply_options(f);
    if (!f->nx)
        fatal("This CPU has no NX (no-execute) bit, or the firmware switched it off");
    if (!f->syscall || !f->pge || !f->pat || !f->cmov)
        fatal("This CPU lacks SYSCALL, global pages, PAT or CMOV");
    if (f->xsave) {
        struct cpuid_result r = cpuid(13, 0);
        f->xcr0_mask = (r.a | (uint64_t)r.d << 32) & XCR0_ALLOWED;
    }
    f->xstate_size = 512;
    char brand[49] = "unnamed";
    if (f->max_ext_leaf >= 0x80000004) {
        for (unsigned int i = 0; i < 3; i++) {
            struct cpuid_result r = cpuid(0x80000002 + i, 0);
            memcpy(brand + 16 * i, &r, 16);
        }
        brand[48] = 0;
    }
    const char *name = brand;
    while (*name == ' ')
        name++;
    printk("CPU: %s, family %#x model %#x stepping %u, %u-bit physical addresses\n", name,
           f->family, f->model, f->stepping, f->phys_bits);
}

static void xsetbv(uint64_t v)
{
    asm volatile("xsetbv" ::"c"(0), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)));
}

static unsigned long wanted_cr4(const struct cpu_features *f)
{
    unsigned long cr4 = CR4_PAE | CR4_PGE | CR4_MCE | CR4_DE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    cr4 |= f->xsave ? CR4_OSXSAVE : 0;
    cr4 |= f->fsgsbase ? CR4_FSGSBASE : 0;
    cr4 |= f->smep ? CR4_SMEP : 0;
    cr4 |= f->smap ? CR4_SMAP : 0;
    cr4 |= f->umip ? CR4_UMIP : 0;
    return cr4;
}

// A CPU that lacks what the boot CPU has would fail later in strange ways.
static void check_same(const struct cpu_features *f)
{
    const struct {
        bool wanted;
        struct feature_bit bit;
        const char *name;
    } table[] = {
        {f->xsave, {1, 0, ECX, 26}, "XSAVE"},
        {f->fsgsbase, {7, 0, EBX, 0}, "FSGSBASE"},
        {f->smep, {7, 0, EBX, 7}, "SMEP"},
        {f->smap, {7, 0, EBX, 20}, "SMAP"},
        {f->umip, {7, 0, ECX, 2}, "UMIP"},
        {f->nx, {0x80000001, 0, EDX, 20}, "NX"},
        {f->page1gb, {0x80000001, 0, EDX, 26}, "1G"},
        {f->x2apic, {1, 0, ECX, 21}, "x2APIC"},
    };
    for (unsigned int i = 0; i < ARRAY_SIZE(table); i++)
        if (table[i].wanted && !has(table[i].bit))
            panic("CPU %u lacks %s, which the boot CPU has", cpu_id(), table[i].name);
}

void cpuid_init_cpu(void)
{
    struct cpu_features *f = &cpu_features;
    check_same(f);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE | EFER_NXE);
    asm volatile("mov %0, %%cr0" ::"r"((unsigned long)CR0_PG | CR0_AM | CR0_WP | CR0_NE | CR0_ET |
                                       CR0_MP | CR0_PE));
    asm volatile("mov %0, %%cr4" ::"r"(wanted_cr4(f)) : "memory");
    wrmsr(MSR_PAT, PAT_VALUE);
    if (!f->xsave)
        return;
    xsetbv(f->xcr0_mask);
    if (cpu_id() == 0)
        f->xstate_size = cpuid(13, 0).b;
}
