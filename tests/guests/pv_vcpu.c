// SPDX-License-Identifier: BSD-2-Clause
// vcpu_op: bringing vCPUs up and down, run states, registered areas, NMI, errors.
#include "lib/guest.h"

static vcpu_guest_context_t ctx;
static volatile unsigned int counter;

static void count_up(void *arg)
{
    (void)arg;
    counter++;
}

static void go_down(void *arg)
{
    (void)arg;
    counter = 1;
    hc_vcpu_op(VCPUOP_down, 1, NULL);
    counter = 2;
}

static bool wait_counter(unsigned int value)
{
    uint64_t end = clock_now() + 2000 * MS;

    while (counter != value && clock_now() < end)
        hc_sched_op(SCHEDOP_yield, NULL);
    return counter == value;
}

static void bring_up(void)
{
    is(hc_vcpu_op(VCPUOP_is_up, 0, NULL), 1, "vCPU 0 is up");
    is(hc_vcpu_op(VCPUOP_is_up, 1, NULL), 0, "vCPU 1 is not");
    is_error(hc_vcpu_op(VCPUOP_up, 1, NULL), "up before initialise");
    is_error(hc_vcpu_op(VCPUOP_initialise, 1, NULL), "initialise with a null context");
    smp_context(1, &ctx);
    ctx.ctrlreg[3] = xen_pfn_to_cr3(0x7ffffffffUL);
    is_error(hc_vcpu_op(VCPUOP_initialise, 1, &ctx), "initialise with a bad root table");
    smp_context(1, &ctx);
    ctx.gdt_ents = 512;
    ctx.gdt_frames[0] = 0x7ffffffff;
    is_error(hc_vcpu_op(VCPUOP_initialise, 1, &ctx), "initialise with a bad descriptor table");
    is(smp_start(1), 0, "initialise and up");
    is(hc_vcpu_op(VCPUOP_is_up, 1, NULL), 1, "it is up");
    counter = 0;
    smp_run(1, count_up, NULL);
    is(counter, 1, "and runs");
    is_error(hc_vcpu_op(VCPUOP_initialise, 1, &ctx), "initialise it again");
    is(hc_vcpu_op(VCPUOP_up, 1, NULL), 0, "up again is no error");
}

static void down_and_up(void)
{
    counter = 0;
    smp_post(1, go_down, NULL);
    ok(wait_counter(1), "it goes down");
    clock_spin(5 * MS);
    is(hc_vcpu_op(VCPUOP_is_up, 1, NULL), 0, "is_up says so");
    is(counter, 1, "it does not run");
    is(hc_vcpu_op(VCPUOP_up, 1, NULL), 0, "up");
    ok(wait_counter(2), "it goes on where it was");
    smp_wait(1);
    is(hc_vcpu_op(VCPUOP_down, 1, NULL), 0, "taken down from outside");
    is(hc_vcpu_op(VCPUOP_is_up, 1, NULL), 0, "it is down");
    is(hc_vcpu_op(VCPUOP_up, 1, NULL), 0, "and up again");
    smp_run(1, count_up, NULL);
    is(counter, 3, "it runs");
}

static void runstate(void)
{
    static vcpu_runstate_info_t area __attribute__((aligned(64)));
    struct vcpu_register_runstate_memory_area reg = {.addr.v = &area};
    vcpu_runstate_info_t r1, r2;
    uint64_t sum;

    is(hc_vcpu_op(VCPUOP_get_runstate_info, 0, &r1), 0, "get_runstate_info");
    is(r1.state, RUNSTATE_running, "running");
    clock_spin(10 * MS);
    is(hc_vcpu_op(VCPUOP_get_runstate_info, 0, &r2), 0, "once more");
    ok(r2.time[RUNSTATE_running] - r1.time[RUNSTATE_running] >= 5 * MS, "running time grows");
    sum = r2.time[0] + r2.time[1] + r2.time[2] + r2.time[3];
    ok(sum <= clock_now() && sum > 0, "the states add up to no more than the time passed");
    if (smp_count() > 1)
        is(hc_vcpu_op(VCPUOP_get_runstate_info, 1, &r2), 0, "of another vCPU");
    is_error(hc_vcpu_op(VCPUOP_get_runstate_info, 0, (void *)0x1000), "bad pointer");
    is(hc_vcpu_op(VCPUOP_register_runstate_memory_area, 0, &reg), 0, "register an area");
    is(area.state, RUNSTATE_running, "it says running at once");
    r1 = area;
    {
        struct sched_poll p = {.timeout = clock_now() + 20 * MS};

        hc_sched_op(SCHEDOP_poll, &p);
    }
    is(area.state, RUNSTATE_running, "running after a sleep");
    ok(area.time[RUNSTATE_blocked] - r1.time[RUNSTATE_blocked] >= 15 * MS, "blocked time grew");
    ok(area.state_entry_time > r1.state_entry_time, "and the entry time moved");
    is(hc_vm_assist(VMASST_CMD_enable, VMASST_TYPE_runstate_update_flag), 0, "update flag");
    hc_sched_op(SCHEDOP_yield, NULL);
    ok(!(area.state_entry_time & XEN_RUNSTATE_UPDATE), "is clear outside updates");
    reg.addr.v = NULL;
    is(hc_vcpu_op(VCPUOP_register_runstate_memory_area, 0, &reg), 0, "unregister");
    reg.addr.p = HYPERVISOR_VIRT_START;
    is_error(hc_vcpu_op(VCPUOP_register_runstate_memory_area, 0, &reg),
             "an area of the hypervisor");
    reg.addr.p = 0x1000;
    is_either(hc_vcpu_op(VCPUOP_register_runstate_memory_area, 0, &reg), 0, -XEN_EFAULT,
              "an area that is not mapped does no harm");
    hc_sched_op(SCHEDOP_yield, NULL);
    reg.addr.v = NULL;
    hc_vcpu_op(VCPUOP_register_runstate_memory_area, 0, &reg);
}

