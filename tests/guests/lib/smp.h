// SPDX-License-Identifier: BSD-2-Clause
// The virtual CPUs. Each has an aligned area (layout.h) with this record at its bottom, so the
// stack pointer alone tells which vCPU runs.
#pragma once

#include "hypercall.h"
#include "layout.h"

struct trap;

struct vcpu {
    unsigned int id;
    vcpu_info_t *info;
    unsigned long root; // the kernel L4 it runs on, virtual address
    struct trap *armed; // innermost CATCH
    void (*volatile job)(void *arg);
    void *volatile job_arg;
};

_Static_assert(sizeof(struct vcpu) < 512, "leaves room for the trap stack");

static inline struct vcpu *this_vcpu(void)
{
    unsigned long sp;

    __asm__ volatile("mov %%rsp, %0" : "=r"(sp));
    return (struct vcpu *)((sp - 1) & ~(AREA_SIZE - 1UL));
}

void smp_init(void);
unsigned int smp_count(void); // vCPUs this domain has

// Prepares the context of a vCPU without starting it: what vcpu_op(initialise) wants.
void smp_context(unsigned int id, vcpu_guest_context_t *ctx);

// Brings a vCPU up: 0 or -errno. It then waits for jobs.
long smp_start(unsigned int id);

// Gives a started vCPU something to do; smp_wait() returns when it has done it.
void smp_post(unsigned int id, void (*job)(void *arg), void *arg);
void smp_wait(unsigned int id);
void smp_run(unsigned int id, void (*job)(void *arg), void *arg);

void smp_vcpu_main(void) __attribute__((noreturn));
void vcpu_entry(void);
