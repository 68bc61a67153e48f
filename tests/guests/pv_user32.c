// SPDX-License-Identifier: BSD-2-Clause
// 32-bit programs under a 64-bit kernel: compatibility mode through the flat selectors, faults,
// the 32-bit system call callback.
#include "lib/guest.h"

static struct trap t;
static uint8_t *code; // one page, seen by user mode at 4 MiB; its stack is the page's end
#define USER_VA 0x400000UL

static void map_low(void)
{
    uint64_t *l4 = table_alloc(), *l3 = table_alloc(), *l2 = table_alloc(), *l1 = table_alloc();

    code = page_alloc();
    mmuext(MMUEXT_PIN_L4_TABLE, va_to_mfn(l4));
    pte_write(va_to_mfn(l4) << 12, make_pte(va_to_mfn(l3), PTE_TABLE));
    pte_write(va_to_mfn(l3) << 12, make_pte(va_to_mfn(l2), PTE_TABLE));
    pte_write((va_to_mfn(l2) << 12) + 2 * 8, make_pte(va_to_mfn(l1), PTE_TABLE));
    is(pte_write(va_to_mfn(l1) << 12, make_pte(va_to_mfn(code), PTE_RW_DATA)), 0, "low memory");
    is(mmuext(MMUEXT_NEW_USER_BASEPTR, va_to_mfn(l4)), 0, "a user root");
}

static int run(const void *bytes, size_t n)
{
    static uint64_t frame[6];

    memcpy(code, bytes, n);
    frame[1] = USER_VA;
    frame[2] = FLAT_USER_CS32;
    frame[3] = 0x202;
    frame[4] = USER_VA + PAGE_SIZE - 16;
    frame[5] = FLAT_USER_SS32;
    CATCH(t, iret_frame(frame));
    return t.vector;
}

static void faults(void)
{
    static const uint8_t ud2[] = {0xb8, 0xff, 0xff, 0xff, 0xff, 0x40, 0x0f, 0x0b};
    static const uint8_t push_ud2[] = {0x6a, 0x55, 0x0f, 0x0b};
    static const uint8_t load[] = {0xa1, 0x00, 0x00, 0x80, 0x00};

    is(run(ud2, sizeof(ud2)), 6, "32-bit code runs"); // mov eax, -1; inc eax; ud2
    is(t.regs.rip, USER_VA + 6, "up to the ud2");
    is(t.regs.rax, 0, "0x40 is inc, not a prefix: this is 32-bit mode");
    is(t.regs.cs & 0xffff, FLAT_USER_CS32, "the code selector in the frame");
    is(t.regs.ss & 0xffff, FLAT_USER_SS32, "the stack selector in the frame");
    is(run(push_ud2, sizeof(push_ud2)), 6, "a push");
    is(t.regs.rsp, USER_VA + PAGE_SIZE - 16 - 4, "moves the stack by four");
    is(run(load, sizeof(load)), 14, "a page fault");
    is(t.cr2, 0x800000, "cr2");
    is(t.regs.error & 4, 4, "from user mode");
}

static void system_calls(void)
{
    struct callback_register reg = {.type = CALLBACKTYPE_syscall32,
                                    .flags = CALLBACKF_mask_events,
                                    .address = (unsigned long)syscall_entry};
    static const uint8_t call[] = {0xb8, 0x14, 0, 0, 0, 0x0f, 0x05, 0x0f, 0x0b};
    static const uint8_t int80[] = {0xb8, 0x14, 0, 0, 0, 0xcd, 0x80};
    int vector;

    is(hc_callback_op(CALLBACKOP_register, &reg), 0, "register the 32-bit system call callback");
    vector = run(call, sizeof(call));
    if (vector == 6) {
        tap_skip("32-bit syscall", "not on this processor");
    } else {
        is(vector, VEC_SYSCALL, "32-bit syscall");
        is(t.regs.rax, 0x14, "its number");
        is(t.regs.rip, USER_VA + 7, "rip behind it");
        is(t.regs.cs & 0xffff, FLAT_USER_CS32, "the code selector in the frame");
    }
    vector = run(int80, sizeof(int80));
    if (on_serai()) {
        is(vector, 0x80, "int 0x80");
        is(t.regs.rip, USER_VA + 7, "rip behind it");
    } else {
        tap_skip("int 0x80", "int N does not work under emulation");
    }
}

void guest_main(void)
{
    map_low();
    faults();
    system_calls();
}
