// SPDX-License-Identifier: BSD-2-Clause
// FPU and vector registers: fpu_taskswitch and #NM, state kept while others run, XSAVE.
#include "lib/guest.h"

static struct trap t;

static void load(uint64_t v)
{
    __asm__ volatile("movq %0, %%xmm0; movq %0, %%xmm15; movq %0, %%mm3" : : "r"(v));
}

static bool holds(uint64_t v)
{
    uint64_t a, b, c;

    __asm__ volatile("movq %%xmm0, %0; movq %%xmm15, %1; movq %%mm3, %2"
                     : "=r"(a), "=r"(b), "=r"(c));
    return a == v && b == v && c == v;
}

static void task_switched(void)
{
    is(hc_fpu_taskswitch(1), 0, "fpu_taskswitch(1)");
    CATCH(t, __asm__ volatile("movq %0, %%xmm1" : : "r"(1UL)));
    is(t.vector, 7, "the next use gives #NM");
    is(hc_fpu_taskswitch(0), 0, "fpu_taskswitch(0)");
    CATCH(t, __asm__ volatile("movq %0, %%xmm1" : : "r"(1UL)));
    is(t.vector, -1, "then it works");
    hc_fpu_taskswitch(1);
    hc_sched_op(SCHEDOP_yield, NULL);
    CATCH(t, __asm__ volatile("fninit"));
    is(t.vector, 7, "TS stays over a yield");
    // The ABI: TS is clear when the #NM handler runs.
    CATCH(t, __asm__ volatile("fninit"));
    is(t.vector, -1, "#NM cleared TS");
}

static void initial_state(void)
{
    uint32_t mxcsr = 0;
    uint16_t fcw = 0;

    __asm__ volatile("stmxcsr %0; fnstcw %1" : "+m"(mxcsr), "+m"(fcw));
    is(mxcsr, 0x1f80, "MXCSR at the start");
    is(fcw, 0x37f, "the control word at the start");
}

static void over_sleep(void)
{
    struct sched_poll p = {.timeout = 0};

    load(0x1122334455667788);
    p.timeout = clock_now() + 5 * MS;
    hc_sched_op(SCHEDOP_poll, &p);
    ok(holds(0x1122334455667788), "registers keep over a sleep");
    for (int i = 0; i < 100; i++)
        hc_sched_op(SCHEDOP_yield, NULL);
    ok(holds(0x1122334455667788), "and over a hundred yields");
    __asm__ volatile("emms");
}

static volatile bool stop;
static volatile unsigned int spoilt;

static void other_user(void *arg)
{
    uint64_t v = (uint64_t)arg;

    while (!stop) {
        load(v);
        hc_sched_op(SCHEDOP_yield, NULL);
        for (volatile int i = 0; i < 1000; i++)
            ;
        spoilt += !holds(v++);
    }
}

// Best with one physical CPU, where the two really take turns.
static void two_vcpus(void)
{
    unsigned int bad = 0;
    uint64_t v = 1, end;

    if (smp_count() < 2 || smp_start(1)) {
        tap_skip("two vCPUs", "this domain has one");
        return;
    }
    smp_post(1, other_user, (void *)0x8000000000000000);
    for (end = clock_now() + 300 * MS; clock_now() < end; v++) {
        load(v);
        hc_sched_op(SCHEDOP_yield, NULL);
        bad += !holds(v);
    }
    stop = true;
    smp_wait(1);
    tap_note("%lu rounds", v);
    is(bad, 0, "this vCPU's registers were kept");
    is(spoilt, 0, "and the other's");
    __asm__ volatile("emms");
}

static bool has_xsave(void)
{
    uint32_t a = 1, b, c = 0, d;

    __asm__ volatile(XEN_CPUID : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return c & 1U << 26;
}

static void xsave(void)
{
    static uint8_t ymm[32], back[32];
    uint64_t cr4 = 0;
    uint32_t lo = 0, hi = 0;
    volatile bool avx = false;

    if (!has_xsave()) {
        tap_skip("XSAVE", "not offered");
        return;
    }
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    CATCH(t, __asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | 1UL << 18)));
    is(t.vector, -1, "set CR4.OSXSAVE");
    CATCH(t, __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0)));
    is(t.vector, -1, "xgetbv");
    CATCH(t, __asm__ volatile("xsetbv" : : "c"(0), "a"(3), "d"(0)));
    is(t.vector, -1, "xsetbv: x87 and SSE");
    CATCH(t, __asm__ volatile("xsetbv" : : "c"(0), "a"(2), "d"(0)));
    is(t.vector, 13, "x87 cannot be left out");
    CATCH(t, __asm__ volatile("xsetbv" : : "c"(0), "a"(5), "d"(0)));
    is(t.vector, 13, "nor SSE below AVX");
    CATCH(t, __asm__ volatile("xsetbv" : : "c"(0), "a"(7), "d"(0x80000000)));
    is(t.vector, 13, "nor a reserved bit set");
    CATCH(t, __asm__ volatile("xsetbv" : : "c"(1), "a"(7), "d"(0)));
    is(t.vector, 13, "nor another register");
    CATCH(t, __asm__ volatile("xsetbv" : : "c"(0), "a"(7), "d"(0)));
    avx = t.vector == -1;
    if (!avx) {
        tap_skip("AVX", "not offered");
        return;
    }
    for (int i = 0; i < 32; i++)
        ymm[i] = (uint8_t)(i * 3 + 1);
    __asm__ volatile("vmovups %0, %%ymm5" : : "m"(ymm));
    {
        struct sched_poll p = {.timeout = clock_now() + 5 * MS};

        hc_sched_op(SCHEDOP_poll, &p);
    }
    __asm__ volatile("vmovups %%ymm5, %0" : "=m"(back));
    is(memcmp(ymm, back, 32), 0, "AVX registers keep over a sleep");
}

void guest_main(void)
{
    initial_state();
    task_switched();
    over_sleep();
    two_vcpus();
    xsave();
}
