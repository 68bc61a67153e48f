// SPDX-License-Identifier: BSD-2-Clause
#include "xen.h"

#include "log.h"
#include "loop.h"
#include "mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xencall.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>
#include <xengnttab.h>
#include <xentoollog.h>

#include <xen/domctl.h>
#include <xen/io/xs_wire.h>
#include <xen/sys/xenbus_dev.h>
#include <xen/sysctl.h>

enum { PAGE_BYTES = 4096, DOMAINS_BATCH = 128, POLL_MS = 500, POLL_SELDOM_MS = 10000 };

struct xen {
    const struct xen_hooks *hooks;
    void *arg;
    xentoollog_logger_stdiostream *quiet; // a failed grant is no error: there is another way
    xenevtchn_handle *evtchn;
    xengnttab_handle *grants;
    xenforeignmemory_handle *memory;
    xencall_handle *call;
    int domains_port; // of VIRQ_DOM_EXC, -1 when somebody else has it
    struct loop_source *poll;
    uint8_t states[DOMID_FIRST_RESERVED]; // enum xen_domain
};

// ---- events -------------------------------------------------------------------------------

static void xen_on_event(void *arg, uint32_t events)
{
    struct xen *x = arg;
    (void)events;
    int port = xenevtchn_pending(x->evtchn);
    if (port < 0)
        return;
    // Unmasked before its cause is looked at: what comes later is told again.
    xenevtchn_unmask(x->evtchn, (evtchn_port_t)port);
    if (port == x->domains_port)
        x->hooks->domains_changed(x->arg);
    else
        x->hooks->event(x->arg, (unsigned)port);
}

// One listener is told of ended domains. While that is another program, looking often has to do.
static void xen_listen_for_ends(struct xen *x)
{
    x->domains_port = xenevtchn_bind_virq(x->evtchn, VIRQ_DOM_EXC);
    uint64_t every = x->domains_port < 0 ? POLL_MS : POLL_SELDOM_MS;
    loop_arm(x->poll, every, every);
}

static void xen_on_poll(void *arg, uint32_t count)
{
    struct xen *x = arg;
    (void)count;
    if (x->domains_port < 0)
        xen_listen_for_ends(x);
    x->hooks->domains_changed(x->arg);
}

struct xen *xen_open(struct loop *l, const struct xen_hooks *hooks, void *arg)
{
    struct xen *x = mem_alloc(sizeof(*x));
    x->hooks = hooks;
    x->arg = arg;
    x->domains_port = -1;
    x->quiet = xtl_createlogger_stdiostream(stderr, XTL_CRITICAL, 0);
    x->evtchn = xenevtchn_open(NULL, 0);
    if (!x->evtchn) {
        log_error("cannot open /dev/xen/evtchn (%s): is module xen-evtchn loaded?",
                  strerror(errno));
        goto out_close;
    }
    x->memory = xenforeignmemory_open(NULL, 0);
    x->call = xencall_open(NULL, 0);
    if (!x->memory || !x->call) {
        log_error("cannot open /dev/xen/privcmd: %s", strerror(errno));
        goto out_close;
    }
    // Without it (module xen-gntdev) there are the frame numbers.
    x->grants = xengnttab_open((xentoollog_logger *)x->quiet, 0);
    x->poll = loop_add_timer(l, xen_on_poll, x);
    if (!x->poll || !loop_add_fd(l, xenevtchn_fd(x->evtchn), EPOLLIN, xen_on_event, x)) {
        log_error("event loop: %s", strerror(errno));
        goto out_close;
    }
    xen_listen_for_ends(x);
    if (x->domains_port < 0)
        log_info("another program is told of ended domains: looking at them every %d ms", POLL_MS);
    return x;

out_close:
    xen_close(x);
    return NULL;
}

void xen_close(struct xen *x)
{
    if (!x)
        return;
    if (x->grants)
        xengnttab_close(x->grants);
    if (x->memory)
        xenforeignmemory_close(x->memory);
    if (x->call)
        xencall_close(x->call);
    if (x->evtchn)
        xenevtchn_close(x->evtchn);
    if (x->quiet)
        xtl_logger_destroy((xentoollog_logger *)x->quiet);
    free(x);
}

// Binding may be refused for a moment while the end of a process before us is being cleaned up.
int xen_bind(struct xen *x, unsigned domid, uint32_t port)
{
    int ours = xenevtchn_bind_interdomain(x->evtchn, domid, port);
    return ours < 0 ? -errno : ours;
}

void xen_unbind(struct xen *x, unsigned port)
{
    xenevtchn_unbind(x->evtchn, port);
}

