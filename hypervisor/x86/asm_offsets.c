// SPDX-License-Identifier: BSD-2-Clause
// Structure offsets for assembly; the Makefile turns them into asm_offsets.h.
#include "core/domain.h"
#include "x86/arch/page.h"
#include "x86/arch/page.h"

#define OFFSET(name, type, member)                                                                 \
    asm volatile("\n.ascii \"->" #name " %0\"" ::"i"(offsetof(type, member)))
#define CONSTANT(name, value) asm volatile("\n.ascii \"->" #name " %0\"" ::"i"(value))

void asm_offsets(void);
void asm_offsets(void)
{
    OFFSET(STACK_INFO_PERCPU_OFFSET, struct stack_info, percpu_offset);
    OFFSET(STACK_INFO_VCPU, struct stack_info, vcpu);
    OFFSET(STACK_INFO_CPU, struct stack_info, cpu);
    CONSTANT(STACK_INFO_SIZE, sizeof(struct stack_info));
    CONSTANT(STACK_SIZE_BYTES, STACK_SIZE);
    CONSTANT(IMAGE_VIRT, IMAGE_VIRT);
    CONSTANT(DIRECTMAP_VIRT, DIRECTMAP_VIRT);
}
