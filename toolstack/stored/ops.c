// SPDX-License-Identifier: BSD-2-Clause
#include "ops.h"

#include "mem.h"
#include "watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OP_PRIVILEGED = 1, // for the control domain alone
    OP_TEXT = 2,       // the payload ends with a zero
    OP_TX = 4,         // may be part of a transaction
};

static const struct op {
    const char *name;
    int (*run)(struct request *r);
    unsigned flags;
} ops[XS_TYPE_COUNT] = {
    [XS_CONTROL] = {"CONTROL", op_control, OP_PRIVILEGED | OP_TEXT},
    [XS_DIRECTORY] = {"DIRECTORY", op_directory, OP_TEXT | OP_TX},
    [XS_READ] = {"READ", op_read, OP_TEXT | OP_TX},
    [XS_GET_PERMS] = {"GET_PERMS", op_get_perms, OP_TEXT | OP_TX},
    [XS_WATCH] = {"WATCH", op_watch, OP_TEXT},
    [XS_UNWATCH] = {"UNWATCH", op_unwatch, OP_TEXT},
    [XS_TRANSACTION_START] = {"TRANSACTION_START", op_transaction_start, OP_TX},
    [XS_TRANSACTION_END] = {"TRANSACTION_END", op_transaction_end, OP_TEXT | OP_TX},
    [XS_INTRODUCE] = {"INTRODUCE", op_introduce, OP_PRIVILEGED | OP_TEXT},
    [XS_RELEASE] = {"RELEASE", op_release, OP_PRIVILEGED | OP_TEXT},
    [XS_GET_DOMAIN_PATH] = {"GET_DOMAIN_PATH", op_domain_path, OP_TEXT},
    [XS_WRITE] = {"WRITE", op_write, OP_TX},
    [XS_MKDIR] = {"MKDIR", op_mkdir, OP_TEXT | OP_TX},
    [XS_RM] = {"RM", op_remove, OP_TEXT | OP_TX},
    [XS_SET_PERMS] = {"SET_PERMS", op_set_perms, OP_TEXT | OP_TX},
    [XS_IS_DOMAIN_INTRODUCED] = {"IS_DOMAIN_INTRODUCED", op_is_introduced, OP_TEXT},
    [XS_RESUME] = {"RESUME", op_resume, OP_PRIVILEGED | OP_TEXT},
    [XS_SET_TARGET] = {"SET_TARGET", op_set_target, OP_PRIVILEGED | OP_TEXT},
    [XS_RESET_WATCHES] = {"RESET_WATCHES", op_reset_watches, 0},
    [XS_DIRECTORY_PART] = {"DIRECTORY_PART", op_directory_part, OP_TEXT | OP_TX},
};

static void (*request_log)(const char *text);

void request_log_to(void (*line)(const char *text))
{
    request_log = line;
}

const char *request_name(uint32_t type)
{
    return type < XS_TYPE_COUNT && ops[type].name ? ops[type].name : "unknown";
}

int request_prefix(const struct request *r, const char **out, unsigned count, const char **rest,
                   size_t *rest_len)
{
    const char *at = r->data;
    size_t left = r->len;
    for (unsigned i = 0; i < count; i++) {
        const char *end = left ? memchr(at, '\0', left) : NULL;
        if (!end)
            return -EINVAL;
        out[i] = at;
        left -= (size_t)(end - at) + 1;
        at = end + 1;
    }
    *rest = at;
    *rest_len = left;
    return 0;
}

int request_strings(const struct request *r, const char **out, unsigned count)
{
    const char *rest;
    size_t left;
    int ret = request_prefix(r, out, count, &rest, &left);
    return ret ? ret : left ? -EINVAL : 0;
}

int request_number(const char *text, unsigned long max, unsigned long *out)
{
    char *end;
    if (*text < '0' || *text > '9')
        return -EINVAL;
    errno = 0;
    *out = strtoul(text, &end, 10);
    return errno || *end || *out > max ? -EINVAL : 0;
}

