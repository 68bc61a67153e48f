// SPDX-License-Identifier: BSD-2-Clause
// Everything a micro guest includes. A guest supplies guest_main(), which reports through tap.h
// and returns; the runtime prints the plan and powers off.
#pragma once

#include "console.h"
#include "hypercall.h"
#include "layout.h"
#include "clock.h"
#include "event.h"
#include "mem.h"
#include "smp.h"
#include "string.h"
#include "tap.h"
#include "trap.h"

void guest_main(void);

extern start_info_t *start_info;
extern shared_info_t *shared_info;

// True when the hypervisor says "-serai"; tests skip what real Xen under emulation cannot do.
bool on_serai(void);

// Value of "name=123" (decimal or 0x) on the command line, or `other`.
uint64_t arg_number(const char *name, uint64_t other);
bool arg_present(const char *word);

// Ends this domain; does not return.
void guest_shutdown(unsigned int reason) __attribute__((noreturn));

#define barrier()        __asm__ volatile("" ::: "memory")
#define ARRAY_SIZE(a)    (sizeof(a) / sizeof((a)[0]))
#define READ_ONCE(x)     (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))

static inline void cpu_relax(void)
{
    __asm__ volatile("pause" ::: "memory");
}
