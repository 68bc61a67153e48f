// SPDX-License-Identifier: BSD-2-Clause
// Operations on nodes: the same outside and inside of transactions, except for what they read
// from and that a transaction notes what it looked at.
#include "ops.h"

#include "mem.h"
#include "watch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct node *request_root(const struct request *r)
{
    return r->tx ? r->tx->tree.root : r->store->tree.root;
}

static int request_path(const struct request *r, const char *given, path_text path)
{
    int ret = path_resolve(given, r->conn->who.domid, path);
    if (!ret && !r->conn->who.privileged && strlen(path) > r->store->limits.path_length)
        return -EINVAL;
    return ret;
}

static int request_depend(struct request *r, const char *path, unsigned flags)
{
    return r->tx ? transaction_depend(r->tx, path, flags) : 0;
}

// Finds a node and asks for PERM_*. Whether a node exists is told to those alone who have that
// right on what is above it.
static int request_node(struct request *r, const char *path, unsigned access, unsigned depends,
                        const struct node **out)
{
    const struct node *n = tree_find(request_root(r), path);
    int ret = request_depend(r, path, depends);
    if (ret)
        return ret;
    if (!n) {
        size_t len;
        n = tree_nearest(request_root(r), path, &len);
        return perms_access(n->perms, &r->conn->who) & access ? -ENOENT : -EACCES;
    }
    if (!(perms_access(n->perms, &r->conn->who) & access))
        return -EACCES;
    *out = n;
    return 0;
}

static int request_one_node(struct request *r, unsigned access, unsigned depends,
                            const struct node **out)
{
    const char *given;
    path_text path;
    int ret = request_strings(r, &given, 1);
    if (!ret)
        ret = request_path(r, given, path);
    return ret ? ret : request_node(r, path, access, depends, out);
}

// ---- reading ------------------------------------------------------------------------------

int op_read(struct request *r)
{
    const struct node *n;
    int ret = request_one_node(r, PERM_READ, DEP_VALUE, &n);
    if (!ret)
        buf_add(r->reply, node_value(n), node_value_len(n));
    return ret;
}

int op_directory(struct request *r)
{
    const struct node *n;
    int ret = request_one_node(r, PERM_READ, DEP_KIDS, &n);
    if (ret)
        return ret;
    buf_add(r->reply, "", 0); // without children the answer is empty, not "OK"
    for (uint32_t i = 0; i < n->kid_count; i++) {
        buf_add(r->reply, n->kids[i]->name, n->kids[i]->name_len + 1u);
        if (r->reply->len > XENSTORE_PAYLOAD_MAX)
            return -E2BIG;
    }
    return 0;
}

// Whole names only; an empty one says that the list ends here.
int op_directory_part(struct request *r)
{
    const char *arg[2];
    path_text path;
    unsigned long offset;
    const struct node *n;
    int ret = request_strings(r, arg, 2);
    if (!ret)
        ret = request_number(arg[1], UINT32_MAX, &offset);
    if (!ret)
        ret = request_path(r, arg[0], path);
    if (!ret)
        ret = request_node(r, path, PERM_READ, DEP_KIDS, &n);
    if (ret)
        return ret;
    uint64_t newest = n->kids_gen;
    newest = n->value_gen > newest ? n->value_gen : newest;
    newest = n->perms_gen > newest ? n->perms_gen : newest;
    buf_printf(r->reply, "%llu", (unsigned long long)newest);
    buf_add(r->reply, "", 1);
    size_t at = 0;
    for (uint32_t i = 0; i < n->kid_count; i++) {
        size_t len = n->kids[i]->name_len + 1u;
        if (at >= offset) {
            if (r->reply->len + len > XENSTORE_PAYLOAD_MAX)
                return 0;
            buf_add(r->reply, n->kids[i]->name, len);
        }
        at += len;
    }
    if (offset > at)
        return -EINVAL;
    if (r->reply->len < XENSTORE_PAYLOAD_MAX)
        buf_add(r->reply, "", 1);
    return 0;
}

int op_get_perms(struct request *r)
{
    const struct node *n;
    unsigned special = watch_special(r->data);
    if (special < SPECIAL_COUNT && r->conn->who.privileged) {
        perms_format(r->store->special[special], r->reply);
        return 0;
    }
    int ret = request_one_node(r, PERM_READ, DEP_PERMS, &n);
    if (!ret)
        perms_format(n->perms, r->reply);
    return ret;
}

// ---- writing ------------------------------------------------------------------------------

// Does what has been allowed: at once, or in the transaction.
static int request_change(struct request *r, enum change_kind kind, const char *path,
                          const void *data, size_t len)
{
    struct change c = {.kind = kind,
                       .creator = r->conn->who.privileged ? 0 : r->conn->who.domid,
                       .path = path,
                       .data = data,
                       .len = len};
    if (r->tx) {
        transaction_change(r->tx, &c);
        return 0;
    }
    BUF_AUTO bytes = {0};
    change_encode(&bytes, &c);
    int ret = store_record(r->store, RECORD_CHANGES, &bytes);
    return ret ? ret : changes_commit(r->store, bytes.data, bytes.len);
}

static unsigned path_components(const char *path)
{
    unsigned count = 0;
    size_t len;
    while (path_step(&path, &len))
        count++;
    return count;
}

