// SPDX-License-Identifier: BSD-2-Clause
// A guest's GDT and LDT. The real tables are the guest's own frames, of type SEGDESC so that it
// cannot write them, mapped for the CPU in the per-domain slot (x86/pv/pv.h).
#include "core/console.h"
#include "core/hypercall.h"
#include "memory/heap.h"
#include "x86/arch/guest_access.h"
#include "x86/cpu/descriptors.h"
#include "x86/mm/paging.h"
#include "x86/pv/mm_types.h"
#include "x86/pv/pv_internal.h"

#define VCPUS_PER_L1     16 // 32 pages each
#define TABLE_PTES       32
#define GDT_PAGES        16
#define LDT_PAGES        16
#define LDT_MAX_ENTRIES  8192
#define ENTRIES_PER_PAGE (PAGE_SIZE / 8)
#define PROT_TABLE       (PTE_P | PTE_RW | PTE_A | PTE_D)
// Not global: the same addresses are another domain's elsewhere. Writable for the accessed bits.
#define PROT_DESC (PTE_P | PTE_RW | PTE_A | PTE_D | PTE_NX)
#define PROT_ZERO (PTE_P | PTE_A | PTE_NX)

#define SELECTOR_LDT   4u
#define SELECTOR_INDEX 0xfff8u
#define DESC_PRESENT   (1ull << 47)
#define DESC_S         (1ull << 44) // code or data
#define DESC_DPL       (3ull << 45)

// Fills the holes of a GDT: descriptors that are not present.
static uint8_t zero_page[PAGE_SIZE] __section(".bss.page_aligned") __aligned(4096);

static uint64_t pte(mfn_t mfn, uint64_t prot)
{
    return mfn.v << PAGE_SHIFT | prot;
}

static uint64_t zero_pte(void)
{
    return image_to_paddr(zero_page).v | PROT_ZERO;
}

bool pv_descriptor_ok(const struct domain *d, uint64_t *desc)
{
    if (!(*desc & DESC_PRESENT))
        return true; // only ever faults
    if (!(*desc & DESC_S))
        return false; // gates, TSS and LDT descriptors are the hypervisor's
    // The guest's kernel runs in ring 3.
    *desc |= DESC_DPL;
    return true;
}

// ---- the per-domain slot ------------------------------------------------------------------------

static uint64_t *table_of(uint64_t entry)
{
    return paddr_to_virt(PADDR(entry & PTE_ADDR_MASK));
}

int pv_perdomain_create(struct domain *d)
{
    uint64_t *l3 = page_alloc_zero(0), *l2 = page_alloc_zero(0);
    unsigned int l1s = DIV_ROUND_UP(d->max_vcpus, VCPUS_PER_L1);

    d->arch.perdomain_l3 = l3;
    if (!l3 || !l2)
        goto out_free;
    l3[0] = pte(virt_to_mfn(l2), PROT_TABLE);
    for (unsigned int i = 0; i < l1s; i++) {
        uint64_t *l1 = page_alloc_zero(0);
        if (!l1)
            return -ENOMEM; // pv_perdomain_destroy frees the rest
        l2[i] = pte(virt_to_mfn(l1), PROT_TABLE);
    }
    return 0;

out_free:
    if (l2)
        page_free(l2, 0);
    return -ENOMEM;
}

void pv_perdomain_destroy(struct domain *d)
{
    uint64_t *l3 = d->arch.perdomain_l3;

    if (!l3)
        return;
    if (l3[0]) {
        uint64_t *l2 = table_of(l3[0]);
        for (unsigned int i = 0; i < 512 && l2[i]; i++)
            page_free(table_of(l2[i]), 0);
        page_free(l2, 0);
    }
    page_free(l3, 0);
    d->arch.perdomain_l3 = NULL;
}

// The vCPU's 32 entries in it.
void pv_descriptors_init(struct vcpu *v)
{
    uint64_t *l2 = table_of(v->domain->arch.perdomain_l3[0]);
    uint64_t *l1 = table_of(l2[v->id / VCPUS_PER_L1]);

    v->arch.table_ptes = l1 + v->id % VCPUS_PER_L1 * TABLE_PTES;
    for (unsigned int i = 0; i < GDT_PAGES; i++) {
        v->arch.table_ptes[i] = zero_pte();
        v->arch.gdt_frames[i] = INVALID_MFN;
    }
}

