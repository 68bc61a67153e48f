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

// From the trampoline, on the idle vCPU's stack.
__noreturn void secondary_main(void);
