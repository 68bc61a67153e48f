// SPDX-License-Identifier: BSD-2-Clause
// CPUID as a PV guest sees it: the forced prefix, the hypervisor leaves, hidden features.
#include "lib/guest.h"
#include <xen/arch-x86/cpuid.h>

struct leaf {
    uint32_t a, b, c, d;
};

static struct leaf forced(uint32_t leaf, uint32_t sub)
{
    struct leaf r;

    __asm__ volatile(XEN_CPUID : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(sub));
    return r;
}

static struct leaf plain(uint32_t leaf, uint32_t sub)
{
    struct leaf r;

    __asm__ volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(sub));
    return r;
}

static void hypervisor_leaves(void)
{
    struct leaf r = forced(0x40000000, 0);

    ok(r.b == XEN_CPUID_SIGNATURE_EBX && r.c == XEN_CPUID_SIGNATURE_ECX &&
           r.d == XEN_CPUID_SIGNATURE_EDX,
       "the signature");
    ok(r.a >= 0x40000002 && r.a <= 0x40000000 + XEN_CPUID_MAX_NUM_LEAVES, "the highest leaf");
    is(forced(0x40000001, 0).a, 4 << 16 | 17, "version 4.17");
    is(forced(0x40000002, 0).a, 1, "one hypercall page");
    ok(forced(0x40000002, 0).c & XEN_CPUID_FEAT1_MMU_PT_UPDATE_PRESERVE_AD, "preserve_ad");
    r = forced(0x40000003, 0);
    tap_note("time: mode %x/%u, %u kHz", r.a, r.b, r.c);
    r = forced(0x40000005, 0);
    tap_note("leaf 5: %x %x %x %x", r.a, r.b, r.c, r.d);
    ok(1UL << (r.b & XEN_CPUID_MACHINE_ADDRESS_WIDTH_MASK) > va_to_mfn((void *)start_info->pt_base)
                                                                 << PAGE_SHIFT ||
           forced(0x40000000, 0).a < 0x40000005,
       "the machine address width covers our memory");
}

static void features(void)
{
    struct leaf f = forced(1, 0), e = forced(0x80000001, 0);

    ok(f.c & 1U << 31, "a hypervisor is there");
    ok(f.d & 1U << 0, "x87");
    ok(f.d & 1U << 4, "TSC");
    ok(f.d & 1U << 5, "MSR");
    ok(f.d & 1U << 6, "PAE");
    ok(f.d & 1U << 8, "CMPXCHG8B");
    ok(f.d & 1U << 26, "SSE2");
    ok(!(f.d & 1U << 3), "no PSE: no large pages");
    ok(!(f.d & 1U << 17), "no PSE36");
    ok(!(f.d & 1U << 1), "no VME");
    ok(!(f.c & 1U << 5), "no VMX");
    ok(!(f.c & 1U << 17), "no PCID");
    ok(!(f.c & 1U << 3) || start_info->flags & SIF_INITDOMAIN, "no MONITOR");
    ok(e.d & 1U << 29, "long mode");
    ok(e.d & 1U << 11, "SYSCALL");
    ok(e.d & 1U << 20, "NX");
    ok(!(e.d & 1U << 26), "no 1 GiB pages");
    ok(!(e.c & 1U << 2), "no SVM");
    f = forced(7, 0);
    ok(!(f.b & (1U << 7 | 1U << 20)), "no SMEP, no SMAP");
    ok(!(f.b & 1U << 10), "no INVPCID");
}

static void extremes(void)
{
    struct leaf r = forced(0, 0);
    struct trap t;

    ok(r.a >= 1 && r.a < 0x1000, "the highest basic leaf");
    is(r.b, plain(0, 0).b, "the vendor is the machine's");
    r = forced(0x80000000, 0);
    ok(r.a >= 0x80000008, "the highest extended leaf");
    ok((forced(0x80000008, 0).a & 0xff) >= 32, "physical address bits");
    CATCH(t, {
        for (uint32_t i = 0; i < 64; i++) {
            forced(i, 0);
            forced(0x40000000 + i, 1);
            forced(0x80000000 + i, 0);
            forced(0xc0000000 + i, 0);
            forced(0xdead0000 + i, ~0U);
            forced(4, i);
            forced(7, i);
            forced(0xd, i);
        }
    });
    is(t.vector, -1, "no leaf faults");
    CATCH(t, __asm__ volatile(".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e; nop"));
    is(t.vector, 6, "the prefix before another instruction is #UD");
}

void guest_main(void)
{
    hypervisor_leaves();
    features();
    extremes();
}
