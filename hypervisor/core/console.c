// SPDX-License-Identifier: BSD-2-Clause
// One lock covers the ring, the line state and all output devices. A CPU that comes back while it
// holds the lock (NMI, fault while printing) writes without it rather than hang.
#include "core/console.h"
#include "core/cmdline.h"
#include "core/console_device.h"
#include "core/console_input.h"
#include "core/softirq.h"
#include "core/spinlock.h"
#include "drivers/uart.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "memory/heap.h"
#include "x86/arch/time.h"

enum {
    RING_BOOT_SIZE = 16384, // power of two, as all ring sizes
    RING_MAX_SIZE = 1 << 20,
    LINE_SIZE = 1024,
    NO_CPU = ~0,
    RATE_SLOTS = 64,
    RATE_BURST = 10,
    GUEST_LINE = 128,
    DEFAULT_LEVEL = 2,
};
#define RATE_INTERVAL (5 * NS_PER_S)

static char ring_boot[RING_BOOT_SIZE];
static char *ring = ring_boot;
static uint32_t ring_size = RING_BOOT_SIZE;
static uint32_t ring_start,
    ring_end; // free-running positions of the oldest byte and past the newest

static spinlock_t lock;
static uint32_t lock_owner = NO_CPU;
static bool lock_broken;
static bool at_line_start = true;
static bool line_hidden; // the line being continued is below the log level
static char line[LINE_SIZE];

enum { MAX_DEVICES = 4 };
static const struct console_device *devices[MAX_DEVICES];
static unsigned int device_count;

struct console_lock_state {
    unsigned long flags;
    bool taken;
};

static struct console_lock_state console_lock(void)
{
    struct console_lock_state s = {.flags = irq_save()};
    if (lock_broken || READ_ONCE(lock_owner) == cpu_id())
        return s;
    spin_lock(&lock);
    lock_owner = cpu_id();
    s.taken = true;
    return s;
}

static void console_unlock(struct console_lock_state s)
{
    if (s.taken) {
        WRITE_ONCE(lock_owner, NO_CPU);
        spin_unlock(&lock);
    }
    irq_restore(s.flags);
}

void console_force_unlock(void)
{
    lock_broken = true;
}

static void devices_write(const char *s, size_t len)
{
    for (unsigned int i = 0; i < device_count; i++)
        devices[i]->write(s, len);
}

static void ring_write(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ring[ring_end++ & (ring_size - 1)] = s[i];
    if (ring_end - ring_start > ring_size)
        ring_start = ring_end - ring_size;
}

static void emit(const char *s, size_t len)
{
    ring_write(s, len);
    devices_write(s, len);
}

void console_add_device(const struct console_device *dev)
{
    struct console_lock_state s = console_lock();
    if (device_count < MAX_DEVICES) {
        devices[device_count++] = dev;
        for (uint32_t pos = ring_start; pos != ring_end; pos++)
            dev->write(&ring[pos & (ring_size - 1)], 1);
    }
    console_unlock(s);
}

// ---- printk -----------------------------------------------------------------------------------

struct civil_time {
    unsigned int year, month, day;
};

// Days since 1970-01-01 -> date (proleptic Gregorian calendar).
static struct civil_time civil_from_days(uint64_t days)
{
    uint64_t z = days + 719468;
    uint64_t era = z / 146097, doe = z % 146097;
    uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    uint64_t mp = (5 * doy + 2) / 153;
    struct civil_time t = {.day = doy - (153 * mp + 2) / 5 + 1, .month = mp < 10 ? mp + 3 : mp - 9};
    t.year = yoe + era * 400 + (t.month <= 2);
    return t;
}

static size_t format_timestamp(char *buf, size_t size)
{
    stime_t t = now_ns();
    switch (options.console_timestamps) {
    case TIMESTAMPS_DATE: {
        uint64_t s = arch_wallclock_seconds();
        struct civil_time c = civil_from_days(s / 86400);
        return snprintf(buf, size, "[%04u-%02u-%02u %02u:%02u:%02u] ", c.year, c.month, c.day,
                        (unsigned)(s / 3600 % 24), (unsigned)(s / 60 % 60), (unsigned)(s % 60));
    }
    case TIMESTAMPS_BOOT:
        return snprintf(buf, size, "[%5lld.%06lld] ", t / NS_PER_S, t % NS_PER_S / NS_PER_US);
    case TIMESTAMPS_RAW:
        return snprintf(buf, size, "[%016lx] ", arch_ticks());
    default:
        return 0;
    }
}

static void emit_prefix(void)
{
    char stamp[48];
    emit("(SERAI) ", 8);
    emit(stamp, format_timestamp(stamp, sizeof(stamp)));
}

// Split text at newlines; each line starts with the prefix.
static void emit_lines(const char *s)
{
    while (*s) {
        const char *nl = strchr(s, '\n');
        size_t len = nl ? (size_t)(nl - s) + 1 : strlen(s);
        if (at_line_start && !line_hidden)
            emit_prefix();
        if (!line_hidden)
            emit(s, len);
        at_line_start = nl != NULL;
        s += len;
    }
}

// Take the level marks off the front; true when such lines are shown.
static bool parse_level(const char **fmt)
{
    bool guest = false;
    int level = DEFAULT_LEVEL;
    const char *s = *fmt;
    if (s[0] == '<' && s[1] == 'G' && s[2] == '>') {
        guest = true;
        s += 3;
    }
    if (s[0] == '<' && s[1] >= '0' && s[1] <= '3' && s[2] == '>') {
        level = s[1] - '0';
        s += 3;
    } else if (s == *fmt && !at_line_start) {
        return !line_hidden;
    }
    *fmt = s;
    return level <= (guest ? options.guest_loglvl : options.loglvl) || lock_broken;
}

