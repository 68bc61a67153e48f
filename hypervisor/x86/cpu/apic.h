// SPDX-License-Identifier: BSD-2-Clause
// The local APIC of each CPU, by memory (xAPIC) or MSRs (x2APIC).
#pragma once

#include "lib/types.h"

// Boot CPU: choose the mode, map the registers. After ACPI.
void apic_init(void);
// Each CPU: enable, all local sources masked but LINT1 (NMI).
void apic_init_cpu(void);
// This CPU's id as the hardware reports it.
uint32_t apic_id_read(void);
// APIC id of CPU `cpu`, ~0 when there is none.
uint32_t apic_id_of(unsigned int cpu);
void apic_set_id(unsigned int cpu, uint32_t id); // boot: CPU numbering
void apic_eoi(void);
bool apic_is_x2apic(void);

// Interrupts to another CPU. Any context; a send waits for the previous one to leave.
void apic_send_ipi(unsigned int cpu, uint8_t vector);
void apic_send_nmi(unsigned int cpu);
void apic_send_init(uint32_t apic_id);
void apic_send_startup(uint32_t apic_id, uint8_t page); // page number of the start address

// The timer. Rate of its counter when there is no TSC deadline mode, set by time_init().
void apic_timer_calibrated(uint64_t hz);
uint32_t apic_timer_count(void);  // counts down
void apic_timer_start_free(void); // masked, from the top, for calibration
// Interrupt (VECTOR_TIMER) when the TSC reaches `tsc`, ns_left from now; earlier when it is far.
void apic_timer_arm(uint64_t tsc, uint64_t ns_left);
void apic_timer_disarm(void);
