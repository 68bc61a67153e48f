// SPDX-License-Identifier: BSD-2-Clause
// Intel SDM volume 3, "Programming considerations for hardware multi-threading capable processors";
// AMD APM volume 3, functions 8000_0008 and 8000_001E.
#include "x86/cpu/topology.h"
#include "lib/bug.h"
#include "x86/arch/cpu.h"
#include "x86/cpu/apic.h"
#include "x86/cpu/cpuid.h"

enum {
    LEAF_FEATURES = 1,
    LEAF_CACHES = 4,
    LEAF_TOPOLOGY = 0xb,
    LEAF_TOPOLOGY_V2 = 0x1f,
    LEVEL_NONE = 0,
    LEVEL_THREAD = 1,
    LEVELS_MAX = 8,
    SHIFT_MAX = 31,
};
#define LEAF_AMD_SIZES  0x80000008u
#define LEAF_AMD_THREAD 0x8000001eu
#define HAS_THREADS     (1u << 28) // EDX of leaf 1: EBX counts logical processors
#define TOPOLOGY_EXT    (1u << 22) // ECX of 8000_0001

// Bits of an APIC id below its core's and below its socket's number.
static unsigned int core_shift __read_only_after_boot, socket_shift __read_only_after_boot;

static unsigned int __init bits_for(unsigned int count)
{
    return count > 1 ? 32 - __builtin_clz(count - 1) : 0;
}

// The leaf that lists levels from the innermost on, each with the shift to the next.
static bool __init read_levels(uint32_t leaf)
{
    if (cpu_features.max_leaf < leaf || !cpuid(leaf, 0).b)
        return false;
    for (unsigned int i = 0; i < LEVELS_MAX; i++) {
        struct cpuid_result r = cpuid(leaf, i);
        unsigned int level = r.c >> 8 & 0xff;
        if (level == LEVEL_NONE)
            break;
        socket_shift = MIN(r.a & 0x1f, (unsigned int)SHIFT_MAX);
        if (level == LEVEL_THREAD)
            core_shift = socket_shift;
    }
    return true;
}

static bool __init read_amd(void)
{
    if (cpu_features.vendor != VENDOR_AMD || cpu_features.max_ext_leaf < LEAF_AMD_SIZES)
        return false;
    struct cpuid_result r = cpuid(LEAF_AMD_SIZES, 0);
    unsigned int size = r.c >> 12 & 0xf;
    socket_shift = size ? size : bits_for((r.c & 0xff) + 1);
    if (cpu_features.max_ext_leaf >= LEAF_AMD_THREAD && (cpuid(0x80000001, 0).c & TOPOLOGY_EXT))
        core_shift = bits_for((cpuid(LEAF_AMD_THREAD, 0).b >> 8 & 0xff) + 1);
    return true;
}

static void __init read_counts(void)
{
    struct cpuid_result r = cpuid(LEAF_FEATURES, 0);
    if (!(r.d & HAS_THREADS))
        return;
    unsigned int cores =
        cpu_features.max_leaf >= LEAF_CACHES ? (cpuid(LEAF_CACHES, 0).a >> 26) + 1 : 1;
    socket_shift = bits_for(r.b >> 16 & 0xff);
    core_shift = socket_shift - MIN(socket_shift, bits_for(cores));
}

void __init topology_init(void)
{
    if (!read_levels(LEAF_TOPOLOGY_V2) && !read_levels(LEAF_TOPOLOGY) && !read_amd())
        read_counts();
    core_shift = MIN(core_shift, socket_shift);
}

struct cpu_topology arch_cpu_topology(unsigned int cpu)
{
    uint32_t id = apic_id_of(cpu);
    return (struct cpu_topology){.socket = id >> socket_shift,
                                 .core = (id & ((1u << socket_shift) - 1)) >> core_shift};
}
