// SPDX-License-Identifier: BSD-2-Clause
// Domains: coming, going, and what is left behind.
#include "change.h"
#include "store.h"
#include "watch.h"

#include "log.h"
#include "mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// Where a domain is in the list, or would be.
static bool domain_place(const struct store *s, unsigned id, unsigned *at)
{
    unsigned low = 0, high = s->domain_count;
    while (low < high) {
        unsigned mid = low + (high - low) / 2;
        if (s->domains[mid]->id < id)
            low = mid + 1;
        else
            high = mid;
    }
    *at = low;
    return low < s->domain_count && s->domains[low]->id == id;
}

struct domain *domain_find(struct store *s, unsigned id)
{
    unsigned at;
    return domain_place(s, id, &at) ? s->domains[at] : NULL;
}

struct domain *domain_get(struct store *s, unsigned id)
{
    unsigned at;
    if (id >= DOMID_COUNT)
        return NULL;
    if (domain_place(s, id, &at))
        return s->domains[at];
    if (s->domain_count == s->domain_cap) {
        s->domain_cap = s->domain_cap ? s->domain_cap * 2 : 16;
        s->domains = mem_resize(s->domains, s->domain_cap * sizeof(struct domain *));
    }
    memmove(&s->domains[at + 1], &s->domains[at], (s->domain_count - at) * sizeof(struct domain *));
    s->domain_count++;
    s->domains[at] = mem_alloc(sizeof(struct domain));
    s->domains[at]->id = s->domains[at]->target = id;
    return s->domains[at];
}

bool domain_may_tell(struct domain *d)
{
    enum { TOLD_MAX = 20 };
    if (d->told >= TOLD_MAX)
        return false;
    if (++d->told == TOLD_MAX)
        log_warn("domain %u: this is the last that is told of what it does", d->id);
    return true;
}

void domain_drop(struct store *s, struct domain *d)
{
    unsigned at;
    if (!d->id || d->introduced || d->conn || d->use.nodes || d->has_target ||
        !domain_place(s, d->id, &at))
        return;
    s->domain_count--;
    memmove(&s->domains[at], &s->domains[at + 1], (s->domain_count - at) * sizeof(struct domain *));
    free(d);
}

static void domain_disconnect(struct store *s, struct domain *d)
{
    if (!d->conn)
        return;
    if (s->host && s->host->disconnect)
        s->host->disconnect(s->host_arg, d->conn);
    d->conn = NULL;
}

int domain_introduce_apply(struct store *s, unsigned id, uint64_t mfn, uint32_t port)
{
    struct domain *d = domain_get(s, id);
    if (!d)
        return -EINVAL;
    if (d->introduced && d->conn && d->mfn == mfn && d->port == port) {
        int ret = s->host && s->host->rebind ? s->host->rebind(s->host_arg, d) : 0;
        if (!ret)
            watch_fire_special(s, SPECIAL_INTRODUCE);
        return ret;
    }
    // Introduced again: the guest starts anew on another ring or port.
    domain_disconnect(s, d);
    d->mfn = mfn;
    d->port = port;
    int ret = s->host && s->host->connect ? s->host->connect(s->host_arg, d) : 0;
    if (ret) {
        domain_drop(s, d);
        return ret;
    }
    d->introduced = true;
    d->shutdown = false;
    watch_fire_special(s, SPECIAL_INTRODUCE);
    return 0;
}

int domain_release_apply(struct store *s, unsigned id)
{
    struct domain *d = domain_find(s, id);
    if (!d || !d->introduced)
        return -ENOENT;
    domain_disconnect(s, d);
    d->introduced = d->shutdown = d->has_target = false;
    d->target = d->id;
    watch_fire_special(s, SPECIAL_RELEASE);
    domain_drop(s, d);
    return 0;
}

int domain_target_apply(struct store *s, unsigned id, unsigned target)
{
    struct domain *d = domain_find(s, id);
    if (!d || !d->introduced)
        return -ENOENT;
    d->has_target = true;
    d->target = target;
    if (d->conn)
        d->conn->who.target = target;
    return 0;
}

int domain_shutdown_apply(struct store *s, unsigned id, bool shutdown)
{
    struct domain *d = domain_find(s, id);
    if (!d || !d->introduced)
        return -ENOENT;
    bool news = shutdown && !d->shutdown;
    d->shutdown = shutdown;
    if (news)
        watch_fire_special(s, SPECIAL_RELEASE);
    return 0;
}

