// SPDX-License-Identifier: BSD-2-Clause
// Asking guests to end, and learning that domains come and go.
#include "store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LIFE_LOOK_MS = 250 };

// A node that the domain's maker prepares, and the guest reads and empties.
static int life_node(struct serai *s, uint32_t id, const char *key, struct serai_error *err)
{
    int ret = store_connect(s, err);
    if (ret)
        return ret;
    char *present = store_read(s, "/local/domain/%u/%s", id, key);
    if (!present && errno == ENOENT)
        return err_set(err, -EOPNOTSUPP, "domain %u was made without xenstore: it cannot be asked",
                       id);
    if (!present)
        return err_sys(err, -errno, "cannot read %s of domain %u", key, id);
    free(present);
    return 0;
}

struct life_asked {
    uint32_t id;
    const char *key;
};

// The guest empties the node when it has understood; one that is gone has understood as well.
static int life_noticed(struct serai *s, void *arg)
{
    const struct life_asked *a = arg;
    struct serai_domain d;
    if (serai_domain_get(s, a->id, &d, NULL) ||
        d.flags & (SERAI_DOMAIN_SHUTDOWN | SERAI_DOMAIN_DYING))
        return 1;
    char *value = store_read(s, "/local/domain/%u/%s", a->id, a->key);
    bool empty = !value || !*value;
    free(value);
    return empty;
}

static int life_ask(struct serai *s, uint32_t id, const char *key, const char *value,
                    unsigned timeout_ms, struct serai_error *err)
{
    struct serai_domain d;
    struct life_asked asked = {id, key};
    char path[STORE_PATH_MAX];
    int ret = serai_domain_get(s, id, &d, err);
    if (!ret && !id)
        ret = err_set(err, -EPERM, "the control domain is not asked this way");
    if (!ret && d.flags & SERAI_DOMAIN_SHUTDOWN)
        ret = err_set(err, -EBUSY, "domain %u has ended already", id);
    if (!ret && d.flags & SERAI_DOMAIN_PAUSED)
        ret = err_set(err, -EBUSY, "domain %u is paused and hears nothing", id);
    if (!ret)
        ret = life_node(s, id, key, err);
    if (ret)
        return ret;
    snprintf(path, sizeof(path), "/local/domain/%u/%s", id, key);
    ret = store_write(s, value, "%s", path);
    if (ret)
        return err_sys(err, ret, "cannot write %s", path);
    if (!timeout_ms)
        return 0;
    ret = store_wait(s, path, timeout_ms, life_noticed, &asked);
    if (ret == -ETIMEDOUT)
        return err_set(err, ret, "domain %u has not taken notice within %u s (it stays asked)", id,
                       timeout_ms / 1000);
    return ret < 0 ? err_sys(err, ret, "cannot wait for domain %u", id) : 0;
}

int serai_domain_request(struct serai *s, uint32_t id, enum serai_request what, unsigned timeout_ms,
                         struct serai_error *err)
{
    static const struct {
        const char *word, *feature;
    } words[] = {{"poweroff", "feature-poweroff"},
                 {"reboot", "feature-reboot"},
                 {"halt", "feature-poweroff"}};
    if ((unsigned)what >= sizeof(words) / sizeof(words[0]))
        return err_set(err, -EINVAL, "no such request");
    char *feature = store_read(s, "/local/domain/%u/control/%s", id, words[what].feature);
    bool refused = feature && !strcmp(feature, "0");
    free(feature);
    if (refused)
        return err_set(err, -EOPNOTSUPP, "domain %u says that it does not %s on request", id,
                       words[what].word);
    return life_ask(s, id, "control/shutdown", words[what].word, timeout_ms, err);
}

int serai_domain_sysrq(struct serai *s, uint32_t id, char key, struct serai_error *err)
{
    char text[2] = {key, '\0'};
    if (key <= ' ' || key > '~')
        return err_set(err, -EINVAL, "a SysRq key is one printable character");
    return life_ask(s, id, "control/sysrq", text, 0, err);
}

static int life_ended(struct serai *s, void *arg)
{
    const uint32_t *id = arg;
    struct serai_domain d;
    return serai_domain_get(s, *id, &d, NULL) ||
           d.flags & (SERAI_DOMAIN_SHUTDOWN | SERAI_DOMAIN_DYING);
}

int serai_domain_wait_end(struct serai *s, uint32_t id, unsigned timeout_ms,
                          struct serai_error *err)
{
    int ret = 0;
    if (store_served(s)) {
        ret = store_wait(s, "@releaseDomain", timeout_ms, life_ended, &id);
    } else {
        unsigned waited = 0;
        for (; !(ret = life_ended(s, &id)) && waited < timeout_ms && !serai_cancelled(s);
             waited += LIFE_LOOK_MS)
            nanosleep(&(struct timespec){.tv_nsec = LIFE_LOOK_MS * 1000000}, NULL);
        ret = ret ? 1 : serai_cancelled(s) ? -ECANCELED : -ETIMEDOUT;
    }
    if (ret == -ETIMEDOUT)
        return err_set(err, ret, "domain %u has not ended within %u s", id, timeout_ms / 1000);
    return ret < 0 ? err_sys(err, ret, "cannot wait for domain %u", id) : 0;
}
