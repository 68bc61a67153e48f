// SPDX-License-Identifier: BSD-2-Clause
// User mode: entered by iret, left by exceptions and system calls, with its own root table.
#include "lib/guest.h"

static struct trap t;
static uint8_t stack[4096] __attribute__((aligned(4096)));
static unsigned long secret = 0x5ec3e7;

void user_syscall(void);
void user_ud2(void);
void user_read(void);
void user_write(void);
void user_loop(void);
void user_priv(void);
void user_hypercall_page(void);
void user_de(void);
void user_bad_ds(void);
void user_step(void);
void user_sysenter(void);
__asm__(".globl user_syscall\nuser_syscall: mov $0x1111, %eax\n mov $0x2222, %ebx\n"
        " mov $0x3333, %edi\n mov $0x4444, %r10d\n syscall\n ud2\n"
        ".globl user_ud2\nuser_ud2: mov $0x77, %ecx\n mov $0x88, %r11d\n ud2\n"
        ".globl user_read\nuser_read: mov (%rdi), %rax\n syscall\n"
        ".globl user_write\nuser_write: movq $1, (%rdi)\n syscall\n"
        ".globl user_loop\nuser_loop: 1: dec %rdi\n jnz 1b\n syscall\n"
        ".globl user_priv\nuser_priv: hlt\n"
        ".globl user_de\nuser_de: xor %ecx, %ecx\n div %ecx\n"
        ".globl user_bad_ds\nuser_bad_ds: mov %edi, %es\n syscall\n"
        ".globl user_step\nuser_step: nop\n nop\n syscall\n"
        ".globl user_sysenter\nuser_sysenter: sysenter\n ud2");

static void run(void (*code)(void), uint64_t arg, uint64_t rflags)
{
    CATCH(t, user_enter((uint64_t)code, (uint64_t)stack + sizeof(stack), arg, rflags));
}

static uint64_t *user_root;

static void make_root(void)
{
    user_root = table_alloc();
    is(mmuext(MMUEXT_PIN_L4_TABLE, va_to_mfn(user_root)), 0, "pin an empty root");
    is(pte_write((va_to_mfn(user_root) << 12) + 511 * 8, *pte_of(VIRT_BASE, 4)), 0,
       "give it the top slot");
    is(mmuext(MMUEXT_NEW_USER_BASEPTR, va_to_mfn(user_root)), 0, "make it the user root");
}

static void system_calls(void)
{
    run(user_syscall, 0, 0x202);
    is(t.vector, VEC_SYSCALL, "syscall enters the kernel's callback");
    is(t.regs.rax, 0x1111, "rax");
    ok(t.regs.rbx == 0x2222 && t.regs.rdi == 0x3333 && t.regs.r10 == 0x4444, "other registers");
    is(t.regs.rip - (uint64_t)user_syscall, 23, "rip behind the instruction");
    is(t.regs.cs & 3, 3, "the frame says user mode");
    is(t.regs.cs & 0xffff, FLAT_USER_CS64, "its code selector");
    is(t.regs.ss & 0xffff, FLAT_USER_SS64, "its stack selector");
    is(t.regs.rsp, stack + sizeof(stack), "its stack");
    is(t.regs.rflags & 0x202, 0x202, "its flags");
    is(t.regs.rcx, t.regs.rip, "rcx holds rip");
    is(t.regs.r11 & 0x200, 0x200, "r11 holds the flags");
}

static volatile uint8_t syscall_mask;

static bool note_mask(struct regs *r)
{
    (void)r;
    syscall_mask = this_vcpu()->info->evtchn_upcall_mask;
    return false;
}

static void set_syscall_callback(unsigned int flags)
{
    struct callback_register reg = {.type = CALLBACKTYPE_syscall,
                                    .flags = (uint16_t)flags,
                                    .address = (unsigned long)syscall_entry};

    is(hc_callback_op(CALLBACKOP_register, &reg), 0, "register the system call callback");
}

static void syscall_masking(void)
{
    trap_hook(VEC_SYSCALL, note_mask);
    set_syscall_callback(0);
    run(user_syscall, 0, 0x202);
    is(syscall_mask, 0, "events are enabled in the callback");
    set_syscall_callback(CALLBACKF_mask_events);
    run(user_syscall, 0, 0x202);
    is(syscall_mask, 1, "mask_events: they are disabled");
    trap_hook(VEC_SYSCALL, NULL);
}

