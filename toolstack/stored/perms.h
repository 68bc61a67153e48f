// SPDX-License-Identifier: BSD-2-Clause
// Who may do what to a node. The first entry names the owner, who may do everything, and what
// everybody else may do; the others are exceptions for one domain each. Lists are immutable and
// shared by the nodes that inherited them.
#pragma once

#include "buf.h"

#include <stdbool.h>
#include <stdint.h>

enum { PERM_READ = 1, PERM_WRITE = 2, PERM_OWNER = 4, PERM_ALL = 7 };
enum { PERMS_COUNT_MAX = 512, DOMID_COUNT = 0x7ff0 }; // DOMID_FIRST_RESERVED

struct perm {
    uint16_t domid;
    uint16_t access; // PERM_READ | PERM_WRITE
};

struct perms {
    uint32_t refs;
    uint32_t count; // at least 1
    struct perm list[];
};

// On whose behalf something is done.
struct who {
    unsigned domid;
    unsigned target; // the domain it serves (SET_TARGET), otherwise domid
    bool privileged; // the control domain: may do everything
};

// A list with one reference.
struct perms *perms_new(const struct perm *list, uint32_t count);
struct perms *perms_ref(struct perms *p);
void perms_unref(struct perms *p);

// PERM_* bits.
unsigned perms_access(const struct perms *p, const struct who *who);
// "b0\0r3\0..." and back. -EINVAL for text that is no list. A number above the real domains'
// is refused.
int perms_parse(const char *text, size_t len, struct perms **out);
void perms_format(const struct perms *p, struct buf *out);
// The same list with another owner; a new reference.
struct perms *perms_with_owner(struct perms *p, unsigned domid);
// The same list without exceptions for `domid`; NULL when there are none.
struct perms *perms_without(const struct perms *p, unsigned domid);
// How many bytes of a node's size the list is.
static inline size_t perms_bytes(const struct perms *p)
{
    return p->count * sizeof(struct perm);
}
