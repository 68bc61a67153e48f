// SPDX-License-Identifier: BSD-2-Clause
// Domains: listing, finding, pausing, destroying, renaming.
#include "devices.h"
#include "state.h"
#include "store_domain.h"

#include "suggest.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { DOMAIN_BATCH = 256, DOMAIN_GONE_MS = 5000 };

char *serai_uuid_format(const uint8_t u[16], char text[SERAI_UUID_TEXT])
{
    snprintf(text, SERAI_UUID_TEXT,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
             u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
             u[15]);
    return text;
}

int serai_uuid_random(uint8_t uuid[16], struct serai_error *err)
{
    if (getrandom(uuid, 16, 0) != 16)
        return err_sys(err, -errno, "cannot make up a UUID");
    uuid[6] = (uuid[6] & 0x0f) | 0x40; // version 4: random
    uuid[8] = (uuid[8] & 0x3f) | 0x80;
    return 0;
}

bool serai_uuid_parse(const char *text, uint8_t uuid[16])
{
    for (unsigned i = 0; i < 16; i++) {
        if ((i == 4 || i == 6 || i == 8 || i == 10) && *text++ != '-')
            return false;
        unsigned value = 0;
        for (unsigned k = 0; k < 2; k++, text++) {
            int ch = tolower((unsigned char)*text);
            if (!isxdigit(ch))
                return false;
            value = value * 16 + (unsigned)(isdigit(ch) ? ch - '0' : ch - 'a' + 10);
        }
        uuid[i] = (uint8_t)value;
    }
    return !*text;
}

const char *serai_shutdown_name(unsigned reason)
{
    static const char *const names[] = {"poweroff", "reboot",   "suspend",
                                        "crash",    "watchdog", "soft-reset"};
    return reason < sizeof(names) / sizeof(names[0]) ? names[reason] : "unknown";
}

static void domain_convert(const struct xen_domctl_getdomaininfo *in, struct serai_domain *out)
{
    static const struct {
        unsigned from, to;
    } flags[] = {
        {XEN_DOMINF_running, SERAI_DOMAIN_RUNNING},   {XEN_DOMINF_blocked, SERAI_DOMAIN_BLOCKED},
        {XEN_DOMINF_paused, SERAI_DOMAIN_PAUSED},     {XEN_DOMINF_dying, SERAI_DOMAIN_DYING},
        {XEN_DOMINF_shutdown, SERAI_DOMAIN_SHUTDOWN}, {XEN_DOMINF_hvm_guest, SERAI_DOMAIN_HVM},
    };
    *out = (struct serai_domain){
        .id = in->domain,
        .shutdown_reason = in->flags >> XEN_DOMINF_shutdownshift & XEN_DOMINF_shutdownmask,
        .pages = in->tot_pages,
        .max_pages = in->max_pages,
        .claimed_pages = in->outstanding_pages,
        .cpu_ns = in->cpu_time,
        .online_vcpus = in->nr_online_vcpus,
        .max_vcpus = in->max_vcpu_id == XEN_INVALID_MAX_VCPU_ID ? 0 : in->max_vcpu_id + 1,
    };
    memcpy(out->uuid, in->handle, sizeof(out->uuid));
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (in->flags & flags[i].from)
            out->flags |= flags[i].to;
}

// The name comes from the record, if it is about this very domain; of domains that others made,
// from xenstore.
static void domain_name(struct serai *s, struct serai_domain *d)
{
    char name[SERAI_NAME_MAX + 1];
    uint8_t uuid[16];
    snprintf(d->name, sizeof(d->name), "%s", d->id ? "(unknown)" : "Domain-0");
    if (!d->id)
        return;
    if (state_record_name(s, d->id, uuid, name) && !memcmp(uuid, d->uuid, sizeof(uuid))) {
        snprintf(d->name, sizeof(d->name), "%s", name);
        d->flags |= SERAI_DOMAIN_MANAGED;
    } else {
        store_domain_name(s, d->id, d->name);
    }
}

