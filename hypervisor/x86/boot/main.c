// SPDX-License-Identifier: BSD-2-Clause
// From the boot loader's information to the control domain: one call per line.
#include "x86/boot/main.h"
#include "core/cmdline.h"
#include "core/console.h"
#include "core/console_input.h"
#include "core/cpupool.h"
#include "core/domain.h"
#include "core/keyhandler.h"
#include "core/sched.h"
#include "core/symbols.h"
#include "drivers/acpi.h"
#include "drivers/screen.h"
#include "lib/string.h"
#include "memory/frame.h"
#include "x86/arch/page.h"
#include "x86/arch/time.h"
#include "x86/boot/boot.h"
#include "x86/arch/image.h"
#include "x86/boot/memory_map.h"
#include "x86/boot/multiboot.h"
#include "x86/boot/numa.h"
#include "x86/cpu/apic.h"
#include "x86/cpu/clock.h"
#include "x86/cpu/cpuid.h"
#include "x86/cpu/descriptors.h"
#include "x86/cpu/firmware.h"
#include "x86/cpu/ioapic.h"
#include "x86/cpu/irq.h"
#include "x86/cpu/microcode.h"
#include "x86/cpu/pirq.h"
#include "x86/cpu/smp.h"
#include "x86/cpu/topology.h"
#include "x86/mm/paging.h"

#define BIOS_KBD_FLAGS 0x417

struct boot_info __initdata boot_info;
uint8_t __read_only_after_boot firmware_kbd_shift_flags;
struct firmware_efi __read_only_after_boot firmware_efi;

paddr_t image_to_paddr(const void *va)
{
    return PADDR((unsigned long)va - IMAGE_VIRT + IMAGE_PHYS);
}

static void __init boot_cpu_area_init(void)
{
    size_t size = percpu_end - percpu_start;
    struct stack_info *info = stack_info();
    memcpy(percpu_boot_cpu, percpu_start, size);
    percpu_offsets[0] = percpu_boot_cpu - percpu_start;
    info->cpu = 0;
    info->percpu_offset = percpu_offsets[0];
    info->vcpu = NULL;
}

static void __init banner(void)
{
    printk("Serai, a hypervisor with Xen's 4.17 interface (%s build)\n",
#ifdef SERAI_DEBUG
           "debug"
#else
           "release"
#endif
    );
    printk("Loaded by %s with %u modules%s\n", boot_info.loader, boot_info.module_count,
           boot_info.efi ? ", UEFI" : "");
    printk("Command line: %s\n", boot_info.cmdline);
}

static void __init read_firmware_data(void)
{
    if (!boot_info.efi)
        firmware_kbd_shift_flags = *(volatile uint8_t *)paddr_to_virt(PADDR(BIOS_KBD_FLAGS));
}

static void __init early_init(uint32_t magic, uint32_t info)
{
    boot_cpu_area_init();
    symbols_init();
    multiboot_parse(magic, info);
    cmdline_parse(boot_info.cmdline);
    console_init_early();
    banner();
    read_firmware_data();
    cpuid_init();
    topology_init();
    trap_init();
    descriptors_cpu_init(0);
}

static void __init memory_init(void)
{
    memory_map_init();
    memory_map_reserve();
    paging_init();
    cpuid_init_cpu();
    tlb_cpu_init();
    acpi_init(boot_info.rsdp);
    numa_init();
    frame_table_init();
    memory_init_late();
    paging_unmap((unsigned long)boot_stack - PAGE_SIZE, 1); // guard
}

static void __init video_init(void)
{
    const typeof(boot_info.framebuffer) *f = &boot_info.framebuffer;
    const struct framebuffer_info info = {
        .base = f->base,
        .width = f->width,
        .height = f->height,
        .pitch = f->pitch,
        .bytes_per_pixel = DIV_ROUND_UP(f->bpp, 8),
        .foreground = ((1u << f->red_size) - 1) << f->red_pos |
                      ((1u << f->green_size) - 1) << f->green_pos |
                      ((1u << f->blue_size) - 1) << f->blue_pos,
    };
    if (f->present)
        screen_init(&info);
    else if (!boot_info.efi && !acpi_info.no_vga)
        screen_init(NULL);
}

static void __init machine_init(void)
{
    video_init();
    apic_init();
    apic_init_cpu();
    ioapic_init();
    irq_init();
    time_init();
}

static void __init domains_init(void)
{
    smp_prepare();
    domain_init();
    stack_info()->vcpu = idle_domain->vcpu[0];
    this_cpu(current_vcpu) = current;
    sched_init();
    timer_cpu_init(0);
    sched_cpu_init(0);
    irq_enable();
    smp_start_all();
    microcode_done();
    keyhandler_init();
    console_init_late();
}

// Not __init: this frees the init sections.
static __noreturn __noinline void boot_finish(void)
{
    // The control domain has its kernel and initrd by now.
    for (unsigned int i = 0; i < boot_info.module_count; i++)
        boot_release(boot_info.modules[i].start, boot_info.modules[i].size);
    paging_seal();
    boot_release(image_to_paddr(init_start), init_end - init_start);
    memory_scrub_enable();
    printk("Boot took %llu ms; %lu MiB free\n", now_ns() / NS_PER_MS,
           memory_free_pages() >> (20 - PAGE_SHIFT));
    if (domain_unpause_by_controller(control_domain))
        panic("The control domain does not start");
    idle_loop();
}

void __init boot_main(uint32_t magic, uint32_t info)
{
    early_init(magic, info);
    memory_init();
    microcode_from_modules();
    machine_init();
    domains_init();
    cpupool_init();
    dom0_build();
    console_input_to_control_domain();
    screen_release();
    boot_finish();
}