static const char *error_name(int error)
{
    for (size_t i = 0; i < sizeof(xsd_errors) / sizeof(xsd_errors[0]); i++)
        if (xsd_errors[i].errnum == error)
            return xsd_errors[i].errstring;
    return "EINVAL";
}

static int request_dispatch(struct request *r, const struct xsd_sockmsg *head)
{
    const struct op *op = head->type < XS_TYPE_COUNT ? &ops[head->type] : NULL;
    if (!op || !op->run)
        return -ENOSYS;
    if ((op->flags & OP_PRIVILEGED) && !r->conn->who.privileged)
        return -EACCES;
    if ((op->flags & OP_TEXT) && (!r->len || r->data[r->len - 1]))
        return -EINVAL;
    if ((op->flags & OP_TX) && head->tx_id) {
        r->tx = transaction_find(r->conn, head->tx_id);
        if (!r->tx)
            return -ENOENT;
    }
    return op->run(r);
}

// The header is the request's, but for type and length.
static size_t request_answer(const struct xsd_sockmsg *head, int error, const struct buf *reply,
                             char *out)
{
    struct xsd_sockmsg answer = *head;
    const char *data = "OK";
    size_t len = 3;
    if (error) {
        answer.type = XS_ERROR;
        data = error_name(error);
        len = strlen(data) + 1;
    } else if (reply->data) {
        data = reply->data;
        len = reply->len;
    }
    answer.len = (uint32_t)len;
    memcpy(out, &answer, sizeof(answer));
    memcpy(out + sizeof(answer), data, len);
    return sizeof(answer) + len;
}

static void request_tell(const struct conn *c, const struct xsd_sockmsg *head, const char *data,
                         int error)
{
    char line[512];
    int at = snprintf(line, sizeof(line), "d%u tx %u %s", c->who.domid, head->tx_id,
                      request_name(head->type));
    char last = '\0';
    if (head->len)
        line[at++] = ' ';
    for (size_t i = 0; i < head->len && (size_t)at < sizeof(line) - 32; i++) {
        last = data[i];
        line[at++] = last >= ' ' && last < 127 ? last : '|';
    }
    snprintf(line + at, sizeof(line) - (size_t)at, " -> %s", error ? error_name(error) : "OK");
    request_log(line);
}

size_t request_run(struct conn *c, const char *msg, char *out)
{
    struct xsd_sockmsg head;
    char data[XENSTORE_PAYLOAD_MAX + 1];
    BUF_AUTO reply = {0};
    memcpy(&head, msg, sizeof(head));
    memcpy(data, msg + sizeof(head), head.len);
    data[head.len] = '\0';
    struct request r = {
        .store = c->store, .conn = c, .data = data, .len = head.len, .reply = &reply};
    if (c->ring)
        c->store->origin =
            (struct record_origin){.domid = (uint16_t)c->who.domid, .pos = c->ring_pos};
    int ret = request_dispatch(&r, &head);
    c->store->origin.domid = RECORD_NO_ORIGIN;
    c->store->requests++;
    mem_check(&reply);
    if (!ret && reply.len > XENSTORE_PAYLOAD_MAX)
        ret = -E2BIG;
    if (request_log)
        request_tell(c, &head, data, -ret);
    size_t len = request_answer(&head, -ret, &reply, out);
    if (r.first_event)
        watch_fire_one(r.first_event);
    return len;
}

size_t request_again(const char *msg, const struct record_reply *recorded, char *out)
{
    struct xsd_sockmsg head;
    BUF_AUTO reply = {0};
    memcpy(&head, msg, sizeof(head));
    if (recorded->tx_id) {
        buf_printf(&reply, "%u", recorded->tx_id);
        buf_add(&reply, "", 1);
    }
    return request_answer(&head, -recorded->error, &reply, out);
}
