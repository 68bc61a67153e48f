// SPDX-License-Identifier: BSD-2-Clause
// The life of one device: what both ends say, and what we do about it.
#include "device.h"

#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RETRY_MS = 100, ROOM_RETRY_MS = 1000, ERROR_EVERY_MS = 10000, STEPS_MAX = 6 };
enum { TELLS_MOST = 20, TELLS_EVERY_MS = 5000, REOPENS_MOST = 20, REOPENS_EVERY_MS = 500 };

static struct host *device_host(const struct device *d)
{
    return d->all->host;
}

void device_path(char path[256], const char *dir, const char *key)
{
    snprintf(path, 256, "%s/%s", dir, key);
}

// A node of ours, put there by the toolstack. 0, -ENOENT, or an errno of the store.
static int device_read(const struct device *d, const char *dir, const char *key, char **out)
{
    char path[256];
    device_path(path, dir, key);
    return device_host(d)->ops->read(device_host(d)->ctx, path, out);
}

// A small number of ours; `value` stays when there is none.
static int device_read_number(const struct device *d, const char *dir, const char *key,
                              unsigned *value)
{
    char *text = NULL;
    int ret = device_read(d, dir, key, &text);
    if (!ret)
        *value = (unsigned)strtoul(text, NULL, 10);
    free(text);
    return ret == -ENOENT ? 0 : ret;
}

__attribute__((format(printf, 3, 4))) static void pair_set(struct store_pair *p, const char *key,
                                                           const char *fmt, ...)
{
    va_list ap;
    p->key = key;
    va_start(ap, fmt);
    vsnprintf(p->value, sizeof(p->value), fmt, ap);
    va_end(ap);
}

static int device_publish(struct device *d, const struct store_pair *pairs, unsigned count)
{
    int ret = device_host(d)->ops->publish(device_host(d)->ctx, d->back, pairs, count);
    if (ret && ret != -ENOENT)
        log_warn("%s: cannot write to xenstore: %s", d->back, strerror(-ret));
    return ret;
}

static void device_set_state(struct device *d, enum xenbus_state state)
{
    struct store_pair p;
    d->own = state;
    pair_set(&p, "state", "%d", (int)state);
    device_publish(d, &p, 1);
}

static bool rate_allows(struct device_rate *r, unsigned most, unsigned every_ms)
{
    uint64_t now = loop_now_ms(), gone = (now - r->since_ms) / every_ms;
    r->used = r->used > gone ? r->used - (unsigned)gone : 0;
    r->since_ms = r->used ? r->since_ms + gone * every_ms : now;
    if (r->used >= most)
        return false;
    r->used++;
    return true;
}

void device_tell(struct device *d, const char *text)
{
    uint64_t now = loop_now_ms();
    // A guest can cause an error with every request: the same text is told now and then only.
    if (!strcmp(d->error, text) && now - d->error_ms < ERROR_EVERY_MS)
        return;
    if (!rate_allows(&d->tells, TELLS_MOST, TELLS_EVERY_MS))
        return;
    struct store_pair p;
    log_error("%s: %s", d->back, text);
    if (strcmp(d->error, text) != 0) {
        snprintf(d->error, sizeof(d->error), "%s", text);
        pair_set(&p, "error", "%.390s", text);
        device_publish(d, &p, 1);
    }
    d->error_ms = now;
}

// Nothing is in work any more, or never was.
static void device_let_go(struct device *d)
{
    if (d->served)
        device_disconnect(d);
    d->served = false;
    image_close(d->image);
    image_close(d->next_image);
    d->image = d->next_image = NULL;
    free(d->next_params);
    d->next_params = NULL;
    d->opened = false;
    d->retry_until_ms = 0;
}

static void device_finish(struct device *d)
{
    enum device_then then = d->then;
    d->then = THEN_NOTHING;
    if (then == THEN_GONE) {
        device_let_go(d);
        device_forget_journal(d);
        log_info("%s: gone", d->back);
        device_free(d);
    } else if (then == THEN_CLOSED) {
        device_let_go(d);
        device_forget_journal(d);
        device_set_state(d, XenbusStateClosed);
        log_info("%s: closed", d->back);
    } else if (then == THEN_AGAIN) {
        device_let_go(d);
        device_forget_journal(d);
        d->own = XenbusStateInitialising;
        d->failed = d->dead = false;
        device_set_dirty(d);
    } else if (then == THEN_SWAP) {
        image_close(d->image);
        d->image = d->next_image;
        d->next_image = NULL;
        free(d->params);
        d->params = d->next_params;
        d->next_params = NULL;
        device_set_limits(d);
        struct store_pair p[3];
        pair_set(&p[0], "sectors", "%llu", (unsigned long long)d->disk.limits.sectors);
        pair_set(&p[1], "medium", "%.390s", d->params);
        pair_set(&p[2], "state", "%d", XenbusStateConnected); // makes the frontend look again
        device_publish(d, p, 3);
        log_info("%s: medium is now \"%s\"", d->back, d->params);
        disk_resume(&d->disk);
    }
}

