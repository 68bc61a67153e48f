// SPDX-License-Identifier: BSD-2-Clause
// One change of the tree, in memory and as bytes: what transactions collect and the journal
// keeps. Permission and limits have been checked when a change is made.
#pragma once

#include "store.h"

enum change_kind { CHANGE_WRITE = 1, CHANGE_MKDIR, CHANGE_REMOVE, CHANGE_PERMS };

struct change {
    enum change_kind kind;
    unsigned creator; // owner of nodes that come to be; 0: whoever owns what is above
    const char *path;
    const char *data; // a value, or struct perm[]
    size_t len;
};

void change_encode(struct buf *b, const struct change *c);
// 1 with a change that points into the bytes, 0 at the end, -EINVAL for bytes that are none.
int change_decode(struct record_reader *r, struct change *c);

// Does it to a tree that nobody watches.
void change_apply(struct tree *t, const struct change *c);
// Does all of it to the store's tree and tells who watches. -EINVAL as above.
int changes_commit(struct store *s, const char *data, size_t len);
