// SPDX-License-Identifier: BSD-2-Clause
// Software interrupts through the guest's own table: "int N" and its privilege level check.
// Real Xen under emulation gives #GP for every one of them (the processor's error code is not
// what it expects), so there the checks are skipped.
#include "lib/guest.h"

static struct trap t;

static void set_level(unsigned int vector, unsigned int dpl)
{
    trap_info_t one[2] = {{.vector = (uint8_t)vector,
                           .flags = (uint8_t)dpl,
                           .cs = FLAT_KERNEL_CS,
                           .address = trap_stub(vector)},
                          {0}};

    hc_set_trap_table(one);
}

#define CHECK(want, name)                                          \
    do {                                                           \
        if (on_serai())                                            \
            is(t.vector, want, name);                              \
        else                                                       \
            tap_skip(name, "int N does not work under emulation"); \
    } while (0)

static void from_kernel(void)
{
    set_level(0x40, 0);
    CATCH(t, __asm__ volatile("int $0x40"));
    CHECK(13, "level 0: nobody may enter");
    if (on_serai())
        is(t.regs.error, 0x40 << 3 | 2, "error code: vector, IDT");
    set_level(0x40, 1);
    CATCH(t, __asm__ volatile("int $0x40"));
    CHECK(0x40, "level 1: the kernel may");
    set_level(0x40, 2);
    CATCH(t, __asm__ volatile("int $0x40"));
    CHECK(0x40, "level 2: the kernel may");
    set_level(0x40, 3);
    CATCH(t, __asm__ volatile("int $0x40"));
    CHECK(0x40, "level 3: the kernel may");
    CATCH(t, __asm__ volatile("int $0x80"));
    CHECK(0x80, "int 0x80");
    CATCH(t, __asm__ volatile("int $0xfe"));
    CHECK(13, "a vector without permission");
}

void user_int40(void);
void user_int80(void);
__asm__(".globl user_int40\nuser_int40: int $0x40\n ud2\n"
        ".globl user_int80\nuser_int80: int $0x80\n ud2");

static void enter_user(void (*code)(void))
{
    static uint8_t stack[1024] __attribute__((aligned(16)));

    CATCH(t, user_enter((uint64_t)code, (uint64_t)stack + sizeof(stack), 0, 0x202));
}

static void from_user(void)
{
    uint64_t *l4 = table_alloc();

    pte_set((unsigned long)l4, make_pte(va_to_mfn(l4), PTE_RO_DATA));
    mmuext(MMUEXT_PIN_L4_TABLE, va_to_mfn(l4));
    pte_write((va_to_mfn(l4) << 12) + 511 * 8, *pte_of(VIRT_BASE, 4));
    is(mmuext(MMUEXT_NEW_USER_BASEPTR, va_to_mfn(l4)), 0, "a user root");
    set_level(0x40, 2);
    enter_user(user_int40);
    CHECK(13, "user mode, level 2");
    set_level(0x40, 3);
    enter_user(user_int40);
    CHECK(0x40, "user mode, level 3");
    enter_user(user_int80);
    CHECK(0x80, "user mode, int 0x80");
}

void guest_main(void)
{
    from_kernel();
    from_user();
}
