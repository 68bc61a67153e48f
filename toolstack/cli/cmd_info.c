// SPDX-License-Identifier: BSD-2-Clause
// Verbs about the machine.
#include "cli.h"

#include "json.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static unsigned long long pages_mb(uint64_t pages)
{
    return pages / 256;
}

// The CPUs and nodes; all empty when they were not asked for.
struct info_numa {
    struct serai_cpu *cpus;
    struct serai_node *nodes;
    size_t nr_cpus, nr_nodes;
};

static void numa_json(struct json *j, const struct info_numa *n)
{
    json_begin(j, "cpu_topology", '[');
    for (size_t i = 0; i < n->nr_cpus; i++) {
        json_begin(j, NULL, '{');
        json_number(j, "cpu", n->cpus[i].id);
        json_number(j, "core", n->cpus[i].core);
        json_number(j, "socket", n->cpus[i].socket);
        json_number(j, "node", n->cpus[i].node);
        json_end(j, '}');
    }
    json_end(j, ']');
    json_begin(j, "numa_nodes", '[');
    for (size_t i = 0; i < n->nr_nodes; i++) {
        json_begin(j, NULL, '{');
        json_number(j, "node", n->nodes[i].id);
        json_number(j, "total_kb", n->nodes[i].total_bytes >> 10);
        json_number(j, "free_kb", n->nodes[i].free_bytes >> 10);
        json_begin(j, "distances", '[');
        for (size_t k = 0; k < n->nr_nodes; k++)
            json_number(j, NULL, n->nodes[i].distance[n->nodes[k].id]);
        json_end(j, ']');
        json_end(j, '}');
    }
    json_end(j, ']');
}

static void numa_text(const struct info_numa *n)
{
    printf("cpu_topology       :\ncpu:    core    socket     node\n");
    for (size_t i = 0; i < n->nr_cpus; i++)
        printf("%3u:    %4u      %4u     %4u\n", n->cpus[i].id, n->cpus[i].core, n->cpus[i].socket,
               n->cpus[i].node);
    printf("numa_info          :\nnode:    memsize    memfree    distances\n");
    for (size_t i = 0; i < n->nr_nodes; i++) {
        printf("%4u:    %7llu    %7llu    ", n->nodes[i].id,
               (unsigned long long)n->nodes[i].total_bytes >> 20,
               (unsigned long long)n->nodes[i].free_bytes >> 20);
        for (size_t k = 0; k < n->nr_nodes; k++)
            printf("%s%u", k ? "," : "", n->nodes[i].distance[n->nodes[k].id]);
        putchar('\n');
    }
}

static void info_json(const struct serai_host *h, size_t domains, const struct info_numa *n)
{
    BUF_AUTO out = {0};
    struct json j = {.out = &out};
    json_begin(&j, NULL, '{');
    json_number(&j, "version_major", h->version_major);
    json_number(&j, "version_minor", h->version_minor);
    json_string(&j, "version_extra", h->version_extra);
    json_string(&j, "compiler", h->compiler);
    json_string(&j, "compile_date", h->compile_date);
    json_string(&j, "capabilities", h->capabilities);
    json_string(&j, "cmdline", h->cmdline);
    json_string(&j, "scheduler", h->scheduler);
    json_number(&j, "cpus", h->nr_cpus);
    json_number(&j, "nodes", h->nr_nodes);
    json_number(&j, "cores_per_socket", h->cores_per_socket);
    json_number(&j, "threads_per_core", h->threads_per_core);
    json_number(&j, "cpu_khz", h->cpu_khz);
    json_number(&j, "total_kb", h->total_pages * 4);
    json_number(&j, "free_kb", h->free_pages * 4);
    json_number(&j, "scrub_kb", h->scrub_pages * 4);
    json_number(&j, "claimed_kb", h->claimed_pages * 4);
    json_bool(&j, "pv", h->pv);
    json_bool(&j, "hvm", h->hvm);
    json_bool(&j, "hap", h->hap);
    json_bool(&j, "iommu", h->iommu);
    json_number(&j, "domains", domains);
    if (n->cpus)
        numa_json(&j, n);
    json_end(&j, '}');
    fputs(out.data, stdout);
}

