// SPDX-License-Identifier: BSD-2-Clause
// How much memory and how many virtual CPUs a running guest has: it is told through xenstore, and
// its drivers follow.
#include "balancer.h"
#include "state.h"
#include "store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { KIB_PER_MB = 1024, KIB_PER_PAGE = 4, LIMIT_SLACK_KIB = 1024 };

static int balloon_limit(struct serai *s, uint32_t id, uint64_t kib, struct serai_error *err)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_max_mem, .domain = (domid_t)id};
    op.u.max_mem.max_memkb = kib;
    int ret = hc_domctl(s, &op);
    return ret < 0 ? err_sys(err, ret, "cannot set the memory limit of domain %u", id) : 0;
}

static int balloon_number(struct serai *s, uint32_t id, const char *key, uint64_t *out,
                          struct serai_error *err)
{
    int64_t value = 0;
    int ret = store_read_number(s, &value, "/local/domain/%u/memory/%s", id, key);
    if (ret == -ENOENT)
        return err_set(err, -EOPNOTSUPP, "domain %u has no memory/%s in xenstore", id, key);
    if (ret || value < 0)
        return err_sys(err, ret ? ret : -EINVAL, "memory/%s of domain %u", key, id);
    *out = (uint64_t)value;
    return 0;
}

static int note_memory(struct serai_config *c, void *arg)
{
    const uint64_t *kib = arg;
    uint64_t max = c->maxmem_mb ? c->maxmem_mb : c->memory_mb;
    c->memory_mb = (*kib + KIB_PER_MB - 1) / KIB_PER_MB;
    c->maxmem_mb = max > c->memory_mb ? max : c->memory_mb;
    c->memory_pinned = c->minmem_mb != 0;
    return 0;
}

static int note_automatic(struct serai_config *c, void *arg)
{
    (void)arg;
    c->memory_pinned = false;
    return 0;
}

int balloon_apply(struct serai *s, uint32_t id, uint64_t kib, struct serai_error *err)
{
    char text[24];
    // Growing: the limit first, or the guest is refused; shrinking: it must not grow back.
    int ret = id ? balloon_limit(s, id, kib + LIMIT_SLACK_KIB, err) : 0;
    if (ret)
        return ret;
    snprintf(text, sizeof(text), "%llu", (unsigned long long)kib);
    ret = store_write(s, text, "/local/domain/%u/memory/target", id);
    return ret ? err_sys(err, ret, "cannot write memory/target of domain %u", id) : 0;
}

int balloon_target(struct serai *s, uint32_t id, uint64_t *kib, struct serai_error *err)
{
    return balloon_number(s, id, "target", kib, err);
}

int serai_domain_set_automatic(struct serai *s, uint32_t id, struct serai_error *err)
{
    struct serai_config *c;
    int ret = serai_domain_config(s, id, &c, err);
    if (ret)
        return ret;
    bool range = c->minmem_mb;
    serai_config_free(c);
    if (!range)
        return err_set(err, -EINVAL, "domain %u was made without minmem: it has no range", id);
    return state_change(s, id, note_automatic, NULL, err);
}

int serai_domain_set_target(struct serai *s, uint32_t id, uint64_t kib, struct serai_error *err)
{
    struct serai_domain d;
    uint64_t most = UINT64_MAX;
    int ret = serai_domain_get(s, id, &d, err);
    if (!ret)
        ret = store_connect(s, err);
    if (!ret && id)
        ret = balloon_number(s, id, "static-max", &most, err);
    if (ret)
        return ret;
    if (kib < KIB_PER_MB)
        return err_set(err, -EINVAL, "less than 1 MB");
    if (kib > most)
        return err_set(err, -EINVAL, "domain %u was made for at most %llu MB", id,
                       (unsigned long long)(most / KIB_PER_MB));
    // The note first: from then on nobody shares this guest's memory out.
    if (id)
        ret = state_change(s, id, note_memory, &kib, err);
    return ret ? ret : balloon_apply(s, id, kib, err);
}

// How far from the target: a driver leaves less than this undone.
enum { TARGET_NEAR_KIB = 1024, TARGET_LOOK_MS = 50 };

