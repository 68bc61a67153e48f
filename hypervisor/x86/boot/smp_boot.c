// SPDX-License-Identifier: BSD-2-Clause
// Bringing up the secondary CPUs, one after the other, by INIT and STARTUP.
#include "x86/cpu/smp.h"
#include "core/cmdline.h"
#include "core/console.h"
#include "core/domain.h"
#include "core/sched.h"
#include "drivers/acpi.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "memory/heap.h"
#include "memory/nodes.h"
#include "x86/arch/page.h"
#include "x86/arch/image.h"
#include "x86/boot/memory_map.h"
#include "x86/boot/numa.h"
#include "x86/cpu/apic.h"
#include "x86/cpu/clock.h"
#include "x86/cpu/cpuid.h"
#include "x86/cpu/descriptors.h"
#include "x86/cpu/microcode.h"
#include "x86/mm/paging.h"

enum {
    START_TIMEOUT_MS = 2000,
    STARTUP_RETRY_MS = 200,
    SYNC_ROUNDS = 16,
    SYNC_GOOD_ROUNDS = 3, // enough when an exchange took less than SYNC_GOOD_TICKS
    SYNC_GOOD_TICKS = 5000,
    SYNC_LIMIT_TICKS = 3000000, // a machine this slow tells nothing more
};

// End of trampoline.S.
struct trampoline_patch {
    uint64_t stack, entry, page_tables;
};
extern const char trampoline_start[], trampoline_patch[], trampoline_end[];
void secondary_start(void);

static uint32_t __read_only_after_boot acpi_ids[MAX_CPUS];

static enum { CPU_STARTING, CPU_ALIVE } state; // of the CPU being started

int arch_cpu_physid(unsigned int cpu, uint64_t *id)
{
    if (cpu >= cpu_count)
        return -EINVAL;
    *id = apic_id_of(cpu) | (uint64_t)acpi_ids[cpu] << 32;
    return 0;
}

uint32_t acpi_id_of_cpu(unsigned int cpu)
{
    return cpu < MAX_CPUS ? acpi_ids[cpu] : ~0u;
}

// ---- numbering and areas ------------------------------------------------------------------------

static unsigned int __init cpu_limit(void)
{
    unsigned int limit = MAX_CPUS;
    if (options.nosmp || !trampoline_base)
        limit = 1;
    if (options.maxcpus)
        limit = MIN(limit, options.maxcpus);
    return limit;
}

static void __init number_cpus(void)
{
    uint32_t boot_id = apic_id_read();
    unsigned int limit = cpu_limit();
    apic_set_id(0, boot_id);
    for (unsigned int i = 0; i < acpi_info.cpu_count; i++) {
        const struct acpi_cpu *c = &acpi_info.cpus[i];
        if (c->apic_id == boot_id) {
            acpi_ids[0] = c->acpi_id;
            nodes_set_cpu(0, numa_node(c->proximity));
        } else if (cpu_count < limit && (c->apic_id < 255 || apic_is_x2apic())) {
            apic_set_id(cpu_count, c->apic_id);
            nodes_set_cpu(cpu_count, numa_node(c->proximity));
            acpi_ids[cpu_count++] = c->acpi_id;
        }
    }
}

void __init smp_prepare(void)
{
    size_t size = percpu_end - percpu_start;
    unsigned int order = 0;
    if (!trampoline_base)
        printk(LOG_WARN "No memory below 1 MiB to start other CPUs in\n");
    number_cpus();
    while ((PAGE_SIZE << order) < size)
        order++;
    for (unsigned int cpu = 1; cpu < cpu_count; cpu++) {
        char *area = page_alloc(order);
        if (!area)
            panic("No memory for the data of CPU %u", cpu);
        memcpy(area, percpu_start, size);
        percpu_offsets[cpu] = area - percpu_start;
    }
    smp_init_vectors();
    bit_set_atomic(cpu_online_map, 0);
}

// ---- clock comparison
// ----------------------------------------------------------------------------

// The new CPU asks, the boot CPU answers with its TSC; the closest exchange counts. An offset
// smaller than what the exchange can tell is none.
static uint64_t sync_answer;
static uint32_t sync_question;

static void sync_serve(void)
{
    if (!READ_ONCE(sync_question))
        return;
    WRITE_ONCE(sync_answer, rdtsc());
    smp_wmb();
    WRITE_ONCE(sync_question, 0);
}

