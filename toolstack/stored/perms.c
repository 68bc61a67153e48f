// SPDX-License-Identifier: BSD-2-Clause
#include "perms.h"

#include "mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char perm_letters[] = "nrwb"; // by PERM_READ | PERM_WRITE

struct perms *perms_new(const struct perm *list, uint32_t count)
{
    struct perms *p = mem_alloc(sizeof(*p) + count * sizeof(*list));
    p->refs = 1;
    p->count = count;
    memcpy(p->list, list, count * sizeof(*list));
    return p;
}

struct perms *perms_ref(struct perms *p)
{
    p->refs++;
    return p;
}

void perms_unref(struct perms *p)
{
    if (p && !--p->refs)
        free(p);
}

unsigned perms_access(const struct perms *p, const struct who *who)
{
    if (who->privileged || p->list[0].domid == who->domid || p->list[0].domid == who->target)
        return PERM_ALL;
    for (uint32_t i = 1; i < p->count; i++)
        if (p->list[i].domid == who->domid || p->list[i].domid == who->target)
            return p->list[i].access;
    return p->list[0].access;
}

// One entry; returns the bytes taken with the terminating zero, 0 when it is none.
static size_t perm_parse(const char *text, size_t len, struct perm *out)
{
    const char *end = memchr(text, '\0', len);
    const char *letter = *text ? strchr(perm_letters, *text) : NULL;
    unsigned domid = 0;
    if (!end || !letter || end == text + 1 || end > text + 6)
        return 0;
    for (const char *p = text + 1; p < end; p++) {
        if (*p < '0' || *p > '9')
            return 0;
        domid = domid * 10 + (unsigned)(*p - '0');
    }
    if (domid >= DOMID_COUNT)
        return 0;
    *out = (struct perm){.domid = (uint16_t)domid, .access = (uint16_t)(letter - perm_letters)};
    return (size_t)(end - text) + 1;
}

int perms_parse(const char *text, size_t len, struct perms **out)
{
    struct perm list[PERMS_COUNT_MAX];
    uint32_t count = 0;
    while (len) {
        size_t used = count < PERMS_COUNT_MAX ? perm_parse(text, len, &list[count]) : 0;
        if (!used)
            return -EINVAL;
        count++;
        text += used;
        len -= used;
    }
    if (!count)
        return -EINVAL;
    *out = perms_new(list, count);
    return 0;
}

void perms_format(const struct perms *p, struct buf *out)
{
    for (uint32_t i = 0; i < p->count; i++) {
        buf_printf(out, "%c%u", perm_letters[p->list[i].access & 3], p->list[i].domid);
        buf_add(out, "", 1);
    }
    mem_check(out);
}

struct perms *perms_with_owner(struct perms *p, unsigned domid)
{
    if (p->list[0].domid == domid)
        return perms_ref(p);
    struct perms *copy = perms_new(p->list, p->count);
    copy->list[0].domid = (uint16_t)domid;
    return copy;
}

struct perms *perms_without(const struct perms *p, unsigned domid)
{
    uint32_t kept = 1;
    for (uint32_t i = 1; i < p->count; i++)
        kept += p->list[i].domid != domid;
    if (kept == p->count)
        return NULL;
    struct perms *copy = perms_new(p->list, p->count);
    copy->count = 1;
    for (uint32_t i = 1; i < p->count; i++)
        if (p->list[i].domid != domid)
            copy->list[copy->count++] = p->list[i];
    return copy;
}
