// SPDX-License-Identifier: BSD-2-Clause
#include "guest.h"

enum { MAX_VCPUS = 8 };

extern uint8_t first_area[AREA_SIZE];
static uint8_t areas[MAX_VCPUS][AREA_SIZE] __attribute__((aligned(AREA_SIZE)));

static struct vcpu *vcpu_of(unsigned int id)
{
    return (struct vcpu *)(id ? areas[id] : first_area);
}

static void vcpu_prepare(unsigned int id)
{
    struct vcpu *v = vcpu_of(id);

    v->id = id;
    v->info = &shared_info->vcpu_info[id];
    v->root = start_info->pt_base;
}

void smp_init(void)
{
    vcpu_prepare(0);
}

unsigned int smp_count(void)
{
    unsigned int n = 0;

    while (n < MAX_VCPUS && hc_vcpu_op(VCPUOP_is_up, n, NULL) >= 0)
        n++;
    return n;
}

void smp_context(unsigned int id, vcpu_guest_context_t *ctx)
{
    unsigned long area = (unsigned long)vcpu_of(id);

    vcpu_prepare(id);
    memset(ctx, 0, sizeof(*ctx));
    trap_table(ctx->trap_ctxt); // entry 256 lands in ldt_base, a zero
    ctx->flags = VGCF_in_kernel;
    ctx->user_regs.rip = (unsigned long)vcpu_entry;
    ctx->user_regs.rsp = area + AREA_SIZE;
    ctx->user_regs.rflags = 0x202;
    ctx->user_regs.cs = FLAT_KERNEL_CS;
    ctx->user_regs.ss = FLAT_KERNEL_SS;
    ctx->kernel_ss = FLAT_KERNEL_SS;
    ctx->kernel_sp = area + TRAP_STACK_TOP;
    ctx->event_callback_eip = (unsigned long)event_entry;
    ctx->failsafe_callback_eip = (unsigned long)failsafe_entry;
    ctx->syscall_callback_eip = (unsigned long)syscall_entry;
    ctx->ctrlreg[3] = xen_pfn_to_cr3(va_to_mfn((void *)start_info->pt_base));
}

long smp_start(unsigned int id)
{
    static vcpu_guest_context_t ctx;
    long rc;

    if (id >= MAX_VCPUS)
        return -XEN_EINVAL;
    smp_context(id, &ctx);
    shared_info->vcpu_info[id].evtchn_upcall_mask = 1;
    rc = hc_vcpu_op(VCPUOP_initialise, id, &ctx);
    return rc ? rc : hc_vcpu_op(VCPUOP_up, id, NULL);
}

void smp_post(unsigned int id, void (*job)(void *arg), void *arg)
{
    struct vcpu *v = vcpu_of(id);

    smp_wait(id);
    v->job_arg = arg;
    barrier();
    v->job = job;
}

void smp_wait(unsigned int id)
{
    while (vcpu_of(id)->job)
        hc_sched_op(SCHEDOP_yield, NULL);
}

void smp_run(unsigned int id, void (*job)(void *arg), void *arg)
{
    smp_post(id, job, arg);
    smp_wait(id);
}

void smp_vcpu_main(void)
{
    struct vcpu *v = this_vcpu();

    for (;;) {
        if (v->job) {
            v->job(v->job_arg);
            barrier();
            v->job = NULL;
        }
        hc_sched_op(SCHEDOP_yield, NULL);
    }
}
