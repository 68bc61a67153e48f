// SPDX-License-Identifier: BSD-2-Clause
// The operations of the protocol: one table, one function for each.
#pragma once

#include "buf.h"
#include "store.h"
#include "transaction.h"

#include <stdbool.h>

struct request {
    struct store *store;
    struct conn *conn;
    struct transaction *tx; // NULL: outside
    const char *data;       // the payload, with a zero behind it
    size_t len;
    struct buf *reply;         // an empty one means "OK"
    struct watch *first_event; // of a new watch: to be fired after the reply
};

// Each returns 0 or -errno. Requests of one who may not, or that lack the zero at the end, do
// not get there: see the table in ops.c.
int op_directory(struct request *r);
int op_directory_part(struct request *r);
int op_read(struct request *r);
int op_write(struct request *r);
int op_mkdir(struct request *r);
int op_remove(struct request *r);
int op_get_perms(struct request *r);
int op_set_perms(struct request *r);
int op_watch(struct request *r);
int op_unwatch(struct request *r);
int op_reset_watches(struct request *r);
int op_transaction_start(struct request *r);
int op_transaction_end(struct request *r);
int op_introduce(struct request *r);
int op_release(struct request *r);
int op_is_introduced(struct request *r);
int op_domain_path(struct request *r);
int op_resume(struct request *r);
int op_set_target(struct request *r);
int op_control(struct request *r);

// The payload's strings. -EINVAL unless there are exactly (request_strings) or at least
// `count`; what is behind the last is *rest.
int request_strings(const struct request *r, const char **out, unsigned count);
int request_prefix(const struct request *r, const char **out, unsigned count, const char **rest,
                   size_t *rest_len);
// A decimal number up to `max`. -EINVAL.
int request_number(const char *text, unsigned long max, unsigned long *out);

// Serves one message (header and payload, MESSAGE_MAX at most and as long as the header says)
// and writes the answer to `out`, of MESSAGE_MAX bytes. Returns the answer's length.
size_t request_run(struct conn *c, const char *msg, char *out);
// The answer that request_run() gave and nobody has got, from the journal.
size_t request_again(const char *msg, const struct record_reply *reply, char *out);
// "READ" and so on, for the log.
const char *request_name(uint32_t type);
// The log of requests, NULL for none.
void request_log_to(void (*line)(const char *text));
