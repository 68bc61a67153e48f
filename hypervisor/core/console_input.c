// SPDX-License-Identifier: BSD-2-Clause
#include "core/console_input.h"
#include "core/cmdline.h"
#include "core/console.h"
#include "core/domain.h"
#include "core/evtchn.h"
#include "core/keyhandler.h"
#include "core/softirq.h"
#include "core/spinlock.h"
#include "x86/arch/uart_irq.h"

enum { BUFFER = 1024, SWITCH_COUNT = 3 }; // BUFFER: power of two

static spinlock_t lock; // interrupts off
static char buffer[BUFFER];
static uint32_t head, tail; // read at head, write at tail; free running
static bool to_hypervisor = true;
static unsigned int switch_seen;

// Keys run in softirq context: dumps are long, and this CPU's interrupts should go on.
static char pending_keys[16];
static unsigned int pending_count;
static struct deferred_call key_call;
static bool key_call_queued;

static void run_keys(void *unused)
{
    char keys[sizeof(pending_keys)];
    unsigned long flags = spin_lock_irqsave(&lock);
    unsigned int n = pending_count;
    for (unsigned int i = 0; i < n; i++)
        keys[i] = pending_keys[i];
    pending_count = 0;
    key_call_queued = false;
    spin_unlock_irqrestore(&lock, flags);
    for (unsigned int i = 0; i < n; i++)
        keyhandler_run(keys[i]);
}

static void announce(void)
{
    printk(LOG_ERR "*** Serial input to %s (type Ctrl-%c three times to switch)\n",
           to_hypervisor ? "Serai" : "the control domain", (options.conswitch[0] & 0x1f) + 'a' - 1);
}

// Returns true when c was eaten by the switch sequence.
static bool handle_switch(char c)
{
    char control = options.conswitch[0] & 0x1f;
    if (!control || c != control) {
        switch_seen = 0;
        return false;
    }
    if (++switch_seen < SWITCH_COUNT)
        return to_hypervisor; // the control domain may have a use for it
    switch_seen = 0;
    to_hypervisor = !to_hypervisor;
    announce();
    return true;
}

void console_input_receive(char c)
{
    bool notify = false, queue = false;
    unsigned long flags = spin_lock_irqsave(&lock);
    if (handle_switch(c)) {
        // nothing to pass on
    } else if (to_hypervisor) {
        if (pending_count < sizeof(pending_keys))
            pending_keys[pending_count++] = c;
        queue = !key_call_queued;
        key_call_queued = true;
    } else if (tail - head < BUFFER) {
        buffer[tail++ % BUFFER] = c;
        notify = true;
    }
    spin_unlock_irqrestore(&lock, flags);
    if (queue)
        deferred_call(&key_call, run_keys, NULL);
    if (notify)
        evtchn_send_global_virq(VIRQ_CONSOLE);
}

size_t console_guest_read(char *buf, size_t len)
{
    size_t n = 0;
    unsigned long flags = spin_lock_irqsave(&lock);
    while (n < len && head != tail)
        buf[n++] = buffer[head++ % BUFFER];
    spin_unlock_irqrestore(&lock, flags);
    return n;
}

void __init console_input_init(void)
{
    uart_irq_init(console_input_receive);
}

void __init console_input_to_control_domain(void)
{
    if (options.conswitch[0] && options.conswitch[1] != 'x')
        to_hypervisor = false;
    announce();
}