// ---- GDT ----------------------------------------------------------------------------------------

static void set_gdt_pte(struct vcpu *v, unsigned int page, uint64_t entry)
{
    v->arch.table_ptes[page] = entry;
    if (v == current)
        tlb_invlpg(pv_gdt_virt(v) + page * PAGE_SIZE);
}

void pv_gdt_set_cpu_page(struct vcpu *v, unsigned int cpu)
{
    v->arch.table_ptes[FIRST_RESERVED_GDT_PAGE] = pte(descriptors_gdt_mfn(cpu), PROT_DESC);
}

void pv_load_gdt(const struct vcpu *v)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __packed gdtr = {GDT_HV_PAGE_OFFSET + sizeof(((struct cpu_tables *)0)->gdt) - 1,
                       pv_gdt_virt(v)};

    asm volatile("lgdt %0" ::"m"(gdtr));
}

void pv_destroy_gdt(struct vcpu *v)
{
    for (unsigned int i = 0; i < FIRST_RESERVED_GDT_PAGE; i++) {
        mfn_t mfn = v->arch.gdt_frames[i];
        if (!v->arch.table_ptes || mfn_eq(mfn, INVALID_MFN))
            continue;
        set_gdt_pte(v, i, zero_pte());
        v->arch.gdt_frames[i] = INVALID_MFN;
        pv_frame_put_type(mfn_to_frame(mfn));
    }
    v->arch.gdt_entries = 0;
}

int pv_set_gdt(struct vcpu *v, const unsigned long *frames, unsigned int entries)
{
    unsigned int n = DIV_ROUND_UP(entries, ENTRIES_PER_PAGE);
    mfn_t got[FIRST_RESERVED_GDT_PAGE];

    if (entries > FIRST_RESERVED_GDT_ENTRY)
        return -EINVAL;
    for (unsigned int i = 0; i < n; i++) {
        got[i] = MFN(frames[i]);
        int rc = pv_frame_get_type(got[i], v->domain, FRAME_TYPE_SEGDESC, false);
        if (rc) {
            while (i--)
                pv_frame_put_type(mfn_to_frame(got[i]));
            return rc;
        }
    }
    pv_destroy_gdt(v);
    for (unsigned int i = 0; i < n; i++) {
        v->arch.gdt_frames[i] = got[i];
        set_gdt_pte(v, i, pte(got[i], PROT_DESC));
    }
    v->arch.gdt_entries = entries;
    return 0;
}

long hc_set_gdt(unsigned long frames, unsigned long entries)
{
    unsigned long list[FIRST_RESERVED_GDT_PAGE];

    if (entries > FIRST_RESERVED_GDT_ENTRY)
        return -EINVAL;
    if (guest_copy_from(list, (void *)frames,
                        DIV_ROUND_UP(entries, ENTRIES_PER_PAGE) * sizeof(list[0])))
        return -EFAULT;
    return pv_set_gdt(current, list, entries);
}

// ---- LDT: its pages are brought in when the CPU first looks at them -----------------------------

bool pv_invalidate_ldt(struct vcpu *v)
{
    mfn_t dropped[LDT_PAGES];
    unsigned int n = 0;

    if (!READ_ONCE(v->arch.ldt_shadow))
        return false;
    unsigned long flags = spin_lock_irqsave(&v->arch.ldt_lock);
    for (unsigned int i = 0; i < LDT_PAGES; i++) {
        if (!(v->arch.ldt_shadow & (1u << i)))
            continue;
        uint64_t *p = &v->arch.table_ptes[GDT_PAGES + i];
        dropped[n++] = MFN((*p & PTE_ADDR_MASK) >> PAGE_SHIFT);
        *p = 0;
        if (v == current)
            tlb_invlpg(pv_ldt_virt(v) + i * PAGE_SIZE);
    }
    v->arch.ldt_shadow = 0;
    spin_unlock_irqrestore(&v->arch.ldt_lock, flags);
    for (unsigned int i = 0; i < n; i++)
        pv_frame_put_type(mfn_to_frame(dropped[i]));
    return n;
}

