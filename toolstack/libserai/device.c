// SPDX-License-Identifier: BSD-2-Clause
#include "device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <xen/io/xenbus.h>

enum { CONTROL_DOMAIN = 0 };

const char *serai_device_state_name(unsigned state)
{
    static const char *const names[] = {"unknown",   "initialising", "waiting", "initialised",
                                        "connected", "closing",      "closed"};
    return state < sizeof(names) / sizeof(names[0]) ? names[state] : "reconfiguring";
}

static void device_front(const struct device *d, char path[STORE_PATH_MAX])
{
    snprintf(path, STORE_PATH_MAX, "/local/domain/%u/device/%s/%u", d->domain, d->kind, d->id);
}

// Where toolstacks look, because the guest may write what it likes into its own directory.
static void device_copy(const struct device *d, char path[STORE_PATH_MAX])
{
    snprintf(path, STORE_PATH_MAX, "/libxl/%u/device/%s/%u", d->domain, d->kind, d->id);
}

void device_init(struct device *d, uint32_t domain, const char *kind, const char *backend_kind,
                 uint32_t id)
{
    *d = (struct device){.domain = domain, .id = id};
    snprintf(d->kind, sizeof(d->kind), "%s", kind);
    snprintf(d->backend_kind, sizeof(d->backend_kind), "%s", backend_kind);
    snprintf(d->back, sizeof(d->back), "/local/domain/%d/backend/%s/%u/%u", CONTROL_DOMAIN,
             backend_kind, domain, id);
}

struct device_adding {
    const struct device *d;
    device_keys_fn *back, *front;
    void *arg;
};

static void add_ends(struct store_tx *t, const struct device_adding *a, const char *front,
                     const char *copy)
{
    const struct device *d = a->d;
    tx_remove(t, d->back, NULL); // remains of an earlier domain
    tx_remove(t, front, NULL);

    tx_node(t, copy, NULL, CONTROL_DOMAIN, CONTROL_DOMAIN, STORE_NONE);
    tx_write(t, copy, "frontend", "%s", front);
    tx_write(t, copy, "backend", "%s", d->back);
    a->back(t, copy, a->arg);

    tx_node(t, front, NULL, d->domain, CONTROL_DOMAIN, STORE_READ);
    tx_write(t, front, "backend", "%s", d->back);
    tx_write(t, front, "backend-id", "%d", CONTROL_DOMAIN);
    tx_write(t, front, "state", "%d", XenbusStateInitialising);
    a->front(t, front, a->arg);

    tx_node(t, d->back, NULL, CONTROL_DOMAIN, d->domain, STORE_READ);
    tx_write(t, d->back, "frontend", "%s", front);
    tx_write(t, d->back, "frontend-id", "%u", d->domain);
    tx_write(t, d->back, "online", "1");
    tx_write(t, d->back, "state", "%d", XenbusStateInitialising);
    a->back(t, d->back, a->arg);
}

static void add_checked(struct store_tx *t, void *arg)
{
    const struct device_adding *a = arg;
    char front[STORE_PATH_MAX], copy[STORE_PATH_MAX], home[STORE_PATH_MAX];
    device_front(a->d, front);
    device_copy(a->d, copy);
    snprintf(home, sizeof(home), "/local/domain/%u", a->d->domain);
    char *introduced = tx_read(t, home, "domid"), *present = tx_read(t, copy, "frontend");
    if (!introduced && !t->error)
        t->error = -EOPNOTSUPP;
    else if (present && !t->error)
        t->error = -EEXIST;
    else if (!t->error)
        add_ends(t, a, front, copy);
    free(introduced);
    free(present);
}

int device_add(struct serai *s, const struct device *d, device_keys_fn *back, device_keys_fn *front,
               void *arg, struct serai_error *err)
{
    struct device_adding a = {d, back, front, arg};
    int ret = store_transaction(s, add_checked, &a, err);
    if (ret == -EEXIST)
        return err_set(err, ret, "domain %u has a device %s %u already", d->domain, d->kind, d->id);
    if (ret == -EOPNOTSUPP)
        return err_set(err, ret, "domain %u was made without xenstore and cannot have devices",
                       d->domain);
    return ret;
}

static unsigned state_of(struct serai *s, const char *dir)
{
    int64_t state = 0;
    return store_read_number(s, &state, "%s/state", dir) || state < 0 || state > 8
               ? XenbusStateUnknown
               : (unsigned)state;
}

void device_states(struct serai *s, const struct device *d, unsigned *front, unsigned *back)
{
    char path[STORE_PATH_MAX];
    device_front(d, path);
    *front = state_of(s, path);
    *back = state_of(s, d->back);
}

static int back_taken(struct serai *s, void *arg)
{
    const struct device *d = arg;
    unsigned state = state_of(s, d->back);
    if (state >= XenbusStateClosing && state <= XenbusStateClosed)
        return -EIO;
    return state >= XenbusStateInitWait ? 1 : 0;
}

int device_wait_taken(struct serai *s, const struct device *d, struct serai_error *err)
{
    int ret = store_wait(s, d->back, DEVICE_ACCEPT_MS, back_taken, (void *)(uintptr_t)d);
    if (ret == 1)
        return 0;
    if (ret == -ETIMEDOUT)
        return err_set(err, ret, "no backend takes the device (%s %u): is %s?", d->kind, d->id,
                       !strcmp(d->backend_kind, "serai") ? "blkd running"
                       : !strcmp(d->kind, "vif")         ? "module xen-netback loaded"
                                                         : "module xen-blkback loaded");
    if (ret == -EIO) {
        char *words = device_key(s, d, "error");
        err_set(err, ret, "the backend refuses the device (%s %u)%s%s", d->kind, d->id,
                words ? ": " : "", words ? words : "");
        free(words);
        return ret;
    }
    return err_sys(err, ret, "cannot wait for the backend of %s %u", d->kind, d->id);
}

