// SPDX-License-Identifier: BSD-2-Clause
// Build the control domain from the boot modules. Runs once, before any guest; it cannot go on
// without a control domain, so every failure is a panic with one clear line.
#include "core/domain.h"

#include <xen/domctl.h>

#include "builder/bzimage.h"
#include "builder/pv_layout.h"
#include "core/cmdline.h"
#include "core/console.h"
#include "core/rangeset.h"
#include "core/sched.h"
#include "drivers/acpi.h"
#include "drivers/uart.h"
#include "lib/string.h"
#include "memory/frame.h"
#include "memory/heap.h"
#include "x86/arch/page.h"
#include "x86/boot/boot.h"
#include "x86/boot/unpack_glue.h"
#include "x86/cpu/cpuid.h"
#include "x86/cpu/pirq.h"
#include "x86/pv/pv.h"

#define DOM0_GRANT_FRAMES    64
#define DOM0_MAPTRACK_FRAMES 1024
#define DOM0_MIN_RESERVE     (64 * MiB) // left to the hypervisor and guests without dom0_mem=
#define DOM0_MAX_RESERVE     (128 * MiB)

// The domain's memory as it was allocated: pfns [pfn, pfn + 2^order) are at mfn.
struct extent {
    uint64_t pfn, mfn;
    unsigned int order;
};
#define MAX_EXTENTS 4096

struct dom0 {
    struct domain *d;
    struct extent *extents; // sorted by pfn
    unsigned int extent_count;
    uint64_t nr_pages;
    struct elf_image elf;
    struct notes notes;
    struct pv_layout layout;
    struct pv_layout_ops ops;
    struct builder_error err;
};

static __init __noreturn void fail(const struct dom0 *b, const char *doing)
{
    if (b->err.where != BUILDER_NOWHERE)
        fatal("control domain: %s: %s (at %#lx)", doing, b->err.what, (unsigned long)b->err.where);
    fatal("control domain: %s: %s", doing, b->err.what);
}

static __init uint64_t choose_pages(void)
{
    uint64_t free = memory_free_pages(), want = options.dom0_mem >> PAGE_SHIFT;

    if (!want) {
        uint64_t reserve =
            MIN(MAX(free / 16, DOM0_MIN_RESERVE >> PAGE_SHIFT), DOM0_MAX_RESERVE >> PAGE_SHIFT);
        want = free > reserve ? free - reserve : 0;
        if (options.dom0_mem_max)
            want = MIN(want, options.dom0_mem_max >> PAGE_SHIFT);
    }
    want = MAX(want, options.dom0_mem_min >> PAGE_SHIFT);
    if (want > free || want < (16 * MiB >> PAGE_SHIFT))
        fatal("control domain: %lu MiB of memory wanted, %lu MiB free", want >> 8, free >> 8);
    return want;
}

static __init void allocate_memory(struct dom0 *b)
{
    uint64_t pfn = 0;
    unsigned int order = 18;

    b->extents = heap_alloc_array(MAX_EXTENTS, sizeof(*b->extents));
    if (!b->extents)
        fatal("control domain: no memory for its memory map");
    while (pfn < b->nr_pages) {
        while (order && (1ul << order) > b->nr_pages - pfn)
            order--;
        struct frame *f = frame_alloc_domain(b->d, order, 0, 0);
        if (!f) {
            if (order == 0)
                fatal("control domain: out of memory after %lu of %lu pages", pfn, b->nr_pages);
            order--;
            continue;
        }
        if (b->extent_count == MAX_EXTENTS)
            fatal("control domain: free memory is too fragmented");
        b->extents[b->extent_count++] =
            (struct extent){.pfn = pfn, .mfn = frame_to_mfn(f).v, .order = order};
        for (uint64_t i = 0; i < 1ul << order; i++)
            *m2p_entry(MFN(frame_to_mfn(f).v + i)) = pfn + i;
        pfn += 1ul << order;
    }
}

