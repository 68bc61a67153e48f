// SPDX-License-Identifier: BSD-2-Clause
// System time of this vCPU, in nanoseconds since the hypervisor started.
#pragma once

#include "hypercall.h"

#define MS 1000000UL

static inline uint64_t rdtsc(void)
{
    uint32_t lo, hi;

    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return (uint64_t)hi << 32 | lo;
}

static inline uint64_t rdtsc_ordered(void)
{
    __asm__ volatile("lfence" ::: "memory");
    return rdtsc();
}

// Ticks since a time record was taken to nanoseconds.
uint64_t clock_scale(const vcpu_time_info_t *t, uint64_t ticks);

// A consistent copy of a record.
vcpu_time_info_t clock_read(const volatile vcpu_time_info_t *t);

uint64_t clock_now(void);
void clock_spin(uint64_t ns);