// Does `then` when nothing is in work any more: at once, or when the disk says so.
static bool device_stop(struct device *d, enum device_then then)
{
    if (then == THEN_SWAP && d->then != THEN_NOTHING)
        return false;
    d->then = then;
    d->idle = !d->served;
    if (d->served)
        disk_stop(&d->disk); // may set idle
    if (!d->idle)
        return false;
    device_finish(d);
    return true;
}

void device_fail(struct device *d, const char *text)
{
    device_tell(d, text);
    d->failed = true;
    if (d->then != THEN_GONE)
        device_stop(d, THEN_CLOSED);
}

static void device_on_idle(void *arg)
{
    struct device *d = arg;
    d->idle = true;
    device_set_dirty(d);
}

static void device_on_broken(void *arg, unsigned queue)
{
    struct device *d = arg;
    char text[128];
    snprintf(text, sizeof(text), "queue %u: the frontend's ring holds nonsense; disconnected",
             queue);
    device_tell(d, text);
    d->failed = true;
    d->then = THEN_CLOSED;
    d->idle = !d->disk.running;
    device_set_dirty(d);
}

static void device_on_failed(void *arg, const char *what, int err)
{
    struct device *d = arg;
    char text[DEVICE_ERROR];
    snprintf(text, sizeof(text), "%.200s: %s: %s", d->params, what,
             err == ENODATA ? "the image is shorter than it says" : strerror(err));
    device_tell(d, text);
}

static const struct disk_calls device_calls = {
    .idle = device_on_idle, .broken = device_on_broken, .failed = device_on_failed};

// What the toolstack wrote about the disk.
static int device_read_setup(struct device *d)
{
    char *mode = NULL, *type = NULL;
    unsigned discard = 1, shared = 0, direct = 0;
    free(d->params);
    free(d->format);
    d->params = d->format = NULL;
    int ret = device_read(d, d->back, "params", &d->params);
    if (!ret || ret == -ENOENT)
        ret = device_read(d, d->back, "format", &d->format);
    if (!ret || ret == -ENOENT)
        ret = device_read(d, d->back, "mode", &mode);
    if (!ret || ret == -ENOENT)
        ret = device_read(d, d->back, "device-type", &type);
    if (!ret || ret == -ENOENT)
        ret = device_read_number(d, d->back, "discard-enable", &discard);
    if (!ret)
        ret = device_read_number(d, d->back, "shared", &shared);
    if (!ret)
        ret = device_read_number(d, d->back, "direct-io-safe", &direct);
    d->shared = shared != 0;
    d->direct = direct != 0;
    d->cdrom = type && !strcmp(type, "cdrom");
    d->read_only = d->cdrom || (mode && !strcmp(mode, "r"));
    d->discard = discard != 0;
    bool mode_ok = !mode || !strcmp(mode, "r") || !strcmp(mode, "w");
    free(mode);
    free(type);
    if (!ret && !mode_ok) {
        device_fail(d, "node \"mode\" is neither r nor w");
        return -EINVAL;
    }
    if (!ret && !d->params)
        d->params = strdup("");
    return ret;
}

static void device_on_retry(void *arg, uint32_t count)
{
    (void)count;
    device_set_dirty(arg);
}

static bool device_retry_in(struct device *d, uint64_t ms)
{
    if (!d->retry)
        d->retry = loop_add_timer(d->all->loop, device_on_retry, d);
    return d->retry && !loop_arm(d->retry, ms, 0);
}

