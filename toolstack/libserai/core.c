// SPDX-License-Identifier: BSD-2-Clause
// Dumping a guest's memory and registers into a file. What is held at a time is one step of pages.
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct core {
    struct serai *s;
    struct serai_domain domain;
    const struct shared_info *shared;
    const char *path;
    char temp[PATH_MAX]; // its name until it is whole, "": none
    int fd;
    struct core_layout layout;
    uint8_t *buffer; // of one step: some file systems cannot read from a guest's frames
    unsigned vcpus;
    uint64_t pages; // so far
    serai_progress_fn *progress;
    void *progress_ctx;
};

static int core_fail(const struct core *c, int code, struct serai_error *err)
{
    return err_sys(err, code, "cannot write %s", c->path);
}

static int core_shared(struct core *c, struct serai_error *err)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_getdomaininfo, .domain = (domid_t)c->domain.id};
    int ret = hc_domctl(c->s, &op);
    if (ret < 0)
        return err_sys(err, ret, "cannot read the state of domain %u", c->domain.id);
    xen_pfn_t mfn = op.u.getdomaininfo.shared_info_frame;
    c->shared = xenforeignmemory_map(c->s->memory, c->domain.id, PROT_READ, 1, &mfn, NULL);
    return c->shared ? 0
                     : err_sys(err, errno ? -errno : -EIO,
                               "cannot map the shared page of domain %u", c->domain.id);
}

// Registers of every virtual CPU that was ever started.
static int core_vcpus(struct core *c, struct serai_error *err)
{
    vcpu_guest_context_t *ctx = hc_alloc(c->s, sizeof(*ctx));
    int ret = 0;
    if (!ctx)
        return err_set(err, -ENOMEM, "out of memory");
    for (unsigned v = 0; v < c->domain.max_vcpus && !ret; v++) {
        struct xen_domctl op = {.cmd = XEN_DOMCTL_getvcpucontext, .domain = (domid_t)c->domain.id};
        op.u.vcpucontext.vcpu = v;
        set_xen_guest_handle(op.u.vcpucontext.ctxt, ctx);
        ret = hc_domctl(c->s, &op);
        if (ret == -ENODATA || ret == -ESRCH) {
            ret = 0;
            continue;
        }
        if (ret < 0) {
            err_sys(err, ret, "cannot read virtual CPU %u of domain %u", v, c->domain.id);
            break;
        }
        ret = core_write(c->fd, ctx, sizeof(*ctx), c->layout.prstatus + c->vcpus++ * sizeof(*ctx));
        if (ret)
            core_fail(c, ret, err);
    }
    hc_free(c->s, ctx);
    return ret;
}

// Writes the pages of `list` that can be mapped, and their places. 0 or -errno of the file.
static int core_step(struct core *c, struct core_p2m *list, unsigned count)
{
    xen_pfn_t frames[P2M_STEP];
    int fault[P2M_STEP] = {0}, ret = 0;
    unsigned good = 0;
    for (unsigned i = 0; i < count; i++)
        frames[i] = list[i].mfn;
    uint8_t *at = xenforeignmemory_map(c->s->memory, c->domain.id, PROT_READ, count, frames, fault);
    if (!at)
        return 0; // not one of them is the guest's
    for (unsigned i = 0; i < count && !ret;) {
        unsigned run = 0; // pages in a row that are there
        while (i + run < count && !fault[i + run])
            run++;
        memcpy(c->buffer, at + (size_t)i * XC_PAGE_SIZE, (size_t)run * XC_PAGE_SIZE);
        ret = core_write_pages(c->fd, c->buffer, run,
                               c->layout.pages + (c->pages + good) * XC_PAGE_SIZE);
        memmove(list + good, list + i, run * sizeof(*list));
        good += run;
        i += run + 1;
    }
    xenforeignmemory_unmap(c->s->memory, at, count);
    if (!ret)
        ret =
            core_write(c->fd, list, good * sizeof(*list), c->layout.p2m + c->pages * sizeof(*list));
    c->pages += good;
    return ret;
}

static int core_memory(struct core *c, struct serai_error *err)
{
    struct core_p2m list[P2M_STEP];
    struct p2m_reader p2m;
    int ret = p2m_open(&p2m, c->s, c->domain.id, c->shared, err);
    if (ret)
        return ret;
    // A list that names frames twice must neither fill the disk nor take for ever.
    for (uint64_t pfn = 0; pfn < p2m.max_pfn && c->pages < c->domain.pages && !ret;
         pfn += P2M_STEP) {
        if (c->progress &&
            !c->progress(c->progress_ctx, "dump", (unsigned)(pfn * 100 / p2m.max_pfn))) {
            ret = err_set(err, -ECANCELED, "cancelled");
            break;
        }
        unsigned n = p2m_read(&p2m, pfn, list);
        if (n > c->domain.pages - c->pages)
            n = (unsigned)(c->domain.pages - c->pages);
        if (n)
            ret = core_step(c, list, n);
        if (ret)
            core_fail(c, ret, err);
    }
    p2m_close(&p2m);
    if (!ret && c->pages < c->domain.pages)
        serai_note(c->s, SERAI_LOG_INFO, "domain %u: %llu of its %llu pages are in the dump",
                   c->domain.id, (unsigned long long)c->pages, (unsigned long long)c->domain.pages);
    return ret;
}