static void exceptions(void)
{
    run(user_ud2, 0, 0x202);
    is(t.vector, 6, "#UD");
    is(t.regs.cs & 3, 3, "from user mode");
    ok(t.regs.rcx == 0x77 && t.regs.r11 == 0x88, "rcx and r11 are the user's");
    run(user_de, 0, 0x202);
    is(t.vector, 0, "#DE");
    run(user_read, 0x123000, 0x202);
    is(t.vector, 14, "#PF");
    is(t.regs.error, 4, "error code: not present, read, user");
    is(t.cr2, 0x123000, "cr2");
    run(user_write, (uint64_t)user_syscall & PAGE_MASK, 0x202);
    ok(t.vector == 14 || t.vector == VEC_SYSCALL, "a write to the text");
    run(user_read, (uint64_t)&secret, 0x202);
    is(t.vector, VEC_SYSCALL, "what both roots map can be read");
    is(t.regs.rax, 0x5ec3e7, "and it is the same");
    run(user_priv, 0, 0x202);
    is(t.vector, 13, "hlt gives #GP");
    run(user_bad_ds, 0x1233, 0x202);
    is(t.vector, 13, "a bad selector gives #GP");
    run(user_step, 0, 0x302);
    is(t.vector, 1, "the trap flag gives #DB");
    is(t.regs.rip - (uint64_t)user_step, 1, "after one instruction");
    hc_set_debugreg(6, 0);
}

// The machine-to-physical table and the hypervisor cannot be read by user programs.
static void hidden(void)
{
    run(user_read, HYPERVISOR_VIRT_START + 0x8000, 0x202);
    if (t.vector == 14)
        ok(true, "the m2p is hidden from user mode");
    else
        tap_skip("the m2p is hidden from user mode", "without m2p_strict it may be seen");
    run(user_read, 0xffff830000000000, 0x202);
    is(t.vector, 14, "the hypervisor is hidden");
    is(t.regs.error & 4, 4, "error code: user");
    is(hc_vm_assist(VMASST_CMD_enable, VMASST_TYPE_m2p_strict), 0, "m2p_strict");
    mmuext(MMUEXT_NEW_USER_BASEPTR, 0);
    mmuext(MMUEXT_NEW_USER_BASEPTR, va_to_mfn(user_root));
    run(user_read, HYPERVISOR_VIRT_START + 0x8000, 0x202);
    is(t.vector, 14, "with m2p_strict the m2p is hidden");
}

// Memory of the user root alone: the kernel does not see it, and the other way round.
static void two_roots(void)
{
    uint64_t *l3 = table_alloc(), *l2 = table_alloc(), *l1 = table_alloc();
    unsigned long frame = pfn_to_mfn(frame_take());
    uint64_t v;

    map_page(SCRATCH_VA, make_pte(frame, PTE_RW_DATA));
    *(volatile uint64_t *)SCRATCH_VA = 0xfeed;
    run(user_read, SCRATCH_VA, 0x202);
    is(t.vector, 14, "the kernel's mapping is not the user's");
    pte_write((va_to_mfn(user_root) << 12) + 3 * 8, make_pte(va_to_mfn(l3), PTE_TABLE));
    pte_write(va_to_mfn(l3) << 12, make_pte(va_to_mfn(l2), PTE_TABLE));
    pte_write(va_to_mfn(l2) << 12, make_pte(va_to_mfn(l1), PTE_TABLE));
    is(pte_write(va_to_mfn(l1) << 12, make_pte(frame, PTE_RW_DATA)), 0, "map it in the user root");
    run(user_read, 3UL << 39, 0x202);
    is(t.vector, VEC_SYSCALL, "the user reads it");
    is(t.regs.rax, 0xfeed, "and finds the content");
    is(probe_read((void *)(3UL << 39), &v, &t), 14, "the kernel does not see it");
    is(pte_write(va_to_mfn(l1) << 12, make_pte(frame, PTE_P | PTE_U)), 0, "read-only");
    mmuext(MMUEXT_TLB_FLUSH_LOCAL, 0);
    run(user_write, 3UL << 39, 0x202);
    is(t.vector, 14, "the user cannot write it");
    is(t.regs.error, 7, "error code: present, write, user");
    is(pte_write(va_to_mfn(l1) << 12, make_pte(frame, PTE_P)), 0, "a kernel page");
    mmuext(MMUEXT_TLB_FLUSH_LOCAL, 0);
}

static void iret_details(void)
{
    uint64_t frame[6] = {0,
                         (uint64_t)user_ud2,
                         FLAT_USER_CS64,
                         0x202 | 0x3000,
                         (uint64_t)stack + 2048,
                         FLAT_USER_SS64};

    CATCH(t, iret_frame(frame));
    is(t.vector, 6, "iret to user mode");
    is(t.regs.rsp, stack + 2048, "with the stack asked for");
    frame[3] = 0x246 | 0x8d5;
    CATCH(t, iret_frame(frame));
    is(t.regs.rflags & 0x8d5, 0x8d5, "with the arithmetic flags asked for");
    frame[0] = VGCF_in_syscall;
    frame[3] = 0x202;
    CATCH(t, iret_frame(frame));
    is(t.vector, 6, "iret with the in_syscall flag");
}

void guest_main(void)
{
    make_root();
    system_calls();
    syscall_masking();
    exceptions();
    hidden();
    two_roots();
    iret_details();
}
