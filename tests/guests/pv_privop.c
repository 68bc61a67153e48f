// SPDX-License-Identifier: BSD-2-Clause
// Privileged instructions of the guest kernel: control registers, MSRs, and those refused.
#include "lib/guest.h"

static struct trap t;

static int rdmsr(uint32_t msr, uint64_t *value)
{
    CATCH(t, {
        uint32_t lo, hi;

        __asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
        *value = (uint64_t)hi << 32 | lo;
    });
    return t.vector;
}

static int wrmsr(uint32_t msr, uint64_t v)
{
    CATCH(t, __asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32))));
    return t.vector;
}

static void control_registers(void)
{
    static uint64_t cr0, cr2, cr3, cr4;

    CATCH(t, __asm__ volatile("mov %%cr0, %0" : "=r"(cr0)));
    is(t.vector, -1, "read CR0");
    ok((cr0 & 0x80000001) == 0x80000001, "paging and protection are on");
    CATCH(t, __asm__ volatile("mov %%cr3, %0" : "=r"(cr3)));
    is(t.vector, -1, "read CR3");
    is(cr3 >> 12, va_to_mfn((void *)start_info->pt_base), "it is the root table");
    CATCH(t, __asm__ volatile("mov %%cr4, %0" : "=r"(cr4)));
    is(t.vector, -1, "read CR4");
    ok(cr4 & 1 << 5, "PAE is on");
    CATCH(t, __asm__ volatile("mov %%cr2, %0" : "=r"(cr2)));
    is_either(t.vector, -1, 13, "read CR2");
    CATCH(t, __asm__ volatile("mov %0, %%cr0" : : "r"(cr0 | 8)));
    is(t.vector, -1, "set CR0.TS");
    CATCH(t, __asm__ volatile("fninit"));
    is(t.vector, 7, "the FPU traps");
    CATCH(t, __asm__ volatile("clts"));
    is(t.vector, -1, "clts");
    CATCH(t, __asm__ volatile("fninit"));
    is(t.vector, -1, "the FPU works");
    CATCH(t, __asm__ volatile("mov %0, %%cr0" : : "r"(cr0 & ~0x80000000UL)));
    is_either(t.vector, 13, -1, "paging off is refused or ignored");
    CATCH(t, __asm__ volatile("mov %0, %%cr4" : : "r"(cr4)));
    is(t.vector, -1, "write CR4 as it is");
    CATCH(t, __asm__ volatile("mov %0, %%cr4" : : "r"(cr4 & ~0x20UL)));
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    ok(cr4 & 0x20, "PAE cannot be switched off");
    CATCH(t, __asm__ volatile("mov %0, %%cr3" : : "r"(cr3)));
    is(t.vector, -1, "write CR3");
    CATCH(t, __asm__ volatile("mov %0, %%cr3" : : "r"(0x7ffffffff000UL)));
    ok(t.vector == 13 || t.vector == -1, "a bad CR3 is refused");
    __asm__ volatile("mov %%cr3, %0" : "=r"(cr2));
    is(cr2 & PAGE_MASK, cr3 & PAGE_MASK, "the root table stays");
    CATCH(t, __asm__ volatile("mov %%cr8, %0" : "=r"(cr2)));
    is(t.vector, 13, "CR8 is refused");
}

static void msrs(void)
{
    static const uint32_t hidden[] = {0xdead0000, 0x40000000, 0xc0010117 /* VM_HSAVE_PA */,
                                      0x480 /* VMX_BASIC */};
    uint64_t v = 0, efer = 0;

    is(rdmsr(0xc0000080, &efer), -1, "read EFER");
    ok((efer & 0x500) == 0x500, "long mode is on and active");
    ok(!(efer & 1 << 12), "no SVM in it");
    is(wrmsr(0xc0000080, efer), -1, "write EFER as it is");
    is(rdmsr(0x277, &v), -1, "read PAT");
    is(v, 0x050100070406UL, "it is the hypervisor's");
    is(rdmsr(0x1b, &v), -1, "read APIC_BASE");
    is(rdmsr(0x10, &v), -1, "read TSC");
    ok(v > 0, "which runs");
    is(rdmsr(0x8b, &v), -1, "read the microcode revision");
    for (unsigned int i = 0; i < ARRAY_SIZE(hidden); i++) {
        int vec = rdmsr(hidden[i], &v);

        tap(vec == 13 || !v, "an MSR that is not for guests", "%x gave %lx", hidden[i], v);
        vec = wrmsr(hidden[i], ~0UL);
        tap(vec == 13, "writing it gives #GP", "%x: vector %d", hidden[i], vec);
    }
    is(wrmsr(0xc0000082, 0x1234), 13, "LSTAR is not for guests");
    is(wrmsr(0x1d9, 0xffffffff), 13, "DEBUGCTL with reserved bits");
}

#define REFUSED(text)                                                           \
    do {                                                                        \
        CATCH(t, __asm__ volatile(text : : "a"(0), "c"(0), "d"(0) : "memory")); \
        is(t.vector, 13, text);                                                 \
    } while (0)

static void refused(void)
{
    static uint8_t desc[16];

    REFUSED("hlt");
    REFUSED("invd");
    REFUSED("lmsw %%ax");
    REFUSED("ltr %%ax");
    REFUSED("lldt %%ax");
    REFUSED("sysretq");
    REFUSED("swapgs");
    CATCH(t, __asm__ volatile("wbinvd"));
    is_either(t.vector, 13, -1, "wbinvd");
    CATCH(t, __asm__ volatile("invlpg (%0)" : : "r"(SCRATCH_VA)));
    is_either(t.vector, 13, -1, "invlpg");
    CATCH(t, __asm__ volatile("vmrun" : : "a"(0)));
    ok(t.vector == 6 || t.vector == 13, "vmrun");
    CATCH(t, __asm__ volatile("vmmcall" : : "a"(17), "b"(0)));
    ok(t.vector == 6 || t.vector == 13 || t.vector == -1, "vmmcall");
    CATCH(t, __asm__ volatile("lidt (%0)" : : "r"(desc)));
    is(t.vector, 13, "lidt");
    CATCH(t, __asm__ volatile("cli"));
    is_either(t.vector, -1, 13, "cli");
    CATCH(t, __asm__ volatile("sti"));
    is_either(t.vector, -1, 13, "sti");
    __asm__ volatile("sgdt (%0); sidt (%0)" : : "r"(desc) : "memory");
    ok(true, "sgdt and sidt are harmless");
    CATCH(t, __asm__ volatile("ud1 %%eax, %%ebx; nop" ::));
    is(t.vector, 6, "ud1");
    CATCH(t, __asm__ volatile(".byte 0x0f, 0xa6, 0xc0" : : "a"(0), "c"(0), "b"(0), "d"(0)));
    ok(t.vector == 6 || t.vector == -1, "an opcode of another vendor");
}

static void time_stamps(void)
{
    uint64_t a = rdtsc(), b;

    b = rdtsc();
    ok(b > a, "rdtsc grows");
    CATCH(t, __asm__ volatile("rdtscp" : : : "rax", "rcx", "rdx"));
    ok(t.vector == -1 || t.vector == 6, "rdtscp");
    CATCH(t, __asm__ volatile("rdpmc" : : "c"(0) : "rax", "rdx"));
    ok(t.vector == 13 || t.vector == -1, "rdpmc");
}

void guest_main(void)
{
    control_registers();
    msrs();
    refused();
    time_stamps();
}
