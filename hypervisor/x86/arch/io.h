// SPDX-License-Identifier: BSD-2-Clause
// Port and memory-mapped I/O.
#pragma once

#include "lib/types.h"

static inline uint8_t inb(uint16_t port)
{
    uint8_t v;
    asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint16_t inw(uint16_t port)
{
    uint16_t v;
    asm volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint32_t inl(uint16_t port)
{
    uint32_t v;
    asm volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline void outb(uint16_t port, uint8_t v)
{
    asm volatile("outb %0, %1" ::"a"(v), "Nd"(port) : "memory");
}
static inline void outw(uint16_t port, uint16_t v)
{
    asm volatile("outw %0, %1" ::"a"(v), "Nd"(port) : "memory");
}
static inline void outl(uint16_t port, uint32_t v)
{
    asm volatile("outl %0, %1" ::"a"(v), "Nd"(port) : "memory");
}

static inline uint8_t read8(const volatile void *p)
{
    return *(const volatile uint8_t *)p;
}
static inline uint16_t read16(const volatile void *p)
{
    return *(const volatile uint16_t *)p;
}
static inline uint32_t read32(const volatile void *p)
{
    return *(const volatile uint32_t *)p;
}
static inline uint64_t read64(const volatile void *p)
{
    return *(const volatile uint64_t *)p;
}
static inline void write8(volatile void *p, uint8_t v)
{
    *(volatile uint8_t *)p = v;
}
static inline void write16(volatile void *p, uint16_t v)
{
    *(volatile uint16_t *)p = v;
}
static inline void write32(volatile void *p, uint32_t v)
{
    *(volatile uint32_t *)p = v;
}
static inline void write64(volatile void *p, uint64_t v)
{
    *(volatile uint64_t *)p = v;
}
