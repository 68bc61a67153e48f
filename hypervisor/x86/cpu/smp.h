// SPDX-License-Identifier: BSD-2-Clause
// Physical CPUs: numbering, per-CPU areas, calls between CPUs.
#pragma once

#include "lib/types.h"
#include "x86/arch/cpu.h"

// Handlers of VECTOR_KICK and VECTOR_CALL.
void smp_init_vectors(void);
// Number the CPUs of the MADT (the boot CPU is 0) and make their per-CPU areas. After the heap.
void smp_prepare(void);
// Start the others and wait until each is in its idle loop; interrupts on.
void smp_start_all(void);
// APIC id | ACPI id << 32 of a CPU, for VCPUOP_get_physid. 0 or -EINVAL.
int __must_check arch_cpu_physid(unsigned int cpu, uint64_t *id);
// ACPI processor id of a CPU.
uint32_t smp_acpi_id(unsigned int cpu);

// From the trampoline, on the idle vCPU's stack.
__noreturn void secondary_main(void);
