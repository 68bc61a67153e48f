// SPDX-License-Identifier: BSD-2-Clause
// The hypervisor's log: levels, a ring that the control domain can read, and the physical
// consoles (drivers/uart.c, drivers/vga.c). Every line is prefixed "(SERAI) ".
#pragma once

#include <stdarg.h>
#include "lib/types.h"

#define LOG_ERR   "<0>"
#define LOG_WARN  "<1>"
#define LOG_INFO  "<2>"
#define LOG_DEBUG "<3>"
// Guest-triggered messages: add LOG_GUEST first, the level after it (guest_loglvl=).
#define LOG_GUEST "<G>"

// One or more lines; level LOG_INFO when none is given. Any context, NMI included.
void printk(const char *fmt, ...) __printf(1, 2);
void vprintk(const char *fmt, va_list ap) __printf(1, 0);
// True at most ten times in five seconds for this call site.
bool printk_ratelimit(void);

void console_init_early(void); // from the command line: serial first
void console_init_late(void);  // receive interrupts, ring at its final size; after the IO-APICs
// Text from CONSOLEIO_write of the control domain or (debug) a guest, already copied in. The
// control domain's is to come in short pieces: a serial line takes 90 us for a character, and
// interrupts are off meanwhile.
void console_guest_write(unsigned int domain, const char *buf, size_t len);
// Up to len received characters for CONSOLEIO_read. Returns the number.
size_t console_guest_read(char *buf, size_t len);
// Ring contents for XEN_SYSCTL_readconsole: from *index (incremental) or the start; the next index
// in *index. Returns the number of bytes put in buf. clear: empty the ring afterwards.
size_t console_ring_read(char *buf, size_t len, bool incremental, bool clear, uint32_t *index);
// Wait until all output has left the machine. For panics and power off.
void console_flush(void);
// Take the console by force: messages after this bypass locks. For panics and NMI.
void console_force_unlock(void);
__noreturn void panic(const char *fmt, ...) __printf(1, 2);
// What we were given to start with is at fault, not us: one line, then reboot or halt.
__noreturn void fatal(const char *fmt, ...) __printf(1, 2);