static __init uint64_t pfn_to_mfn(void *ctx, uint64_t pfn)
{
    const struct dom0 *b = ctx;
    unsigned int lo = 0, hi = b->extent_count;

    BUG_ON(pfn >= b->nr_pages);
    while (hi - lo > 1) {
        unsigned int mid = (lo + hi) / 2;
        if (b->extents[mid].pfn <= pfn)
            lo = mid;
        else
            hi = mid;
    }
    return b->extents[lo].mfn + (pfn - b->extents[lo].pfn);
}

static __init void *map_pfn(void *ctx, uint64_t pfn)
{
    return mfn_to_virt(MFN(pfn_to_mfn(ctx, pfn)));
}

static __init void unmap_pfn(void *ctx, uint64_t pfn, void *page) {}

// Copy into (src != NULL) or clear the domain's memory from byte `at` of pseudo-physical page pfn.
static __init void write_area(struct dom0 *b, uint64_t pfn, uint64_t at, const void *src,
                              uint64_t len)
{
    pfn += at >> PAGE_SHIFT;
    at &= PAGE_SIZE - 1;
    while (len) {
        uint64_t n = MIN(len, PAGE_SIZE - at);
        char *page = map_pfn(b, pfn);
        if (src) {
            memcpy(page + at, src, n);
            src = (const char *)src + n;
        } else {
            memset(page + at, 0, n);
        }
        len -= n;
        at = 0;
        pfn++;
    }
}

static __init int sink_copy(void *ctx, uint64_t at, const void *src, size_t len)
{
    struct dom0 *b = ctx;
    write_area(b, b->layout.kernel.pfn, at, src, len);
    return 0;
}

static __init int sink_zero(void *ctx, uint64_t at, size_t len)
{
    struct dom0 *b = ctx;
    write_area(b, b->layout.kernel.pfn, at, NULL, len);
    return 0;
}

static __init struct builder_blob module_blob(unsigned int n)
{
    if (n >= boot_info.module_count)
        return (struct builder_blob){NULL, 0};
    return (struct builder_blob){paddr_to_virt(boot_info.modules[n].start),
                                 boot_info.modules[n].size};
}

static __init unsigned int order_of(uint64_t bytes)
{
    unsigned int order = 0;
    while ((PAGE_SIZE << order) < bytes)
        order++;
    return order;
}

static __init void *scratch_alloc(uint64_t bytes, const char *what)
{
    void *p = bytes ? page_alloc(order_of(bytes)) : NULL;
    if (bytes && !p)
        fatal("control domain: no %lu KiB of memory to %s", (unsigned long)bytes >> 10, what);
    return p;
}

static __init void load(struct dom0 *b)
{
    struct builder_blob image = module_blob(0), initrd = module_blob(1);
    size_t bytes, scratch_bytes;

    if (bzimage_measure(image, &bytes, &scratch_bytes, &b->err))
        fail(b, "kernel");
    void *unpacked = scratch_alloc(bytes, "unpack the kernel");
    void *scratch = scratch_alloc(scratch_bytes, "unpack the kernel");
    if (unpack_glue_kernel(image, unpacked, bytes, scratch, scratch_bytes, &b->elf, &b->err) ||
        notes_read(&b->elf, &b->notes, &b->err) || notes_check_pv(&b->elf, &b->notes, ~0u, &b->err))
        fail(b, "kernel");

    struct pv_layout_request req = {
        .nr_pages = b->nr_pages, .initrd_bytes = initrd.len, .control_domain = true};
    if (pv_layout_plan(&b->layout, &b->elf, &b->notes, &req, &b->err))
        fail(b, "memory layout");
    struct elf_sink sink = {.ctx = b, .copy = sink_copy, .zero = sink_zero};
    if (elf_load(&b->elf, &sink, &b->err))
        fail(b, "kernel");
    if (b->layout.initrd.pages)
        write_area(b, b->layout.initrd.pfn, 0, initrd.data, initrd.len);
    if (unpacked)
        page_free(unpacked, order_of(bytes));
    if (scratch)
        page_free(scratch, order_of(scratch_bytes));
}

