// SPDX-License-Identifier: BSD-2-Clause
// 16550-compatible serial ports: polled transmission, reception by polling or interrupt.
// No locks of its own: the console's lock covers output, one interrupt handler all input.
#pragma once

#include "lib/types.h"

struct uart {
    uint16_t port;
    uint8_t irq;   // ISA IRQ, 0: none
    uint8_t lcr;   // data bits, parity, stop bits
    uint32_t baud; // 0: as the firmware left it
    uint32_t clock_hz;
    bool present;
};

enum { UART_COM1, UART_COM2, UART_COUNT };
extern struct uart uarts[UART_COUNT];

// Set up port n from a com1= text: BAUD|auto[/CLOCK][,DPS[,BASE[,IRQ]]]; NULL or "": 115200,8n1.
// -EINVAL: the text is malformed (nothing is changed), -ENODEV: there is no such port.
int __must_check uart_init(unsigned int n, const char *config);
void uart_putc(struct uart *u, char c);
// Next received character, or -1.
int uart_getc(struct uart *u);
// Until the last bit has been sent.
void uart_flush(struct uart *u);
// Ask for an interrupt on reception.
void uart_enable_rx(struct uart *u);
// Let the interrupt line fall, and rise again if a character is there.
void uart_rearm_rx(struct uart *u);
