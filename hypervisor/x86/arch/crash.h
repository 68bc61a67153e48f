// SPDX-License-Identifier: BSD-2-Clause
// What the crash code asks of the machine. Any context.
#pragma once

struct cpu_user_regs;

// Registers as they were at a trap; NULL: the control registers and stack pointer of now.
void arch_registers_dump(const struct cpu_user_regs *regs);
// Symbolised call chain by frame pointers, from regs or (NULL) from the caller.
void arch_backtrace(const struct cpu_user_regs *regs);
// Send every other CPU an NMI; their handlers see panic_in_progress() and park.
void arch_stop_other_cpus(void);
// Busy-wait; a no-op before the clock is calibrated.
void arch_delay_ms(unsigned int ms);
