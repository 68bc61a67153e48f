// SPDX-License-Identifier: BSD-2-Clause
// Debug registers: limits of set_debugreg, breakpoints and watchpoints that hit.
#include "lib/guest.h"

static struct trap t;
static volatile uint64_t watched;

static void values(void)
{
    for (int i = 0; i < 4; i++) {
        is(hc_set_debugreg(i, 0x1000UL * (unsigned int)i), 0, "set an address");
        is(hc_get_debugreg(i), 0x1000 * i, "and read it");
    }
    is_error(hc_set_debugreg(0, HYPERVISOR_VIRT_START + 0x1000), "an address of the hypervisor");
    is(hc_get_debugreg(0), 0, "it did not change");
    is_either(hc_set_debugreg(1, 0x800000000000), -XEN_EPERM, -XEN_EINVAL,
              "a non-canonical address");
    is_error(hc_set_debugreg(8, 0), "no DR8");
    is_error(hc_set_debugreg(-1, 0), "no DR-1");
    is_error(hc_get_debugreg(8), "reading it");
    ok(hc_get_debugreg(6) & 0xffff0ff0, "DR6 has its fixed ones");
    is(hc_get_debugreg(7) & 0xff, 0, "DR7: nothing is enabled");
}

static void control(void)
{
    long rc = hc_set_debugreg(7, 0x2000);

    ok(rc < 0 || !(hc_get_debugreg(7) & 0x2000), "general detect is refused or dropped");
    is_error(hc_set_debugreg(7, 0x1UL << 32), "upper bits");
    rc = hc_set_debugreg(7, 0x20001); // an I/O breakpoint needs CR4.DE
    ok(rc == -XEN_EPERM || rc == -XEN_EINVAL || rc == 0, "an I/O breakpoint");
    hc_set_debugreg(7, 0);
}

static void execution(void)
{
    extern const char break_here[];

    is(hc_set_debugreg(0, (unsigned long)break_here), 0, "a breakpoint address");
    is(hc_set_debugreg(7, 0x1), 0, "enable it");
    CATCH(t, __asm__ volatile("nop; .globl break_here; break_here: nop; nop"));
    is(t.vector, 1, "#DB at the breakpoint");
    is(t.regs.rip, break_here, "before the instruction");
    ok(hc_get_debugreg(6) & 1, "DR6 says which");
    is(hc_set_debugreg(7, 0), 0, "disable it");
    hc_set_debugreg(6, 0);
    CATCH(t, __asm__ volatile("nop"));
    is(t.vector, -1, "no more");
}

static void data(void)
{
    is(hc_set_debugreg(1, (unsigned long)&watched), 0, "a watched address");
    is(hc_set_debugreg(7, 1 << 2 | 1U << 20 | 2U << 22), 0, "enable: write, eight bytes");
    CATCH(t, watched = 5; barrier(); __asm__ volatile("nop"));
    is(t.vector, 1, "#DB after the write");
    ok(hc_get_debugreg(6) & 2, "DR6 says which");
    is(watched, 5, "the write happened");
    hc_set_debugreg(6, 0);
    hc_sched_op(SCHEDOP_yield, NULL);
    CATCH(t, watched = 6; barrier(); __asm__ volatile("nop"));
    is(t.vector, 1, "and again after a yield");
    is(hc_set_debugreg(7, 0), 0, "disable it");
    hc_set_debugreg(6, 0);
    {
        struct sched_shutdown arg = {.reason = 99};

        hc_set_debugreg(1, (unsigned long)&arg);
        hc_set_debugreg(7, 1 << 2 | 3U << 20 | 3U << 22);
        CATCH(t, hc_sched_op(77, &arg));
        hc_set_debugreg(7, 0);
        ok(true, "the hypervisor reading a watched address does no harm");
    }
}

static void by_instruction(void)
{
    static uint64_t v;

    CATCH(t, __asm__ volatile("mov %0, %%dr2" : : "r"(0x5000UL)));
    is(t.vector, -1, "write DR2 by mov");
    CATCH(t, __asm__ volatile("mov %%dr2, %0" : "=r"(v)));
    is(t.vector, -1, "read it by mov");
    is(v, 0x5000, "its value");
    is(hc_get_debugreg(2), 0x5000, "the hypercall sees it");
    CATCH(t, __asm__ volatile("mov %0, %%dr2" : : "r"(HYPERVISOR_VIRT_START)));
    is(t.vector, 13, "an address of the hypervisor gives #GP");
}

void guest_main(void)
{
    values();
    control();
    execution();
    data();
    by_instruction();
}
