// SPDX-License-Identifier: BSD-2-Clause
#include "xen_host.h"

#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { COPY_BATCH = 256 };

static void *xen_map(void *ctx, uint32_t domid, const uint32_t *grefs, unsigned count)
{
    struct xen_host *x = ctx;
    return xengnttab_map_domain_grant_refs(x->grants, count, domid, (uint32_t *)(uintptr_t)grefs,
                                           PROT_READ | PROT_WRITE);
}

static void xen_unmap(void *ctx, void *address, unsigned count)
{
    struct xen_host *x = ctx;
    if (xengnttab_unmap(x->grants, address, count))
        log_warn("cannot unmap %u granted pages: %s", count, strerror(errno));
}

static int xen_copy(void *ctx, uint32_t domid, const struct grant_copy *piece, unsigned count,
                    bool to_guest)
{
    struct xen_host *x = ctx;
    xengnttab_grant_copy_segment_t seg[COPY_BATCH];
    if (count > COPY_BATCH)
        return -E2BIG;
    for (unsigned i = 0; i < count; i++) {
        union xengnttab_copy_ptr guest = {
            .foreign = {.ref = piece[i].gref, .offset = piece[i].offset, .domid = (uint16_t)domid}};
        union xengnttab_copy_ptr local = {.virt = piece[i].local};
        seg[i] = (xengnttab_grant_copy_segment_t){.source = to_guest ? local : guest,
                                                  .dest = to_guest ? guest : local,
                                                  .len = piece[i].length,
                                                  .flags = to_guest ? GNTCOPY_dest_gref
                                                                    : GNTCOPY_source_gref};
    }
    if (xengnttab_grant_copy(x->grants, count, seg))
        return -errno;
    for (unsigned i = 0; i < count; i++)
        if (seg[i].status != GNTST_okay)
            return -EFAULT;
    return 0;
}

static int xen_bind(void *ctx, uint32_t domid, uint32_t port)
{
    struct xen_host *x = ctx;
    int ours = xenevtchn_bind_interdomain(x->events, domid, port);
    return ours < 0 ? -errno : ours;
}

static void xen_unbind(void *ctx, int port)
{
    struct xen_host *x = ctx;
    xenevtchn_unbind(x->events, (evtchn_port_t)port);
}

static void xen_notify(void *ctx, int port)
{
    struct xen_host *x = ctx;
    xenevtchn_notify(x->events, (evtchn_port_t)port);
}

static int xen_read(void *ctx, const char *path, char **out)
{
    return store_read(((struct xen_host *)ctx)->store, path, out);
}

static int xen_list(void *ctx, const char *path, char ***names, unsigned *count)
{
    return store_list(((struct xen_host *)ctx)->store, path, names, count);
}

static int xen_publish(void *ctx, const char *dir, const struct store_pair *pairs, unsigned count)
{
    return store_publish(((struct xen_host *)ctx)->store, dir, pairs, count);
}

static bool xen_alive(void *ctx, uint32_t domid)
{
    return store_alive(((struct xen_host *)ctx)->store, domid);
}

static int xen_watch(void *ctx, const char *path, const char *token)
{
    return store_watch(((struct xen_host *)ctx)->store, path, token);
}

static void xen_unwatch(void *ctx, const char *path, const char *token)
{
    store_unwatch(((struct xen_host *)ctx)->store, path, token);
}

static const struct host_ops xen_ops = {.map = xen_map,
                                        .unmap = xen_unmap,
                                        .copy = xen_copy,
                                        .bind = xen_bind,
                                        .unbind = xen_unbind,
                                        .notify = xen_notify,
                                        .read = xen_read,
                                        .list = xen_list,
                                        .publish = xen_publish,
                                        .alive = xen_alive,
                                        .watch = xen_watch,
                                        .unwatch = xen_unwatch};

int xen_host_open(struct xen_host *x)
{
    int err;
    *x = (struct xen_host){.host = {.ops = &xen_ops, .ctx = x}};
    x->quiet = xtl_createlogger_stdiostream(stderr, XTL_CRITICAL, 0);
    x->grants = x->quiet ? xengnttab_open((xentoollog_logger *)x->quiet, 0) : NULL;
    if (!x->grants) {
        err = errno ? errno : ENOMEM;
        xen_host_close(x);
        log_error("cannot open /dev/xen/gntdev (is module xen-gntdev loaded?): %s", strerror(err));
        return -err;
    }
    x->events = xenevtchn_open(NULL, 0);
    if (!x->events) {
        err = errno;
        log_error("cannot open /dev/xen/evtchn (is module xen-evtchn loaded?): %s", strerror(err));
        xen_host_close(x);
        return -err;
    }
    // Events are read several at once, until there are none.
    int fd = xenevtchn_fd(x->events);
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK)) {
        xen_host_close(x);
        return -EIO;
    }
    return 0;
}

void xen_host_close(struct xen_host *x)
{
    if (x->events)
        xenevtchn_close(x->events);
    if (x->grants)
        xengnttab_close(x->grants);
    if (x->quiet)
        xtl_logger_destroy((xentoollog_logger *)x->quiet);
    x->events = NULL;
    x->grants = NULL;
    x->quiet = NULL;
}