// Opens what params says. 0; -EAGAIN: later; or the device has failed.
static int device_open_image(struct device *d)
{
    char why[IMAGE_WHY];
    int ret = device_read_setup(d);
    if (ret)
        return ret;
    if (!*d->params) {
        if (d->cdrom) {
            d->opened = true;
            return 0;
        }
        device_fail(d, "node \"params\" names no image");
        return -EINVAL;
    }
    struct image_request req = {.ring = d->all->env.ring,
                                .path = d->params,
                                .read_only = d->read_only,
                                .shared = d->shared,
                                .direct = d->direct,
                                .identity = (uint64_t)(d->domid & 0xffff) << 32 | d->devid};
    ret = image_open(d->format, &req, &d->image, why);
    if (!ret) {
        d->opened = true;
        d->retry_until_ms = 0;
        log_info("%s: %s: %llu bytes%s%s", d->back, d->params, (unsigned long long)d->image->bytes,
                 d->read_only ? ", read-only" : "",
                 d->image->direct ? "" : ", through the page cache");
        return 0;
    }
    // A frontend that is being served already has more to lose: it waits longer.
    uint64_t now = loop_now_ms();
    bool served = d->own == XenbusStateConnected || d->own == XenbusStateClosing;
    unsigned patience = served ? 20 : 1;
    if (ret == -EAGAIN && !d->retry_until_ms)
        d->retry_until_ms = now + (uint64_t)d->all->options.lock_wait_ms * patience;
    if (ret == -EAGAIN && now < d->retry_until_ms && device_retry_in(d, RETRY_MS))
        return ret;
    d->retry_until_ms = 0;
    device_fail(d, why);
    return ret == -EAGAIN ? -EBUSY : ret;
}

static unsigned device_info(const struct device *d)
{
    return (d->cdrom ? VDISK_CDROM | VDISK_REMOVABLE : 0) | (d->read_only ? VDISK_READONLY : 0);
}

static unsigned device_describe(const struct device *d, struct store_pair *p)
{
    unsigned n = 0;
    pair_set(&p[n++], "sectors", "%llu",
             (unsigned long long)(d->image ? d->image->bytes / BLK_SECTOR : 0));
    pair_set(&p[n++], "info", "%u", device_info(d));
    pair_set(&p[n++], "sector-size", "%u", BLK_SECTOR);
    pair_set(&p[n++], "physical-sector-size", "%u", d->image ? d->image->block : BLK_SECTOR);
    if (d->cdrom) // for whoever waits for a change
        pair_set(&p[n++], "medium", "%.390s", d->params);
    return n;
}

static void device_act_open(struct device *d)
{
    const struct device_options *o = &d->all->options;
    struct store_pair p[20];
    if (!d->opened && device_open_image(d))
        return;
    unsigned n = device_describe(d, p);
    bool discard = d->image && d->image->discard_unit && d->discard && !d->read_only;
    pair_set(&p[n++], "feature-barrier", "1");
    pair_set(&p[n++], "feature-flush-cache", "1");
    pair_set(&p[n++], "feature-persistent", "%d", o->persistent);
    if (o->indirect)
        pair_set(&p[n++], "feature-max-indirect-segments", "%u", o->indirect);
    pair_set(&p[n++], "max-ring-page-order", "%u", o->ring_order);
    pair_set(&p[n++], "max-ring-pages", "%u", 1u << o->ring_order);
    pair_set(&p[n++], "multi-queue-max-queues", "%u", o->queues);
    pair_set(&p[n++], "feature-discard", "%d", discard);
    if (discard) {
        pair_set(&p[n++], "discard-granularity", "%u", d->image->discard_unit);
        pair_set(&p[n++], "discard-alignment", "%u", d->image->discard_offset);
        pair_set(&p[n++], "discard-secure", "0");
    }
    if (*d->error)
        pair_set(&p[n++], "error", "%s", "");
    pair_set(&p[n++], "state", "%d", XenbusStateInitWait);
    if (!device_publish(d, p, n)) {
        d->own = XenbusStateInitWait;
        *d->error = '\0';
    }
}

void device_set_rate(struct device *d)
{
    char *text = NULL;
    uint64_t bytes = 0, requests = 0;
    int ret = d->served ? device_read(d, d->back, "rate-limit", &text) : -ENODEV;
    if (ret && ret != -ENOENT)
        return;
    if (text && *text && !disk_rate_parse(text, &bytes, &requests))
        device_tell(d, "node \"rate-limit\" is not \"BYTES REQUESTS\"");
    else if (disk_set_rate(&d->disk, bytes, requests))
        device_tell(d, "no memory for the limit of its rate");
    free(text);
}

static void device_act_connect(struct device *d, bool redo)
{
    char why[DEVICE_ERROR] = "";
    if (!d->opened && device_open_image(d))
        return;
    d->disk.calls = &device_calls;
    d->disk.arg = d;
    int ret = device_connect(d, redo, why);
    if (ret == -EAGAIN)
        return;           // the store's daemon is away; its return brings us back
    if (ret == -ENOSPC) { // for the journal, and nothing else has happened: there may be room soon
        device_tell(d, why);
        device_retry_in(d, ROOM_RETRY_MS);
        return;
    }
    if (ret) {
        device_fail(d, why);
        return;
    }
    d->served = true;
    // A medium may have been changed while no process served the drive.
    if (!redo || (d->cdrom && d->own == XenbusStateConnected)) {
        struct store_pair p[6];
        unsigned n = device_describe(d, p);
        pair_set(&p[n++], "state", "%d", XenbusStateConnected);
        if (device_publish(d, p, n)) {
            device_fail(d, "cannot tell the frontend");
            return;
        }
        d->own = XenbusStateConnected;
    }
    device_set_rate(d);
    disk_start(&d->disk);
}