void xen_notify(struct xen *x, unsigned port)
{
    xenevtchn_notify(x->evtchn, port);
}

// ---- pages --------------------------------------------------------------------------------

// The old way, in the kernel's own file system.
static int map_control_xenfs(struct xenstore_domain_interface **page, uint32_t *port)
{
    FILE *f = fopen("/proc/xen/xsd_port", "re");
    if (!f)
        return -errno;
    char line[32] = "";
    char *end = line;
    unsigned long n = fgets(line, sizeof(line), f) ? strtoul(line, &end, 10) : 0;
    fclose(f);
    if (end == line || !n || n > UINT32_MAX)
        return -EIO;
    int fd = open("/proc/xen/xsd_kva", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    void *p = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int ret = p == MAP_FAILED ? -errno : 0;
    close(fd);
    if (ret)
        return ret;
    *page = p;
    *port = (uint32_t)n;
    return 0;
}

int xen_map_control(struct xen *x, struct xenstore_domain_interface **page, uint32_t *port)
{
    (void)x;
    int fd = open("/dev/xen/xenbus_backend", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return map_control_xenfs(page, port);
    int ret = ioctl(fd, IOCTL_XENBUS_BACKEND_EVTCHN);
    void *p = MAP_FAILED;
    if (ret > 0) {
        *port = (uint32_t)ret;
        p = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    ret = p == MAP_FAILED ? -errno : 0;
    close(fd);
    if (!ret)
        *page = p;
    return ret;
}

// What kind a mapping is need not be remembered: a page of the wrong library is not unmapped by
// either of them but by munmap(), which both kernel drivers accept.
struct xenstore_domain_interface *xen_map_guest(struct xen *x, unsigned domid, uint64_t mfn)
{
    void *page = NULL;
    if (x->grants)
        page = xengnttab_map_grant_ref(x->grants, domid, GNTTAB_RESERVED_XENSTORE,
                                       PROT_READ | PROT_WRITE);
    if (page)
        return page;
    xen_pfn_t frame = mfn;
    return xenforeignmemory_map(x->memory, domid, PROT_READ | PROT_WRITE, 1, &frame, NULL);
}

void xen_unmap(struct xen *x, struct xenstore_domain_interface *page)
{
    if (x->grants && !xengnttab_unmap(x->grants, page, 1))
        return;
    munmap(page, PAGE_BYTES);
}

// ---- domains ------------------------------------------------------------------------------

static void xen_note(struct xen *x, const struct xen_domctl_getdomaininfo *info)
{
    if (info->domain >= DOMID_FIRST_RESERVED || (info->flags & XEN_DOMINF_dying))
        return;
    x->states[info->domain] =
        info->flags & XEN_DOMINF_shutdown ? XEN_DOMAIN_SHUT_DOWN : XEN_DOMAIN_RUNS;
}

static int xen_list(struct xen *x, struct xen_sysctl *op, struct xen_domctl_getdomaininfo *list)
{
    unsigned first = 0, count;
    do {
        *op = (struct xen_sysctl){.cmd = XEN_SYSCTL_getdomaininfolist,
                                  .interface_version = XEN_SYSCTL_INTERFACE_VERSION};
        op->u.getdomaininfolist.first_domain = (domid_t)first;
        op->u.getdomaininfolist.max_domains = DOMAINS_BATCH;
        set_xen_guest_handle(op->u.getdomaininfolist.buffer, list);
        if (xencall1(x->call, __HYPERVISOR_sysctl, (uintptr_t)op))
            return errno ? -errno : -EIO;
        count = op->u.getdomaininfolist.num_domains;
        for (unsigned i = 0; i < count; i++)
            xen_note(x, &list[i]);
        if (count)
            first = list[count - 1].domain + 1u;
    } while (count == DOMAINS_BATCH);
    return 0;
}

int xen_look(struct xen *x)
{
    struct xen_sysctl *op = xencall_alloc_buffer(x->call, sizeof(*op));
    struct xen_domctl_getdomaininfo *list =
        xencall_alloc_buffer(x->call, DOMAINS_BATCH * sizeof(*list));
    int ret = -ENOMEM;
    if (op && list) {
        memset(x->states, XEN_DOMAIN_NONE, sizeof(x->states));
        ret = xen_list(x, op, list);
    }
    if (op)
        xencall_free_buffer(x->call, op);
    if (list)
        xencall_free_buffer(x->call, list);
    return ret;
}

enum xen_domain xen_domain_state(const struct xen *x, unsigned domid)
{
    return domid < DOMID_FIRST_RESERVED ? (enum xen_domain)x->states[domid] : XEN_DOMAIN_NONE;
}