static int64_t sync_measure(void)
{
    uint64_t best_width = ~0ull;
    int64_t best = 0;
    uint64_t start = rdtsc();
    for (unsigned int i = 0; i < SYNC_ROUNDS; i++) {
        if ((i >= SYNC_GOOD_ROUNDS && best_width < SYNC_GOOD_TICKS) ||
            (i && rdtsc() - start > SYNC_LIMIT_TICKS))
            break;
        uint64_t before = rdtsc();
        WRITE_ONCE(sync_question, 1);
        while (READ_ONCE(sync_question))
            cpu_relax();
        uint64_t after = rdtsc();
        if (after - before >= best_width)
            continue;
        best_width = after - before;
        best = (int64_t)(before + best_width / 2 - READ_ONCE(sync_answer));
    }
    uint64_t size = best < 0 ? -best : best;
    return size <= best_width ? 0 : best;
}

// ---- start
// ----------------------------------------------------------------------------------------

// trampoline_base: code; +4K: L4, +8K: L3, +12K: L2 that maps the first 2 MiB where they are.
static void __init trampoline_install(void)
{
    char *base = paddr_to_virt(PADDR(trampoline_base));
    memcpy(base, trampoline_start, trampoline_end - trampoline_start);
    uint64_t *l4 = (void *)(base + PAGE_SIZE), *l3 = l4 + 512, *l2 = l3 + 512;
    clear_page(l4);
    clear_page(l3);
    clear_page(l2);
    memcpy(l4 + L4_SLOT_FIRST, idle_l4 + L4_SLOT_FIRST,
           (L4_SLOT_END - L4_SLOT_FIRST) * sizeof(*l4));
    l4[0] = (trampoline_base + 2 * PAGE_SIZE) | PTE_P | PTE_RW;
    l3[0] = (trampoline_base + 3 * PAGE_SIZE) | PTE_P | PTE_RW;
    l2[0] = PTE_P | PTE_RW | PTE_PSE;
}

static void __init prepare_stack(unsigned int cpu, struct vcpu *v)
{
    struct stack_info *info = (struct stack_info *)((char *)v->stack + STACK_SIZE) - 1;
    info->percpu_offset = percpu_offsets[cpu];
    info->cpu = cpu;
    info->vcpu = v;
    struct trampoline_patch *patch =
        paddr_to_virt(PADDR(trampoline_base + (trampoline_patch - trampoline_start)));
    patch->stack = (uint64_t)info;
    patch->entry = (uint64_t)secondary_start;
    patch->page_tables = paging_idle_cr3().v;
}

// True when the CPU reaches `wanted` in time.
static bool __init wait_for_state(int wanted, unsigned int ms)
{
    stime_t end = now_ns() + ms * NS_PER_MS;
    while (READ_ONCE(state) < wanted) {
        sync_serve();
        cpu_relax();
        if (now_ns() > end)
            return false;
    }
    return true;
}

static bool __init start_cpu(unsigned int cpu)
{
    uint32_t apic_id = apic_id_of(cpu);
    state = CPU_STARTING;
    smp_mb();
    for (unsigned int tries = 0; tries < START_TIMEOUT_MS / STARTUP_RETRY_MS; tries++) {
        apic_send_startup(apic_id, trampoline_base >> PAGE_SHIFT);
        if (wait_for_state(CPU_ALIVE, STARTUP_RETRY_MS))
            break;
    }
    if (!wait_for_state(CPU_ALIVE, 1))
        return false;
    while (!bit_test(cpu_online_map, cpu)) {
        sync_serve();
        cpu_relax();
    }
    return true;
}

void __init smp_start_all(void)
{
    if (cpu_count == 1)
        return;
    trampoline_install();
    for (unsigned int cpu = 1; cpu < cpu_count; cpu++)
        apic_send_init(apic_id_of(cpu));
    time_delay_us(200); // current CPUs need no 10 ms between INIT and STARTUP
    unsigned int missing = 0;
    for (unsigned int cpu = 1; cpu < cpu_count; cpu++) {
        struct vcpu *v = vcpu_create_idle(cpu);
        if (!v || descriptors_cpu_alloc(cpu))
            panic("No memory for CPU %u", cpu);
        prepare_stack(cpu, v);
        timer_cpu_init(cpu);
        sched_cpu_init(cpu);
        if (start_cpu(cpu))
            continue;
        missing++;
        printk(LOG_ERR "CPU %u (APIC id %u) does not start\n", cpu, apic_id_of(cpu));
    }
    printk("%u CPUs\n", cpu_count - missing);
}

void secondary_main(void)
{
    WRITE_ONCE(state, CPU_ALIVE);
    unsigned int cpu = cpu_id();
    cpuid_init_cpu();
    tlb_cpu_init();
    descriptors_cpu_init(cpu);
    microcode_cpu_init();
    apic_init_cpu();
    this_cpu(current_vcpu) = current;
    time_set_cpu_offset(sync_measure());
    bit_set_atomic(cpu_online_map, cpu);
    irq_enable();
    idle_loop();
}
