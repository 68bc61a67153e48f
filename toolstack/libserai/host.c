// SPDX-License-Identifier: BSD-2-Clause
// The machine: version, capacity, messages, debug keys.
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xen/version.h>

static void host_version(struct serai *s, struct serai_host *out)
{
    xen_extraversion_t extra = {0};
    xen_capabilities_info_t caps = {0};
    xen_commandline_t cmdline = {0};
    struct xen_compile_info compile = {0};

    int version = hc_version(s, XENVER_version, NULL, 0);
    if (version >= 0) {
        out->version_major = (unsigned)version >> 16;
        out->version_minor = (unsigned)version & 0xffff;
    }
    // An answer that is missing leaves its text empty: none of these is vital.
    if (hc_version(s, XENVER_extraversion, extra, sizeof(extra)) >= 0)
        snprintf(out->version_extra, sizeof(out->version_extra), "%.15s", extra);
    if (hc_version(s, XENVER_capabilities, caps, sizeof(caps)) >= 0)
        snprintf(out->capabilities, sizeof(out->capabilities), "%.1023s", caps);
    if (hc_version(s, XENVER_commandline, cmdline, sizeof(cmdline)) >= 0)
        snprintf(out->cmdline, sizeof(out->cmdline), "%.1023s", cmdline);
    if (hc_version(s, XENVER_compile_info, &compile, sizeof(compile)) >= 0) {
        snprintf(out->compiler, sizeof(out->compiler), "%.63s", compile.compiler);
        snprintf(out->compile_date, sizeof(out->compile_date), "%.31s", compile.compile_date);
    }
}

static const char *host_scheduler_name(uint32_t id)
{
    switch (id) {
    case XEN_SCHEDULER_CREDIT:
        return "credit";
    case XEN_SCHEDULER_CREDIT2:
        return "credit2";
    case XEN_SCHEDULER_ARINC653:
        return "arinc653";
    case XEN_SCHEDULER_RTDS:
        return "rtds";
    case XEN_SCHEDULER_NULL:
        return "null";
    }
    return "unknown";
}

int serai_host_get(struct serai *s, struct serai_host *out, struct serai_error *err)
{
    memset(out, 0, sizeof(*out));
    struct xen_sysctl op = {.cmd = XEN_SYSCTL_physinfo};
    int ret = hc_sysctl(s, &op);
    if (ret < 0)
        return err_sys(err, ret, "cannot read the machine's properties");
    const struct xen_sysctl_physinfo *pi = &op.u.physinfo;
    out->nr_cpus = pi->nr_cpus;
    out->max_cpu_id = pi->max_cpu_id;
    out->nr_nodes = pi->nr_nodes;
    out->cores_per_socket = pi->cores_per_socket;
    out->threads_per_core = pi->threads_per_core;
    out->cpu_khz = pi->cpu_khz;
    out->total_pages = pi->total_pages;
    out->free_pages = pi->free_pages;
    out->scrub_pages = pi->scrub_pages;
    out->claimed_pages = pi->outstanding_pages;
    out->pv = pi->capabilities & XEN_SYSCTL_PHYSCAP_pv;
    out->hvm = pi->capabilities & XEN_SYSCTL_PHYSCAP_hvm;
    out->hap = pi->capabilities & XEN_SYSCTL_PHYSCAP_hap;
    out->iommu = pi->capabilities & XEN_SYSCTL_PHYSCAP_directio;
    out->grant_v2 = pi->capabilities & XEN_SYSCTL_PHYSCAP_gnttab_v2;

    struct xen_sysctl sched = {.cmd = XEN_SYSCTL_sched_id};
    bool known = hc_sysctl(s, &sched) >= 0;
    snprintf(out->scheduler, sizeof(out->scheduler), "%s",
             known ? host_scheduler_name(sched.u.sched_id.sched_id) : "unknown");
    host_version(s, out);
    return 0;
}

int serai_host_idle(struct serai *s, uint64_t *idle_ns, unsigned max, unsigned *count,
                    struct serai_error *err)
{
    xen_sysctl_cpuinfo_t *info = hc_alloc(s, max * sizeof(*info));
    if (!info)
        return err_set(err, -ENOMEM, "out of memory");
    struct xen_sysctl op = {.cmd = XEN_SYSCTL_getcpuinfo};
    op.u.getcpuinfo.max_cpus = max;
    set_xen_guest_handle(op.u.getcpuinfo.info, info);
    int ret = hc_sysctl(s, &op);
    if (ret < 0) {
        err_sys(err, ret, "cannot read the idle times of the CPUs");
    } else {
        *count = op.u.getcpuinfo.nr_cpus < max ? op.u.getcpuinfo.nr_cpus : max;
        for (unsigned i = 0; i < *count; i++)
            idle_ns[i] = info[i].idletime;
    }
    hc_free(s, info);
    return ret < 0 ? ret : 0;
}

int serai_host_messages(struct serai *s, bool clear, char **text, size_t *len,
                        struct serai_error *err)
{
    enum { CHUNK = 64 * 1024, LIMIT = 64 * 1024 * 1024 };
    char *chunk = hc_alloc(s, CHUNK), *all = NULL;
    if (!chunk)
        return err_set(err, -ENOMEM, "out of memory");
    size_t total = 0;
    uint32_t index = 0;
    int ret = 0;
    // The ring may be larger than one chunk: each call goes on from the index the last gave.
    while (total < LIMIT) {
        struct xen_sysctl op = {.cmd = XEN_SYSCTL_readconsole};
        set_xen_guest_handle(op.u.readconsole.buffer, chunk);
        op.u.readconsole.count = CHUNK;
        op.u.readconsole.incremental = 1;
        op.u.readconsole.index = index;
        ret = hc_sysctl(s, &op);
        if (ret < 0) {
            err_sys(err, ret, "cannot read the hypervisor's messages");
            break;
        }
        uint32_t got = op.u.readconsole.count < CHUNK ? op.u.readconsole.count : CHUNK;
        char *more = realloc(all, total + got + 1);
        if (!more) {
            ret = err_set(err, -ENOMEM, "out of memory");
            break;
        }
        all = more;
        memcpy(all + total, chunk, got);
        total += got;
        all[total] = '\0';
        index = op.u.readconsole.index;
        if (got < CHUNK)
            break;
    }
    if (ret >= 0 && clear) {
        struct xen_sysctl op = {.cmd = XEN_SYSCTL_readconsole};
        set_xen_guest_handle(op.u.readconsole.buffer, chunk);
        op.u.readconsole.clear = 1;
        ret = hc_sysctl(s, &op);
        if (ret < 0)
            err_sys(err, ret, "cannot clear the hypervisor's messages");
    }
    hc_free(s, chunk);
    if (ret < 0) {
        free(all);
        return ret;
    }
    *text = all;
    *len = total;
    return 0;
}

int serai_host_debug_keys(struct serai *s, const char *keys, struct serai_error *err)
{
    size_t len = strlen(keys);
    if (!len || len > 4096)
        return err_set(err, -EINVAL, "give one key or more (at most 4096)");
    char *copy = hc_alloc(s, len + 1);
    if (!copy)
        return err_set(err, -ENOMEM, "out of memory");
    memcpy(copy, keys, len + 1);
    struct xen_sysctl op = {.cmd = XEN_SYSCTL_debug_keys};
    set_xen_guest_handle(op.u.debug_keys.keys, copy);
    op.u.debug_keys.nr_keys = (uint32_t)len;
    int ret = hc_sysctl(s, &op);
    hc_free(s, copy);
    return ret < 0 ? err_sys(err, ret, "cannot send the keys") : 0;
}
