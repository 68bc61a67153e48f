// SPDX-License-Identifier: BSD-2-Clause
// The failsafe callback: an iret whose frame or segment selectors cannot be loaded. And the
// callback_op hypercall itself.
#include "lib/guest.h"

static struct trap t;
static uint8_t stack[1024] __attribute__((aligned(16)));

void user_ud2(void);
__asm__(".globl user_ud2\nuser_ud2: ud2");

static void bad_selector_after_iret(void)
{
    static uint64_t gdt[512] __attribute__((aligned(4096)));
    unsigned long mfn = va_to_mfn(gdt);
    uint64_t frame[6] = {0,     (uint64_t)user_ud2,     FLAT_USER_CS64,
                         0x202, (uint64_t)stack + 1024, FLAT_USER_SS64};

    // A data segment of ours, loaded into es, then taken away under it.
    gdt[3] = 0x00cff2000000ffff;
    page_set_ro(gdt);
    is(hc_set_gdt(&mfn, 512), 0, "a descriptor table");
    CATCH(t, __asm__ volatile("mov %0, %%es" : : "r"(3 << 3 | 3)));
    is(t.vector, -1, "load a selector from it");
    is(hc_update_descriptor((mfn << 12) + 3 * 8, 0), 0, "clear the descriptor");
    // Where the selector is loaded again, at a switch of vCPUs or at the iret, is up to it.
    CATCH(t, hc_sched_op(SCHEDOP_yield, NULL); iret_frame(frame));
    ok(t.vector == VEC_FAILSAFE || t.vector == 6, "the stale selector is dropped or reported");
    if (t.vector == VEC_FAILSAFE)
        is(failsafe_selectors[1], 3 << 3 | 3, "the failsafe frame holds es");
    else
        tap_skip("the failsafe frame holds es", "no reload happened");
    __asm__ volatile("mov %0, %%es" : : "r"(0));
}

static void bad_frames(void)
{
    uint64_t frame[6] = {0,     (uint64_t)user_ud2,     0x1233,
                         0x202, (uint64_t)stack + 1024, FLAT_USER_SS64};

    CATCH(t, iret_frame(frame));
    ok(t.vector == VEC_FAILSAFE || t.vector == 13, "a code selector that is not there");
    tap_note("bad cs: vector %d error %lx", t.vector, t.regs.error);
    frame[2] = FLAT_USER_CS64;
    frame[5] = 0x1233;
    CATCH(t, iret_frame(frame));
    ok(t.vector == VEC_FAILSAFE || t.vector == 13 || t.vector == 12,
       "a stack selector that is not there");
    frame[5] = FLAT_USER_SS64;
    frame[1] = 0x800000000000;
    CATCH(t, iret_frame(frame));
    ok(t.vector == VEC_FAILSAFE || t.vector == 13 || t.vector == 14, "a rip that is not canonical");
    tap_note("bad rip: vector %d error %lx", t.vector, t.regs.error);
}

static void callback_ops(void)
{
    struct callback_register reg = {.type = CALLBACKTYPE_event,
                                    .address = (unsigned long)event_entry};
    struct callback_unregister unreg = {.type = CALLBACKTYPE_event};

    is(hc_callback_op(CALLBACKOP_register, &reg), 0, "register the event callback");
    reg.type = CALLBACKTYPE_failsafe;
    reg.address = (unsigned long)failsafe_entry;
    is(hc_callback_op(CALLBACKOP_register, &reg), 0, "register the failsafe callback");
    reg.type = CALLBACKTYPE_nmi;
    reg.address = (unsigned long)nmi_entry;
    is(hc_callback_op(CALLBACKOP_register, &reg), 0, "register the NMI callback");
    reg.type = CALLBACKTYPE_sysenter;
    reg.address = (unsigned long)sysenter_entry;
    is(hc_callback_op(CALLBACKOP_register, &reg), 0, "register the sysenter callback");
    reg.type = CALLBACKTYPE_syscall32;
    is(hc_callback_op(CALLBACKOP_register, &reg), 0, "register the 32-bit syscall callback");
    reg.type = 77;
    is_error(hc_callback_op(CALLBACKOP_register, &reg), "unknown type");
    reg.type = CALLBACKTYPE_event;
    reg.address = 0x800000000000;
    is_either(hc_callback_op(CALLBACKOP_register, &reg), 0, -XEN_EINVAL, "non-canonical address");
    reg.address = (unsigned long)event_entry;
    is(hc_callback_op(CALLBACKOP_register, &reg), 0, "register the event callback again");
    is_error(hc_callback_op(CALLBACKOP_unregister, &unreg), "the event callback stays");
    unreg.type = CALLBACKTYPE_nmi;
    is(hc_callback_op(CALLBACKOP_unregister, &unreg), 0, "the NMI callback can go");
    unreg.type = 77;
    is_error(hc_callback_op(CALLBACKOP_unregister, &unreg), "unknown type");
    is_error(hc_callback_op(CALLBACKOP_register, (void *)0x1000), "bad pointer");
    is(HC(__HYPERVISOR_set_callbacks, event_entry, failsafe_entry, syscall_entry, 0), 0,
       "the old set_callbacks");
}

void guest_main(void)
{
    uint64_t *root = table_alloc();

    mmuext(MMUEXT_PIN_L4_TABLE, va_to_mfn(root));
    pte_write((va_to_mfn(root) << 12) + 511 * 8, *pte_of(VIRT_BASE, 4));
    is(mmuext(MMUEXT_NEW_USER_BASEPTR, va_to_mfn(root)), 0, "a user root");
    callback_ops();
    bad_selector_after_iret();
    bad_frames();
}
