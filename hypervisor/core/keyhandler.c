// SPDX-License-Identifier: BSD-2-Clause
#include "core/keyhandler.h"
#include "core/console.h"
#include "core/domain.h"
#include "core/evtchn.h"
#include "core/grant.h"
#include "core/sched.h"
#include "memory/frame.h"
#include "memory/heap.h"
#include "memory/nodes.h"
#include "x86/arch/crash.h"
#include "x86/arch/memory.h"

struct key {
    const char *help;
    void (*fn)(void);
};

static struct key keys[128];

void keyhandler_register(char key, const char *help, void (*fn)(void))
{
    unsigned int k = (unsigned char)key;
    if (k < ARRAY_SIZE(keys))
        keys[k] = (struct key){help, fn};
}

void keyhandler_run(char key)
{
    unsigned int k = (unsigned char)key;
    if (k == '\r' || k == '\n')
        return;
    if (k >= ARRAY_SIZE(keys) || !keys[k].fn) {
        printk("Key %#x does nothing; h lists the keys\n", k);
        return;
    }
    printk("Key %c: %s\n", key, keys[k].help);
    keys[k].fn();
}

static void show_help(void)
{
    for (unsigned int k = 0; k < ARRAY_SIZE(keys); k++)
        if (keys[k].fn)
            printk(" %c: %s\n", k, keys[k].help);
}

static void show_cpu(void *unused)
{
    printk("CPU %u runs d%uv%u\n", cpu_id(), current->domain->id, current->id);
    if (current->is_idle)
        arch_backtrace(NULL);
    else
        arch_vcpu_dump(current);
}

static void show_registers(void)
{
    unsigned int cpu;
    for_each_online_cpu (cpu) {
        DECLARE_BITMAP(mask, MAX_CPUS) = {};
        bit_set(mask, cpu);
        arch_cpu_call(mask, show_cpu, NULL);
    }
}

static void show_vcpu(struct vcpu *v)
{
    printk("   v%u: CPU %u%s pause flags %#x counts %d+%u, %llu ms, upcall %s %s\n", v->id, v->cpu,
           v->is_running ? " running" : "", v->pause_flags, v->pause_count, v->controller_pauses,
           vcpu_cpu_time(v) / NS_PER_MS, v->info->evtchn_upcall_pending ? "pending" : "idle",
           v->info->evtchn_upcall_mask ? "masked" : "open");
}

static void show_domains(void)
{
    struct vcpu *v;
    domid_t id = 0;
    for (struct domain *d; (d = domain_get_next(id)); domain_put(d)) {
        printk(" d%u: refs %d, pages %lu of %lu, pause %d, %s%s, %u ports\n", d->id, d->refs,
               d->tot_pages, d->max_pages, d->pause_count, d->dying ? "dying " : "",
               d->shut_down ? "shut down" : "up", evtchn_domain_ports_in_use(d));
        for_each_vcpu (d, v)
            show_vcpu(v);
        id = d->id + 1;
    }
}

static void show_guest_registers(void)
{
    struct vcpu *v;
    domid_t id = 0;
    for (struct domain *d; (d = domain_get_next(id)); domain_put(d)) {
        for_each_vcpu (d, v) {
            if (v == current || !v->initialised)
                continue;
            printk("d%uv%u:\n", d->id, v->id);
            vcpu_pause(v);
            arch_vcpu_dump(v);
            vcpu_unpause(v);
        }
        id = d->id + 1;
    }
}

// Whatever domains can take, so that tests can see that all of it came back.
static void show_resources(void)
{
    unsigned int ports = 0, mappings = 0;
    domid_t id = 0;
    for (struct domain *d; (d = domain_get_next(id)); domain_put(d)) {
        ports += evtchn_domain_ports_in_use(d);
        mappings += grant_domain_mappings(d);
        id = d->id + 1;
    }
    printk("Frames: %lu in all, %lu free, %lu unclaimed\n", memory_total_pages(),
           memory_free_pages(), memory_unclaimed_pages());
    for (unsigned int node = 0; node_count > 1 && node < node_count; node++)
        printk("Node %u: %lu in all, %lu free\n", node, memory_node_pages(node),
               memory_node_free_pages(node));
    printk("In use: heap %lu bytes, event channels %u, grant mappings %u\n", heap_bytes_in_use(),
           ports, mappings);
    printk("Kept: heap pages %lu, spare page tables %u, page tables %u\n", heap_small_pages(),
           arch_paging_spare(), arch_paging_tables());
}

static void reboot_now(void)
{
    arch_machine_restart();
}

static void crash_now(void)
{
    panic("Asked for by key C");
}

void __init keyhandler_init(void)
{
    keyhandler_register('h', "list keys", show_help);
    keyhandler_register('d', "registers of all CPUs", show_registers);
    keyhandler_register('q', "domains and vCPUs", show_domains);
    keyhandler_register('0', "registers of all vCPUs", show_guest_registers);
    keyhandler_register('m', "memory, event channels and grants in use", show_resources);
    keyhandler_register('R', "reboot the machine", reboot_now);
    keyhandler_register('C', "crash the hypervisor", crash_now);
}
