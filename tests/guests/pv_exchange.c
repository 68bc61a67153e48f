// SPDX-License-Identifier: BSD-2-Clause
// XENMEM_exchange: pages for pages, singles for a contiguous extent and back.
#include "lib/guest.h"

static struct xen_memory_exchange ex;
static xen_pfn_t in[64], out[64];

static long exchange(unsigned long n_in, unsigned int o_in, unsigned long n_out, unsigned int o_out)
{
    memset(&ex, 0, sizeof(ex));
    ex.in.nr_extents = n_in;
    ex.in.extent_order = o_in;
    ex.in.domid = DOMID_SELF;
    ex.out.nr_extents = n_out;
    ex.out.extent_order = o_out;
    ex.out.domid = DOMID_SELF;
    set_xen_guest_handle(ex.in.extent_start, in);
    set_xen_guest_handle(ex.out.extent_start, out);
    return hc_memory_op(XENMEM_exchange, &ex);
}

static void single(void)
{
    unsigned long pfn = frame_take(), old = pfn_to_mfn(pfn);

    in[0] = old;
    out[0] = pfn;
    is(exchange(1, 0, 1, 0), 0, "one page for another");
    is(ex.nr_exchanged, 1, "one was exchanged");
    is(M2P[out[0]], pfn, "the table knows the new frame");
    is(map_page(SCRATCH_VA, make_pte(out[0], PTE_RW_DATA)), 0, "which is ours");
    pte_set(SCRATCH_VA, 0);
    pfn_set_mfn(pfn, out[0]);
    if (out[0] != old)
        is_error(pte_set(SCRATCH_VA, make_pte(old, PTE_RW_DATA)), "the old one is not");
    pte_set(SCRATCH_VA, 0);
}

static void contiguous(void)
{
    unsigned long pfns[16], base = 0;
    bool right = true;

    for (int i = 0; i < 32; i++) {
        base = frame_take();
        if (base % 16 == 0)
            break;
    }
    if (base % 16) // take on until an aligned run of sixteen lies above
        while ((base = frame_take()) % 16)
            ;
    for (int i = 0; i < 16; i++)
        frame_take();
    base -= 16;
    while (base % 16)
        base++;
    for (unsigned int i = 0; i < 16; i++) {
        pfns[i] = base + i;
        in[i] = pfn_to_mfn(base + i);
    }
    out[0] = base;
    is(exchange(16, 0, 1, 4), 0, "sixteen pages for an extent of sixteen");
    is(ex.nr_exchanged, 16, "sixteen were exchanged");
    is(out[0] & 15, 0, "it is aligned");
    for (unsigned int i = 0; i < 16; i++) {
        right = right && M2P[out[0] + i] == pfns[i];
        pfn_set_mfn(pfns[i], out[0] + i);
    }
    ok(right, "the table knows all");
    in[0] = out[0];
    for (unsigned int i = 0; i < 16; i++)
        out[i] = pfns[i];
    is(exchange(1, 4, 16, 0), 0, "the extent for sixteen pages");
    is(ex.nr_exchanged, 1, "one extent was exchanged");
}

static void address_limit(void)
{
    unsigned long pfn = frame_take();

    memset(&ex, 0, sizeof(ex));
    in[0] = pfn_to_mfn(pfn);
    out[0] = pfn;
    ex.in.nr_extents = ex.out.nr_extents = 1;
    ex.in.domid = ex.out.domid = DOMID_SELF;
    ex.out.mem_flags = XENMEMF_address_bits(32);
    set_xen_guest_handle(ex.in.extent_start, in);
    set_xen_guest_handle(ex.out.extent_start, out);
    is(hc_memory_op(XENMEM_exchange, &ex), 0, "a page below 4 GiB");
    ok(out[0] < 1UL << 20, "it is below");
}

static void errors(void)
{
    in[0] = 0x7ffffffff;
    out[0] = 5;
    is_error(exchange(1, 0, 1, 0), "a frame out of range");
    is(ex.nr_exchanged, 0, "nothing was exchanged");
    is_error(exchange(1, 0, 2, 0), "sizes that differ");
    is_error(exchange(1, 50, 1, 50), "an absurd order");
    in[0] = pfn_to_mfn(frame_take());
    exchange(0, 0, 0, 0);
    ex.in.domid = 0x7000;
    is_error(hc_memory_op(XENMEM_exchange, &ex), "two domains");
    is_error(hc_memory_op(XENMEM_exchange, NULL), "null pointer");
}

void guest_main(void)
{
    single();
    contiguous();
    address_limit();
    errors();
}