// The display as the boot loader left it, for the kernel's console.
static __init uint32_t fill_vga_info(struct dom0_vga_console_info *info)
{
    if (!boot_info.framebuffer.present) {
        if (boot_info.efi)
            return 0;
        info->video_type = XEN_VGATYPE_TEXT_MODE_3;
        info->u.text_mode_3.font_height = 16;
        info->u.text_mode_3.rows = 25;
        info->u.text_mode_3.columns = 80;
        return sizeof(*info);
    }
    info->video_type = boot_info.efi ? XEN_VGATYPE_EFI_LFB : XEN_VGATYPE_VESA_LFB;
    info->u.vesa_lfb.width = boot_info.framebuffer.width;
    info->u.vesa_lfb.height = boot_info.framebuffer.height;
    info->u.vesa_lfb.bytes_per_line = boot_info.framebuffer.pitch;
    info->u.vesa_lfb.bits_per_pixel = boot_info.framebuffer.bpp;
    info->u.vesa_lfb.lfb_base = boot_info.framebuffer.base.v;
    info->u.vesa_lfb.ext_lfb_base = boot_info.framebuffer.base.v >> 32;
    info->u.vesa_lfb.lfb_size =
        DIV_ROUND_UP((uint64_t)boot_info.framebuffer.pitch * boot_info.framebuffer.height, 65536);
    info->u.vesa_lfb.red_pos = boot_info.framebuffer.red_pos;
    info->u.vesa_lfb.red_size = boot_info.framebuffer.red_size;
    info->u.vesa_lfb.green_pos = boot_info.framebuffer.green_pos;
    info->u.vesa_lfb.green_size = boot_info.framebuffer.green_size;
    info->u.vesa_lfb.blue_pos = boot_info.framebuffer.blue_pos;
    info->u.vesa_lfb.blue_size = boot_info.framebuffer.blue_size;
    return sizeof(*info);
}

static __init void write_start_info(struct dom0 *b)
{
    start_info_t *si = map_pfn(b, b->layout.start_info.pfn);
    uint32_t vga_off = ROUND_UP(sizeof(*si), 64ul);

    clear_page(si);
    uint32_t vga_size = fill_vga_info((void *)((char *)si + vga_off));
    struct pv_layout_boot boot = {
        .shared_info_maddr = b->d->shared_info_mfn.v << PAGE_SHIFT,
        .flags = SIF_PRIVILEGED | SIF_INITDOMAIN,
        .cmdline = boot_info.modules[0].cmdline,
        .vga_info_off = vga_size ? vga_off : 0,
        .vga_info_size = vga_size,
    };
    // pv_layout_start_info() clears the structure itself only.
    if (pv_layout_start_info(&b->layout, &b->ops, &boot, si, &b->err))
        fail(b, "start info");
}

// All I/O memory, ports and interrupts but what the hypervisor drives itself.
static __init void grant_hardware(struct domain *d)
{
    static const uint16_t own_ports[][2] = {{0x20, 0x21}, {0xa0, 0xa1}, {0x40, 0x43}, {0x61, 0x61}};
    uint64_t last = (1ull << (cpu_features.phys_bits - PAGE_SHIFT)) - 1;
    int rc = rangeset_add(d->iomem_caps, 0, last);

    // Local APICs and the addresses that messages are sent to; IO-APICs.
    rc = rc ?: rangeset_remove(d->iomem_caps, 0xfee00, 0xfeeff);
    for (unsigned int i = 0; i < acpi_info.ioapic_count; i++) {
        uint64_t mfn = acpi_info.ioapics[i].address.v >> PAGE_SHIFT;
        rc = rc ?: rangeset_remove(d->iomem_caps, mfn, mfn);
    }
    rc = rc ?: rangeset_add(d->arch.ioport_caps, 0, 0xffff);
    for (unsigned int i = 0; i < ARRAY_SIZE(own_ports); i++)
        rc = rc ?: rangeset_remove(d->arch.ioport_caps, own_ports[i][0], own_ports[i][1]);
    for (unsigned int i = 0; i < UART_COUNT; i++)
        if (uarts[i].present)
            rc = rc ?: rangeset_remove(d->arch.ioport_caps, uarts[i].port, uarts[i].port + 7);
    rc = rc ?: pirq_grant_hardware(d);
    if (rc)
        fatal("control domain: no memory for its permissions");
}

