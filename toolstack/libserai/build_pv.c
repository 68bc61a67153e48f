// SPDX-License-Identifier: BSD-2-Clause
// Building a PV guest. Its frames are written through mappings that cover every page of the
// start-of-day layout; the rest of its memory is never touched from here. The page tables
// have a mapping of their own, taken down before they are handed to the hypervisor, because a
// frame cannot be a page table and writable to somebody at once.
#include "build_pv.h"

#include "pv_layout.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xen/grant_table.h>
#include <xen/memory.h>

enum { SUPER_ORDER = 9, SUPER_PAGES = 1 << SUPER_ORDER, PAGES_PER_MB = 256 };
enum { EFLAGS_IF = 0x200 };

// Some of the guest's pages, mapped here.
struct pv_window {
    uint8_t *at;
    uint64_t first, count; // pseudo-physical pages
};

// In the order in which they lie; some may be empty.
enum { PV_KERNEL, PV_TABLES, PV_MIDDLE, PV_P2M_TABLES, PV_TOP, PV_WINDOWS };

struct pv {
    struct build_pv *b;
    struct pv_layout layout;
    xen_pfn_t *frames;  // machine frame of each pseudo-physical page
    uint64_t nr_frames; // pages
    struct pv_window window[PV_WINDOWS];
};

static uint64_t pv_mfn(void *ctx, uint64_t pfn)
{
    const struct pv *pv = ctx;
    return pv->frames[pfn];
}

static void *pv_page(void *ctx, uint64_t pfn)
{
    const struct pv *pv = ctx;
    for (unsigned i = 0; i < PV_WINDOWS; i++) {
        const struct pv_window *w = &pv->window[i];
        if (pfn - w->first < w->count)
            return w->at + (pfn - w->first) * BUILDER_PAGE_SIZE;
    }
    return NULL;
}

static void pv_page_done(void *ctx, uint64_t pfn, void *page)
{
    (void)ctx, (void)pfn, (void)page; // the windows stay
}

static int pv_plan(const struct serai_config *c, const struct image *im, struct pv_layout *layout,
                   struct serai_error *err)
{
    struct builder_error why = {"cannot be laid out", BUILDER_NOWHERE};
    struct pv_layout_request req = {.nr_pages = c->memory_mb * PAGES_PER_MB,
                                    .initrd_bytes = im->ramdisk_size};
    int ret = pv_layout_plan(layout, &im->elf, &im->notes, &req, &why);
    if (ret == -ENOMEM)
        return err_set(err, ret,
                       "memory: %llu MB are too little for kernel %s%s%s, which need at least %llu",
                       (unsigned long long)c->memory_mb, c->kernel,
                       c->ramdisk ? " and ramdisk " : "", c->ramdisk ? c->ramdisk : "",
                       (unsigned long long)(why.where + PAGES_PER_MB - 1) / PAGES_PER_MB);
    return ret ? image_fail(err, ret, c->kernel, &why) : 0;
}

int build_pv_check(const struct serai_config *c, const struct image *image, struct serai_error *err)
{
    struct pv_layout layout;
    return pv_plan(c, image, &layout, err);
}

static int pv_step(struct pv *pv, const char *step, unsigned percent, struct serai_error *err)
{
    if (pv->b->progress && !pv->b->progress(pv->b->progress_ctx, step, percent))
        return err_set(err, -ECANCELED, "cancelled");
    return 0;
}

// Extents of one order for pages [first, first + count); returns how many pages were given.
static long pv_populate(struct pv *pv, xen_pfn_t *extents, uint64_t first, uint64_t count,
                        unsigned order)
{
    uint64_t nr = count >> order;
    for (uint64_t i = 0; i < nr; i++)
        extents[i] = first + (i << order);
    struct xen_memory_reservation res = {
        .nr_extents = nr, .extent_order = order, .domid = (domid_t)pv->b->domain};
    set_xen_guest_handle(res.extent_start, extents);
    long done = hc_memory(pv->b->s, XENMEM_populate_physmap, &res, sizeof(res));
    for (long i = 0; i < done; i++)
        for (uint64_t k = 0; k < (uint64_t)1 << order; k++)
            pv->frames[first + ((uint64_t)i << order) + k] = extents[i] + k;
    return done < 0 ? done : done << order;
}

