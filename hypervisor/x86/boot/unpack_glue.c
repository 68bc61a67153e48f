// SPDX-License-Identifier: BSD-2-Clause
#include "core/console.h"
#include "lib/string.h"
#include "x86/arch/cpu.h"
#include "x86/boot/unpack_glue.h"
#include "x86/cpu/cpuid.h"
#include "x86/cpu/msr.h"

// What the libraries expect of a C library, besides lib/string.h.
void *malloc(size_t bytes);
void *calloc(size_t count, size_t bytes);
void free(void *p);
__noreturn void __stack_chk_fail(void);

// The thread block that FS points at; the canary at 0x28 may have any value.
static __initdata uint64_t unpack_thread_block[8];

__init void *malloc(size_t bytes)
{
    return NULL;
}

__init void *calloc(size_t count, size_t bytes)
{
    return NULL;
}

__init void free(void *p) {}

__init void __stack_chk_fail(void)
{
    panic("control domain: unpacking the kernel overran a stack");
}

static __init unsigned long unpack_read_cr0(void)
{
    unsigned long v;

    asm volatile("mov %%cr0, %0" : "=r"(v));
    return v;
}

static __init void unpack_write_cr0(unsigned long v)
{
    asm volatile("mov %0, %%cr0" ::"r"(v) : "memory");
}

// The hypervisor's own code does not keep the stack aligned to 16 bytes, which SSE needs.
__attribute__((force_align_arg_pointer)) __init int
unpack_glue_kernel(struct builder_blob blob, void *out, size_t out_bytes, void *scratch,
                   size_t scratch_bytes, struct elf_image *elf, struct builder_error *err)
{
    unsigned long flags = irq_save(), cr0 = unpack_read_cr0();
    uint64_t fs_base = rdmsr(MSR_FS_BASE);

    unpack_write_cr0((cr0 & ~(unsigned long)(CR0_EM | CR0_TS)) | CR0_MP);
    wrmsr(MSR_FS_BASE, (uint64_t)unpack_thread_block);
    int rc = bzimage_unpack(blob, out, out_bytes, scratch, scratch_bytes, elf, err);
    wrmsr(MSR_FS_BASE, fs_base);
    unpack_write_cr0(cr0);
    irq_restore(flags);
    return rc;
}