static void time_area(void)
{
    static vcpu_time_info_t area;
    struct vcpu_register_time_memory_area reg = {.addr.v = &area};
    struct sched_poll p = {.timeout = clock_now() + 5 * MS};
    uint64_t now;

    is(hc_vcpu_op(VCPUOP_register_vcpu_time_memory_area, 0, &reg), 0, "register a time area");
    hc_sched_op(SCHEDOP_poll, &p);
    ok(area.tsc_to_system_mul && !(area.version & 1), "it is filled");
    now = clock_now();
    ok(area.system_time + clock_scale(&area, rdtsc_ordered() - area.tsc_timestamp) - now < 50 * MS,
       "and tells the same time");
    reg.addr.p = HYPERVISOR_VIRT_START;
    is_error(hc_vcpu_op(VCPUOP_register_vcpu_time_memory_area, 0, &reg), "of the hypervisor");
}

static void vcpu_info(void)
{
    static uint8_t page[PAGE_SIZE] __attribute__((aligned(4096)));
    struct vcpu_register_vcpu_info reg = {.mfn = va_to_mfn(page), .offset = 4096 - 32};
    evtchn_port_t p = (evtchn_port_t)event_bind_ipi(0);

    event_port_clear_mask(p);
    is_error(hc_vcpu_op(VCPUOP_register_vcpu_info, 0, &reg), "vcpu_info across the page end");
    reg.offset = 128;
    reg.mfn = 0x7ffffffff;
    is_error(hc_vcpu_op(VCPUOP_register_vcpu_info, 0, &reg), "in a frame out of range");
    reg.mfn = va_to_mfn(page);
    reg.offset = 129;
    is_error(hc_vcpu_op(VCPUOP_register_vcpu_info, 0, &reg), "not aligned");
    reg.offset = 128;
    event_disable();
    is(hc_vcpu_op(VCPUOP_register_vcpu_info, 0, &reg), 0, "register vcpu_info");
    this_vcpu()->info = (vcpu_info_t *)(page + 128);
    ok(this_vcpu()->info->evtchn_upcall_mask, "the mask moved with it");
    ok(this_vcpu()->info->time.tsc_to_system_mul, "and the time");
    is_error(hc_vcpu_op(VCPUOP_register_vcpu_info, 0, &reg), "only once");
    event_enable();
    event_count[p] = 0;
    event_send(p);
    is(event_count[p], 1, "events arrive through it");
    event_close(p);
}

static volatile unsigned int nmis;

static bool take_nmi(struct regs *r)
{
    (void)r;
    nmis++;
    return true;
}

static void nmi(void)
{
    struct callback_register reg = {.type = CALLBACKTYPE_nmi, .address = (unsigned long)nmi_entry};

    trap_hook(VEC_NMI, take_nmi);
    is(hc_callback_op(CALLBACKOP_register, &reg), 0, "an NMI callback");
    is(hc_vcpu_op(VCPUOP_send_nmi, 0, NULL), 0, "send an NMI to oneself");
    hc_sched_op(SCHEDOP_yield, NULL);
    is(nmis, 1, "it arrives");
    event_disable();
    hc_vcpu_op(VCPUOP_send_nmi, 0, NULL);
    hc_sched_op(SCHEDOP_yield, NULL);
    is(nmis, 2, "masked events do not hold it");
    event_enable();
    is_error(hc_vcpu_op(VCPUOP_send_nmi, 9999, NULL), "to no vCPU");
}

static void errors(void)
{
    struct vcpu_get_physid id;

    is_error(hc_vcpu_op(VCPUOP_is_up, 9999, NULL), "no such vCPU");
    is_error(hc_vcpu_op(77, 0, NULL), "unknown operation");
    is_either(hc_vcpu_op(VCPUOP_get_physid, 0, &id), 0, -XEN_EINVAL, "get_physid");
}

void guest_main(void)
{
    if (smp_count() > 1) {
        bring_up();
        down_and_up();
    } else {
        tap_skip("bring up vCPU 1", "this domain has one");
    }
    runstate();
    time_area();
    vcpu_info();
    nmi();
    errors();
}