// All memory: in 2 MB pieces as long as there are any, single pages for the rest.
static int pv_memory(struct pv *pv, struct serai_error *err)
{
    enum { BATCH = 1 << 16 };
    uint64_t got = 0, total = pv->nr_frames;
    bool super = true;
    uint64_t room = total < BATCH ? total : BATCH;
    xen_pfn_t *extents = hc_alloc(pv->b->s, room * sizeof(*extents));
    if (!extents)
        return err_set(err, -ENOMEM, "out of memory");
    int ret = 0;
    while (got < total && !ret) {
        uint64_t left = total - got;
        super = super && left >= SUPER_PAGES;
        unsigned order = super ? SUPER_ORDER : 0;
        if (left > room << order)
            left = room << order;
        left = left >> order << order;
        long n = pv_populate(pv, extents, got, left, order);
        if (n > 0)
            got += (uint64_t)n;
        if (n < (long)left) {
            if (!super)
                ret = err_set(err, -ENOMEM,
                              "no memory for the guest: the hypervisor gave %llu of %llu MB",
                              (unsigned long long)(got / PAGES_PER_MB),
                              (unsigned long long)(total / PAGES_PER_MB));
            super = false;
        }
        if (!ret)
            ret = pv_step(pv, "memory", (unsigned)(got * 40 / total), err);
    }
    hc_free(pv->b->s, extents);
    return ret;
}

// The map that XENMEM_memory_map shows the guest: all it may ever grow to.
static int pv_memory_map(struct pv *pv, struct serai_error *err)
{
    const struct serai_config *c = pv->b->config;
    struct {
        uint64_t addr, size;
        uint32_t type;
    } __attribute__((packed)) *entry = hc_alloc(pv->b->s, sizeof(*entry));
    if (!entry)
        return err_set(err, -ENOMEM, "out of memory");
    entry->size = (c->maxmem_mb ? c->maxmem_mb : c->memory_mb) << 20;
    entry->type = 1; // RAM
    struct xen_foreign_memory_map map = {.domid = (domid_t)pv->b->domain, .map.nr_entries = 1};
    set_xen_guest_handle(map.map.buffer, (void *)entry);
    long ret = hc_memory(pv->b->s, XENMEM_set_memory_map, &map, sizeof(map));
    hc_free(pv->b->s, entry);
    return ret < 0 ? err_sys(err, (int)ret, "cannot set the guest's memory map") : 0;
}

static int pv_map(struct pv *pv, struct serai_error *err)
{
    const struct pv_layout *l = &pv->layout;
    const struct pv_layout_area *p2m = &l->p2m_tables;
    uint64_t p2m_tables = p2m->pages ? p2m->pfn : l->used_pages;
    const uint64_t start[PV_WINDOWS + 1] = {
        l->kernel.pfn, l->tables.pfn,           l->tables.pfn + l->tables.pages,
        p2m_tables,    p2m_tables + p2m->pages, l->used_pages};
    for (unsigned i = 0; i < PV_WINDOWS; i++) {
        struct pv_window w = {NULL, start[i], start[i + 1] - start[i]};
        if (!w.count)
            continue;
        w.at = xenforeignmemory_map(pv->b->s->memory, pv->b->domain, PROT_READ | PROT_WRITE,
                                    w.count, pv->frames + w.first, NULL);
        if (!w.at)
            return err_sys(err, errno ? -errno : -EIO, "cannot map the guest's memory");
        pv->window[i] = w;
    }
    return 0;
}

static void pv_unmap(struct pv *pv, unsigned window)
{
    struct pv_window *w = &pv->window[window];
    if (w->at)
        xenforeignmemory_unmap(pv->b->s->memory, w->at, w->count);
    *w = (struct pv_window){0};
}

// Where the byte `at` of the kernel's image goes.
static uint8_t *pv_kernel_byte(const struct pv *pv, uint64_t at)
{
    uint64_t into_page = pv->b->image->notes.kernel_start & (BUILDER_PAGE_SIZE - 1);
    return pv->window[PV_KERNEL].at + into_page + at;
}

static int pv_copy(void *ctx, uint64_t at, const void *src, size_t len)
{
    const struct pv *pv = ctx;
    return image_copy(pv->b->image, src, len, pv_kernel_byte(pv, at));
}

static int pv_zero(void *ctx, uint64_t at, size_t len)
{
    const struct pv *pv = ctx;
    memset(pv_kernel_byte(pv, at), 0, len);
    return 0;
}

static int pv_load_kernel(struct pv *pv, struct serai_error *err)
{
    struct builder_error why = {"it became shorter while it was read", BUILDER_NOWHERE};
    const struct elf_image *elf = &pv->b->image->elf;
    struct elf_sink sink = {.ctx = pv, .copy = pv_copy, .zero = pv_zero};
    uint64_t into_page = pv->b->image->notes.kernel_start & (BUILDER_PAGE_SIZE - 1);
    if (into_page + elf_span(elf) > pv->layout.kernel.pages * BUILDER_PAGE_SIZE)
        return err_set(err, -EINVAL, "kernel %s: its segments exceed its range",
                       pv->b->config->kernel);
    int ret = elf_load(elf, &sink, &why);
    return ret ? image_fail(err, ret, pv->b->config->kernel, &why) : 0;
}