static uint64_t target_distance(uint64_t pages, uint64_t target)
{
    uint64_t kib = pages * KIB_PER_PAGE;
    return kib > target ? kib - target : target - kib;
}

int serai_domain_wait_target(struct serai *s, uint32_t id, unsigned timeout_ms,
                             serai_progress_fn *progress, void *ctx, struct serai_error *err)
{
    struct serai_domain d;
    uint64_t target = 0, first = 0, best = UINT64_MAX;
    unsigned idle = 0;
    for (;; idle += TARGET_LOOK_MS) {
        int ret = serai_domain_get(s, id, &d, err);
        if (!ret)
            ret = balloon_number(s, id, "target", &target, err);
        if (ret)
            return ret;
        uint64_t distance = target_distance(d.pages, target);
        if (distance < TARGET_NEAR_KIB)
            return 0;
        if (distance < best) {
            best = distance;
            idle = 0;
        }
        first = distance > first ? distance : first;
        if (progress && !progress(ctx, "memory", (unsigned)((first - distance) * 100 / first)))
            return err_set(err, -ECANCELED, "cancelled");
        if (idle >= timeout_ms)
            return err_set(err, -ETIMEDOUT, "domain %u has %llu MB and comes no closer to %llu MB",
                           id, (unsigned long long)(d.pages * KIB_PER_PAGE / KIB_PER_MB),
                           (unsigned long long)(target / KIB_PER_MB));
        nanosleep(&(struct timespec){.tv_nsec = TARGET_LOOK_MS * 1000000L}, NULL);
    }
}

int serai_domain_set_max(struct serai *s, uint32_t id, uint64_t kib, struct serai_error *err)
{
    struct serai_domain d;
    uint64_t target = 0;
    int ret = serai_domain_get(s, id, &d, err);
    if (!ret && store_served(s))
        ret = balloon_number(s, id, "target", &target, err);
    else if (!ret)
        target = d.pages * KIB_PER_PAGE;
    if (ret)
        return ret;
    if (kib < target)
        return err_set(err, -EINVAL, "domain %u is to keep %llu MB: the limit cannot be below", id,
                       (unsigned long long)(target / KIB_PER_MB));
    return balloon_limit(s, id, kib + LIMIT_SLACK_KIB, err);
}

struct vcpus {
    uint32_t id;
    unsigned count, max;
};

static void vcpu_nodes(struct store_tx *t, void *arg)
{
    const struct vcpus *v = arg;
    char dir[STORE_PATH_MAX], key[32];
    snprintf(dir, sizeof(dir), "/local/domain/%u/cpu", v->id);
    for (unsigned i = 0; i < v->max; i++) {
        snprintf(key, sizeof(key), "%u/availability", i);
        // Only what changes: the guest is told of each.
        char *present = tx_read(t, dir, key);
        bool online = present && *present == 'o' && present[1] == 'n';
        if (!present || online != (i < v->count))
            tx_write(t, dir, key, "%s", i < v->count ? "online" : "offline");
        free(present);
    }
}

static int note_vcpus(struct serai_config *c, void *arg)
{
    const struct vcpus *v = arg;
    c->maxvcpus = v->max;
    c->vcpus = v->count;
    return 0;
}

int serai_domain_set_vcpus(struct serai *s, uint32_t id, unsigned count, struct serai_error *err)
{
    struct serai_domain d;
    int ret = serai_domain_get(s, id, &d, err);
    if (!ret)
        ret = store_connect(s, err);
    if (ret)
        return ret;
    struct vcpus v = {id, count, d.max_vcpus};
    if (!count || count > d.max_vcpus)
        return err_set(err, -EINVAL, "domain %u was made for 1 to %u virtual CPUs", id,
                       d.max_vcpus);
    char *home = store_read(s, "/local/domain/%u/domid", id);
    if (!home && id)
        return err_set(err, -EOPNOTSUPP, "domain %u was made without xenstore", id);
    free(home);
    ret = store_transaction(s, vcpu_nodes, &v, err);
    return ret || !id ? ret : state_change(s, id, note_vcpus, &v, err);
}
