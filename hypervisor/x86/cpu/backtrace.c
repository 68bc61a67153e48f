// SPDX-License-Identifier: BSD-2-Clause
// Crash output: registers, and the call chain by frame pointers. Nothing that is read here is
// trusted: only addresses on the stack in use are followed.
#include "abi.h"
#include "core/console.h"
#include "core/symbols.h"
#include "x86/arch/crash.h"
#include "x86/arch/page.h"
#include "x86/arch/percpu.h"
#include "x86/mm/paging.h"
#include "x86/arch/image.h"

enum { MAX_DEPTH = 24, STACK_WORDS = 24 };

static unsigned long read_cr(int n)
{
    unsigned long v;
    if (n == 0)
        asm volatile("mov %%cr0, %0" : "=r"(v));
    else if (n == 2)
        asm volatile("mov %%cr2, %0" : "=r"(v));
    else if (n == 3)
        asm volatile("mov %%cr3, %0" : "=r"(v));
    else
        asm volatile("mov %%cr4, %0" : "=r"(v));
    return v;
}

void arch_registers_dump(const struct cpu_user_regs *r)
{
    if (r) {
        printk("rip %04x:%016lx %pS\n", r->cs, r->rip, (void *)r->rip);
        printk("rsp %04x:%016lx rflags %016lx vector %#x error %#x\n", r->ss, r->rsp, r->rflags,
               r->entry_vector, r->error_code);
        printk("rax %016lx rbx %016lx rcx %016lx rdx %016lx\n", r->rax, r->rbx, r->rcx, r->rdx);
        printk("rsi %016lx rdi %016lx rbp %016lx r8  %016lx\n", r->rsi, r->rdi, r->rbp, r->r8);
        printk("r9  %016lx r10 %016lx r11 %016lx r12 %016lx\n", r->r9, r->r10, r->r11, r->r12);
        printk("r13 %016lx r14 %016lx r15 %016lx\n", r->r13, r->r14, r->r15);
    }
    printk("cr0 %016lx cr2 %016lx cr3 %016lx cr4 %016lx\n", read_cr(0), read_cr(2), read_cr(3),
           read_cr(4));
}

static bool in_text(unsigned long addr)
{
    return addr >= (unsigned long)image_start && addr < (unsigned long)init_text_end;
}

// The hypervisor stack that holds sp: aligned to its size, in the image (boot, IST of the boot
// CPU) or in the hypervisor's mappings.
static bool on_stack(unsigned long sp, unsigned long addr)
{
    return (addr & 7) == 0 && (addr & ~(STACK_SIZE - 1)) == (sp & ~(STACK_SIZE - 1)) &&
           addr + 16 <= (sp | (STACK_SIZE - 1)) + 1;
}

// The page at va is there in the page tables in use. No locks: the holder may be the one who died.
static bool mapped(unsigned long va)
{
    uint64_t e = read_cr(3) & PTE_ADDR_MASK;
    for (unsigned int shift = L4_SHIFT;; shift -= 9) {
        if ((e & PTE_ADDR_MASK) >> PAGE_SHIFT >= max_mfn)
            return false;
        const uint64_t *table = paddr_to_virt(PADDR(e & PTE_ADDR_MASK));
        e = table[va >> shift & 511];
        if (!(e & PTE_P))
            return false;
        if (shift == L1_SHIFT || (shift < L4_SHIFT && (e & PTE_PSE)))
            return true;
    }
}

static void dump_stack(unsigned long sp)
{
    printk("stack from %016lx:", sp);
    for (unsigned int i = 0; i < STACK_WORDS; i++, sp += 8) {
        if (!on_stack(sp - 8 * i, sp))
            break;
        printk(i % 4 ? " %016lx" : "\n  %016lx", *(unsigned long *)sp);
    }
    printk("\n");
}

static void follow(unsigned long sp, unsigned long bp)
{
    if (!mapped(bp))
        return;
    for (unsigned int depth = 0; depth < MAX_DEPTH && on_stack(sp, bp) && bp >= sp - 16; depth++) {
        const unsigned long *frame = (const unsigned long *)bp;
        if (!in_text(frame[1]))
            return;
        printk("  %016lx %pS\n", frame[1], (void *)frame[1]);
        if (frame[0] <= bp)
            return;
        bp = frame[0];
    }
}

void arch_backtrace(const struct cpu_user_regs *r)
{
    unsigned long sp, bp;
    printk("Back trace:\n");
    if (!r) {
        bp = (unsigned long)__builtin_frame_address(0);
        follow(bp, bp);
        return;
    }
    sp = r->rsp;
    bp = r->rbp;
    if ((r->cs & 3) || sp < HYPERVISOR_HOLE_START) {
        printk("  in the guest\n");
        return;
    }
    if (!mapped(sp))
        sp = bp; // the stack overflowed into its guard; the frames are above
    if (in_text(r->rip)) {
        printk("  %016lx %pS\n", r->rip, (void *)r->rip);
    } else if ((sp & 7) == 0 && mapped(sp) && in_text(*(unsigned long *)sp)) {
        // A call through a bad pointer: the caller is on top of the stack.
        printk("  %016lx (no code here)\n", r->rip);
        printk("  %016lx %pS\n", *(unsigned long *)sp, (void *)*(unsigned long *)sp);
    }
    follow(sp, bp);
    if (mapped(sp))
        dump_stack(sp);
}
