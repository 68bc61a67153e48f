// SPDX-License-Identifier: BSD-2-Clause
// Building a PV guest. Its frames are written through one mapping that covers every page of
// the start-of-day layout; the rest of its memory is never touched from here. The mapping is
// taken down before the page tables are handed to the hypervisor, because a frame cannot be
// a page table and writable to somebody at once.
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

struct pv {
    struct build_pv *b;
    struct pv_layout layout;
    xen_pfn_t *frames;  // machine frame of each pseudo-physical page
    uint64_t nr_frames; // pages
    uint8_t *map;       // pages [map_first, map_first + map_count) of the guest
    uint64_t map_first, map_count;
};

static uint64_t pv_mfn(void *ctx, uint64_t pfn)
{
    const struct pv *pv = ctx;
    return pv->frames[pfn];
}

static void *pv_page(void *ctx, uint64_t pfn)
{
    const struct pv *pv = ctx;
    if (pfn < pv->map_first || pfn - pv->map_first >= pv->map_count)
        return NULL;
    return pv->map + (pfn - pv->map_first) * BUILDER_PAGE_SIZE;
}

static void pv_page_done(void *ctx, uint64_t pfn, void *page)
{
    (void)ctx, (void)pfn, (void)page; // one mapping serves all
}

static int pv_fail(struct serai_error *err, int code, const char *path,
                   const struct builder_error *why)
{
    if (why->where == BUILDER_NOWHERE)
        return err_set(err, code, "kernel %s: %s", path, why->what);
    return err_set(err, code, "kernel %s: %s (%#llx)", path, why->what,
                   (unsigned long long)why->where);
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
                       (unsigned long long)c->memory_mb, c->kernel, c->ramdisk ? " and ramdisk " : "",
                       c->ramdisk ? c->ramdisk : "",
                       (unsigned long long)(why.where + PAGES_PER_MB - 1) / PAGES_PER_MB);
    return ret ? pv_fail(err, ret, c->kernel, &why) : 0;
}

int build_pv_check(const struct serai_config *c, const struct image *image,
                   struct serai_error *err)
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
    pv->map_first = pv->layout.kernel.pfn;
    pv->map_count = pv->layout.used_pages - pv->map_first;
    pv->map = xenforeignmemory_map(pv->b->s->memory, pv->b->domain, PROT_READ | PROT_WRITE,
                                   pv->map_count, pv->frames + pv->map_first, NULL);
    if (!pv->map)
        return err_sys(err, errno ? -errno : -EIO, "cannot map the guest's memory");
    return 0;
}

static void pv_unmap(struct pv *pv)
{
    if (pv->map)
        xenforeignmemory_unmap(pv->b->s->memory, pv->map, pv->map_count);
    pv->map = NULL;
    pv->map_count = 0;
}

static int pv_copy(void *ctx, uint64_t at, const void *src, size_t len)
{
    const struct pv *pv = ctx;
    memcpy(pv->map + at, src, len);
    return 0;
}

static int pv_zero(void *ctx, uint64_t at, size_t len)
{
    const struct pv *pv = ctx;
    memset(pv->map + at, 0, len);
    return 0;
}

static int pv_load_kernel(struct pv *pv, struct serai_error *err)
{
    struct builder_error why = {"damaged", BUILDER_NOWHERE};
    // `at` counts from the first byte of the image, which need not begin a page.
    const struct elf_image *elf = &pv->b->image->elf;
    uint64_t into_page = pv->b->image->notes.kernel_start & (BUILDER_PAGE_SIZE - 1);
    struct pv shifted = *pv;
    shifted.map += into_page;
    struct elf_sink sink = {.ctx = &shifted, .copy = pv_copy, .zero = pv_zero};
    if (into_page + elf_span(elf) > pv->layout.kernel.pages * BUILDER_PAGE_SIZE)
        return err_set(err, -EINVAL, "kernel %s: its segments exceed its range",
                       pv->b->config->kernel);
    int ret = elf_load(elf, &sink, &why);
    return ret ? pv_fail(err, ret, pv->b->config->kernel, &why) : 0;
}

// The file goes straight into the guest's frames.
static int pv_load_ramdisk(struct pv *pv, struct serai_error *err)
{
    const struct image *im = pv->b->image;
    if (!im->ramdisk_size)
        return 0;
    uint8_t *to = pv_page(pv, pv->layout.initrd.pfn);
    uint64_t done = 0;
    while (done < im->ramdisk_size) {
        ssize_t n = pread(im->ramdisk_fd, to + done, im->ramdisk_size - done, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, -errno, "cannot read ramdisk %s", pv->b->config->ramdisk);
        if (!n)
            return err_set(err, -EIO, "ramdisk %s: it became shorter while it was read",
                           pv->b->config->ramdisk);
        done += (uint64_t)n;
    }
    uint64_t tail = pv->layout.initrd.pages * BUILDER_PAGE_SIZE - done;
    memset(to + done, 0, tail);
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
                                  .console_evtchn = b->console_port};
    memset(page, 0, BUILDER_PAGE_SIZE);
    ret = pv_layout_start_info(&pv->layout, ops, &boot, (struct start_info *)page, &why);
    if (ret)
        return pv_fail(err, ret, b->config->kernel, &why);
    // No xenstore serves it: without a page and a port a guest knows that.
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
        return pv_fail(err, ret, pv->b->config->kernel, &why);
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
    pv_unmap(&pv);
    if (!ret)
        ret = pv_hypercall_page(&pv, err);
    if (!ret)
        ret = pv_grants(&pv, err);
    if (!ret)
        ret = pv_first_vcpu(&pv, err);
    if (!ret)
        ret = pv_step(&pv, "start", 100, err);
    if (!ret)
        b->console =
            (struct serai_console){pv.frames[pv.layout.console.pfn], b->console_port};
    free(pv.frames);
    return ret;
}
