// SPDX-License-Identifier: BSD-2-Clause
// Features of this machine's CPUs, read once on the boot CPU, checked on the others.
#pragma once

#include "lib/types.h"

enum cpu_vendor { VENDOR_OTHER, VENDOR_INTEL, VENDOR_AMD };

struct cpu_features {
    enum cpu_vendor vendor;
    uint32_t max_leaf, max_ext_leaf;
    uint32_t family, model, stepping;
    bool x2apic, xsave, xsaveopt, xsavec, xsaves, fsgsbase, smep, smap, umip, pcid, invpcid, pge,
        nx, page1gb, pat, rdtscp, tsc_invariant, tsc_deadline, avx, syscall, cmov, ibrs, mwait, svm,
        vmx, erms, cpuid_faulting;
    uint64_t xcr0_mask;   // what XCR0 may hold
    uint32_t xstate_size; // bytes for xcr0_mask, standard format
    uint32_t phys_bits, virt_bits;
};
extern struct cpu_features cpu_features;

struct cpuid_result {
    uint32_t a, b, c, d;
};
static inline struct cpuid_result cpuid(uint32_t leaf, uint32_t sub)
{
    struct cpuid_result r;
    asm volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(sub));
    return r;
}
static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t lo, hi;
    asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
    return lo | (uint64_t)hi << 32;
}
static inline void wrmsr(uint32_t msr, uint64_t v)
{
    asm volatile("wrmsr" ::"c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}
// Survive a #GP: 0 or -EFAULT.
int __must_check rdmsr_safe(uint32_t msr, uint64_t *v);
int __must_check wrmsr_safe(uint32_t msr, uint64_t v);
static inline uint64_t rdtsc(void)
{
    uint32_t lo, hi;
    asm volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return lo | (uint64_t)hi << 32;
}

void cpuid_init(void);     // boot CPU
void cpuid_init_cpu(void); // each CPU: control registers to match (CR4, EFER, XCR0, PAT)