// ---- the same, recorded -------------------------------------------------------------------

int domain_introduce(struct store *s, unsigned id, uint64_t mfn, uint32_t port)
{
    BUF_AUTO body = {0};
    record_u16(&body, (uint16_t)id);
    record_u64(&body, mfn);
    record_u32(&body, port);
    int ret = domain_introduce_apply(s, id, mfn, port);
    if (ret)
        return ret;
    ret = store_record(s, RECORD_INTRODUCE, &body);
    if (ret)
        domain_release_apply(s, id);
    return ret;
}

int domain_release(struct store *s, unsigned id)
{
    struct domain *d = domain_find(s, id);
    BUF_AUTO body = {0};
    if (!d || !d->introduced)
        return -ENOENT;
    if (s->host && s->host->exists && !s->host->exists(s->host_arg, id))
        return domain_gone(s, id);
    record_u16(&body, (uint16_t)id);
    int ret = store_record(s, RECORD_RELEASE, &body);
    return ret ? ret : domain_release_apply(s, id);
}

int domain_set_target(struct store *s, unsigned id, unsigned target)
{
    struct domain *d = domain_find(s, id);
    BUF_AUTO body = {0};
    if (!d || !d->introduced || !domain_find(s, target) || !domain_find(s, target)->introduced)
        return -ENOENT;
    record_u16(&body, (uint16_t)id);
    record_u16(&body, (uint16_t)target);
    int ret = store_record(s, RECORD_TARGET, &body);
    return ret ? ret : domain_target_apply(s, id, target);
}

int domain_set_shutdown(struct store *s, unsigned id, bool shutdown)
{
    const struct domain *d = domain_find(s, id);
    BUF_AUTO body = {0};
    if (!d || !d->introduced)
        return -ENOENT;
    if (d->shutdown == shutdown)
        return 0;
    record_u16(&body, (uint16_t)id);
    record_u8(&body, shutdown);
    int ret = store_record(s, RECORD_SHUTDOWN, &body);
    return ret ? ret : domain_shutdown_apply(s, id, shutdown);
}

// ---- what a dead domain leaves -------------------------------------------------------------

struct leftovers {
    unsigned domid;
    struct buf changes;
    size_t removed_len; // of the path in `removed`: what is below it goes with it
    path_text removed;
};

// Its nodes go with everything below them; on others' nodes it is no longer named. A number is
// used again one day, and the new domain must not find the old one's rights.
static int leftovers_find(void *arg, const char *path, const struct node *n)
{
    struct leftovers *l = arg;
    if (l->removed_len && path_is_below(path, l->removed))
        return 0;
    struct change c = {.path = path};
    if (n->perms->list[0].domid == l->domid && path[1]) {
        c.kind = CHANGE_REMOVE;
        change_encode(&l->changes, &c);
        l->removed_len = strlen(path);
        memcpy(l->removed, path, l->removed_len + 1);
        return 0;
    }
    struct perms *rest = perms_without(n->perms, l->domid);
    if (rest) {
        c.kind = CHANGE_PERMS;
        c.data = (const char *)rest->list;
        c.len = perms_bytes(rest);
        change_encode(&l->changes, &c);
        perms_unref(rest);
    }
    return 0;
}

static int domain_clear(struct store *s, unsigned id)
{
    struct leftovers *l = mem_alloc(sizeof(*l));
    int ret = 0;
    l->domid = id;
    tree_walk(s->tree.root, leftovers_find, l);
    if (l->changes.len)
        ret = store_record(s, RECORD_CHANGES, &l->changes);
    if (l->changes.len && !ret)
        changes_commit(s, l->changes.data, l->changes.len);
    buf_free(&l->changes);
    free(l);
    return ret;
}

int domain_gone(struct store *s, unsigned id)
{
    struct domain *d = domain_find(s, id);
    BUF_AUTO body = {0};
    int ret = 0;
    if (!d || !id)
        return -ENOENT;
    if (d->introduced) {
        record_u16(&body, (uint16_t)id);
        ret = store_record(s, RECORD_RELEASE, &body);
        // It is gone, whether that can be written down or not.
        domain_release_apply(s, id);
    }
    int cleared = domain_clear(s, id);
    d = domain_find(s, id);
    if (d)
        domain_drop(s, d);
    if (cleared)
        log_error("domain %u: cannot remove its nodes: %s", id, strerror(-cleared));
    return ret ? ret : cleared;
}