static __init void start_vcpu0(struct dom0 *b)
{
    struct vcpu *v = b->d->vcpu[0];
    struct vcpu_guest_context *c = heap_new(struct vcpu_guest_context);

    if (!c)
        fatal("control domain: no memory for its first CPU");
    c->flags = VGCF_IN_KERNEL | VGCF_online;
    c->user_regs.rip = b->layout.entry;
    c->user_regs.rsp = b->layout.stack_top;
    c->user_regs.rsi = b->layout.start_info.va;
    c->user_regs.rflags = 0x202;
    c->user_regs.cs = FLAT_KERNEL_CS64;
    c->user_regs.ss = FLAT_KERNEL_SS64;
    c->user_regs.ds = c->user_regs.es = FLAT_KERNEL_DS64;
    c->kernel_ss = FLAT_KERNEL_SS64;
    c->kernel_sp = b->layout.stack_top;
    c->ctrlreg[3] = pfn_to_mfn(b, b->layout.tables.pfn) << PAGE_SHIFT;
    int rc = arch_vcpu_set_context(v, c);
    rc = rc ?: pv_pin_root(b->d, MFN(pfn_to_mfn(b, b->layout.tables.pfn)));
    if (rc)
        fatal("control domain: its first page tables or registers are refused (%d)", rc);
    heap_free(c);
    v->initialised = true;
    __atomic_and_fetch(&v->pause_flags, ~VPF_DOWN, __ATOMIC_SEQ_CST);
}

static __init void create_vcpus(struct domain *d)
{
    for (unsigned int i = 0; i < d->max_vcpus; i++) {
        struct vcpu *v = vcpu_create(d, i);
        if (!v)
            fatal("control domain: no memory for vCPU %u", i);
        if (!options.dom0_vcpus_pin)
            continue;
        DECLARE_BITMAP(cpus, MAX_CPUS) = {0};
        bit_set(cpus, i % cpu_count);
        if (vcpu_set_hard_affinity(v, cpus))
            fatal("control domain: vCPU %u cannot be pinned to CPU %u", i, i % cpu_count);
    }
}

__init void dom0_build(void)
{
    static __initdata struct dom0 build;
    struct dom0 *b = &build;
    struct xen_domctl_createdomain config = {
        .max_evtchn_port = -1,
        .max_grant_frames = DOM0_GRANT_FRAMES,
        .max_maptrack_frames = DOM0_MAPTRACK_FRAMES,
        .grant_opts = XEN_DOMCTL_GRANT_version(2),
    };

    if (boot_info.module_count == 0)
        fatal("control domain: no kernel: the boot loader passed no module");
    unsigned int cpus = bitmap_weight(cpu_online_map, cpu_count);
    config.max_vcpus = options.dom0_max_vcpus ? options.dom0_max_vcpus : cpus;
    config.max_vcpus = MIN(config.max_vcpus, (uint32_t)MAX_VIRT_CPUS);
    int rc = domain_create(0, &config, true, &b->d);
    if (rc)
        fatal("control domain: cannot be created (%d)", rc);
    control_domain = b->d;
    b->ops =
        (struct pv_layout_ops){.ctx = b, .mfn = pfn_to_mfn, .map = map_pfn, .unmap = unmap_pfn};
    b->nr_pages = choose_pages();
    b->d->max_pages = options.dom0_mem_max ? MAX(options.dom0_mem_max >> PAGE_SHIFT, b->nr_pages)
                                           : (options.dom0_mem ? b->nr_pages : UINT32_MAX);
    printk("Control domain: %lu MiB, %u vCPUs\n", b->nr_pages >> 8, config.max_vcpus);
    create_vcpus(b->d);
    grant_hardware(b->d);
    allocate_memory(b);
    load(b);
    if (pv_layout_write_p2m(&b->layout, &b->ops, &b->err) ||
        pv_layout_write_tables(&b->layout, &b->ops, &b->err))
        fail(b, "page tables");
    if (b->layout.hypercall_va != NOTES_UNSET)
        pv_hypercall_page_init(map_pfn(b, b->layout.hypercall_pfn));
    write_start_info(b);
    start_vcpu0(b);
    heap_free(b->extents);
    b->d->creation_done = true;
}
