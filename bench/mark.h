// SPDX-License-Identifier: BSD-2-Clause
// Marker no-ops that split.c recognises, and the clocks, for the programs here.
#pragma once

#include <stdint.h>
#include <time.h>

// 1: the next operation; 2: a batch begins; 3: it ends.
#define MARK(k) asm volatile(".byte 0x0f,0x1f,0x84,0x00; .long 0x4c415400+%c0" ::"i"(k) : "memory")

static inline uint64_t tsc(void)
{
    uint32_t a, d;
    asm volatile("rdtsc" : "=a"(a), "=d"(d)::"memory");
    return a | (uint64_t)d << 32;
}

static inline uint64_t mono_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