// The file goes straight into the guest's frames.
static int pv_load_ramdisk(struct pv *pv, struct serai_error *err)
{
    const struct image *im = pv->b->image;
    if (!im->ramdisk_size)
        return 0;
    uint8_t *to = pv_page(pv, pv->layout.initrd.pfn);
    int ret = image_read(im->ramdisk_fd, 0, im->ramdisk_size, to);
    if (ret == -ENODATA)
        return err_set(err, -EIO, "ramdisk %s: it became shorter while it was read",
                       pv->b->config->ramdisk);
    if (ret)
        return err_sys(err, ret, "cannot read ramdisk %s", pv->b->config->ramdisk);
    memset(to + im->ramdisk_size, 0,
           pv->layout.initrd.pages * BUILDER_PAGE_SIZE - im->ramdisk_size);
    return 0;
}

static int pv_start_info(struct pv *pv, const struct pv_layout_ops *ops, struct serai_error *err)
{
    struct build_pv *b = pv->b;
    struct builder_error why = {"start information", BUILDER_NOWHERE};
    struct xen_domctl op = {.cmd = XEN_DOMCTL_getdomaininfo, .domain = (domid_t)b->domain};
    int ret = hc_domctl(b->s, &op);
    if (ret < 0)
        return err_sys(err, ret, "cannot read the state of domain %u", b->domain);
    xen_pfn_t shared_mfn = op.u.getdomaininfo.shared_info_frame;

    uint8_t *page = pv_page(pv, pv->layout.start_info.pfn);
    struct pv_layout_boot boot = {.shared_info_maddr = (uint64_t)shared_mfn << BUILDER_PAGE_SHIFT,
                                  .cmdline = b->config->cmdline,
                                  .console_evtchn = b->console_port,
                                  .store_evtchn = b->store_port};
    memset(page, 0, BUILDER_PAGE_SIZE);
    ret = pv_layout_start_info(&pv->layout, ops, &boot, (struct start_info *)page, &why);
    if (ret)
        return image_fail(err, ret, b->config->kernel, &why);
    // When no xenstore serves it, a guest knows that by having no page and no port.
    if (!b->store_port)
        ((struct start_info *)page)->store_mfn = 0;

    // A guest starts with event delivery masked on every virtual CPU.
    struct shared_info *shared =
        xenforeignmemory_map(b->s->memory, b->domain, PROT_READ | PROT_WRITE, 1, &shared_mfn, NULL);
    if (!shared)
        return err_sys(err, errno ? -errno : -EIO, "cannot map the shared page of the guest");
    for (unsigned i = 0; i < XEN_LEGACY_MAX_VCPUS; i++)
        shared->vcpu_info[i].evtchn_upcall_mask = 1;
    xenforeignmemory_unmap(b->s->memory, shared, 1);
    return 0;
}

// Everything that is written into the guest's pages.
static int pv_fill(struct pv *pv, struct serai_error *err)
{
    static const char step[] = "load";
    struct builder_error why = {"page tables", BUILDER_NOWHERE};
    struct pv_layout_ops ops = {.ctx = pv, .mfn = pv_mfn, .map = pv_page, .unmap = pv_page_done};
    int ret = pv_load_kernel(pv, err);
    if (!ret)
        ret = pv_step(pv, step, 60, err);
    if (!ret)
        ret = pv_load_ramdisk(pv, err);
    if (!ret)
        ret = pv_step(pv, step, 70, err);
    if (ret)
        return ret;

    memset(pv_page(pv, pv->layout.console.pfn), 0, BUILDER_PAGE_SIZE);
    memset(pv_page(pv, pv->layout.xenstore.pfn), 0, BUILDER_PAGE_SIZE);
    memset(pv_page(pv, pv->layout.stack.pfn), 0, BUILDER_PAGE_SIZE);
    ret = pv_layout_write_tables(&pv->layout, &ops, &why);
    if (!ret)
        ret = pv_layout_write_p2m(&pv->layout, &ops, &why);
    if (ret)
        return image_fail(err, ret, pv->b->config->kernel, &why);
    return pv_start_info(pv, &ops, err);
}

