// SPDX-License-Identifier: BSD-2-Clause
#include "store_domain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <xen/grant_table.h>

enum { CONTROL_DOMAIN = 0, CONSOLE_LIMIT = 1048576, HOME_MAX = 48 };

static void domain_home(char path[HOME_MAX], uint32_t domain)
{
    snprintf(path, HOME_MAX, "/local/domain/%u", domain);
}

// Nodes that the guest may write.
static void add_writable(struct store_tx *t, const struct store_domain *d,
                         const char home[HOME_MAX])
{
    static const char *const keys[] = {"control/shutdown",
                                       "control/sysrq",
                                       "control/feature-poweroff",
                                       "control/feature-reboot",
                                       "control/feature-suspend",
                                       "device/suspend/event-channel",
                                       "data",
                                       "drivers",
                                       "feature",
                                       "attr",
                                       "error"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        tx_node(t, home, keys[i], d->domain, d->domain, STORE_NONE);
}

static void add_console(struct store_tx *t, const struct store_domain *d, const char home[HOME_MAX])
{
    char dir[HOME_MAX + 16];
    snprintf(dir, sizeof(dir), "%.47s/console", home);
    tx_write(t, dir, "backend", "/local/domain/%d/backend/console/%u/0", CONTROL_DOMAIN, d->domain);
    tx_write(t, dir, "backend-id", "%d", CONTROL_DOMAIN);
    tx_write(t, dir, "limit", "%d", CONSOLE_LIMIT);
    tx_write(t, dir, "type", "serai"); // whose daemon serves it: Debian's leaves it alone then
    tx_write(t, dir, "output", "pty");
    tx_write(t, dir, "tty", "%s", "");
    tx_write(t, dir, "port", "%u", d->console_port);
    tx_write(t, dir, "ring-ref", "%llu", (unsigned long long)d->console_mfn);
}

static void add_home(struct store_tx *t, const struct store_domain *d, const char home[HOME_MAX],
                     const char *uuid)
{
    const struct serai_config *c = d->config;
    uint64_t max_mb = c->maxmem_mb ? c->maxmem_mb : c->memory_mb;
    unsigned max_vcpus = c->maxvcpus ? c->maxvcpus : c->vcpus;
    char dir[HOME_MAX + 16], key[32];
    tx_node(t, home, NULL, CONTROL_DOMAIN, d->domain, STORE_READ);
    tx_write(t, home, "vm", "/vm/%s", uuid);
    tx_write(t, home, "name", "%s", c->name);
    tx_write(t, home, "domid", "%u", d->domain);

    snprintf(dir, sizeof(dir), "%.47s/memory", home);
    tx_write(t, dir, "static-max", "%llu", (unsigned long long)max_mb << 10);
    tx_write(t, dir, "target", "%llu", (unsigned long long)c->memory_mb << 10);
    snprintf(dir, sizeof(dir), "%.47s/cpu", home);
    for (unsigned i = 0; i < max_vcpus; i++) {
        snprintf(key, sizeof(key), "%u/availability", i);
        tx_write(t, dir, key, "%s", i < c->vcpus ? "online" : "offline");
    }
    snprintf(dir, sizeof(dir), "%.47s/control", home);
    tx_write(t, dir, "platform-feature-multiprocessor-suspend", "1");
    tx_write(t, dir, "platform-feature-xs_reset_watches", "1");
    snprintf(dir, sizeof(dir), "%.47s/store", home);
    tx_write(t, dir, "port", "%u", d->store_port);
    tx_write(t, dir, "ring-ref", "%llu", (unsigned long long)d->store_mfn);
    tx_write(t, home, "device", "%s", "");
    add_writable(t, d, home);
    add_console(t, d, home);
}

static void add_vm(struct store_tx *t, const struct serai_config *c, const char *uuid)
{
    char dir[STORE_PATH_MAX];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(dir, sizeof(dir), "/vm/%s", uuid);
    tx_node(t, dir, NULL, CONTROL_DOMAIN, CONTROL_DOMAIN, STORE_NONE);
    tx_write(t, dir, "uuid", "%s", uuid);
    tx_write(t, dir, "name", "%s", c->name);
    tx_write(t, dir, "start_time", "%lld.%02ld", (long long)now.tv_sec, now.tv_nsec / 10000000);
    tx_write(t, dir, "image/ostype", "linux");
    tx_write(t, dir, "image/kernel", "%s", c->kernel);
    if (c->ramdisk)
        tx_write(t, dir, "image/ramdisk", "%s", c->ramdisk);
    if (c->cmdline)
        tx_write(t, dir, "image/cmdline", "%s", c->cmdline);
}

// Nobody else may have named the control domain.
static void add_control_domain(struct store_tx *t)
{
    char *name = tx_read(t, "/local/domain/0", "name");
    if (!name) {
        tx_write(t, "/local/domain/0", "domid", "%d", CONTROL_DOMAIN);
        tx_write(t, "/local/domain/0", "name", "Domain-0");
    }
    free(name);
}

static void add_all(struct store_tx *t, void *arg)
{
    const struct store_domain *d = arg;
    char home[HOME_MAX], libxl[HOME_MAX], uuid[SERAI_UUID_TEXT];
    domain_home(home, d->domain);
    snprintf(libxl, sizeof(libxl), "/libxl/%u", d->domain);
    serai_uuid_format(d->config->uuid, uuid);
    tx_remove(t, home, NULL);
    tx_remove(t, libxl, NULL);
    add_control_domain(t);
    add_home(t, d, home, uuid);
    add_vm(t, d->config, uuid);
    tx_node(t, libxl, NULL, CONTROL_DOMAIN, CONTROL_DOMAIN, STORE_NONE);
    tx_write(t, libxl, "type", "pv");
    tx_write(t, libxl, "device", "%s", "");
}

int store_domain_add(struct serai *s, const struct store_domain *d, struct serai_error *err)
{
    int ret = store_transaction(s, add_all, (void *)(uintptr_t)d, err);
    if (ret)
        return ret;
    ret = store_introduce(s, d->domain, d->store_mfn, d->store_port);
    return ret ? err_sys(err, ret, "the xenstore daemon does not take domain %u", d->domain) : 0;
}

// Whatever kinds of backends there are in the control domain.
static int remove_backends(struct serai *s, uint32_t domain)
{
    unsigned count;
    int ret = 0;
    char **kinds = store_list(s, &count, "/local/domain/%d/backend", CONTROL_DOMAIN);
    for (unsigned i = 0; kinds && i < count; i++) {
        int one =
            store_remove(s, "/local/domain/%d/backend/%s/%u", CONTROL_DOMAIN, kinds[i], domain);
        ret = ret ? ret : one;
    }
    free(kinds);
    return ret;
}

// Linux notes what went wrong with a device under the backend's domain, and may do so after the
// guest has gone: what is there of guests that are no more goes with the next one.
static void remove_notes(struct serai *s, uint32_t domain)
{
    static const char notes[] = "/local/domain/0/error/backend";
    unsigned kind_count;
    char **kinds = store_list(s, &kind_count, "%s", notes);
    for (unsigned i = 0; kinds && i < kind_count; i++) {
        unsigned count;
        char **ids = store_list(s, &count, "%s/%s", notes, kinds[i]);
        for (unsigned j = 0; ids && j < count; j++) {
            char *name = store_read(s, "/local/domain/%s/name", ids[j]);
            if (!name || strtoul(ids[j], NULL, 10) == domain)
                store_remove(s, "%s/%s/%s", notes, kinds[i], ids[j]);
            free(name);
        }
        free(ids);
    }
    free(kinds);
}

int store_domain_remove(struct serai *s, uint32_t domain, const uint8_t *uuid)
{
    char text[SERAI_UUID_TEXT];
    if (!store_served(s))
        return 0;
    store_release(s, domain); // it may have noticed itself that the domain is gone
    int ret = remove_backends(s, domain);
    remove_notes(s, domain);
    int one = store_remove(s, "/local/domain/%u", domain);
    ret = ret ? ret : one;
    one = store_remove(s, "/libxl/%u", domain);
    ret = ret ? ret : one;
    one = uuid ? store_remove(s, "/vm/%s", serai_uuid_format(uuid, text)) : 0;
    return ret ? ret : one;
}

struct rename {
    uint32_t domain;
    const char *name;
    const uint8_t *old, *uuid; // NULL: the same as before
};

static void rename_nodes(struct store_tx *t, void *arg)
{
    const struct rename *r = arg;
    char home[HOME_MAX], vm[STORE_PATH_MAX], text[SERAI_UUID_TEXT];
    domain_home(home, r->domain);
    char *present = tx_read(t, home, "name");
    char *place = tx_read(t, home, "vm");
    if (!present || !place) { // made while no daemon served
        free(present);
        free(place);
        return;
    }
    if (r->uuid) {
        // /vm/OLD may be about to belong to its successor: it is made anew by that.
        snprintf(vm, sizeof(vm), "/vm/%s", serai_uuid_format(r->old, text));
        tx_remove(t, vm, NULL);
        snprintf(vm, sizeof(vm), "/vm/%s", serai_uuid_format(r->uuid, text));
        tx_node(t, vm, NULL, CONTROL_DOMAIN, CONTROL_DOMAIN, STORE_NONE);
        tx_write(t, vm, "uuid", "%s", text);
        tx_write(t, home, "vm", "%s", vm);
    } else {
        snprintf(vm, sizeof(vm), "%s", place);
    }
    tx_write(t, vm, "name", "%s", r->name);
    tx_write(t, home, "name", "%s", r->name);
    free(present);
    free(place);
}

int store_domain_rename(struct serai *s, uint32_t domain, const char *name, struct serai_error *err)
{
    struct rename r = {.domain = domain, .name = name};
    return store_served(s) ? store_transaction(s, rename_nodes, &r, err) : 0;
}

int store_domain_set_uuid(struct serai *s, uint32_t domain, const uint8_t old[16],
                          const uint8_t uuid[16], const char *name, struct serai_error *err)
{
    struct rename r = {.domain = domain, .name = name, .old = old, .uuid = uuid};
    return store_served(s) ? store_transaction(s, rename_nodes, &r, err) : 0;
}

bool store_domain_name(struct serai *s, uint32_t domain, char name[SERAI_NAME_MAX + 1])
{
    char *value = store_read(s, "/local/domain/%u/name", domain);
    if (!value || !*value) {
        free(value);
        return false;
    }
    snprintf(name, SERAI_NAME_MAX + 1, "%s", value);
    for (char *p = name; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    free(value);
    return true;
}