void vprintk(const char *fmt, va_list ap)
{
    struct console_lock_state s = console_lock();
    line_hidden = !parse_level(&fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    emit_lines(line);
    console_unlock(s);
}

void printk(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vprintk(fmt, ap);
    va_end(ap);
}

// Call sites share slots by hash: two that collide are limited together, which does no harm.
bool printk_ratelimit(void)
{
    static struct {
        stime_t start;
        uint32_t count;
    } slots[RATE_SLOTS];
    static spinlock_t rate_lock;
    unsigned long site = (unsigned long)__builtin_return_address(0);
    unsigned int slot = (site ^ site >> 6 ^ site >> 12) % RATE_SLOTS;
    unsigned long flags = irq_save();
    if (!spin_trylock(&rate_lock)) {
        irq_restore(flags);
        return false;
    }
    stime_t now = now_ns();
    if (!slots[slot].count || now - slots[slot].start > RATE_INTERVAL) {
        slots[slot].start = now;
        slots[slot].count = 0;
    }
    bool ok = slots[slot].count < RATE_BURST;
    if (ok)
        slots[slot].count++;
    spin_unlock_irqrestore(&rate_lock, flags);
    return ok;
}

// ---- the control domain's side ------------------------------------------------------------------

// One line of a guest's, which must look like nothing else and do nothing to a terminal.
static void log_guest_line(unsigned int domain, const char *line, size_t len)
{
    char text[GUEST_LINE];

    len = MIN(len, sizeof(text));
    for (size_t i = 0; i < len; i++)
        text[i] = (line[i] >= ' ' && line[i] < 0x7f) || line[i] == '\t' ? line[i] : '.';
    printk(LOG_GUEST LOG_INFO "(d%u) %.*s\n", domain, (int)len, text);
}

static void control_domain_write(const char *buf, size_t len)
{
    struct console_lock_state s = console_lock();
    devices_write(buf, len);
    console_unlock(s);
}

void console_guest_write(unsigned int domain, const char *buf, size_t len)
{
    if (domain == 0) {
        control_domain_write(buf, len);
        return;
    }
    while (len) {
        size_t n = 0;
        while (n < len && buf[n] != '\n')
            n++;
        if (n && printk_ratelimit())
            log_guest_line(domain, buf, n);
        n += n < len;
        buf += n;
        len -= n;
    }
}

size_t console_ring_read(char *buf, size_t len, bool incremental, bool clear, uint32_t *index)
{
    struct console_lock_state s = console_lock();
    uint32_t pos = incremental ? *index : ring_start;
    if ((int32_t)(pos - ring_start) < 0 || (int32_t)(pos - ring_end) > 0)
        pos = ring_start;
    size_t n = MIN(len, (size_t)(ring_end - pos));
    for (size_t i = 0; i < n; i++)
        buf[i] = ring[(pos + i) & (ring_size - 1)];
    *index = pos + n;
    if (clear)
        ring_start = ring_end;
    console_unlock(s);
    return n;
}

void console_flush(void)
{
    for (unsigned int i = 0; i < device_count; i++)
        if (devices[i]->flush)
            devices[i]->flush();
}

// ---- start-up ---------------------------------------------------------------------------------

static void com_write(struct uart *u, const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '\n')
            uart_putc(u, '\r');
        uart_putc(u, s[i]);
    }
}
static void com1_write(const char *s, size_t len)
{
    com_write(&uarts[UART_COM1], s, len);
}
static void com1_flush(void)
{
    uart_flush(&uarts[UART_COM1]);
}
static void com2_write(const char *s, size_t len)
{
    com_write(&uarts[UART_COM2], s, len);
}
static void com2_flush(void)
{
    uart_flush(&uarts[UART_COM2]);
}

static const struct console_device com_devices[UART_COUNT] = {
    {.name = "com1", .write = com1_write, .flush = com1_flush},
    {.name = "com2", .write = com2_write, .flush = com2_flush},
};

bool console_wanted(const char *name)
{
    size_t len = strlen(name);
    for (const char *s = options.console; s && *s; s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL)
        if (!strncmp(s, name, len) && (!s[len] || s[len] == ','))
            return true;
    return false;
}

void __init console_init_early(void)
{
    const char *config[UART_COUNT] = {options.com1, options.com2};
    for (unsigned int i = 0; i < UART_COUNT; i++) {
        if (!console_wanted(com_devices[i].name))
            continue;
        int ret = uart_init(i, config[i]);
        if (ret == -EINVAL) {
            printk(LOG_WARN "Option %s=%s is malformed: 115200,8n1 used\n", com_devices[i].name,
                   config[i]);
            ret = uart_init(i, NULL);
        }
        if (!ret)
            console_add_device(&com_devices[i]);
    }
}

void __init console_init_late(void)
{
    uint32_t size = RING_BOOT_SIZE;
    while (size < options.conring_size && size < RING_MAX_SIZE)
        size *= 2;
    char *bigger = size > RING_BOOT_SIZE ? heap_alloc(size) : NULL;
    if (bigger) {
        struct console_lock_state s = console_lock();
        for (uint32_t pos = ring_start; pos != ring_end; pos++)
            bigger[pos & (size - 1)] = ring[pos & (ring_size - 1)];
        ring = bigger;
        ring_size = size;
        console_unlock(s);
    }
    console_input_init();
}
