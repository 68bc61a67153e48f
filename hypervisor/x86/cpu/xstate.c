// SPDX-License-Identifier: BSD-2-Clause
#include "x86/cpu/xstate.h"
#include "lib/string.h"
#include "memory/heap.h"
#include "x86/cpu/cpuid.h"
#include "x86/cpu/extable.h"
#include "x86/cpu/msr.h"
#include "x86/cpu/traps.h"

#define LEGACY_BYTES  512
#define XSAVE_ALIGN   64
#define MXCSR_OFFSET  24
#define MXCSR_DEFAULT 0x1f80
#define MXCSR_VALID   0xffff
#define XSTATE_BV     (LEGACY_BYTES / 8) // index of the header's first word
#define HEADER_WORDS  8
#define FCW_DEFAULT   0x37f

#define XCR0_FP  (1ull << 0)
#define XCR0_SSE (1ull << 1)
#define XCR0_AVX (1ull << 2)
// What FXSAVE handles is in force for every guest, also before it uses XSETBV.
#define XCR0_MIN    (XCR0_FP | XCR0_SSE)
#define XCR0_AVX512 (7ull << 5)

static DEFINE_PER_CPU(uint64_t, loaded_xcr0);

static void load_xcr0(uint64_t xcr0)
{
    if (this_cpu(loaded_xcr0) == xcr0)
        return;
    this_cpu(loaded_xcr0) = xcr0;
    asm volatile("xsetbv" ::"c"(0), "a"((uint32_t)xcr0), "d"((uint32_t)(xcr0 >> 32)));
}

static void reset_registers(struct vcpu *v)
{
    memset(v->arch.xsave, 0, cpu_features.xstate_size);
    *(uint16_t *)v->arch.xsave = FCW_DEFAULT;
    *(uint32_t *)((char *)v->arch.xsave + MXCSR_OFFSET) = MXCSR_DEFAULT;
}

void xstate_reset(struct vcpu *v)
{
    reset_registers(v);
    v->arch.xcr0 = XCR0_MIN;
}

int xstate_vcpu_init(struct vcpu *v)
{
    v->arch.xsave_memory = heap_alloc(cpu_features.xstate_size + XSAVE_ALIGN - 1);
    if (!v->arch.xsave_memory)
        return -ENOMEM;
    v->arch.xsave = (void *)ROUND_UP((unsigned long)v->arch.xsave_memory, XSAVE_ALIGN);
    xstate_reset(v);
    return 0;
}

void xstate_vcpu_destroy(struct vcpu *v)
{
    heap_free(v->arch.xsave_memory);
    v->arch.xsave_memory = v->arch.xsave = NULL;
}

void xstate_save(struct vcpu *v)
{
    if (!cpu_features.xsave)
        asm volatile("fxsave64 (%0)" ::"r"(v->arch.xsave) : "memory");
    else if (cpu_features.xsaveopt)
        asm volatile("xsaveopt64 (%0)" ::"r"(v->arch.xsave), "a"(-1), "d"(-1) : "memory");
    else
        asm volatile("xsave64 (%0)" ::"r"(v->arch.xsave), "a"(-1), "d"(-1) : "memory");
}

// AMD CPUs restore the x87 error pointers (last instruction and operand) only while an exception is
// pending, so the former vCPU's would stay: a load of our own replaces them.
static void forget_x87_pointers(void)
{
    static const uint32_t zero;

    asm volatile("fnclex; ffree %%st(7); fildl %0" ::"m"(zero));
}

void xstate_restore(struct vcpu *v)
{
    int bad = 1;

    if (cpu_features.vendor == VENDOR_AMD)
        forget_x87_pointers();

    if (!cpu_features.xsave) {
        asm volatile("1: fxrstor64 (%1)\n xorl %0, %0\n2:\n" ASM_EXTABLE(1b, 2b)
                     : "+r"(bad)
                     : "r"(v->arch.xsave)
                     : "cc", "memory");
    } else {
        load_xcr0(v->arch.xcr0);
        asm volatile("1: xrstor64 (%1)\n xorl %0, %0\n2:\n" ASM_EXTABLE(1b, 2b)
                     : "+r"(bad)
                     : "r"(v->arch.xsave), "a"(-1), "d"(-1)
                     : "cc", "memory");
    }
    if (unlikely(bad)) {
        // An image from outside that this CPU refuses: the vCPU starts from a clean state.
        reset_registers(v);
        guest_log(v->domain, "bad FPU state dropped");
        xstate_restore(v);
    }
}

