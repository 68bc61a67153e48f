// SPDX-License-Identifier: BSD-2-Clause
#include "drivers/uart.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "x86/arch/cpu.h"
#include "x86/arch/io.h"

enum { // registers
    RBR = 0,
    THR = 0,
    DLL = 0,
    IER = 1,
    DLM = 1,
    FCR = 2,
    LCR = 3,
    MCR = 4,
    LSR = 5,
    SCR = 7,
};
enum {
    IER_RX = 1,
    FCR_ENABLE_CLEAR = 0x07,
    LCR_DLAB = 0x80,
    MCR_DTR_RTS_OUT2 = 0x0b, // OUT2 gates the interrupt
    LSR_DATA = 0x01,
    LSR_THR_EMPTY = 0x20,
    LSR_IDLE = 0x40,
    DEFAULT_CLOCK = 1843200,
    SPIN_LIMIT = 1 << 20, // a stuck port must not stop the machine
};

struct uart uarts[UART_COUNT] = {
    [UART_COM1] = {.port = 0x3f8, .irq = 4},
    [UART_COM2] = {.port = 0x2f8, .irq = 3},
};

// "8n1": data bits, parity, stop bits -> line control. -EINVAL.
static int parse_framing(const char **p, uint8_t *lcr)
{
    static const char parities[] = "noems";
    const char *s = *p;
    if (s[0] < '5' || s[0] > '8' || !s[1] || (s[2] != '1' && s[2] != '2'))
        return -EINVAL;
    const char *parity = strchr(parities, s[1]);
    if (!parity)
        return -EINVAL;
    unsigned int index = parity - parities;
    // Odd, even, mark and space are 1, 3, 5, 7 in bits 3..5.
    *lcr = (s[0] - '5') | (s[2] == '2' ? 4 : 0) | (index ? ((index - 1) * 2 + 1) << 3 : 0);
    *p = s + 3;
    return 0;
}

static int parse_speed(struct uart *u, const char **p)
{
    if (!strncmp(*p, "auto", 4)) {
        u->baud = 0;
        *p += 4;
    } else {
        const char *end;
        u->baud = strtoull(*p, &end, 10);
        if (end == *p || u->baud < 50 || u->baud > 6000000)
            return -EINVAL;
        *p = end;
    }
    if (**p != '/')
        return 0;
    const char *start = *p + 1;
    u->clock_hz = (uint32_t)strtoull(start, p, 0) << 4;
    return *p == start || !u->clock_hz ? -EINVAL : 0;
}

static int parse_config(struct uart *u, const char *s)
{
    const char *end;
    int ret = *s == ',' ? 0 : parse_speed(u, &s);
    if (ret)
        return ret;
    if (*s == ',') {
        s++;
        if (*s != ',' && *s && (ret = parse_framing(&s, &u->lcr)))
            return ret;
    }
    if (*s == ',') {
        uint64_t port = strtoull(++s, &end, 0);
        if (end == s || port < 0x100 || port > 0xfff8)
            return -EINVAL;
        u->port = port;
        s = end;
    }
    if (*s == ',') {
        uint64_t irq = strtoull(++s, &end, 0);
        if (end == s || irq > 15)
            return -EINVAL;
        u->irq = irq;
        s = end;
    }
    return *s ? -EINVAL : 0;
}

static bool probe(const struct uart *u)
{
    outb(u->port + SCR, 0x5a);
    if (inb(u->port + SCR) != 0x5a)
        return false;
    outb(u->port + SCR, 0xa5);
    return inb(u->port + SCR) == 0xa5;
}

int uart_init(unsigned int n, const char *config)
{
    struct uart u = uarts[n];
    u.baud = 115200;
    u.lcr = 3;
    u.clock_hz = DEFAULT_CLOCK;
    if (config && *config) {
        int ret = parse_config(&u, config);
        if (ret)
            return ret;
    }
    if (!probe(&u))
        return -ENODEV;
    outb(u.port + IER, 0);
    if (u.baud) {
        unsigned int divisor = (u.clock_hz + u.baud * 8) / (u.baud * 16);
        divisor = divisor ? divisor : 1;
        outb(u.port + LCR, u.lcr | LCR_DLAB);
        outb(u.port + DLL, divisor);
        outb(u.port + DLM, divisor >> 8);
    }
    outb(u.port + LCR, u.lcr);
    outb(u.port + FCR, FCR_ENABLE_CLEAR);
    outb(u.port + MCR, MCR_DTR_RTS_OUT2);
    u.present = true;
    uarts[n] = u;
    return 0;
}

static void wait_for(const struct uart *u, uint8_t bit)
{
    for (unsigned int i = 0; i < SPIN_LIMIT && !(inb(u->port + LSR) & bit); i++)
        cpu_relax();
}

void uart_putc(struct uart *u, char c)
{
    if (!u->present)
        return;
    wait_for(u, LSR_THR_EMPTY);
    outb(u->port + THR, c);
}

int uart_getc(struct uart *u)
{
    if (!u->present || !(inb(u->port + LSR) & LSR_DATA))
        return -1;
    return inb(u->port + RBR);
}

void uart_flush(struct uart *u)
{
    if (u->present)
        wait_for(u, LSR_IDLE);
}

void uart_enable_rx(struct uart *u)
{
    if (!u->present)
        return;
    inb(u->port + RBR);
    outb(u->port + IER, IER_RX);
}

void uart_rearm_rx(struct uart *u)
{
    outb(u->port + IER, 0);
    outb(u->port + IER, IER_RX);
}