static void info_text(const struct serai_host *h, size_t domains)
{
    printf("hypervisor         : Xen interface %u.%u%s\n", h->version_major, h->version_minor,
           h->version_extra);
    printf("built              : %s with %s\n", h->compile_date, h->compiler);
    printf("command_line       : %s\n", h->cmdline);
    printf("guest_types        :%s%s%s\n", h->pv ? " pv" : "", h->hvm ? " hvm" : "",
           h->hap ? " hap" : "");
    printf("capabilities       : %s\n", h->capabilities);
    printf("scheduler          : %s\n", h->scheduler);
    printf("nr_cpus            : %u\n", h->nr_cpus);
    printf("nr_nodes           : %u\n", h->nr_nodes);
    printf("cores_per_socket   : %u\n", h->cores_per_socket);
    printf("threads_per_core   : %u\n", h->threads_per_core);
    printf("cpu_mhz            : %u.%03u\n", h->cpu_khz / 1000, h->cpu_khz % 1000);
    printf("iommu              : %s\n", h->iommu ? "yes" : "no");
    printf("total_memory       : %llu\n", pages_mb(h->total_pages));
    printf("free_memory        : %llu\n", pages_mb(h->free_pages));
    printf("free_pages         : %llu\n", (unsigned long long)h->free_pages);
    printf("scrub_pages        : %llu\n", (unsigned long long)h->scrub_pages);
    printf("claimed_pages      : %llu\n", (unsigned long long)h->claimed_pages);
    printf("domains            : %zu\n", domains);
}

static int info_read_numa(struct cli *cli, struct info_numa *n)
{
    struct serai_error err;
    if (serai_cpu_list(cli->s, &n->cpus, &n->nr_cpus, &err) ||
        serai_node_list(cli->s, &n->nodes, &n->nr_nodes, &err))
        return cli_fail(&err);
    return CLI_OK;
}

static int info_show(struct cli *cli, bool json, const struct info_numa *numa)
{
    struct serai_host host;
    struct serai_domain *list;
    size_t domains;
    struct serai_error err;
    if (serai_host_get(cli->s, &host, &err) || serai_domain_list(cli->s, &list, &domains, &err))
        return cli_fail(&err);
    free(list);
    if (json) {
        info_json(&host, domains, numa);
    } else {
        info_text(&host, domains);
        if (numa->cpus)
            numa_text(numa);
    }
    return CLI_OK;
}

int cmd_info(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"numa", no_argument, NULL, 'n'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct info_numa numa = {0};
    bool json = false, with_numa = false;
    for (int opt; (opt = cli_getopt(cli, argc, argv, "nh", options)) != -1;) {
        if (opt != 'j' && opt != 'n')
            return cli_option(cli, opt);
        json |= opt == 'j';
        with_numa |= opt == 'n';
    }
    int code = with_numa ? info_read_numa(cli, &numa) : CLI_OK;
    if (code == CLI_OK)
        code = info_show(cli, json, &numa);
    free(numa.cpus);
    free(numa.nodes);
    return code;
}

int cmd_dmesg(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {
        {"clear", no_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'}, {0}};
    bool clear = false;
    for (int opt; (opt = cli_getopt(cli, argc, argv, "ch", options)) != -1;) {
        if (opt != 'c')
            return cli_option(cli, opt);
        clear = true;
    }
    char *text;
    size_t len;
    struct serai_error err;
    if (serai_host_messages(cli->s, clear, &text, &len, &err))
        return cli_fail(&err);
    fwrite(text, 1, len, stdout);
    if (len && text[len - 1] != '\n')
        putchar('\n');
    free(text);
    return CLI_OK;
}

int cmd_debug_keys(struct cli *cli, int argc, char **argv)
{
    struct serai_error err;
    if (argc != 2)
        return cli_usage(cli, "give the keys as one argument");
    return serai_host_debug_keys(cli->s, argv[1], &err) ? cli_fail(&err) : CLI_OK;
}
