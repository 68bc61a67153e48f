// SPDX-License-Identifier: BSD-2-Clause
// mmuext_op: pin and unpin of each level, new base pointers, flushes, clear and copy, errors.
#include "lib/guest.h"

static unsigned long data_mfn;

// A chain L4 -> L3 -> L2 -> L1 -> data, all read-only pages of the pool.
static uint64_t *table[5];

static void build_chain(void)
{
    data_mfn = pfn_to_mfn(frame_take());
    for (int l = 1; l <= 4; l++) {
        table[l] = page_alloc();
        table[l][0] =
            l == 1 ? make_pte(data_mfn, PTE_RW_DATA) : make_pte(va_to_mfn(table[l - 1]), PTE_TABLE);
    }
}

static void pin_levels(void)
{
    static const char *const names[] = {"", "pin L1", "pin L2", "pin L3", "pin L4"};

    is_error(mmuext(MMUEXT_PIN_L1_TABLE, va_to_mfn(table[1])), "pin a writably mapped L1");
    for (int l = 1; l <= 4; l++)
        page_set_ro(table[l]);
    for (int l = 1; l <= 4; l++) {
        unsigned long mfn = va_to_mfn(table[l]);

        is(mmuext(MMUEXT_PIN_L1_TABLE + (unsigned int)l - 1, mfn), 0, names[l]);
        is_error(mmuext(MMUEXT_PIN_L1_TABLE + (unsigned int)l - 1, mfn), "pin it twice");
        is_error(page_set_rw(table[l]), "map it writable while pinned");
        is_error(mmuext(MMUEXT_PIN_L1_TABLE + (unsigned int)l % 4, mfn), "pin as another level");
        is(mmuext(MMUEXT_UNPIN_TABLE, mfn), 0, "unpin");
        is_error(mmuext(MMUEXT_UNPIN_TABLE, mfn), "unpin it twice");
        is(page_set_rw(table[l]), 0, "writable again");
        is(page_set_ro(table[l]), 0, "read-only again");
    }
    is(mmuext(MMUEXT_PIN_L4_TABLE, va_to_mfn(table[4])), 0, "pin the L4: a whole tree");
    for (int l = 1; l <= 3; l++)
        is_error(page_set_rw(table[l]), "the tables below it cannot become writable");
    is(mmuext(MMUEXT_UNPIN_TABLE, va_to_mfn(table[4])), 0, "unpin the tree");
    for (int l = 1; l <= 4; l++)
        is(page_set_rw(table[l]), 0, "all writable again");
}

// A second kernel root: a copy of the current one, entry by entry where it is ours.
static void base_pointers(void)
{
    uint64_t *l4 = page_alloc();
    unsigned long mfn = va_to_mfn(l4), old = va_to_mfn((void *)this_vcpu()->root);
    const volatile uint64_t *now = (const volatile uint64_t *)this_vcpu()->root;

    for (unsigned int i = 0; i < 512; i++)
        if (i < 256 || i >= 272)
            l4[i] = now[i];
    l4[5] = make_pte(va_to_mfn(table[3]), PTE_TABLE);
    for (int l = 1; l <= 3; l++)
        page_set_ro(table[l]);
    page_set_ro(l4);
    is(mmuext(MMUEXT_PIN_L4_TABLE, mfn), 0, "pin a second root");
    is(mmuext(MMUEXT_NEW_BASEPTR, mfn), 0, "switch to it");
    *(volatile uint64_t *)(5UL << 39) = 0x77;
    is(*(volatile uint64_t *)(5UL << 39), 0x77, "what it maps is there");
    ok(M2P[mfn] == va_to_pfn(l4), "the machine-to-physical table is there");
    is_either(mmuext(MMUEXT_UNPIN_TABLE, mfn), 0, -XEN_EINVAL, "unpin it while in use");
    is(mmuext(MMUEXT_NEW_BASEPTR, old), 0, "switch back");
    is(page_set_rw(l4), 0, "the old root is plain memory again");
    is_error(mmuext(MMUEXT_NEW_BASEPTR, data_mfn), "a data page is no root");
    is_error(mmuext(MMUEXT_NEW_BASEPTR, 0x7ffffffff), "nor is a frame out of range");
    is_error(mmuext(MMUEXT_NEW_BASEPTR, va_to_mfn(table[2])), "nor is an L2");
    l4[5] = 0;
    page_set_ro(l4);
    is(mmuext(MMUEXT_NEW_USER_BASEPTR, mfn), 0, "a user root");
    is_error(page_set_rw(l4), "it is a page table now");
    is(mmuext(MMUEXT_NEW_USER_BASEPTR, 0), 0, "no user root");
    is(page_set_rw(l4), 0, "plain memory again");
    page_free(l4);
}

