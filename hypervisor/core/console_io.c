// SPDX-License-Identifier: BSD-2-Clause
// console_io: the control domain's emergency console; other domains' text goes to the log.
#include "core/access.h"
#include "core/console.h"
#include "core/hypercall.h"
#include "core/sched.h"
#include "x86/arch/guest_access.h"

#define CHUNK 128
#define PIECE 8 // of the control domain's: others may want the CPU after each

static long console_op_write(const char *buf, unsigned long count)
{
    struct domain *d = current->domain;
    char text[CHUNK];

    while (count) {
        unsigned long n = MIN(count, d->is_control ? PIECE : (unsigned long)CHUNK);

        if (guest_copy_from(text, buf, n))
            return -EFAULT;
        console_guest_write(d->id, text, n);
        buf += n;
        count -= n;
        if (count && hypercall_preempt_check())
            return hypercall_continue(
                __HYPERVISOR_console_io, 3,
                (unsigned long[]){CONSOLEIO_write, count, (unsigned long)buf});
    }
    return 0;
}

static long console_op_read(char *buf, unsigned long count)
{
    char text[CHUNK];
    long n;

    if (access_check(current->domain, ACCESS_HARDWARE, NULL))
        return -EPERM;
    if (count > INT32_MAX) // the result is a 32-bit number
        return -E2BIG;
    n = (long)console_guest_read(text, MIN(count, (unsigned long)CHUNK));
    return guest_copy_to(buf, text, (size_t)n) ? -EFAULT : n;
}

long hc_console_io(unsigned long cmd, unsigned long count, unsigned long buf)
{
    count = (uint32_t)count;
    switch (cmd) {
    case CONSOLEIO_write:
        return console_op_write((const char *)buf, count);
    case CONSOLEIO_read:
        return console_op_read((char *)buf, count);
    default:
        return -ENOSYS;
    }
}