// The first two grants of a guest are its console and xenstore pages, for the control domain.
static int pv_grants(struct pv *pv, struct serai_error *err)
{
    struct build_pv *b = pv->b;
    void *addr = NULL;
    xenforeignmemory_resource_handle *res = xenforeignmemory_map_resource(
        b->s->memory, (domid_t)b->domain, XENMEM_resource_grant_table,
        XENMEM_resource_grant_table_id_shared, 0, 1, &addr, PROT_READ | PROT_WRITE, 0);
    if (!res)
        return err_sys(err, errno ? -errno : -EIO, "cannot map the guest's grant table");
    grant_entry_v1_t *entry = addr;
    entry[GNTTAB_RESERVED_CONSOLE].frame = (uint32_t)pv->frames[pv->layout.console.pfn];
    entry[GNTTAB_RESERVED_CONSOLE].flags = GTF_permit_access;
    entry[GNTTAB_RESERVED_XENSTORE].frame = (uint32_t)pv->frames[pv->layout.xenstore.pfn];
    entry[GNTTAB_RESERVED_XENSTORE].flags = GTF_permit_access;
    xenforeignmemory_unmap_resource(b->s->memory, res);
    return 0;
}

static int pv_hypercall_page(struct pv *pv, struct serai_error *err)
{
    if (pv->layout.hypercall_va == NOTES_UNSET)
        return 0;
    struct xen_domctl op = {.cmd = XEN_DOMCTL_hypercall_init, .domain = (domid_t)pv->b->domain};
    op.u.hypercall_init.gmfn = pv->frames[pv->layout.hypercall_pfn];
    int ret = hc_domctl(pv->b->s, &op);
    return ret < 0 ? err_sys(err, ret, "cannot make the guest's hypercall page") : 0;
}

static int pv_first_vcpu(struct pv *pv, struct serai_error *err)
{
    struct serai *s = pv->b->s;
    uint64_t root = pv->frames[pv->layout.tables.pfn];
    struct mmuext_op pin = {.cmd = MMUEXT_PIN_L4_TABLE, .arg1.mfn = root};
    int ret = hc_mmuext(s, &pin, pv->b->domain);
    if (ret < 0)
        return err_sys(err, ret, "the hypervisor refuses the guest's page tables");

    vcpu_guest_context_t *ctx = hc_alloc(s, sizeof(*ctx));
    if (!ctx)
        return err_set(err, -ENOMEM, "out of memory");
    ctx->flags = VGCF_in_kernel | VGCF_online;
    ctx->user_regs.rip = pv->layout.entry;
    ctx->user_regs.rsp = pv->layout.stack_top;
    ctx->user_regs.rsi = pv->layout.start_info.va;
    ctx->user_regs.rflags = EFLAGS_IF;
    ctx->user_regs.cs = FLAT_KERNEL_CS;
    ctx->user_regs.ss = FLAT_KERNEL_SS;
    ctx->user_regs.ds = ctx->user_regs.es = FLAT_KERNEL_DS;
    ctx->user_regs.fs = ctx->user_regs.gs = FLAT_KERNEL_DS;
    ctx->kernel_ss = FLAT_KERNEL_SS;
    ctx->kernel_sp = pv->layout.stack_top;
    ctx->ctrlreg[3] = xen_pfn_to_cr3(root);
    struct xen_domctl op = {.cmd = XEN_DOMCTL_setvcpucontext, .domain = (domid_t)pv->b->domain};
    set_xen_guest_handle(op.u.vcpucontext.ctxt, ctx);
    ret = hc_domctl(s, &op);
    hc_free(s, ctx);
    return ret < 0 ? err_sys(err, ret, "cannot set up the first virtual CPU") : 0;
}

int build_pv(struct build_pv *b, struct serai_error *err)
{
    struct pv pv = {.b = b, .nr_frames = b->config->memory_mb * PAGES_PER_MB};
    int ret = pv_plan(b->config, b->image, &pv.layout, err);
    if (ret)
        return ret;
    pv.frames = malloc(pv.nr_frames * sizeof(*pv.frames));
    if (!pv.frames)
        return err_set(err, -ENOMEM, "out of memory");

    ret = pv_memory(&pv, err);
    if (!ret)
        ret = pv_memory_map(&pv, err);
    if (!ret)
        ret = pv_map(&pv, err);
    if (!ret)
        ret = pv_fill(&pv, err);
    pv_unmap(&pv, PV_TABLES);
    pv_unmap(&pv, PV_P2M_TABLES);
    if (!ret)
        ret = pv_hypercall_page(&pv, err);
    if (!ret)
        ret = pv_grants(&pv, err);
    if (!ret)
        ret = pv_first_vcpu(&pv, err);
    if (!ret)
        ret = pv_step(&pv, "start", 100, err);
    if (!ret) {
        b->console = (struct serai_console){pv.frames[pv.layout.console.pfn], b->console_port};
        b->store_mfn = pv.frames[pv.layout.xenstore.pfn];
    }
    for (unsigned i = 0; i < PV_WINDOWS; i++) {
        if (ret || !b->exiting)
            pv_unmap(&pv, i);
        else if (pv.window[i].at)
            serai_leave_mapping(b->s, pv.window[i].at, pv.window[i].count);
    }
    free(pv.frames);
    return ret;
}