// Whether a guest may have `nodes` more nodes and one of `payload` bytes.
static int request_afford(const struct request *r, unsigned nodes, size_t payload)
{
    const struct limits *l = &r->store->limits;
    const struct usage *use = &r->conn->domain->use;
    if (r->conn->who.privileged)
        return 0;
    if (payload > l->node_size)
        return -ENOSPC;
    int have = (int)use->nodes + (r->tx ? r->tx->nodes : 0);
    if (nodes && have + (int)nodes > (int)l->nodes)
        return -ENOSPC;
    size_t more = nodes * (sizeof(struct node) + 64) + payload;
    return use->bytes + (long)more > (long)l->memory ? -ENOMEM : 0;
}

// Whether a node that is not there may be made.
static int request_may_create(struct request *r, const char *path, size_t payload)
{
    path_text above_path;
    size_t len;
    const struct node *above = tree_nearest(request_root(r), path, &len);
    if (!(perms_access(above->perms, &r->conn->who) & PERM_WRITE))
        return -EACCES;
    memcpy(above_path, path, len);
    memcpy(above_path + len, len ? "" : "/", len ? 1 : 2);
    int ret = request_depend(r, path, DEP_EXISTS);
    if (!ret)
        ret = request_depend(r, above_path, DEP_EXISTS | DEP_PERMS);
    if (ret)
        return ret;
    return request_afford(r, path_components(path + len), payload + perms_bytes(above->perms));
}

int op_write(struct request *r)
{
    const char *given, *value;
    path_text path;
    size_t len;
    int ret = request_prefix(r, &given, 1, &value, &len);
    if (!ret)
        ret = request_path(r, given, path);
    if (ret)
        return ret;
    const struct node *n = tree_find(request_root(r), path);
    if (!n)
        ret = request_may_create(r, path, len);
    else if (!(perms_access(n->perms, &r->conn->who) & PERM_WRITE))
        ret = -EACCES;
    else if (!(ret = request_depend(r, path, DEP_VALUE | DEP_PERMS)))
        ret = request_afford(r, 0, len + perms_bytes(n->perms));
    return ret ? ret : request_change(r, CHANGE_WRITE, path, value, len);
}

int op_mkdir(struct request *r)
{
    const char *given;
    path_text path;
    int ret = request_strings(r, &given, 1);
    if (!ret)
        ret = request_path(r, given, path);
    if (ret)
        return ret;
    const struct node *n = tree_find(request_root(r), path);
    if (n) {
        if (!(perms_access(n->perms, &r->conn->who) & PERM_WRITE))
            return -EACCES;
        return request_depend(r, path, DEP_EXISTS);
    }
    ret = request_may_create(r, path, 0);
    return ret ? ret : request_change(r, CHANGE_MKDIR, path, "", 0);
}

int op_remove(struct request *r)
{
    const char *given;
    path_text path, parent;
    const struct node *n;
    int ret = request_strings(r, &given, 1);
    if (!ret)
        ret = request_path(r, given, path);
    if (!ret && !path[1])
        ret = -EINVAL;
    if (ret)
        return ret;
    ret = request_node(r, path, PERM_WRITE, DEP_ALL_BELOW, &n);
    if (!ret)
        return request_change(r, CHANGE_REMOVE, path, "", 0);
    size_t len = path_parent_length(path);
    if (ret != -ENOENT || !tree_find_n(request_root(r), path, len))
        return ret;
    // Not there, as it should be; but where it would be must exist.
    memcpy(parent, path, len);
    memcpy(parent + len, len ? "" : "/", len ? 1 : 2);
    return request_depend(r, parent, DEP_EXISTS);
}

static int set_special(struct request *r, unsigned special, const char *text, size_t len)
{
    BUF_AUTO body = {0};
    struct perms *perms;
    int ret = r->conn->who.privileged ? perms_parse(text, len, &perms) : -EACCES;
    if (ret)
        return ret;
    record_u8(&body, (uint8_t)special);
    record_bytes(&body, text, len);
    ret = store_record(r->store, RECORD_SPECIAL, &body);
    if (ret) {
        perms_unref(perms);
        return ret;
    }
    perms_unref(r->store->special[special]);
    r->store->special[special] = perms;
    return 0;
}

static int set_perms_checked(struct request *r, const char *path, const struct perms *perms)
{
    const struct who *who = &r->conn->who;
    const struct node *n;
    int ret = request_node(r, path, PERM_OWNER, DEP_PERMS, &n);
    if (ret)
        return ret;
    if (!who->privileged) {
        if (perms->list[0].domid != n->perms->list[0].domid)
            return -EPERM; // a guest gives nothing away: whose limits would it count for?
        if (perms->count > r->store->limits.permissions)
            return -ENOSPC;
        ret = request_afford(r, 0, node_value_len(n) + perms_bytes(perms));
        if (ret)
            return ret;
    }
    return request_change(r, CHANGE_PERMS, path, perms->list, perms_bytes(perms));
}

int op_set_perms(struct request *r)
{
    const char *given, *text;
    path_text path;
    size_t len;
    struct perms *perms;
    int ret = request_prefix(r, &given, 1, &text, &len);
    if (ret)
        return ret;
    unsigned special = watch_special(given);
    if (special < SPECIAL_COUNT)
        return set_special(r, special, text, len);
    ret = request_path(r, given, path);
    if (!ret)
        ret = perms_parse(text, len, &perms);
    if (ret)
        return ret;
    ret = set_perms_checked(r, path, perms);
    perms_unref(perms);
    return ret;
}
