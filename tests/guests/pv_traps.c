// SPDX-License-Identifier: BSD-2-Clause
// Exceptions of the guest kernel: vectors, error codes, cr2, frames, event masking on entry.
#include "lib/guest.h"

static struct trap t;

static void faults(void)
{
    CATCH(t, __asm__ volatile("ud2"));
    is(t.vector, 6, "#UD from ud2");
    is(t.regs.error, 0, "no error code");
    is(t.regs.cs & 3, 0, "the frame says kernel mode");
    is(t.regs.ss & 0xffff, FLAT_KERNEL_SS, "its stack selector is the flat one");

    CATCH(t, __asm__ volatile("xor %%edx, %%edx; mov $1, %%eax; xor %%ecx, %%ecx; div %%ecx" ::
                                  : "eax", "ecx", "edx"));
    is(t.vector, 0, "#DE from a division by zero");

    CATCH(t, __asm__ volatile("mov (%0), %%rax" : : "r"(0x123450UL) : "rax"));
    is(t.vector, 14, "#PF from an unmapped address");
    is(t.cr2, 0x123450, "cr2");
    is(t.regs.error, 0, "error code: not present, read, kernel");

    CATCH(t, __asm__ volatile("movb $1, (%0)" : : "r"(0x123451UL) : "memory"));
    is(t.regs.error, 2, "error code: not present, write");

    CATCH(t, __asm__ volatile("mov %0, %%ds" : : "r"(0x1fff8)));
    is(t.vector, 13, "#GP from a selector beyond the table");
    is(t.regs.error, 0xfff8, "error code: the selector");

    CATCH(t, __asm__ volatile("mov (%0), %%rax" : : "r"(0x7fffffffffffffffUL) : "rax"));
    is(t.vector, 13, "#GP from a non-canonical address");
    is(t.regs.error, 0, "error code 0");

    CATCH(t, __asm__ volatile("push %%rbp; mov %0, %%rbp; mov (%%rbp), %%rax; pop %%rbp" ::"r"(
                                  0x7fffffffffffffffUL)
                              : "rax"));
    is_either(t.vector, 12, 13, "#SS (the emulated CPU: #GP) from such a stack reference");
}

static void breakpoints(void)
{
    extern const char after_int3[];

    CATCH(t, __asm__ volatile("int3; .globl after_int3; after_int3:"));
    is(t.vector, 3, "#BP from int3");
    is(t.regs.rip, after_int3, "rip is behind it");
    CATCH(t, __asm__ volatile("pushf; orl $0x100, (%rsp); popf; nop; nop"));
    is(t.vector, 1, "#DB from the trap flag");
    ok(hc_get_debugreg(6) & 0x4000, "dr6 says single step");
    hc_set_debugreg(6, 0);
}

static void register_image(void)
{
    CATCH(t, __asm__ volatile("mov $0x11, %%rax; mov $0x22, %%rcx; mov $0x33, %%rdx\n"
                              "mov $0x44, %%rsi; mov $0x55, %%rdi; mov $0x66, %%r8\n"
                              "mov $0x77, %%r9; mov $0x88, %%r10; mov $0x99, %%r11; ud2" ::
                                  : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"));
    ok(t.regs.rax == 0x11 && t.regs.rcx == 0x22 && t.regs.rdx == 0x33 && t.regs.rsi == 0x44 &&
           t.regs.rdi == 0x55 && t.regs.r8 == 0x66 && t.regs.r9 == 0x77 && t.regs.r10 == 0x88 &&
           t.regs.r11 == 0x99,
       "all registers arrive, rcx and r11 through the frame");
}

static volatile uint8_t mask_in_handler;

static bool note_mask(struct regs *r)
{
    mask_in_handler = this_vcpu()->info->evtchn_upcall_mask;
    r->rip += 2; // over ud2
    return true;
}

static void set_one(unsigned int vector, unsigned int flags)
{
    trap_info_t one[2] = {{.vector = (uint8_t)vector,
                           .flags = (uint8_t)flags,
                           .cs = FLAT_KERNEL_CS,
                           .address = trap_stub(vector)},
                          {0}};

    is(hc_set_trap_table(one), 0, "replace one entry");
}

static void event_masking(void)
{
    trap_hook(6, note_mask);
    event_enable();
    set_one(6, 0);
    __asm__ volatile("ud2");
    is(mask_in_handler, 0, "events stay enabled in a handler");
    ok(event_enabled(), "and after it");
    set_one(6, 4);
    __asm__ volatile("ud2");
    is(mask_in_handler, 1, "TI_IF: events are disabled in the handler");
    ok(event_enabled(), "and enabled by the iret");
    event_disable();
    __asm__ volatile("ud2");
    ok(!event_enabled(), "disabled before, disabled after");
    set_one(6, 0);
    trap_hook(6, NULL);
}

static void table_errors(void)
{
    static trap_info_t bad[2] = {{.vector = 6, .cs = FLAT_KERNEL_CS}, {0}};
    trap_info_t keep[257];

    is_error(hc_set_trap_table((void *)0x1000), "a table that is not there");
    bad[0].address = 0x800000000000; // entry of a fixed-up or refused address: must not kill us
    is_either(hc_set_trap_table(bad), 0, -XEN_EINVAL, "a handler that is not canonical");
    trap_table(keep);
    is(hc_set_trap_table(keep), 0, "the whole table again");
    CATCH(t, __asm__ volatile("ud2"));
    is(t.vector, 6, "and it works");
}

static void iret_to_kernel(void)
{
    volatile int reached = 0;
    uint64_t frame[6] = {0, 0, FLAT_KERNEL_CS & ~3UL, 0x202, 0, FLAT_KERNEL_SS & ~3UL};

    event_disable();
    CATCH(t, {
        __asm__ volatile("lea 1f(%%rip), %%rax; mov %%rax, 8(%0); lea -256(%%rsp), %%rax\n"
                         "mov %%rax, 32(%0); mov %0, %%rdi; jmp iret_frame\n"
                         "1: ud2"
                         :
                         : "r"(frame)
                         : "rax", "rdi", "memory");
    });
    reached = t.vector == 6;
    ok(reached, "iret within the kernel");
    is(t.regs.rflags >> 9 & 1, 1, "IF of the frame became the event mask");
    is((t.regs.cs >> 32) & 0xff, 0, "saved upcall mask in the frame");
}

void guest_main(void)
{
    faults();
    breakpoints();
    register_image();
    event_masking();
    table_errors();
    iret_to_kernel();
}
