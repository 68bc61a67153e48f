// SPDX-License-Identifier: BSD-2-Clause
#include "metrics.h"

#include <string.h>

enum { METRICS_PAGE = 4096 };

void metrics_label(struct buf *out, const char *value)
{
    buf_puts(out, "\"");
    for (const char *p = value; *p; p++) {
        if (*p == '\\' || *p == '"')
            buf_printf(out, "\\%c", *p);
        else if (*p == '\n')
            buf_puts(out, "\\n");
        else
            buf_add(out, p, 1);
    }
    buf_puts(out, "\"");
}

static void family(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void host_metrics(const struct serai_host *h, struct buf *out)
{
    family(out, "serai_host_info", "gauge", "The hypervisor that runs this machine.");
    buf_printf(out, "serai_host_info{interface=\"%u.%u\",scheduler=", h->version_major,
               h->version_minor);
    metrics_label(out, h->scheduler);
    buf_puts(out, "} 1\n");
    family(out, "serai_host_cpus", "gauge", "CPUs of the machine.");
    buf_printf(out, "serai_host_cpus %u\n", h->nr_cpus);
    family(out, "serai_host_memory_bytes", "gauge", "Memory of the machine.");
    buf_printf(out, "serai_host_memory_bytes %llu\n",
               (unsigned long long)h->total_pages * METRICS_PAGE);
    family(out, "serai_host_memory_free_bytes", "gauge", "Memory that belongs to nobody.");
    buf_printf(out, "serai_host_memory_free_bytes %llu\n",
               (unsigned long long)h->free_pages * METRICS_PAGE);
}

static void domain_labels(struct buf *out, const char *family_name, const struct serai_domain *d)
{
    buf_printf(out, "%s{domain=\"%u\",name=", family_name, d->id);
    metrics_label(out, d->name);
}

enum domain_number { CPU_SECONDS, MEMORY, MEMORY_MAX, VCPUS, RUNNING_STATE, DOMAIN_NUMBERS };

static const struct {
    const char *name, *type, *help;
} domain_families[DOMAIN_NUMBERS] = {
    {"serai_domain_cpu_seconds_total", "counter", "CPU time of all virtual CPUs together."},
    {"serai_domain_memory_bytes", "gauge", "Memory that the domain has."},
    {"serai_domain_memory_max_bytes", "gauge", "Memory that it may have; 0: no limit."},
    {"serai_domain_vcpus", "gauge", "Virtual CPUs that are online."},
    {"serai_domain_state", "gauge", "1 for the state that the domain is in."},
};

static const char *state_name(const struct serai_domain *d)
{
    return d->flags & SERAI_DOMAIN_DYING      ? "dying"
           : d->flags & SERAI_DOMAIN_SHUTDOWN ? serai_shutdown_name(d->shutdown_reason)
           : d->flags & SERAI_DOMAIN_PAUSED   ? "paused"
                                              : "running";
}

static void domain_sample(struct buf *out, enum domain_number what, const struct serai_domain *d)
{
    uint64_t max = d->max_pages == UINT64_MAX ? 0 : d->max_pages;
    domain_labels(out, domain_families[what].name, d);
    switch (what) {
    case CPU_SECONDS:
        buf_printf(out, "} %llu.%09llu\n", (unsigned long long)d->cpu_ns / 1000000000,
                   (unsigned long long)d->cpu_ns % 1000000000);
        break;
    case MEMORY:
        buf_printf(out, "} %llu\n", (unsigned long long)d->pages * METRICS_PAGE);
        break;
    case MEMORY_MAX:
        buf_printf(out, "} %llu\n", (unsigned long long)max * METRICS_PAGE);
        break;
    case VCPUS:
        buf_printf(out, "} %u\n", d->online_vcpus);
        break;
    default:
        buf_puts(out, ",state=");
        metrics_label(out, state_name(d));
        buf_puts(out, "} 1\n");
    }
}

// One family for each number of the devices of a kind.
static const struct {
    enum serai_usage_kind kind;
    bool in, bytes;
    const char *name, *help;
} usage_families[] = {
    {SERAI_USAGE_DISK, true, true, "serai_disk_read_bytes_total", "Bytes that the guest has read."},
    {SERAI_USAGE_DISK, false, true, "serai_disk_written_bytes_total",
     "Bytes that the guest has written."},
    {SERAI_USAGE_DISK, true, false, "serai_disk_reads_total", "Read requests of the guest."},
    {SERAI_USAGE_DISK, false, false, "serai_disk_writes_total", "Write requests of the guest."},
    {SERAI_USAGE_VIF, true, true, "serai_network_receive_bytes_total",
     "Bytes that the guest has received."},
    {SERAI_USAGE_VIF, false, true, "serai_network_transmit_bytes_total",
     "Bytes that the guest has sent."},
    {SERAI_USAGE_VIF, true, false, "serai_network_receive_packets_total",
     "Packets that the guest has received."},
    {SERAI_USAGE_VIF, false, false, "serai_network_transmit_packets_total",
     "Packets that the guest has sent."},
};

static const struct serai_domain *domain_of(const struct metrics *m, uint32_t id)
{
    for (size_t i = 0; i < m->nr_domains; i++)
        if (m->domains[i].id == id)
            return &m->domains[i];
    return NULL;
}

static void usage_metrics(const struct metrics *m, size_t family_number, struct buf *out)
{
    bool in = usage_families[family_number].in, bytes = usage_families[family_number].bytes;
    const char *name = usage_families[family_number].name;
    family(out, name, "counter", usage_families[family_number].help);
    for (size_t i = 0; i < m->nr_usage; i++) {
        const struct serai_usage *u = &m->usage[i];
        const struct serai_domain *d = domain_of(m, u->domain);
        if (u->kind != usage_families[family_number].kind || !d)
            continue; // of a domain that has just gone
        uint64_t n =
            in ? (bytes ? u->in_bytes : u->in_count) : (bytes ? u->out_bytes : u->out_count);
        domain_labels(out, name, d);
        buf_printf(out, ",device=\"%u\"} %llu\n", u->devid, (unsigned long long)n);
    }
}

void metrics_write(const struct metrics *m, struct buf *out)
{
    host_metrics(m->host, out);
    for (int f = 0; f < DOMAIN_NUMBERS; f++) {
        family(out, domain_families[f].name, domain_families[f].type, domain_families[f].help);
        for (size_t i = 0; i < m->nr_domains; i++)
            domain_sample(out, (enum domain_number)f, &m->domains[i]);
    }
    for (size_t f = 0; f < sizeof(usage_families) / sizeof(usage_families[0]); f++)
        usage_metrics(m, f, out);
}