int serai_domain_list(struct serai *s, struct serai_domain **list, size_t *count,
                      struct serai_error *err)
{
    xen_domctl_getdomaininfo_t *batch = hc_alloc(s, DOMAIN_BATCH * sizeof(*batch));
    struct serai_domain *all = NULL;
    size_t total = 0;
    uint32_t next = 0;
    if (!batch)
        return err_set(err, -ENOMEM, "out of memory");
    for (;;) {
        struct xen_sysctl op = {.cmd = XEN_SYSCTL_getdomaininfolist};
        op.u.getdomaininfolist.first_domain = (domid_t)next;
        op.u.getdomaininfolist.max_domains = DOMAIN_BATCH;
        set_xen_guest_handle(op.u.getdomaininfolist.buffer, batch);
        int ret = hc_sysctl(s, &op);
        uint32_t n = op.u.getdomaininfolist.num_domains;
        struct serai_domain *more = ret < 0 ? NULL : realloc(all, (total + n + 1) * sizeof(*all));
        if (!more) {
            hc_free(s, batch);
            free(all);
            return ret < 0 ? err_sys(err, ret, "cannot list the domains")
                           : err_set(err, -ENOMEM, "out of memory");
        }
        all = more;
        for (uint32_t i = 0; i < n && i < DOMAIN_BATCH; i++)
            domain_convert(&batch[i], &all[total++]);
        if (n < DOMAIN_BATCH)
            break;
        next = all[total - 1].id + 1;
    }
    hc_free(s, batch);
    for (size_t i = 0; i < total; i++)
        domain_name(s, &all[i]);
    *list = all;
    *count = total;
    return 0;
}

int serai_domain_get(struct serai *s, uint32_t id, struct serai_domain *out,
                     struct serai_error *err)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_getdomaininfo, .domain = (domid_t)id};
    int ret = id >= DOMID_FIRST_RESERVED ? -ESRCH : hc_domctl(s, &op);
    // Without the first id the hypervisor may answer for the next one.
    if (ret >= 0 && op.u.getdomaininfo.domain != id)
        ret = -ESRCH;
    if (ret == -ESRCH)
        return err_set(err, ret, "there is no domain %u", id);
    if (ret < 0)
        return err_sys(err, ret, "cannot read the state of domain %u", id);
    domain_convert(&op.u.getdomaininfo, out);
    domain_name(s, out);
    return 0;
}

int serai_domain_find(struct serai *s, const char *name, struct serai_domain *out,
                      struct serai_error *err)
{
    char *end;
    unsigned long id = strtoul(name, &end, 10);
    if (isdigit((unsigned char)*name) && !*end)
        return serai_domain_get(s, id > UINT16_MAX ? UINT16_MAX : (uint32_t)id, out, err);

    struct serai_domain *list = NULL, *found = NULL;
    size_t count = 0;
    int ret = serai_domain_list(s, &list, &count, err);
    if (ret)
        return ret;
    struct suggest hint = {.word = name};
    for (size_t i = 0; i < count; i++) {
        // A dying namesake of a living domain is of no interest.
        if (!strcmp(list[i].name, name) && (!found || found->flags & SERAI_DOMAIN_DYING))
            found = &list[i];
        suggest_offer(&hint, list[i].name);
    }
    if (found)
        *out = *found;
    else if (hint.best)
        ret = err_set(err, -ESRCH, "there is no domain named \"%s\"; did you mean \"%s\"?", name,
                      hint.best);
    else
        ret = err_set(err, -ESRCH, "there is no domain named \"%s\"", name);
    free(list);
    return ret;
}

static int domain_simple(struct serai *s, uint32_t id, uint32_t cmd, const char *verb,
                         struct serai_error *err)
{
    struct xen_domctl op = {.cmd = cmd, .domain = (domid_t)id};
    int ret = hc_domctl(s, &op);
    if (ret == -ESRCH)
        return err_set(err, ret, "there is no domain %u", id);
    return ret < 0 ? err_sys(err, ret, "cannot %s domain %u", verb, id) : 0;
}

int serai_domain_pause(struct serai *s, uint32_t id, struct serai_error *err)
{
    if (!id)
        return err_set(err, -EPERM, "the control domain cannot be paused");
    return domain_simple(s, id, XEN_DOMCTL_pausedomain, "pause", err);
}

int serai_domain_unpause(struct serai *s, uint32_t id, struct serai_error *err)
{
    return domain_simple(s, id, XEN_DOMCTL_unpausedomain, "unpause", err);
}