// Another medium in a drive that is being served.
static void device_change_medium(struct device *d)
{
    char why[IMAGE_WHY], *params = NULL;
    if (!d->cdrom || !d->opened || d->then != THEN_NOTHING)
        return;
    if (device_read(d, d->back, "params", &params) || !strcmp(params, d->params)) {
        free(params);
        return;
    }
    if (!d->served) { // nobody has seen the old one
        free(params);
        device_let_go(d);
        device_set_dirty(d);
        return;
    }
    *d->error = '\0'; // whoever asks for a change waits for words about this one
    struct image *img = NULL;
    struct image_request req = {
        .ring = d->all->env.ring, .path = params, .read_only = true, .direct = d->direct};
    if (*params && image_open(d->format, &req, &img, why)) {
        device_tell(d, why);
        free(params);
        return;
    }
    d->next_image = img;
    d->next_params = params;
    device_stop(d, THEN_SWAP);
}

// False when the device was freed or the store cannot be asked.
static bool device_look(struct device *d, struct backend_view *v)
{
    char *text = NULL;
    unsigned own = 0, front = 0, online = 1;
    int ret = device_read(d, d->back, "frontend", &text);
    free(text);
    if (ret == -ENOENT) {
        device_stop(d, THEN_GONE);
        return false;
    }
    if (ret || device_read_number(d, d->back, "state", &own) ||
        device_read_number(d, d->front, "state", &front) ||
        device_read_number(d, d->back, "online", &online))
        return false;
    // The toolstack asks for the end by Closing.
    if (!d->known || (own == XenbusStateClosing && d->own == XenbusStateConnected) ||
        (own == XenbusStateClosing && d->own == XenbusStateInitWait))
        d->own = (enum xenbus_state)own;
    bool again = d->known && own == XenbusStateInitialising && d->own != XenbusStateInitialising;
    d->known = true;
    if (again) { // another device in the place of this one, or another try
        if (d->then == THEN_NOTHING || d->then == THEN_SWAP)
            device_stop(d, THEN_AGAIN);
        return false;
    }
    if (d->dead)
        front = XenbusStateUnknown;
    if (front == XenbusStateClosing || front == XenbusStateClosed)
        d->failed = false; // it has noticed
    *v = (struct backend_view){.own = d->own,
                               .front = (enum xenbus_state)front,
                               .online = online != 0,
                               .opened = d->opened,
                               .served = d->served,
                               .failed = d->failed};
    return true;
}

static void device_act(struct device *d, enum backend_action action)
{
    switch (action) {
    case BACKEND_NONE:
        break;
    case BACKEND_OPEN:
        // A frontend that comes and goes without end costs us no more than this.
        if (d->own == XenbusStateClosed &&
            !rate_allows(&d->reopens, REOPENS_MOST, REOPENS_EVERY_MS))
            device_retry_in(d, REOPENS_EVERY_MS);
        else
            device_act_open(d);
        break;
    case BACKEND_CONNECT:
        device_act_connect(d, false);
        break;
    case BACKEND_REATTACH:
        device_act_connect(d, true);
        break;
    case BACKEND_CLOSING:
        device_set_state(d, XenbusStateClosing);
        break;
    case BACKEND_CLOSE:
        device_stop(d, THEN_CLOSED);
        break;
    }
}

void device_update(struct device *d)
{
    struct backend_view v;
    if (d->then != THEN_NOTHING && d->idle) {
        bool gone = d->then == THEN_GONE;
        device_finish(d);
        if (gone)
            return;
    }
    for (unsigned step = 0; step < STEPS_MAX; step++) {
        if (!device_look(d, &v) || (d->then != THEN_NOTHING && d->then != THEN_SWAP))
            return;
        enum backend_action action = backend_step(&v);
        if (action == BACKEND_NONE)
            break;
        enum xenbus_state before = d->own;
        bool served = d->served, opened = d->opened;
        device_act(d, action);
        if (d->own == before && d->served == served && d->opened == opened)
            return; // it waits for something
    }
    device_change_medium(d);
}
