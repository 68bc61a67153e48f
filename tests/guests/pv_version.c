// SPDX-License-Identifier: BSD-2-Clause
// xen_version: every sub-operation.
#include "lib/guest.h"

static bool terminated(const char *s, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!s[i])
            return true;
    return false;
}

void guest_main(void)
{
    static struct {
        xen_extraversion_t extra;
        xen_compile_info_t info;
        xen_capabilities_info_t caps;
        xen_changeset_info_t change;
        xen_platform_parameters_t platform;
        xen_domain_handle_t handle;
        xen_commandline_t line;
    } v;
    xen_feature_info_t features = {.submap_idx = 0};

    is(hc_xen_version(XENVER_version, NULL), 4 << 16 | 17, "version 4.17");
    is(hc_xen_version(XENVER_version | 1UL << 31, NULL), -XEN_ENOSYS, "unknown sub-operation");
    memset(&v, 0xff, sizeof(v));
    is(hc_xen_version(XENVER_extraversion, v.extra), 0, "extraversion");
    ok(terminated(v.extra, sizeof(v.extra)), "extraversion ends in a zero");
    is(hc_xen_version(XENVER_compile_info, &v.info), 0, "compile_info");
    ok(terminated(v.info.compiler, sizeof(v.info.compiler)), "compiler ends in a zero");
    is(hc_xen_version(XENVER_capabilities, v.caps), 0, "capabilities");
    ok(strstr(v.caps, "xen-3.0-x86_64"), "capabilities include 64-bit PV");
    is(hc_xen_version(XENVER_changeset, v.change), 0, "changeset");
    ok(terminated(v.change, sizeof(v.change)), "changeset ends in a zero");
    is(hc_xen_version(XENVER_platform_parameters, &v.platform), 0, "platform_parameters");
    is(v.platform.virt_start, HYPERVISOR_VIRT_START, "virt_start");
    is(hc_xen_version(XENVER_pagesize, NULL), 4096, "pagesize");
    is(hc_xen_version(XENVER_guest_handle, &v.handle), 0, "guest_handle");
    is(hc_xen_version(XENVER_commandline, v.line), 0, "commandline");
    ok(terminated(v.line, sizeof(v.line)), "commandline ends in a zero");
    tap_note("Xen 4.17%s, %s, caps %s", v.extra, v.info.compiler, v.caps);

    is(hc_xen_version(XENVER_get_features, &features), 0, "get_features");
    ok(!(features.submap & 1U << XENFEAT_auto_translated_physmap), "not translated");
    ok(!(features.submap & 1U << XENFEAT_writable_page_tables), "page tables are not writable");
    ok(!(features.submap & 1U << XENFEAT_supervisor_mode_kernel), "not in ring 0");
    ok(features.submap & 1U << XENFEAT_mmu_pt_update_preserve_ad, "preserve_ad");
    ok(features.submap & 1U << XENFEAT_highmem_assist, "clear and copy page");
    ok(features.submap & 1U << XENFEAT_gnttab_map_avail_bits, "gnttab_map_avail_bits");
    ok(!!(features.submap & 1U << XENFEAT_dom0) == !!(start_info->flags & SIF_INITDOMAIN),
       "dom0 feature in the control domain alone");
    features.submap_idx = 1;
    is(hc_xen_version(XENVER_get_features, &features), -XEN_EINVAL, "features, second submap");
    is_error(hc_xen_version(XENVER_get_features, NULL), "features to a null pointer");
    ok(hc_xen_version(XENVER_build_id, NULL) != 0, "build_id has a size or is refused");
}