// Others (the console daemon) let go of the domain's pages when its record is gone.
static void domain_wait_gone(struct serai *s, uint32_t id)
{
    struct serai_domain d = {0};
    for (unsigned waited = 0; waited < DOMAIN_GONE_MS; waited += 2) {
        if (serai_domain_get(s, id, &d, NULL) || !(d.flags & SERAI_DOMAIN_DYING))
            return;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    serai_note(s, SERAI_LOG_WARNING, "domain %u is dead, but somebody still maps %llu of its pages",
               id, (unsigned long long)d.pages);
}

// Everything about a domain outside the hypervisor, as far as it is there.
static void domain_forget(struct serai *s, uint32_t id, const uint8_t *uuid)
{
    devices_remove(s, id);
    // Nodes that cannot be removed now (on a full disk) are left to serai_sweep, by the record.
    if (!store_domain_remove(s, id, uuid))
        state_record_remove(s, id);
}

int serai_domain_destroy(struct serai *s, uint32_t id, struct serai_error *err)
{
    struct serai_domain d;
    if (!id)
        return err_set(err, -EPERM, "the control domain cannot be destroyed");
    int ret = serai_domain_get(s, id, &d, err);
    if (ret) {
        if (ret == -ESRCH && id < DOMID_FIRST_RESERVED)
            domain_forget(s, id, NULL);
        return ret;
    }
    do {
        ret = domain_simple(s, id, XEN_DOMCTL_destroydomain, "destroy", err);
    } while (ret == -EAGAIN || ret == -EINTR);
    if (ret && ret != -ESRCH)
        return ret;
    domain_forget(s, id, d.uuid);
    if (!ret)
        domain_wait_gone(s, id);
    return ret;
}

static int domain_edit_name(struct serai *s, struct state_record *r, const char *name,
                            struct serai_error *err)
{
    int ret = state_name_check(s, name, err);
    if (ret)
        return ret;
    char *copy = strdup(name);
    if (!copy)
        return err_set(err, -ENOMEM, "out of memory");
    free(r->config->name);
    r->config->name = copy;
    return 0;
}

int serai_domain_rename(struct serai *s, uint32_t id, const char *name, struct serai_error *err)
{
    struct state_record r;
    int lock;
    int ret = config_name_check(name, err);
    if (!ret)
        ret = state_edit_begin(s, id, &r, &lock, err);
    if (ret)
        return ret;
    char *old = strdup(r.config->name);
    ret = old ? domain_edit_name(s, &r, name, err) : err_set(err, -ENOMEM, "out of memory");
    // The record first: whoever watches the name in xenstore looks at the record then.
    if (!ret)
        ret = state_record_write(s, id, &r, err);
    if (!ret && (ret = store_domain_rename(s, id, name, err))) {
        struct serai_error second;
        free(r.config->name);
        r.config->name = old;
        old = NULL;
        state_record_write(s, id, &r, &second);
    }
    free(old);
    serai_config_free(r.config);
    close(lock);
    return ret;
}

// The first NAME-N that is free.
static int domain_edit_spare_name(struct serai *s, struct state_record *r, struct serai_error *err)
{
    char base[SERAI_NAME_MAX + 1], name[SERAI_NAME_MAX + 16];
    snprintf(base, sizeof(base), "%.*s", SERAI_NAME_MAX - 6, r->config->name);
    int ret = -EEXIST;
    for (unsigned n = 1; ret == -EEXIST && n < 100000; n++) {
        snprintf(name, sizeof(name), "%s-%u", base, n);
        ret = domain_edit_name(s, r, name, err);
    }
    return ret;
}

int serai_domain_set_aside(struct serai *s, uint32_t id, struct serai_error *err)
{
    struct state_record r;
    int lock;
    int ret = state_edit_begin(s, id, &r, &lock, err);
    if (ret)
        return ret;
    uint8_t old[16];
    memcpy(old, r.config->uuid, 16);
    ret = domain_edit_spare_name(s, &r, err);
    if (!ret)
        ret = serai_uuid_random(r.config->uuid, err);
    if (!ret)
        ret = store_domain_set_uuid(s, id, old, r.config->uuid, r.config->name, err);
    if (!ret) {
        struct xen_domctl op = {.cmd = XEN_DOMCTL_setdomainhandle, .domain = (domid_t)id};
        memcpy(op.u.setdomainhandle.handle, r.config->uuid, 16);
        r.config->on_poweroff = r.config->on_reboot = SERAI_ACTION_PRESERVE;
        r.config->on_crash = r.config->on_watchdog = SERAI_ACTION_PRESERVE;
        ret = hc_domctl(s, &op);
        ret = ret < 0 ? err_sys(err, ret, "cannot change the UUID of domain %u", id)
                      : state_record_write(s, id, &r, err);
    }
    serai_config_free(r.config);
    close(lock);
    return ret;
}