static void remove_ends(struct store_tx *t, const struct device *d)
{
    char path[STORE_PATH_MAX];
    tx_remove(t, d->back, NULL);
    device_front(d, path);
    tx_remove(t, path, NULL);
    device_copy(d, path);
    tx_remove(t, path, NULL);
}

static void vanish(struct store_tx *t, void *arg)
{
    remove_ends(t, arg);
}

void device_vanish(struct serai *s, const struct device *d)
{
    store_transaction(s, vanish, (void *)(uintptr_t)d, NULL);
}

// Without a connection there is nobody to wait for.
static bool state_idle(const char *text)
{
    int state = text ? atoi(text) : XenbusStateUnknown;
    return state <= XenbusStateInitialising || state == XenbusStateClosed;
}

struct device_removal {
    const struct device *d;
    bool done;
};

static void ask_to_leave(struct store_tx *t, void *arg)
{
    struct device_removal *r = arg;
    char path[STORE_PATH_MAX];
    device_front(r->d, path);
    char *front = tx_read(t, path, "state"), *back = tx_read(t, r->d->back, "state");
    r->done = state_idle(front) || state_idle(back);
    if (r->done) {
        remove_ends(t, r->d);
    } else {
        tx_write(t, r->d->back, "online", "0");
        tx_write(t, r->d->back, "state", "%d", XenbusStateClosing);
    }
    free(front);
    free(back);
}

static int back_closed(struct serai *s, void *arg)
{
    const struct device *d = arg;
    unsigned state = state_of(s, d->back);
    return state == XenbusStateClosed || state == XenbusStateUnknown ? 1 : 0;
}

int device_remove(struct serai *s, const struct device *d, bool force, struct serai_error *err)
{
    struct device_removal r = {.d = d};
    int ret = store_transaction(s, ask_to_leave, &r, err);
    if (ret)
        return ret;
    if (!r.done) {
        ret = store_wait(s, d->back, DEVICE_LEAVE_MS, back_closed, (void *)(uintptr_t)d);
        if (ret == -ETIMEDOUT && !force)
            return err_set(err, ret,
                           "the guest has not let go of %s %u within %d s; it stays asked to "
                           "(--force takes it away)",
                           d->kind, d->id, DEVICE_LEAVE_MS / 1000);
        if (ret < 0 && ret != -ETIMEDOUT)
            return err_sys(err, ret, "cannot wait for the guest");
        device_vanish(s, d);
    }
    device_wait_gone(d);
    return 0;
}

void device_wait_gone(const struct device *d)
{
    char path[128];
    snprintf(path, sizeof(path), "/sys/bus/xen-backend/devices/%s-%u-%u", d->backend_kind,
             d->domain, d->id);
    for (unsigned waited = 0; waited < DEVICE_GONE_MS && !access(path, F_OK); waited += 5)
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

char *device_key(struct serai *s, const struct device *d, const char *key)
{
    return store_read(s, "%s/%s", d->back, key);
}

static int device_order(const void *a, const void *b)
{
    const struct device *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

// .../backend/KIND/DOMAIN/ID, as whoever made the device noted it.
static bool device_from_copy(struct serai *s, struct device *d, uint32_t domain, const char *kind,
                             const char *id)
{
    char *back = store_read(s, "/libxl/%u/device/%s/%s/backend", domain, kind, id);
    char *end, *at = back ? strstr(back, "/backend/") : NULL;
    char backend_kind[sizeof(d->backend_kind)] = "";
    unsigned long number = strtoul(id, &end, 10);
    bool good = at && !*end && sscanf(at, "/backend/%15[^/]/", backend_kind) == 1;
    if (good) {
        device_init(d, domain, kind, backend_kind, (uint32_t)number);
        snprintf(d->back, sizeof(d->back), "%s", back);
    }
    free(back);
    return good;
}

static int list_kind(struct serai *s, uint32_t domain, const char *kind, struct device **list,
                     size_t *count)
{
    unsigned n;
    char **ids = store_list(s, &n, "/libxl/%u/device/%s", domain, kind);
    if (!ids)
        return errno == ENOENT ? 0 : -errno;
    struct device *more = realloc(*list, (*count + n + 1) * sizeof(*more));
    if (!more) {
        free(ids);
        return -ENOMEM;
    }
    *list = more;
    for (unsigned i = 0; i < n; i++)
        *count += device_from_copy(s, &more[*count], domain, kind, ids[i]);
    free(ids);
    return 0;
}

int device_list(struct serai *s, uint32_t domain, const char *kind, struct device **list,
                size_t *count, struct serai_error *err)
{
    *list = NULL;
    *count = 0;
    int ret = store_connect(s, err);
    if (ret)
        return ret;
    if (kind) {
        ret = list_kind(s, domain, kind, list, count);
    } else {
        unsigned n;
        char **kinds = store_list(s, &n, "/libxl/%u/device", domain);
        for (unsigned i = 0; kinds && i < n && !ret; i++)
            ret = list_kind(s, domain, kinds[i], list, count);
        free(kinds);
    }
    if (ret) {
        free(*list);
        *list = NULL;
        return err_sys(err, ret, "cannot list the devices of domain %u", domain);
    }
    if (*count)
        qsort(*list, *count, sizeof(**list), device_order);
    return 0;
}
