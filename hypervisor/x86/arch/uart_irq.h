// SPDX-License-Identifier: BSD-2-Clause
// Reception on the serial console.
#pragma once

// Interrupts of the ports in use are routed to the boot CPU; `receive` gets each character in
// interrupt context.
void uart_irq_init(void (*receive)(char c));
