// SPDX-License-Identifier: BSD-2-Clause
#include "core/subop.h"
#include "lib/bug.h"
#include "lib/errno.h"
#include "x86/arch/cpu.h"
#include "x86/arch/guest_access.h"

long subop_run(const struct subop *table, unsigned long count, unsigned long cmd, void *guest,
               void *buf, unsigned long buf_size)
{
    const struct subop *s;
    int ret;

    if (cmd >= count)
        return -ENOSYS;
    s = &table[index_nospec(cmd, count)];
    if (!s->fn)
        return -ENOSYS;
    ASSERT(s->size <= buf_size);
    if ((s->copy & SUBOP_IN) && guest_copy_from(buf, guest, s->size))
        return -EFAULT;
    ret = s->fn(buf);
    if (ret >= 0 && (s->copy & SUBOP_OUT) && guest_copy_to(guest, buf, s->size))
        return -EFAULT;
    return ret;
}
