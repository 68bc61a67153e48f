// SPDX-License-Identifier: BSD-2-Clause
// Operations on domains.
#include "ops.h"

#include "watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// The first string is a domain's number; `count` strings in all, more are ignored.
static int request_domain(struct request *r, const char **arg, unsigned count, unsigned long *id)
{
    const char *rest;
    size_t left;
    int ret = request_prefix(r, arg, count, &rest, &left);
    return ret ? ret : request_number(arg[0], DOMID_COUNT - 1, id);
}

// A frame number is signed by the protocol, though none is negative.
int op_introduce(struct request *r)
{
    const char *arg[3];
    unsigned long id, port;
    char *end;
    int ret = request_domain(r, arg, 3, &id);
    if (!ret)
        ret = request_number(arg[2], UINT32_MAX, &port);
    if (ret)
        return ret;
    errno = 0;
    long long mfn = strtoll(arg[1], &end, 10);
    if (errno || end == arg[1] || *end || !id || !port)
        return -EINVAL;
    return domain_introduce(r->store, (unsigned)id, (uint64_t)mfn, (uint32_t)port);
}

int op_release(struct request *r)
{
    const char *arg;
    unsigned long id;
    int ret = request_domain(r, &arg, 1, &id);
    if (ret)
        return ret;
    return id ? domain_release(r->store, (unsigned)id) : -EINVAL;
}

int op_is_introduced(struct request *r)
{
    const char *arg;
    unsigned long id;
    int ret = request_domain(r, &arg, 1, &id);
    if (ret)
        return ret;
    const struct domain *d = domain_find(r->store, (unsigned)id);
    buf_add(r->reply, d && d->introduced ? "T" : "F", 2);
    return 0;
}

int op_domain_path(struct request *r)
{
    const char *arg;
    unsigned long id;
    const char *rest;
    size_t left;
    int ret = request_prefix(r, &arg, 1, &rest, &left);
    if (!ret)
        ret = request_number(arg, UINT16_MAX, &id);
    if (ret)
        return ret;
    buf_printf(r->reply, "/local/domain/%lu", id);
    buf_add(r->reply, "", 1);
    return 0;
}

int op_resume(struct request *r)
{
    const char *arg;
    unsigned long id;
    int ret = request_domain(r, &arg, 1, &id);
    return ret ? ret : domain_set_shutdown(r->store, (unsigned)id, false);
}

int op_set_target(struct request *r)
{
    const char *arg[2];
    unsigned long id, target;
    int ret = request_domain(r, arg, 2, &id);
    if (!ret)
        ret = request_number(arg[1], DOMID_COUNT - 1, &target);
    return ret ? ret : domain_set_target(r->store, (unsigned)id, (unsigned)target);
}