static void core_version(struct serai *s, struct core_version *v)
{
    int version = hc_version(s, XENVER_version, NULL, 0);
    *v = (struct core_version){.page_size = XC_PAGE_SIZE};
    v->major = version < 0 ? 0 : (unsigned)version >> 16;
    v->minor = version < 0 ? 0 : version & 0xffff;
    hc_version(s, XENVER_extraversion, v->extra, sizeof(v->extra));
    hc_version(s, XENVER_compile_info, &v->compile, sizeof(v->compile));
    hc_version(s, XENVER_capabilities, v->capabilities, sizeof(v->capabilities));
    hc_version(s, XENVER_changeset, v->changeset, sizeof(v->changeset));
    hc_version(s, XENVER_platform_parameters, &v->platform, sizeof(v->platform));
}

static int core_fill(struct core *c, struct serai_error *err)
{
    struct core_version version;
    struct core_view view = {0};
    core_layout(&c->layout, c->domain.max_vcpus, c->domain.pages);
    int ret = core_shared(c, err);
    if (!ret)
        ret = core_vcpus(c, err);
    if (!ret)
        ret = core_memory(c, err);
    if (ret)
        return ret;
    core_version(c->s, &version);
    memcpy(c->buffer, c->shared, XC_PAGE_SIZE);
    ret = core_write(c->fd, c->buffer, XC_PAGE_SIZE, c->layout.shared_info);
    // Zero pages at the end were not written: the file must have its length nevertheless.
    if (!ret && ftruncate(c->fd, (off_t)(c->layout.pages + c->pages * XC_PAGE_SIZE)))
        ret = -errno;
    if (!ret)
        ret = core_write_view(c->fd, &c->layout, c->vcpus, c->pages, &view);
    if (ret == -ENOMEM) { // for crash it is good without
        serai_note(c->s, SERAI_LOG_WARNING, "domain %u: no memory to make its dump good for gdb",
                   c->domain.id);
        ret = 0;
    }
    if (!ret)
        ret = core_write_head(c->fd, &c->layout, &version, c->vcpus, c->pages, &view);
    // Some file systems find out only now that there is no room.
    if (!ret && fsync(c->fd))
        ret = -errno;
    return ret ? core_fail(c, ret, err) : 0;
}

// A file without a name goes by itself, however the process ends; where the file system has none,
// one under another name.
static int core_open(struct core *c)
{
    const char *slash = strrchr(c->path, '/');
    snprintf(c->temp, sizeof(c->temp), "%.*s", slash ? (int)(slash - c->path) + 1 : 1,
             slash ? c->path : ".");
    // For the owner alone: a guest's secrets are in it.
    c->fd = open(c->temp, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    c->temp[0] = '\0';
    if (c->fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return c->fd < 0 ? -errno : 0;
    snprintf(c->temp, sizeof(c->temp), "%s.XXXXXX", c->path);
    c->fd = mkostemp(c->temp, O_CLOEXEC);
    if (c->fd >= 0)
        return 0;
    c->temp[0] = '\0';
    return -errno;
}

// It gets its name, over whatever had that before.
static int core_name(struct core *c)
{
    char own[32];
    if (!c->temp[0]) {
        snprintf(own, sizeof(own), "/proc/self/fd/%d", c->fd);
        snprintf(c->temp, sizeof(c->temp), "%s.%d", c->path, (int)getpid());
        if (linkat(AT_FDCWD, own, AT_FDCWD, c->temp, AT_SYMLINK_FOLLOW)) {
            c->temp[0] = '\0';
            return -errno;
        }
    }
    return rename(c->temp, c->path) ? -errno : 0;
}

static int core_file(struct core *c, struct serai_error *err)
{
    if (strlen(c->path) + sizeof(".XXXXXXXXXX") > sizeof(c->temp))
        return core_fail(c, -ENAMETOOLONG, err);
    int ret = core_open(c);
    if (ret)
        return core_fail(c, ret, err);
    ret = core_fill(c, err);
    if (!ret) {
        ret = core_name(c);
        if (ret)
            core_fail(c, ret, err);
    }
    close(c->fd);
    if (ret && c->temp[0])
        unlink(c->temp);
    return ret;
}

int serai_domain_dump(struct serai *s, uint32_t id, const char *path, serai_progress_fn *progress,
                      void *progress_ctx, struct serai_error *err)
{
    struct core c = {.s = s, .path = path, .progress = progress, .progress_ctx = progress_ctx};
    if (!id)
        return err_set(err, -EPERM, "the control domain cannot be dumped");
    int ret = serai_domain_get(s, id, &c.domain, err);
    if (ret)
        return ret;
    if (c.domain.flags & SERAI_DOMAIN_DYING)
        return err_set(err, -ESRCH, "domain %u is dying", id);
    if (c.domain.flags & SERAI_DOMAIN_HVM)
        return err_set(err, -EOPNOTSUPP, "domain %u: only PV guests can be dumped", id);
    // What changes while it is read is of no use.
    bool pause = !(c.domain.flags & (SERAI_DOMAIN_PAUSED | SERAI_DOMAIN_SHUTDOWN));
    if (pause)
        ret = serai_domain_pause(s, id, err);
    if (ret)
        return ret;
    c.buffer = malloc((size_t)P2M_STEP * XC_PAGE_SIZE);
    ret = c.buffer ? core_file(&c, err) : err_set(err, -ENOMEM, "out of memory");
    free(c.buffer);
    if (c.shared)
        xenforeignmemory_unmap(s->memory, (void *)(uintptr_t)c.shared, 1);
    if (pause)
        serai_domain_unpause(s, id, NULL);
    return ret;
}