int pv_set_ldt(struct vcpu *v, unsigned long base, unsigned int entries)
{
    if (entries > LDT_MAX_ENTRIES ||
        (entries && ((base & ~PAGE_MASK) || !guest_range_ok((void *)base, entries * 8ul))))
        return -EINVAL;
    if (!entries)
        base = 0;
    if (base == v->arch.ldt_base && entries == v->arch.ldt_entries)
        return 0;
    pv_invalidate_ldt(v);
    v->arch.ldt_base = base;
    v->arch.ldt_entries = entries;
    if (v == current) {
        unsigned long flags = irq_save();
        descriptors_load_ldt(cpu_id(), pv_ldt_virt(v), entries);
        irq_restore(flags);
    }
    return 0;
}

// A page that becomes one of descriptors may have to be flushed from other CPUs' TLBs, for which
// interrupts must be on. With interrupts off (IRET, a context switch) only one that was such a page
// before is taken.
static bool get_descriptors(mfn_t mfn, struct domain *d)
{
    if (irq_enabled())
        return !pv_frame_get_type(mfn, d, FRAME_TYPE_SEGDESC, false);
    if (!frame_get(mfn, d))
        return false;
    if (pv_segdesc_get_now(mfn_to_frame(mfn), d))
        return true;
    frame_put(mfn_to_frame(mfn));
    return false;
}

static bool ldt_bring_in(struct vcpu *v, unsigned int page)
{
    mfn_t mfn = pv_linear_to_mfn(v, v->arch.ldt_base + page * PAGE_SIZE);

    if (mfn_eq(mfn, INVALID_MFN) || (v->arch.ldt_shadow & (1u << page)) ||
        !get_descriptors(mfn, v->domain))
        return false;
    unsigned long flags = spin_lock_irqsave(&v->arch.ldt_lock);
    v->arch.table_ptes[GDT_PAGES + page] = pte(mfn, PROT_DESC);
    v->arch.ldt_shadow |= 1u << page;
    spin_unlock_irqrestore(&v->arch.ldt_lock, flags);
    return true;
}

bool pv_ldt_load(struct vcpu *v, unsigned int selector)
{
    unsigned long offset = selector & SELECTOR_INDEX;

    return (selector & SELECTOR_LDT) && offset < v->arch.ldt_entries * 8ul &&
           ldt_bring_in(v, offset >> PAGE_SHIFT);
}

bool pv_ldt_fault(unsigned long addr, bool in_guest)
{
    // During a context switch `current` is still the one that leaves.
    struct vcpu *v = this_cpu(current_vcpu);

    if (addr - PERDOMAIN_VIRT >= MAX_VIRT_CPUS * PERDOMAIN_VCPU_BYTES || !v || v->is_idle)
        return false;
    unsigned long offset = addr - pv_ldt_virt(v);
    if (offset >= LDT_PAGES * PAGE_SIZE || offset >= v->arch.ldt_entries * 8ul)
        return false;
    if (ldt_bring_in(v, offset >> PAGE_SHIFT))
        return true;
    if (in_guest)
        pv_inject_page_fault(v->arch.ldt_base + offset, 0);
    return in_guest;
}

// ---- update_descriptor --------------------------------------------------------------------------

long hc_update_descriptor(unsigned long ma, unsigned long desc)
{
    struct domain *d = current->domain;
    mfn_t mfn = MFN(ma >> PAGE_SHIFT);
    uint64_t value = desc;

    if ((ma & 7) || !pv_descriptor_ok(d, &value) || !frame_get(mfn, d))
        return -EINVAL;
    struct frame *f = mfn_to_frame(mfn);
    // Either a live descriptor page or one the guest could write itself.
    long rc = -EINVAL;
    if (frame_get_type_simple(f, (f->type & FRAME_TYPE_MASK) == FRAME_TYPE_SEGDESC
                                     ? FRAME_TYPE_SEGDESC
                                     : FRAME_TYPE_WRITABLE)) {
        uint64_t *p = (uint64_t *)((char *)mfn_to_virt(mfn) + (ma & ~PAGE_MASK));
        WRITE_ONCE(*p, value);
        frame_put_type_simple(f);
        rc = 0;
    }
    frame_put(f);
    return rc;
}
