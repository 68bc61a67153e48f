// SPDX-License-Identifier: BSD-2-Clause
#include "x86/arch/uart_irq.h"
#include "abi.h"
#include "drivers/uart.h"
#include "x86/cpu/apic.h"
#include "x86/cpu/ioapic.h"
#include "x86/cpu/irq.h"

enum { MAX_BURST = 64 }; // characters in one interrupt: the line must not keep a CPU for itself

static void (*receive_char)(char c);

static void on_uart(struct cpu_user_regs *regs)
{
    for (unsigned int i = 0; i < UART_COUNT; i++) {
        unsigned int n;
        for (n = 0; n < MAX_BURST; n++) {
            int c = uart_getc(&uarts[i]);
            if (c < 0)
                break;
            receive_char(c);
        }
        // The interrupt is an edge: with characters left there would never be another one.
        if (n == MAX_BURST)
            uart_rearm_rx(&uarts[i]);
    }
}

void __init uart_irq_init(void (*receive)(char c))
{
    receive_char = receive;
    irq_set_direct(VECTOR_UART, on_uart);
    for (unsigned int i = 0; i < UART_COUNT; i++) {
        struct uart *u = &uarts[i];
        bool level, low;
        if (!u->present || !u->irq)
            continue;
        unsigned int gsi = isa_irq_to_gsi(u->irq, &level, &low);
        ioapic_route(gsi, VECTOR_UART, apic_id_of(0), level, low, false);
        uart_enable_rx(u);
    }
}