// Registers that XCR0 did not cover hold what another vCPU left in them.
static void xstate_clear(const struct vcpu *v, uint64_t components)
{
    uint8_t area[LEGACY_BYTES + XSAVE_ALIGN] __aligned(XSAVE_ALIGN);

    memset(area, 0, sizeof(area));
    clts();
    asm volatile("stmxcsr %0" : "=m"(*(uint32_t *)(area + MXCSR_OFFSET)));
    asm volatile("xrstor64 (%0)" ::"r"(area), "a"((uint32_t)components),
                 "d"((uint32_t)(components >> 32))
                 : "memory");
    if (v->arch.ts_set)
        write_cr0(read_cr0() | CR0_TS);
}

static bool xcr0_valid(uint64_t xcr0)
{
    if (!cpu_features.xsave || !(xcr0 & XCR0_FP) || (xcr0 & ~cpu_features.xcr0_mask))
        return false;
    if ((xcr0 & XCR0_AVX) && !(xcr0 & XCR0_SSE))
        return false;
    return !(xcr0 & XCR0_AVX512) || ((xcr0 & XCR0_AVX) && (xcr0 & XCR0_AVX512) == XCR0_AVX512);
}

int xstate_set_xcr0(struct vcpu *v, uint64_t xcr0)
{
    if (!xcr0_valid(xcr0))
        return -EINVAL;
    unsigned long flags = irq_save();
    uint64_t fresh = xcr0 & ~v->arch.xcr0;
    v->arch.xcr0 = xcr0 | XCR0_MIN;
    // XRSTOR refuses an image with more than XCR0 allows.
    ((uint64_t *)v->arch.xsave)[XSTATE_BV] &= v->arch.xcr0;
    load_xcr0(v->arch.xcr0);
    if (fresh)
        xstate_clear(v, fresh);
    irq_restore(flags);
    return 0;
}

void xstate_set_legacy(struct vcpu *v, const void *fxsave)
{
    char *area = v->arch.xsave;

    if (!fxsave) {
        reset_registers(v);
        return;
    }
    memcpy(area, fxsave, LEGACY_BYTES);
    *(uint32_t *)(area + MXCSR_OFFSET) &= MXCSR_VALID;
    if (cpu_features.xsave)
        ((uint64_t *)area)[XSTATE_BV] |= XCR0_MIN;
}

void xstate_get_legacy(const struct vcpu *v, void *fxsave)
{
    memcpy(fxsave, v->arch.xsave, LEGACY_BYTES);
}

size_t xstate_image_size(void)
{
    return cpu_features.xsave ? cpu_features.xstate_size : 0;
}

uint64_t xstate_mask(void)
{
    return cpu_features.xcr0_mask;
}

int xstate_set_image(struct vcpu *v, uint64_t xcr0, const void *image, size_t size)
{
    const uint64_t *words = image;
    uint32_t mxcsr;

    if (!xcr0_valid(xcr0) || size < LEGACY_BYTES + HEADER_WORDS * sizeof(*words) ||
        size > xstate_image_size())
        return -EINVAL;
    // Only the standard format: of the header, all but the list of components is zero.
    if (words[XSTATE_BV] & ~(xcr0 | XCR0_MIN))
        return -EINVAL;
    for (unsigned int i = 1; i < HEADER_WORDS; i++)
        if (words[XSTATE_BV + i])
            return -EINVAL;
    memcpy(&mxcsr, (const char *)image + MXCSR_OFFSET, sizeof(mxcsr));
    if (mxcsr & ~MXCSR_VALID)
        return -EINVAL;
    xstate_reset(v);
    memcpy(v->arch.xsave, image, size);
    v->arch.xcr0 = xcr0 | XCR0_MIN;
    return 0;
}
