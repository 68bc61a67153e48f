// SPDX-License-Identifier: BSD-2-Clause
// mmu_update: normal, preserve_ad, machphys; counts, partial completion, errors.
#include "lib/guest.h"

static unsigned long frame_a, frame_b; // mfns of two data frames
static uint64_t slot;                  // machine address of the PTE of SCRATCH_VA

static void normal(void)
{
    volatile uint64_t *va = (volatile uint64_t *)SCRATCH_VA;

    is(map_page(SCRATCH_VA, make_pte(frame_a, PTE_RW_DATA)), 0, "map a frame");
    slot = pte_maddr(SCRATCH_VA, 1);
    *va = 0xa;
    is(pte_write(slot, make_pte(frame_b, PTE_RW_DATA)), 0, "replace the frame");
    mmuext(MMUEXT_INVLPG_LOCAL, SCRATCH_VA);
    *va = 0xb;
    is(pte_write(slot, make_pte(frame_a, PTE_RO_DATA)), 0, "back, read-only");
    mmuext(MMUEXT_INVLPG_LOCAL, SCRATCH_VA);
    is(*va, 0xa, "the first frame kept its content");
    is(pte_write(slot, 0), 0, "unmap");
    is(*pte_of(SCRATCH_VA, 1), 0, "the entry is zero");
    is(pte_write(slot, 0xdeadbeef000), 0, "a non-present entry may hold anything");
    is(*pte_of(SCRATCH_VA, 1), 0xdeadbeef000, "and keeps it");
    is(pte_write(slot, 0), 0, "unmap again");
}

static void user_bit(void)
{
    is(pte_write(slot, make_pte(frame_a, PTE_P | PTE_W)), 0, "an entry without the user bit");
    ok(*pte_of(SCRATCH_VA, 1) & PTE_U, "gets it: the guest kernel runs in ring 3");
    is(pte_write(slot, make_pte(frame_a, PTE_RW_DATA | PTE_G)), 0, "a global entry is accepted");
    is(pte_write(slot, make_pte(frame_a, PTE_RW_DATA | PTE_NX)), 0, "a no-execute entry");
    ok(*pte_of(SCRATCH_VA, 1) & PTE_NX, "no-execute is kept");
    is(pte_write(slot, make_pte(frame_a, PTE_RW_DATA | PTE_AVAIL0)), 0, "available bit 9");
    ok(*pte_of(SCRATCH_VA, 1) & PTE_AVAIL0, "available bit 9 is kept");
}

static void preserve_ad(void)
{
    mmu_update_t u = {.ptr = slot | MMU_PT_UPDATE_PRESERVE_AD};
    uint64_t e;

    pte_write(slot, make_pte(frame_a, PTE_P | PTE_W | PTE_U));
    mmuext(MMUEXT_INVLPG_LOCAL, SCRATCH_VA);
    *(volatile uint64_t *)SCRATCH_VA = 1; // the processor sets A and D
    e = *pte_of(SCRATCH_VA, 1);
    ok((e & (PTE_A | PTE_D)) == (PTE_A | PTE_D), "a write sets accessed and dirty");
    u.val = make_pte(frame_a, PTE_P | PTE_U);
    is(hc_mmu_update(&u, 1, NULL, DOMID_SELF), 0, "preserve_ad update");
    e = *pte_of(SCRATCH_VA, 1);
    ok((e & (PTE_A | PTE_D)) == (PTE_A | PTE_D), "accessed and dirty preserved");
    ok(!(e & PTE_W), "the rest is as asked");
    is(pte_write(slot, make_pte(frame_a, PTE_P | PTE_U)), 0, "normal update");
    ok(!(*pte_of(SCRATCH_VA, 1) & PTE_D), "drops dirty");
    u.ptr = slot | MMU_PT_UPDATE_NO_TRANSLATE;
    is(hc_mmu_update(&u, 1, NULL, DOMID_SELF), 0, "no_translate update");
}

static void machphys(void)
{
    mmu_update_t u = {.ptr = frame_a << PAGE_SHIFT | MMU_MACHPHYS_UPDATE, .val = 0x1234};
    unsigned long old = M2P[frame_a];

    is(hc_mmu_update(&u, 1, NULL, DOMID_SELF), 0, "machphys update");
    is(M2P[frame_a], 0x1234, "seen in the table");
    u.val = old;
    is(hc_mmu_update(&u, 1, NULL, DOMID_SELF), 0, "machphys restored");
    is(M2P[frame_a], old, "seen again");
    u.ptr = 0x0ffffffff000UL | MMU_MACHPHYS_UPDATE;
    is_error(hc_mmu_update(&u, 1, NULL, DOMID_SELF), "machphys of a frame that is not there");
    u.ptr = *pte_of(HYPERVISOR_VIRT_START, 4) & PTE_ADDR;
    u.ptr |= MMU_MACHPHYS_UPDATE;
    is_error(hc_mmu_update(&u, 1, NULL, DOMID_SELF), "machphys of the hypervisor's frame");
}

static void batches(void)
{
    mmu_update_t u[8];
    unsigned int done = 77;

    for (unsigned int i = 0; i < 8; i++)
        u[i] = (mmu_update_t){.ptr = slot + 8 * i, .val = make_pte(frame_a, PTE_RO_DATA)};
    is(hc_mmu_update(u, 8, &done, DOMID_SELF), 0, "a batch of eight");
    is(done, 8, "done count");
    u[5].val = make_pte(0x7ffffffff, PTE_RO_DATA);
    is_error(hc_mmu_update(u, 8, &done, DOMID_SELF), "a batch with one bad entry");
    is(done, 5, "done counts the ones before it");
    for (unsigned int i = 0; i < 8; i++)
        u[i].val = 0;
    is(hc_mmu_update(u, 8, NULL, DOMID_SELF), 0, "a batch without done pointer");
    is(hc_mmu_update(u, 0, &done, DOMID_SELF), 0, "an empty batch");
    is(done, 0, "nothing done");
    is(hc_mmu_update(NULL, 0, NULL, DOMID_SELF), 0, "an empty batch of nothing");
    is_either(hc_mmu_update(u, 1, (unsigned int *)0x1000, DOMID_SELF), 0, -XEN_EFAULT,
              "a bad done pointer does no harm");
}

static void big_batch(void)
{
    enum { N = 4000 };
    static mmu_update_t u[N];
    unsigned int done = 0;

    for (unsigned int i = 0; i < N; i++)
        u[i] = (mmu_update_t){.ptr = slot + 8 * (i % 512),
                              .val = i < N - 512 ? make_pte(frame_a, PTE_RO_DATA) : 0};
    is(hc_mmu_update(u, N, &done, DOMID_SELF), 0, "a batch of 4000, preempted or not");
    is(done, N, "all done");
}

static void foreign(void)
{
    mmu_update_t u = {.ptr = slot, .val = make_pte(frame_a, PTE_RO_DATA)};

    is_error(hc_mmu_update(&u, 1, NULL, 0x7000), "foreign domain that does not exist");
    is_error(hc_mmu_update(&u, 1, NULL, 0x7001U << 16 | DOMID_SELF), "foreign table owner, none");
    u.val = 0;
    is(hc_mmu_update(&u, 1, NULL, DOMID_SELF), 0, "clean up");
}

void guest_main(void)
{
    frame_a = pfn_to_mfn(frame_take());
    frame_b = pfn_to_mfn(frame_take());
    normal();
    user_bit();
    preserve_ad();
    machphys();
    batches();
    big_batch();
    foreign();
}
