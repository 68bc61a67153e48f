// SPDX-License-Identifier: BSD-2-Clause
#include "guest.h"

uint64_t clock_scale(const vcpu_time_info_t *t, uint64_t ticks)
{
    if (t->tsc_shift >= 0)
        ticks <<= t->tsc_shift;
    else
        ticks >>= -t->tsc_shift;
    return (uint64_t)(((unsigned __int128)ticks * t->tsc_to_system_mul) >> 32);
}

vcpu_time_info_t clock_read(const volatile vcpu_time_info_t *t)
{
    vcpu_time_info_t copy;

    do {
        copy.version = t->version;
        barrier();
        copy.tsc_timestamp = t->tsc_timestamp;
        copy.system_time = t->system_time;
        copy.tsc_to_system_mul = t->tsc_to_system_mul;
        copy.tsc_shift = t->tsc_shift;
        copy.flags = t->flags;
        barrier();
    } while ((copy.version & 1) || copy.version != t->version);
    return copy;
}

uint64_t clock_now(void)
{
    const volatile vcpu_time_info_t *t = &this_vcpu()->info->time;

    for (;;) {
        vcpu_time_info_t copy = clock_read(t);
        uint64_t now = copy.system_time + clock_scale(&copy, rdtsc_ordered() - copy.tsc_timestamp);

        if (t->version == copy.version)
            return now;
    }
}

void clock_spin(uint64_t ns)
{
    uint64_t end = clock_now() + ns;

    while (clock_now() < end)
        cpu_relax();
}
