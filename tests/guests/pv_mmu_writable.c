// SPDX-License-Identifier: BSD-2-Clause
// Direct writes to page tables: faults without the VM assist, emulated with it.
#include "lib/guest.h"

static unsigned long frame_a, frame_b;
static volatile uint64_t *entry; // the L1 entry of SCRATCH_VA, mapped read-only

// Real Xen emulates the control domain's writes with or without the assist.
static void without_assist(void)
{
    struct trap t;

    hc_vm_assist(VMASST_CMD_disable, VMASST_TYPE_writable_pagetables);
    if (!on_serai() && start_info->flags & SIF_INITDOMAIN) {
        tap_skip("without the assist a write faults", "not for this hypervisor's control domain");
        return;
    }
    is(probe_write(entry, 0, &t), 14, "without the assist a write faults");
    is(t.cr2, entry, "cr2");
}

// The hypervisor may set the global bit of an entry on its own.
static uint64_t seen(uint64_t e)
{
    return e & ~PTE_G;
}

static void plain_writes(void)
{
    struct trap t;

    is(hc_vm_assist(VMASST_CMD_enable, VMASST_TYPE_writable_pagetables), 0, "enable the assist");
    is(probe_write(entry, make_pte(frame_b, PTE_RW_DATA), &t), -1, "a write is emulated");
    mmuext(MMUEXT_INVLPG_LOCAL, SCRATCH_VA);
    is(*(volatile uint64_t *)SCRATCH_VA, 0xb, "the new frame is there");
    is(probe_write(entry, 0, &t), -1, "unmap by a write");
    is(*entry, 0, "it is gone");
    is(probe_write(entry, make_pte(frame_a, PTE_RO_DATA), &t), -1, "map read-only by a write");
    is(probe_write(entry, make_pte(frame_a, PTE_RW_DATA), &t), -1, "promote it");
    mmuext(MMUEXT_INVLPG_LOCAL, SCRATCH_VA);
    is(*(volatile uint64_t *)SCRATCH_VA, 0xa, "the first frame is there");
}

static void locked_writes(void)
{
    uint64_t a, b = make_pte(frame_b, PTE_RW_DATA);
    volatile uint64_t old = 0;
    struct trap t;

    pte_set(SCRATCH_VA, make_pte(frame_a, PTE_RW_DATA));
    a = *entry;
    CATCH(t, {
        uint64_t expect = a;

        __asm__ volatile("lock cmpxchgq %2, %1" : "+a"(expect), "+m"(*entry) : "r"(b) : "memory");
        old = expect;
    });
    is(t.vector, -1, "cmpxchg that succeeds");
    is(old, a, "returned the old value");
    is(seen(*entry), b, "stored the new one");
    CATCH(t, {
        uint64_t expect = 1;

        __asm__ volatile("lock cmpxchgq %2, %1" : "+a"(expect), "+m"(*entry) : "r"(a) : "memory");
        old = expect;
    });
    is(t.vector, -1, "cmpxchg that fails");
    is(seen(old), b, "returned the present value");
    is(seen(*entry), b, "stored nothing");
    CATCH(t, {
        uint64_t v = 0;

        __asm__ volatile("xchgq %0, %1" : "+r"(v), "+m"(*entry) : : "memory");
        old = v;
    });
    is(t.vector, -1, "xchg");
    ok((old & PTE_ADDR) == frame_b << 12 && !*entry, "exchanged");
}

static void bit_operations(void)
{
    struct trap t;

    pte_set(SCRATCH_VA, make_pte(frame_a, PTE_RW_DATA));
    CATCH(t, __asm__ volatile("lock andq $-3, %0" : "+m"(*entry) : : "memory"));
    is(t.vector, -1, "lock and");
    ok(!(*entry & PTE_W), "the write bit is gone");
    CATCH(t, __asm__ volatile("lock orq $2, %0" : "+m"(*entry) : : "memory"));
    is(t.vector, -1, "lock or");
    ok(*entry & PTE_W, "the write bit is back");
    CATCH(t, __asm__ volatile("lock btrq $1, %0" : "+m"(*entry) : : "memory"));
    is(t.vector, -1, "lock btr");
    ok(!(*entry & PTE_W), "the write bit is gone again");
    CATCH(t, __asm__ volatile("movl $0, %0" : "=m"(*(volatile uint32_t *)entry) : : "memory"));
    is(t.vector, -1, "a 32-bit write to the low half");
    ok(!(*entry & PTE_P), "it is not present");
    pte_set(SCRATCH_VA, 0);
}

static void bad_writes(void)
{
    unsigned long l1 = pte_maddr(SCRATCH_VA, 1) >> PAGE_SHIFT;
    const volatile uint64_t *l2 = pte_of(SCRATCH_VA, 2);
    struct trap t;

    pte_set(SCRATCH_VA, make_pte(frame_a, PTE_RW_DATA));
    is(probe_write(entry, make_pte(l1, PTE_RW_DATA), &t), 14, "mapping the table itself writable");
    ok((*entry & PTE_ADDR) == frame_a << 12, "the entry is as it was");
    is(probe_write(entry, make_pte(0x7ffffffff, PTE_RW_DATA), &t), 14, "a frame out of range");
    is(probe_write((volatile uint64_t *)l2, 0, &t), 14, "an L2 is not written this way");
    is(hc_vm_assist(VMASST_CMD_disable, VMASST_TYPE_writable_pagetables), 0, "disable the assist");
    pte_set(SCRATCH_VA, 0);
}

void guest_main(void)
{
    frame_a = pfn_to_mfn(frame_take());
    frame_b = pfn_to_mfn(frame_take());
    map_page(SCRATCH_VA, make_pte(frame_b, PTE_RW_DATA));
    *(volatile uint64_t *)SCRATCH_VA = 0xb;
    pte_set(SCRATCH_VA, make_pte(frame_a, PTE_RW_DATA));
    *(volatile uint64_t *)SCRATCH_VA = 0xa;
    entry = (volatile uint64_t *)pte_of(SCRATCH_VA, 1);
    plain_writes();
    locked_writes();
    bit_operations();
    bad_writes();
    without_assist();
}