static void flushes(void)
{
    static uint64_t mask = 1;
    mmuext_op_t op[3] = {{.cmd = MMUEXT_TLB_FLUSH_MULTI}, {.cmd = MMUEXT_INVLPG_MULTI}};
    unsigned int done = 9;

    is(mmuext(MMUEXT_TLB_FLUSH_LOCAL, 0), 0, "flush local");
    is(mmuext(MMUEXT_TLB_FLUSH_ALL, 0), 0, "flush all");
    is(mmuext(MMUEXT_INVLPG_LOCAL, SCRATCH_VA), 0, "invlpg local");
    is(mmuext(MMUEXT_INVLPG_ALL, SCRATCH_VA), 0, "invlpg all");
    is(mmuext(MMUEXT_INVLPG_LOCAL, 0x800000000000), 0, "invlpg, not canonical");
    is(mmuext(MMUEXT_INVLPG_ALL, HYPERVISOR_VIRT_START), 0, "invlpg in the hypervisor");
    op[0].arg2.vcpumask.p = &mask;
    op[1].arg2.vcpumask.p = &mask;
    op[1].arg1.linear_addr = SCRATCH_VA;
    is(hc_mmuext_op(op, 2, &done, DOMID_SELF), 0, "flush and invlpg with masks");
    is(done, 2, "done count");
    op[0].arg2.vcpumask.p = (void *)0x1000;
    is_error(hc_mmuext_op(op, 2, &done, DOMID_SELF), "a bad mask pointer");
    is(done, 0, "nothing done");
    op[0] = (mmuext_op_t){.cmd = 63};
    is_error(hc_mmuext_op(op, 1, &done, DOMID_SELF), "unknown command");
    ok(mmuext(MMUEXT_FLUSH_CACHE, 0) <= 0, "flush_cache");
    ok(mmuext(MMUEXT_FLUSH_CACHE_GLOBAL, 0) <= 0, "flush_cache_global");
    is(hc_mmuext_op(op, 0, &done, DOMID_SELF), 0, "no operation");
    is_error(hc_mmuext_op((void *)0x1000, 1, &done, DOMID_SELF), "bad pointer");
    is_error(mmuext(MMUEXT_MARK_SUPER, data_mfn), "mark_super is gone");
    is_error(mmuext(MMUEXT_UNMARK_SUPER, data_mfn), "unmark_super is gone");
}

static void clear_and_copy(void)
{
    uint64_t *a = page_alloc(), *b = page_alloc();
    mmuext_op_t op = {.cmd = MMUEXT_COPY_PAGE};

    a[0] = 1, a[511] = 2, b[7] = 3;
    op.arg1.mfn = va_to_mfn(b);
    op.arg2.src_mfn = va_to_mfn(a);
    is(hc_mmuext_op(&op, 1, NULL, DOMID_SELF), 0, "copy_page");
    is(memcmp(a, b, PAGE_SIZE), 0, "copied");
    is(mmuext(MMUEXT_CLEAR_PAGE, va_to_mfn(b)), 0, "clear_page");
    ok(!b[0] && !b[511], "cleared");
    page_set_ro(b);
    mmuext(MMUEXT_PIN_L1_TABLE, va_to_mfn(b));
    is_error(mmuext(MMUEXT_CLEAR_PAGE, va_to_mfn(b)), "clear a page table");
    is_error(hc_mmuext_op(&op, 1, NULL, DOMID_SELF), "copy over a page table");
    is_error(mmuext(MMUEXT_CLEAR_PAGE, 0x7ffffffff), "clear a frame out of range");
    op.arg1.mfn = va_to_mfn(a);
    op.arg2.src_mfn = 0x7ffffffff;
    is_error(hc_mmuext_op(&op, 1, NULL, DOMID_SELF), "copy a frame out of range");
    mmuext(MMUEXT_UNPIN_TABLE, va_to_mfn(b));
    page_set_rw(b);
    page_free(a);
    page_free(b);
}

static void wrong_frames(void)
{
    is_error(mmuext(MMUEXT_PIN_L1_TABLE, 0x7ffffffff), "pin a frame out of range");
    is_error(mmuext(MMUEXT_PIN_L4_TABLE, *pte_of(HYPERVISOR_VIRT_START, 4) >> 12 & 0xffffffff),
             "pin the hypervisor's table");
    is_error(mmuext(MMUEXT_UNPIN_TABLE, 0x7ffffffff), "unpin a frame out of range");
    is_error(mmuext(MMUEXT_UNPIN_TABLE, data_mfn), "unpin a data page");
}

void guest_main(void)
{
    build_chain();
    pin_levels();
    base_pointers();
    flushes();
    clear_and_copy();
    wrong_frames();
}
